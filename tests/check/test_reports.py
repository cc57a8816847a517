"""The report in all its forms, with answers that try to break out of each of them."""

import io
import json
import re
import time
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from importlib.resources import files

import msgspec
import pytest
from rich.console import Console

from fungible.check.findings.fixes import SEVERITY, TITLE, docs_for, fix_for
from fungible.check.model import Finding, FlowRun, Kind, Question, Report, ScheduleRun, WitnessRequest
from fungible.check.report import Progress, print_report, to_html, to_json, to_junit, to_sarif

COOKIE = "A1b2" * 768
NASTY = (
    "<script>alert(1)</script>\"'><img src=//evil.example/x onerror=alert(2)> [bold]x[/bold] [a](https://evil.example) "
    "</style></svg>]]> &amp; {0} 😀 日本語 \x1b[31m\x1b]0;t\x07 \u202eevil \x00\x85 \ud800 \ufffe javascript:alert(3)"
)


def request(instance: str, step: str, method: str, path: str, answered: str, **more: object) -> WitnessRequest:
    curl = f"curl -si -X {method} -b jar -c jar 'http://127.0.0.1:41005{path}'"
    given = {"instance": instance, "step": step, "method": method, "path": path, "answered": answered, "curl": curl}
    return msgspec.convert(given | more, WitnessRequest)


def finding(kind: Kind, **more: object) -> Finding:
    given: dict[str, object] = {
        "kind": kind,
        "severity": SEVERITY[kind],
        "flow": "shop",
        "step": "cart",
        "writer": None,
        "schedule": "scatter",
        "title": TITLE[kind],
        "expected": "200",
        "saw": "302 to /login",
        "witness": (),
        "evidence": (),
        "fix": fix_for(kind, "django"),
        "docs": docs_for(kind),
    }
    return Finding(**(given | more))


SESSION = finding(
    "session",
    writer="login",
    also=("orders",),
    witness=(
        request("A", "login-page", "GET", "/login", "200"),
        request(
            "A", "login", "POST", "/login", "303, sets cookie session", curl=f"curl -H 'Cookie: s={COOKIE}' http://x/"
        ),
        request("B", "cart", "GET", "/cart", "302 to /login", expected="200", broken=True),
    ),
    evidence=("Instance A wrote sessions/9x2k4 (412 bytes).",),
)
UPLOAD = finding(
    "upload",
    step="avatar",
    schedule="crash",
    witness=(
        request("A", "upload", "POST", "/me/avatar", "201"),
        request("A", "avatar", "GET", "/a.png", "404", expected="200", event="kill -9 A, wipe its disk", broken=True),
    ),
)
RACE = finding(
    "lost-update",
    step="add",
    schedule="race",
    racy=True,
    shown="2 of 3",
    witness=(
        request("A", "add", "POST", "/cart?sku=tea", "201"),
        request("B", "add-2", "POST", "/cart?sku=cup", "201", event="at the same moment as the one above"),
        request("C", "cart", "GET", "/cart", "200, one line", expected="200, two lines", broken=True),
    ),
)
CACHE = finding("cache", step="price", schedule="warm", witness=(request("B", "price", "GET", "/p/7", "200"),))
EVIL = finding(
    "revived-session",
    flow=NASTY,
    step=NASTY,
    title=NASTY,
    writer=NASTY,
    expected=NASTY,
    saw="y" * 500,
    also=(NASTY,),
    evidence=(NASTY, "/srv/" + "very-deep-folder/" * 60 + "file"),
    fix=NASTY,
    docs="javascript:alert(4)",
    shown=NASTY,
    witness=tuple(
        request(
            "ABCDEFGH"[i % 8],
            NASTY,
            "DELETE",
            "/" + "long-segment/" * 40 + NASTY,
            NASTY,
            curl=f"curl '{NASTY}'\n  --data 'x'",
            event=NASTY if i == 3 else "",
            broken=i == 8,
            expected=NASTY,
        )
        for i in range(9)
    ),
)
FLOWS = (
    FlowRun(
        name="shop",
        steps=(
            "login: POST /login -> 303",
            "cart: GET /cart -> 200",
            "orders: GET /orders -> 200",
            "avatar: GET /a -> 200",
        ),
        masked=("cart: html body/footer/text()",),
    ),
)
QUESTIONS = (
    Question(text="Is the session outside the instance?", answer="no", why="Sessions are files."),
    Question(text="Are retries safe?", answer="not exercised", why="No step repeats."),
    Question(text="Is authentication stateless?", answer="yes", why="Tokens are accepted everywhere."),
)
SCHEDULES = (
    ScheduleRun(name="scatter", runs=9, seconds=8.25, findings=1),
    ScheduleRun(name="crash", runs=12, seconds=75.0, findings=1),
    ScheduleRun(name="repeat", runs=6, seconds=2.6, findings=0),
    ScheduleRun(name="drain", runs=0, seconds=0.0, findings=0, note="left out: the target is remote"),
)
FULL = Report(
    verdict="stateful",
    findings=(CACHE, RACE, SESSION, UPLOAD),
    not_exercised=("DELETE /api/products/{id}",),
    questions=QUESTIONS,
    command="gunicorn shop.wsgi:application --bind 127.0.0.1:{port}",
    framework="django",
    isolation="user and mount namespace",
    seed=20240611,
    instances=3,
    starts=41,
    requests=388,
    seconds=48.3,
    flows=FLOWS,
    schedules=SCHEDULES,
    version="0.1.0",
)
CLEAN = msgspec.structs.replace(FULL, verdict="stateless", findings=())
UNJUDGED = msgspec.structs.replace(CLEAN, verdict="unjudged", reason="Step cart answered 200 and 500.", schedules=())
HOSTILE = msgspec.structs.replace(
    FULL,
    findings=(EVIL, SESSION),
    command=NASTY,
    framework=NASTY,
    isolation=NASTY,
    notes=(NASTY,),
    version=NASTY,
    not_exercised=(NASTY,),
    questions=(Question(text=NASTY, answer="no", why=NASTY),),
    flows=(FlowRun(name=NASTY, steps=(f"{NASTY}: GET / -> 200",), masked=(NASTY,)),),
    schedules=(ScheduleRun(name="scatter", runs=1, seconds=1, findings=1, note=NASTY),),
)
EVERY = [FULL, CLEAN, UNJUDGED, HOSTILE]


def printed(report: Report, *, width: int = 80, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    print_report(report, Console(file=stream, width=width, force_terminal=False, color_system=None))
    stream.flush()
    return raw.getvalue().decode(encoding)


def unshowable(text: str) -> list[str]:
    return re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff\ufffe\uffff]", text)


# The terminal


def test_the_verdict_is_the_first_line_and_the_worst_finding_comes_first():
    text = printed(FULL)
    assert text.startswith("STATEFUL  ")
    order = [text.index(f"kind       {kind}") for kind in ("session", "upload", "lost-update", "cache")]
    assert order == sorted(order)


def test_the_end_of_a_long_report_says_the_verdict_again():
    assert printed(FULL).rstrip().splitlines()[-2].startswith("STATEFUL")


def test_every_line_but_commands_fits_into_80_columns():
    for report in (FULL, CLEAN, UNJUDGED):
        for line in printed(report).splitlines():
            assert len(line) <= 80 or line.startswith("curl "), line


def test_commands_are_printed_whole_on_one_line():
    lines = printed(FULL, width=60).splitlines()
    for request_ in SESSION.witness:
        assert request_.curl in lines


def test_the_witness_is_drawn_with_a_lane_for_each_instance():
    text = printed(FULL)
    assert re.search(r"1 GET /login +──▶●   │ 200", text)
    assert re.search(r"3 GET /cart +───┼──▶✗ 302 to /login", text)
    assert re.search(r"╳ kill -9 A, wipe its disk", text)
    assert "expected 200, two lines" in text


def test_many_instances_fall_back_to_letters():
    assert re.search(r"▶ H ", printed(HOSTILE))


def test_no_control_character_reaches_the_terminal_and_markup_is_text():
    text = printed(HOSTILE)
    assert not unshowable(text)
    assert "[bold]x[/bold]" in text
    assert "\\x1b[31m" in text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize("report", EVERY)
def test_a_terminal_that_lacks_characters_gets_escapes_not_an_error(encoding: str, report: Report):
    assert printed(report, encoding=encoding)


@pytest.mark.parametrize("width", [20, 40, 200])
def test_any_width_is_printed(width: int):
    assert "cart" in printed(HOSTILE, width=width)


def test_the_five_questions_and_what_was_not_exercised_are_told():
    text = printed(FULL)
    assert "✗  Is the session outside the instance? no" in text
    assert "–  Are retries safe? not exercised" in text
    assert "✓  Is authentication stateless? yes" in text
    assert "DELETE /api/products/{id}" in text
    assert "seed 20240611" in text.replace("\n", " ")


def test_an_unjudged_report_says_why():
    assert printed(UNJUDGED).startswith("NOT JUDGED  Step cart answered 200 and 500.")


# JSON


def test_the_json_report_reads_back_as_it_was():
    assert msgspec.json.decode(to_json(FULL), type=Report) == FULL


# JUnit


@pytest.mark.parametrize("report", EVERY)
def test_junit_counts_are_those_of_its_elements(report: Report):
    root = ET.fromstring(to_junit(report))
    assert root.tag == "testsuites"
    for parent in [root, *root]:
        assert int(parent.get("tests", "")) == len(list(parent.iter("testcase")))
        assert int(parent.get("failures", "")) == len(list(parent.iter("failure")))
        assert int(parent.get("errors", "")) == len(list(parent.iter("error")))
        assert int(parent.get("skipped", "")) == len(list(parent.iter("skipped")))
    for case in root.iter("testcase"):
        assert case.get("name")
        assert case.get("classname")
        assert len(case) <= 1
    assert not unshowable("".join(root.itertext()))


def test_junit_has_a_suite_per_schedule_and_a_case_per_step():
    root = ET.fromstring(to_junit(FULL))
    assert [suite.get("name") for suite in root] == [
        f"fungible.{n}" for n in ("scatter", "crash", "warm", "repeat", "race")
    ]
    scatter = root[0]
    assert [case.get("name") for case in scatter.iter("testcase")] == ["login", "cart", "orders", "avatar"]
    assert scatter.get("time") == "8.250"
    failure = scatter.find("testcase[@name='cart']/failure")
    assert failure is not None
    assert failure.get("type") == "session"
    assert COOKIE in (failure.text or "")
    assert scatter.find("testcase[@name='orders']/skipped") is not None
    assert scatter.find("testcase[@name='login']/failure") is None


def test_two_findings_of_one_step_are_one_failure():
    both = msgspec.structs.replace(FULL, findings=(SESSION, finding("rate-limit")))
    failures = list(ET.fromstring(to_junit(both)).iter("failure"))
    assert len(failures) == 1
    assert "session" in failures[0].get("message", "")
    assert "rate-limit" in failures[0].get("message", "")


def test_an_unjudged_report_is_one_error_in_junit():
    errors = list(ET.fromstring(to_junit(UNJUDGED)).iter("error"))
    assert [error.get("message") for error in errors] == ["Step cart answered 200 and 500."]


# SARIF


@pytest.mark.parametrize("check_file", [None, "checks/my shop.yaml", "/abs/shop.yaml"])
@pytest.mark.parametrize("report", EVERY)
def test_sarif_has_the_structure_that_the_standard_asks_for(report: Report, check_file: str | None):
    log = json.loads(to_sarif(report, check_file=check_file))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules) == len(SEVERITY)
    for rule in rules:
        assert rule["shortDescription"]["text"]
        assert rule["help"]["text"]
        assert rule["help"]["markdown"]
        assert rule["defaultConfiguration"]["level"] in {"error", "warning"}
    assert len(run["results"]) == len(report.findings)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in {"error", "warning"}
        assert result["message"]["text"]
        for location in [*result["locations"], *_thread_locations(result)]:
            assert location["logicalLocations"][0]["fullyQualifiedName"]
            assert ("physicalLocation" in location) == (check_file is not None)
    assert run["invocations"][0]["executionSuccessful"] is (report.verdict != "unjudged")
    assert not unshowable(json.dumps(log, ensure_ascii=False))


def _thread_locations(result: dict) -> list[dict]:
    return [
        step["location"]
        for flow in result.get("codeFlows", [])
        for thread in flow["threadFlows"]
        for step in thread["locations"]
    ]


def test_sarif_levels_follow_severity_and_places_name_flow_and_step():
    results = json.loads(to_sarif(FULL, check_file="checks/my shop.yaml"))["runs"][0]["results"]
    levels = {result["ruleId"]: result["level"] for result in results}
    assert levels == {"session": "error", "upload": "error", "lost-update": "error", "cache": "warning"}
    location = results[0]["locations"][0]
    assert location["logicalLocations"][0]["fullyQualifiedName"] == "shop/cart"
    artifact = location["physicalLocation"]["artifactLocation"]
    assert artifact == {"uri": "checks/my%20shop.yaml", "uriBaseId": "%SRCROOT%"}


def test_sarif_messages_hold_no_links_and_no_placeholders_of_the_application():
    for result in json.loads(to_sarif(HOSTILE))["runs"][0]["results"]:
        for text in [result["message"]["text"], *(place["message"]["text"] for place in _thread_locations(result))]:
            assert not re.search(r"(?<!\\)\]\(", text)
            assert not re.search(r"(?<!\{)\{(?!\{)", text)


def test_a_finding_keeps_its_fingerprint_from_run_to_run():
    again = msgspec.structs.replace(FULL, seed=1, findings=(msgspec.structs.replace(SESSION, saw="500"),))
    results = {r["ruleId"]: r for r in json.loads(to_sarif(FULL))["runs"][0]["results"]}
    (other,) = json.loads(to_sarif(again))["runs"][0]["results"]
    assert other["partialFingerprints"] == results["session"]["partialFingerprints"]


# HTML


class Page(HTMLParser):
    """Elements and text of a page, and whether every element is closed where it should be."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self, page: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(page.decode())
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.mark.parametrize("report", EVERY)
def test_the_page_runs_nothing_and_loads_nothing(report: Report):
    page = to_html(report)
    elements = Page(page).elements
    tags = {tag for tag, _ in elements}
    assert not tags & {"script", "img", "link", "iframe", "object", "embed", "base", "form", "use", "image"}
    for _, attributes in elements:
        assert not [
            name for name in attributes if name.startswith("on") or name in {"src", "srcset", "style", "xlink:href"}
        ]
        assert (attributes.get("href") or "#").startswith(("#", "https://"))
    css = page.decode().split("<style>")[1].split("</style>")[0]
    assert "url(" not in css
    assert "@import" not in css
    policy = next(a["content"] or "" for t, a in elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'sha256-")


def test_what_the_application_answers_is_shown_as_text():
    page = to_html(HOSTILE)
    assert b"<script" not in page
    assert b"<img" not in page
    assert b'href="javascript' not in page
    assert not unshowable(page.decode())
    words = Page(page).words
    assert "<script>alert(1)</script>" in words
    assert "\\x1b[31m" in words
    assert "😀 日本語" in words


def test_the_page_shows_each_finding_with_lanes_commands_and_the_way_out():
    page = Page(to_html(FULL))
    for told in (TITLE["session"], "302 to /login", "kill -9 A, wipe its disk", "curl -si", "SESSION_ENGINE", COOKIE):
        assert told in page.words
    assert len([1 for tag, attributes in page.elements if tag == "ol" and attributes.get("class") == "lanes"]) == 4
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) == 4
    targets = [a["href"] for t, a in page.elements if t == "a"]
    assert targets == [f"#{name}" for name in ids]


def test_masked_places_and_steps_are_folded():
    folded = [tag for tag, _ in Page(to_html(FULL)).elements if tag == "details"]
    assert len(folded) == 2


def test_a_page_without_findings_says_so():
    words = Page(to_html(CLEAN)).words
    assert "Stateless" in words
    assert "Any instance served any request that was checked" in words


def _luminance(color: str) -> float:
    digits = color.lstrip("#")
    digits = "".join(d * 2 for d in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_all_colours_of_text_have_the_contrast_of_wcag_aa():
    css = files("fungible.check.report").joinpath("report.css").read_text("utf-8")
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w+);", block)) for block in re.findall(r":root \{(.*?)\}", css, re.S)[:2]
    )
    grounds = {
        "ink": ("page", "card", "soft", "green-soft", "amber-soft", "red-soft"),
        "dim": ("page", "card", "soft", "red-soft"),
    }
    colours = {name: ("page", "card", f"{name}-soft") for name in ("red", "amber", "blue", "green")}
    badges = {"on": ("red", "amber", "blue")}
    for theme in (light, dark):
        for text, under in (grounds | colours | badges | {"green": ("page", "card", "green-soft", "red-soft")}).items():
            for ground in under:
                high, low = sorted((_luminance(theme[text]), _luminance(theme[ground])), reverse=True)
                assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)


# Progress


def watched(console: Console | None, clock: list[float]) -> Progress:
    """A check that has begun, by the second hand of `clock`."""
    progress = Progress(console, now=lambda: clock[-1])
    with progress:
        progress.phase("prepare")
        progress.phase("baseline", NASTY)
        progress.expects(10)
        for _ in range(4):
            progress.started()
            progress.ready(4.0)
        clock.append(10.0)
        progress.phase("scatter", "shop")
        progress.found(EVIL)
    return progress


def test_progress_without_a_console_prints_nothing():
    watched(None, [0.0])


def test_progress_without_a_terminal_prints_a_line_at_once_and_for_each_finding():
    stream = io.StringIO()
    watched(Console(file=stream, force_terminal=False), [0.0])
    first, second = stream.getvalue().splitlines()
    assert first == "fungible check: preparing"
    assert second.startswith("fungible check: scatter shop: 4 starts of 4.0 s, 10 s so far, about 15 s more; 1 finding")


def test_progress_without_a_terminal_prints_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fungible.check.report.progress._EVERY_S", 0.01)
    stream = io.StringIO()
    with Progress(Console(file=stream, force_terminal=False)) as progress:
        progress.phase("prepare")
        progress.phase("baseline", "shop")
        end = time.monotonic() + 20
        while "baseline shop" not in stream.getvalue():
            assert time.monotonic() < end
            time.sleep(0.01)


def test_the_time_that_is_left_is_unknown_until_a_start_has_been_seen():
    progress = Progress(None)
    progress.phase("baseline", "shop")
    progress.expects(12)
    progress.started(2)
    assert "about" not in progress.line()
    progress.ready(4.1)
    assert "2 starts of 4.1 s" in progress.line()
    assert "about" in progress.line()


def test_progress_on_a_terminal_is_one_line():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    console = Console(file=stream, force_terminal=True, width=80, height=30, _environ={"TERM": "xterm"})
    watched(console, [0.0])
    stream.flush()
    shown = stream.buffer.getvalue().decode()
    assert "scatter shop: 4 starts of 4.0 s, 10 s so far, about 15 s more; 1 finding (las…" in shown
    assert "\x1b]0;t" not in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_the_terminal_is_put_back_whatever_happens(error: type[BaseException]):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    console = Console(file=stream, force_terminal=True, width=80, _environ={"TERM": "xterm"})

    def interrupted() -> None:
        with Progress(console) as progress:
            progress.phase("scatter")
            raise error

    with pytest.raises(error):
        interrupted()
    stream.flush()
    written = stream.buffer.getvalue().decode()
    assert written.rfind("\x1b[?25h") > written.rfind("\x1b[?25l") >= 0


def test_a_terminal_that_goes_away_does_not_end_the_check():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with Progress(Console(file=stream, force_terminal=True, _environ={"TERM": "xterm"})) as progress:
        stream.close()
        progress.phase("scatter")
        progress.found(SESSION)
