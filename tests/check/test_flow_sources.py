"""From the command line to the report: wherever the flows come from, and in every format."""

import itertools
import json
import sys
import xml.etree.ElementTree as ElementTree

import msgspec
import pytest
from apps.catalogue import BY_NAME, HERE, REST
from apps.plain_runner import HOST, Run, started
from command_line import CommandLine
from recordings import entry, har

from fungible.check.model import Step

PYTHON = sys.executable
SESSION = BY_NAME["python_session"]
STICKY = BY_NAME["python_sticky_cookie"]
CART = msgspec.convert(SESSION.steps, tuple[Step, ...])


@pytest.fixture
def cli(tmp_path):
    return CommandLine(tmp_path)


def on(app, cli, *, mended=False):
    """The arguments that start an application of the zoo."""
    shared = cli.folder / "shared"
    shared.mkdir(exist_ok=True)
    env = {"SHARED_DIR": str(shared), **(app.env_mended if mended else {})}
    pairs = [part for name, value in env.items() for part in ("--env", f"{name}={value}")]
    return ["--start", app.command, "--directory", cli.app, "--shared", shared, *pairs]


def judged(cli, *arguments):
    """The JSON report, whose verdict the exit status repeats."""
    ended = cli.run(*arguments, "--format", "json")
    report = ended.report
    assert ended.status == (2 if report["verdict"] == "unjudged" else 1 if report["findings"] else 0), ended.said
    return report


def kinds(report):
    return {finding["kind"] for finding in report["findings"]}


# --- a recording ------------------------------------------------------------------------------------------------------


def recording(steps, url):
    """What a browser would have recorded of a flow."""
    entries = []
    with Run() as run:
        for step in steps:
            answer = run.step(step, url)
            sent, body = answer.request, answer.request.content.decode()
            mime = sent.headers.get("content-type", "")
            headers = {name: value for name, value in sent.headers.items() if name != "content-type"}
            entries.append(
                entry(
                    *(sent.method, f"http://{HOST}{sent.url.raw_path.decode()}"),
                    **({"text": body, "mime": mime} if body else {}),
                    headers=headers,
                    status=answer.status_code,
                    answered=answer.content,
                    answer_headers=[pair for pair in answer.headers.multi_items() if pair[0] != "content-type"],
                    answer_mime=answer.headers.get("content-type", ""),
                )
            )
    return har(*entries)


@pytest.fixture
def recorded(cli):
    """A recording of a visitor who signs in and fills a cart."""
    with started(SESSION.command, cli.folder / "recorded", {}) as instance:
        return cli.write("visit.har", recording(CART, instance.url))


def test_a_recording_is_enough_to_find_a_session_in_the_process(cli, recorded):
    report = judged(cli, *on(SESSION, cli), "--har", recorded, "--schedules", "scatter,crash")
    assert report["verdict"] == "stateful"
    assert kinds(report) == {"session"}
    assert [(one["flow"], one["witness"][-1]["path"]) for one in report["findings"]] == [("visit", "/home")]
    assert len(report["flows"][0]["steps"]) == len(CART)


def test_a_recording_of_the_mended_one_finds_nothing(cli, recorded):
    report = judged(cli, *on(SESSION, cli, mended=True), "--har", recorded, "--schedules", "scatter,crash")
    assert (report["verdict"], report["findings"]) == ("stateless", [])


def test_what_an_application_creates_is_bound_without_being_told(cli):
    app = BY_NAME["python_rest"]
    with started(app.command, cli.folder / "recorded", {"SHARED_DIR": str(cli.folder)}) as instance:
        path = cli.write("tasks.har", recording(msgspec.convert(REST, tuple[Step, ...]), instance.url))
    report = judged(cli, *on(app, cli, mended=True), "--har", path, "--schedules", "scatter")
    assert (report["verdict"], report["findings"]) == ("stateless", [])
    report = judged(cli, *on(app, cli), "--har", path, "--schedules", "scatter")
    assert kinds(report) == {"in-process-data"}


def test_flows_that_were_written_down_are_a_check_file_of_their_own(cli, recorded):
    folder = cli.folder / "elsewhere"
    folder.mkdir()
    written = folder / "check.json"
    quick = ("--schedules", "scatter", "--seed", 3)
    # No --directory: it is where the command was typed, and must be so again for the file that stands elsewhere.
    start = [part for part in on(SESSION, cli) if part not in ("--directory", cli.app)]
    first = judged(cli, *start, "--har", recorded, "--write-flow", written, *quick)
    document = json.loads(written.read_text())
    assert [len(flow["steps"]) for flow in document["flows"]] == [len(CART)]
    assert (folder / document["target"]["directory"]).resolve() == cli.app.resolve()
    second = judged(cli, "--file", written, *quick)
    assert first["findings"]
    assert [one["step"] for one in second["findings"]] == [one["step"] for one in first["findings"]]
    assert kinds(second) == kinds(first)


# --- nothing but the application --------------------------------------------------------------------------------------

ITEMS = """
import secrets
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

app = FastAPI()
items = {}


class Item(BaseModel):
    name: str
    price: float = 1.0


@app.post("/items", status_code=201)
def create(item: Item):
    key = secrets.token_hex(8)
    items[key] = item
    return {"id": key, **item.model_dump()}


@app.get("/items/{item_id}")
def read(item_id: str):
    if item_id not in items:
        raise HTTPException(404)
    return items[item_id]
"""


def test_an_application_that_describes_its_api_needs_no_flow(cli):
    pytest.importorskip("fastapi")
    (cli.app / "items.py").write_text(ITEMS)
    start = f"{PYTHON} -m uvicorn items:app --port {{port}} --log-level warning"
    report = judged(cli, "--start", start, "--ready", "/docs", "--schedules", "scatter")
    assert report["verdict"] == "stateful"
    assert kinds(report) == {"in-process-data"}
    assert report["framework"] == "fastapi"
    assert any("/openapi.json" in note for note in report["notes"])
    assert all(one["witness"][-1]["path"].startswith("/items/") for one in report["findings"])


TASKS = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[2])
from tiny import App, as_json, table

app, tasks = App(), table("tasks", shared=False)
description = json.loads(pathlib.Path("api.json").read_text())


@app.on("GET", "/internal/api.json")
def described(request):
    return as_json(description)


@app.on("PUT", "/tasks/{key}")
def put(request, key):
    tasks.put(key, request.json)
    return as_json(request.json)


@app.on("GET", "/tasks/{key}")
def get(request, key):
    return as_json(tasks.get(key)) if tasks.get(key) else as_json({}, 404)


app.serve()
"""


def test_a_description_that_the_application_serves_can_be_named(cli):
    (cli.app / "served.py").write_text(
        "import sys; sys.path.insert(0, sys.argv[2])\nimport python_rest as it\n".replace(
            "import python_rest as it", "from tiny import App, as_json, table"
        )
        + "import json, pathlib\n"
        "app, tasks = App(), table('tasks', shared=False)\n"
        "app.on('GET', '/internal/api.json')(lambda request: as_json(json.loads(pathlib.Path('api.json').read_text())))\n"
        "@app.on('PUT', '/tasks/{key}')\n"
        "def put(request, key):\n"
        "    tasks.put(key, request.json)\n"
        "    return as_json(request.json)\n"
        "@app.on('GET', '/tasks/{key}')\n"
        "def get(request, key):\n"
        "    return as_json(tasks.get(key)) if tasks.get(key) else as_json({}, 404)\n"
        "app.serve()\n"
    )
    named = [{"name": "key", "in": "path", "required": True, "schema": {"type": "string"}}]
    title = {"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}}
    body = {"required": True, "content": {"application/json": {"schema": title}}}
    answers = {"responses": {"200": {"description": "done"}}}
    document = {
        "openapi": "3.0.3",
        "info": {"title": "tasks", "version": "1"},
        "paths": {"/tasks/{key}": {"parameters": named, "put": {"requestBody": body, **answers}, "get": answers}},
    }
    (cli.app / "api.json").write_text(json.dumps(document))
    start = [f"{PYTHON} served.py {{port}} {HERE}", "--env", f"SHARED_DIR={cli.temporary}"]
    report = judged(cli, "--start", *start, "--openapi", "/internal/api.json", "--schedules", "scatter")
    assert kinds(report) == {"in-process-data"}
    ended = cli.run("--start", *start, "--openapi", "/nowhere.json", "--schedules", "scatter")
    assert ended.status == 2
    assert "/nowhere.json of the application is no OpenAPI document" in ended.said


PAGES = """
import secrets, sys
sys.path.insert(0, sys.argv[2])
from tiny import MENDED, App, page, redirect, table

app = App()
sessions = table("sessions", shared=MENDED)
REGISTER = '<form method="post" action="/register"><input name="user"><input name="password" type="password"><button>Register</button></form>'


@app.on("GET", "/")
def start(request):
    return page(f"<h1>Welcome</h1>{REGISTER}")


@app.on("POST", "/register")
def register(request):
    key = secrets.token_urlsafe(18)
    sessions.put(key, {"user": request.form["user"], "notes": []})
    return redirect("/notes").cookie("session", key)


@app.on("GET", "/notes")
def notes(request):
    session = sessions.get(request.cookies.get("session", ""))
    if session is None:
        return redirect("/")
    rows = "".join(f"<li>{note}</li>" for note in session["notes"])
    return page(f'<h1>Notes of {session["user"]}</h1><ul>{rows}</ul><form method="post" action="/notes"><input name="note"><button>Add</button></form>')


@app.on("POST", "/notes")
def add(request):
    note = request.form["note"]
    changed = sessions.change(request.cookies.get("session", ""), lambda now: {**now, "notes": [*now["notes"], note]})
    return redirect("/notes" if changed else "/")


app.serve()
"""


@pytest.mark.parametrize("mended", [False, True], ids=["faulty", "mended"])
def test_an_application_of_pages_needs_no_flow(mended, cli):
    (cli.app / "pages.py").write_text(PAGES)
    shared = cli.folder / "shared"
    shared.mkdir()
    report = judged(
        *(cli, "--start", f"{PYTHON} pages.py {{port}} {HERE}", "--shared", shared),
        *("--env", f"SHARED_DIR={shared}", "--env", f"MENDED={int(mended)}", "--schedules", "scatter,crash"),
    )
    assert any("following forms and links" in note for note in report["notes"]), report["notes"]
    assert "POST /notes" in " ".join(report["flows"][0]["steps"])
    assert kinds(report) == (set() if mended else {"session"})
    assert report["verdict"] == ("stateless" if mended else "stateful")


def test_an_application_that_offers_nothing_is_not_judged(cli):
    ended = cli.run("--start", f"{PYTHON} -m http.server --bind 127.0.0.1 {{port}} --directory {cli.app}/none")
    assert ended.status == 2
    assert "found nothing to check: the application has no /openapi.json, and GET / leads nowhere" in ended.said
    assert "or give a flow: --har recording.har, --openapi file, or --file check.toml" in ended.said


# --- instances that run already ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mended", [False, True], ids=["faulty", "mended"])
def test_instances_that_run_already_are_asked_and_left_running(mended, cli):
    env = {"SHARED_DIR": str(cli.temporary), **(SESSION.env_mended if mended else {})}
    start = SESSION.command
    with started(start, cli.folder / "one", env) as one, started(start, cli.folder / "other", env) as other:
        report = judged(cli, "--at", one.url, "--at", other.url, "--file", cli.flow(SESSION.steps))
        assert [one.process.poll(), other.process.poll()] == [None, None]
    assert kinds(report) == (set() if mended else {"session"})
    assert report["verdict"] == ("stateless" if mended else "stateful")
    assert report["starts"] == 0
    assert report["instances"] == 2
    assert report["isolation"] == "instances that were running already"
    why = "was not run: instances that somebody else runs are not ended"
    assert {f"the schedule crash {why}", f"the schedule drain {why}"} <= set(report["not_exercised"])


# --- reports ----------------------------------------------------------------------------------------------------------


def quick(cli):
    return [*on(STICKY, cli), "--file", cli.flow(STICKY.steps), "--schedules", "scatter"]


def test_the_report_as_json_says_what_was_found_and_what_was_not_looked_at(cli):
    flow = cli.flow(SESSION.steps)
    report = judged(cli, *on(SESSION, cli), "--file", flow, "--schedules", "scatter,crash", "--seed", 11)
    assert report["verdict"] == "stateful"
    assert report["seed"] == 11
    assert report["not_exercised"]
    assert len(report["questions"]) == 5
    (found,) = report["findings"]
    assert (found["kind"], found["severity"], found["flow"]) == ("session", "BREAKING", "flow")
    assert (found["step"], found["writer"], found["schedule"], found["shown"]) == (
        "home",
        "sign-in",
        "scatter",
        "3 of 3",
    )
    assert "200" in found["expected"]
    assert "303" in found["saw"]
    assert found["evidence"]
    assert found["fix"]
    assert found["docs"]
    assert [one["step"] for one in found["witness"]] == ["sign-in", "home"]
    assert len({one["instance"] for one in found["witness"]}) == 2
    assert [one["broken"] for one in found["witness"]] == [False, True]
    assert all(one["curl"].startswith("curl ") for one in found["witness"])


def test_the_same_seed_gives_the_same_findings(cli):
    arguments = [*on(SESSION, cli), "--file", cli.flow(SESSION.steps), "--schedules", "scatter", "--seed", 7]

    def outline(report):
        return [
            (one["kind"], one["step"], one["writer"], [(sent["instance"], sent["step"]) for sent in one["witness"]])
            for one in report["findings"]
        ]

    reports = [judged(cli, *arguments) for _ in range(2)]
    for one, other in itertools.pairwise(reports):
        assert outline(one) == outline(other) != []


def test_reports_in_every_format_and_two_at_once(cli):
    outputs = {name: cli.folder / f"report.{name}" for name in ("json", "junit", "sarif", "html", "text")}
    for name, path in outputs.items():
        ended = cli.run(*quick(cli), "--quiet", "--format", name, "--output", path, "--html", cli.folder / "more.html")
        assert (ended.status, ended.out, ended.err) == (1, "", "")
        assert (cli.folder / "more.html").read_text().lower().startswith("<!doctype html>")
        (cli.folder / "more.html").unlink()
    texts = {name: path.read_text() for name, path in outputs.items()}
    assert json.loads(texts["json"])["findings"][0]["kind"] == "sticky-cookie"
    cases = ElementTree.fromstring(texts["junit"]).iter("testcase")
    assert any(case.find("failure") is not None for case in cases)
    sarif = json.loads(texts["sarif"])
    assert sarif["version"] == "2.1.0"
    assert sarif["runs"][0]["results"][0]["ruleId"] == "sticky-cookie"
    assert texts["html"].lower().startswith("<!doctype html>")
    assert all("sticky-cookie" in text for text in texts.values())
    assert "\x1b" not in texts["text"]


def test_a_check_that_could_not_judge_says_so_beside_its_output(cli):
    out = cli.folder / "report.json"
    ended = cli.run("--start", "exit 3", "--file", cli.flow(STICKY.steps), "--format", "json", "--output", out)
    assert ended.status == 2
    assert "fungible check: could not judge: the start command 'exit 3' ended with status 3" in ended.err
    assert json.loads(out.read_text())["verdict"] == "unjudged"
