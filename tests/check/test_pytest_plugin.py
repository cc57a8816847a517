"""`pytest --fungible-start`: suites run as their users run them, on an application with a fault and on its mended twin."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
import uuid
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import pytest
from apps.catalogue import BY_NAME
from command_line import heeds_signals

PATIENCE_S = 240.0
WITHOUT = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
import pytest
sys.exit(pytest.main())
"""


@dataclass
class Ended:
    """How a run of pytest ended: its status, what it printed, and the outcome of each test by name."""

    status: int
    out: str
    tests: dict[str, str]


class Suite:
    """A test suite in a folder of its own; the processes of its application carry a mark by which they can be found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = f"mark-{uuid.uuid4().hex}"
        self.shared = folder / "shared"
        self.shared.mkdir()

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def app(self, name: str, *, mended: bool) -> list[str]:
        """The options that start an application of the zoo."""
        app = BY_NAME[name]
        env = {"SHARED_DIR": str(self.shared), **(app.env_mended if mended else {})}
        options = [f"--fungible-start={app.command} {self.mark}", "--fungible-shared=shared"]
        return options + [f"--fungible-env={key}={value}" for key, value in env.items()]

    def command(self, *options: str, without: tuple[str, ...] = ("rich", "yaml")) -> list[str]:
        # Each run also shows that the extra `check` is not needed.
        program = WITHOUT.format(blocked=without)
        return [sys.executable, "-c", program, "-p", "no:cacheprovider", "--junitxml=junit.xml", *options]

    @property
    def env(self) -> dict[str, str]:
        ours = {"PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST", "FUNGIBLE_REQUIRE"}
        return {name: text for name, text in os.environ.items() if name not in ours}

    def run(self, *options: str, without: tuple[str, ...] = ("rich", "yaml")) -> Ended:
        done = subprocess.run(
            self.command(*options, without=without),
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert self.left() == []
        return Ended(done.returncode, done.stdout + done.stderr, self.outcomes())

    def outcomes(self) -> dict[str, str]:
        found: dict[str, str] = {}
        with contextlib.suppress(OSError):
            for case in ElementTree.parse(self.folder / "junit.xml").iter("testcase"):
                told = [child.tag for child in case if child.tag in {"failure", "error", "skipped"}]
                found[case.get("name", "")] = told[0] if told else "passed"
        return found

    def left(self) -> list[str]:
        """Processes of the application that are still there."""
        for _ in range(50):
            listed = subprocess.run(["ps", "-Aww", "-o", "args="], capture_output=True, text=True, check=True).stdout
            found = [line for line in listed.splitlines() if self.mark in line and "pytest.main" not in line]
            if not found:
                return []
            time.sleep(0.1)
        return found


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path)


VISIT = """
import asyncio
import httpx
import pytest

ADA = {"user": "ada"}


def test_sync(fungible_client):
    assert fungible_client.post("/sign-in", data=ADA).headers["location"] == "/home"
    assert "Hello ada" in fungible_client.get("/home?tab=1").text


def test_async():
    async def visit():
        async with httpx.AsyncClient(base_url="http://testserver") as client:
            await client.post("/sign-in", data=ADA)
            async with client.stream("GET", "/home") as answer:
                assert "Hello ada" in (await answer.aread()).decode()
            assert answer.url == "http://testserver/home"

    asyncio.run(visit())


@pytest.fixture(scope="module")
def signed_in():
    with httpx.Client(base_url="http://localhost:8000") as client:
        client.post("/sign-in", data=ADA)
        yield client


def test_module_fixture(signed_in):
    signed_in.post("/cart", data={"item": "tea"})
    assert "In the cart: tea<" in signed_in.get("/home").text


def test_skips_where_it_is_not_signed_in(signed_in):
    if signed_in.get("/home").status_code != 200:
        pytest.skip("not signed in")
"""

OTHERS = """
import httpx
import pytest


def test_fails(fungible_client, record_property):
    record_property("colour", "teal")
    fungible_client.post("/sign-in", data={"user": "ada"})
    assert fungible_client.get("/home").status_code == 418


def test_sends_one_request(fungible_client):
    assert fungible_client.get("/").status_code == 200


def test_sends_none():
    with pytest.raises(httpx.ConnectError):
        httpx.get("http://127.0.0.2:9")


@pytest.mark.xfail(strict=True)
def test_expected_to_fail(fungible_client):
    fungible_client.get("/")
    assert fungible_client.get("/").status_code == 418


def test_skips():
    pytest.skip("not today")
"""

VISITS = [
    "test_sync",
    "test_async",
    "test_module_fixture",
    "test_skips_where_it_is_not_signed_in",
]


def test_a_session_in_the_process_fails_every_test_that_needs_it(suite: Suite) -> None:
    suite.write("test_visit.py", VISIT)
    ended = suite.run(*suite.app("python_session", mended=False), "-Werror")
    assert ended.status == 1
    assert ended.tests == dict.fromkeys(VISITS, "failure")
    assert "A  POST /sign-in    303 to /home" in ended.out
    assert "B  GET /home?tab=1  303 to /sign-in  <-- one instance alone answers 200" in ended.out
    assert "fungible check --start" in ended.out
    assert "4 tests judged, 4 findings" in ended.out
    assert "B answered GET /home?tab=1 with 303 to /sign-in, one instance alone with 200" in ended.out


@pytest.mark.parametrize("schedule", ["scatter", "crash"])
def test_a_session_that_all_instances_share_passes(suite: Suite, schedule: str) -> None:
    suite.write("test_visit.py", VISIT)
    ended = suite.run(*suite.app("python_session", mended=True), f"--fungible-schedule={schedule}", "-Werror")
    assert ended.tests == dict.fromkeys(VISITS, "passed"), ended.out
    assert ended.status == 0
    assert "4 tests judged, 0 findings" in ended.out


def test_crash_kills_each_instance_once_it_has_answered(suite: Suite) -> None:
    suite.write("test_visit.py", VISIT)
    ended = suite.run(*suite.app("python_session", mended=False), "--fungible-schedule=crash", "-k", "test_sync")
    assert ended.tests == {"test_sync": "failure"}
    assert "the instance killed, and its disk wiped, after each answer (2 of 2 runs)" in ended.out


def test_what_says_nothing_about_instances_keeps_its_outcome(suite: Suite) -> None:
    suite.write("test_others.py", OTHERS)
    ended = suite.run(*suite.app("python_session", mended=False))
    assert ended.tests == {
        "test_fails": "failure",
        "test_sends_one_request": "passed",
        "test_sends_none": "passed",
        "test_expected_to_fail": "skipped",
        "test_skips": "skipped",
    }
    assert "Not judged: it fails on one instance alone." in ended.out
    assert "not judged: 1 test: fails on one instance alone" in ended.out
    assert "not judged: 2 tests: skipped or expected to fail" in ended.out
    assert "nothing to scatter: 1 test: sends one request only" in ended.out
    assert (suite.folder / "junit.xml").read_text(encoding="utf-8").count('name="colour"') == 1


def test_a_run_that_judges_nothing_does_not_end_well(suite: Suite) -> None:
    suite.write("test_others.py", OTHERS)
    ended = suite.run(*suite.app("python_session", mended=False), "-k", "sends")
    assert ended.tests == {"test_sends_one_request": "passed", "test_sends_none": "passed"}
    assert "NOTHING WAS JUDGED" in ended.out
    assert ended.status == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_test_that_passes_only_once_is_no_finding(suite: Suite) -> None:
    # What it leaves behind is outside of the instances: as an account in a database that all of them use.
    suite.write(
        "test_once.py",
        """
from pathlib import Path

MARK = Path(__file__).with_name("once")


def test_once(fungible_client):
    fungible_client.get("/")
    fungible_client.get("/")
    assert not MARK.exists()
    MARK.touch()
""",
    )
    ended = suite.run(*suite.app("python_session", mended=False))
    assert ended.tests == {"test_once": "passed"}
    assert "not judged: 1 test: passes once on one instance, and not again" in ended.out


def test_an_answer_that_differs_only_in_what_it_holds_is_marked(suite: Suite) -> None:
    suite.write(
        "app.py",
        """
import http.server, sys

class Handler(http.server.BaseHTTPRequestHandler):
    count = 0
    def do_GET(self):
        Handler.count += self.path == "/add"
        body = str(Handler.count).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
""",
    )
    suite.write(
        "test_count.py",
        """
import httpx

def test_count():
    assert httpx.get("http://127.0.0.1:8000/add").text == "1"
    httpx.get("http://127.0.0.1:8000/add")
    assert httpx.get("http://127.0.0.1:8000/").text == "2"
""",
    )
    ended = suite.run(f"--fungible-start={sys.executable} app.py {{port}} {suite.mark}", "--fungible-instances=2")
    assert ended.tests == {"test_count": "failure"}
    assert "B  GET /add  200  <-- one instance alone answers another body" in ended.out


def test_requests_elsewhere_are_left_alone_and_the_host_header_is_that_of_the_base_url(suite: Suite) -> None:
    suite.write(
        "app.py",
        """
import http.server, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{self.headers['Host']} {self.headers['X-Forwarded-Proto']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
""",
    )
    suite.write(
        "test_host.py",
        """
import httpx
import pytest

def test_host(fungible_base_url):
    assert fungible_base_url == "https://shop.example.org"
    assert {httpx.get("https://shop.example.org/").text for _ in range(4)} == {"shop.example.org https"}
    with pytest.raises(httpx.ConnectError):
        httpx.get("http://127.0.0.1:9")
""",
    )
    start = f"--fungible-start={sys.executable} app.py {{port}} {suite.mark}"
    ended = suite.run(start, "--fungible-base-url=https://shop.example.org")
    assert ended.tests == {"test_host": "passed"}, ended.out
    assert "1 test judged, 0 findings" in ended.out


@pytest.mark.skipif(importlib.util.find_spec("requests") is None, reason="requests is not installed")
def test_suites_on_requests_are_scattered_too(suite: Suite) -> None:
    suite.write(
        "test_requests.py",
        """
import requests

def test_requests():
    session = requests.Session()
    answer = session.post("http://localhost:8000/sign-in", data={"user": "ada"}, allow_redirects=False)
    assert answer.url == "http://localhost:8000/sign-in"
    assert "Hello ada" in session.get("http://localhost:8000/home").text
""",
    )
    ended = suite.run(*suite.app("python_session", mended=False))
    assert ended.tests == {"test_requests": "failure"}
    assert "B  GET /home      303 to /sign-in  <-- one instance alone answers 200" in ended.out
    ended = suite.run(*suite.app("python_session", mended=True))
    assert ended.tests == {"test_requests": "passed"}, ended.out


def test_the_target_of_a_check_file_is_taken(suite: Suite) -> None:
    suite.write("test_visit.py", VISIT)
    start = f"{BY_NAME['python_session'].command} {suite.mark}".replace("\\", "\\\\").replace('"', '\\"')
    (suite.folder / "deploy").mkdir()
    suite.write(
        "deploy/check.toml",
        f'[target]\nstart = "{start}"\nshared = ["../shared"]\ninstances = 2\n'
        f'host = "shop.example.org"\nenv = {{ SHARED_DIR = "{suite.shared}" }}\n',
    )
    ended = suite.run("--fungible-file=deploy/check.toml", "--fungible-env=MENDED=1", "-k", "test_sync")
    assert ended.tests == {"test_sync": "passed"}, ended.out
    assert "2 instances took turns" in ended.out


def test_instances_that_run_already_are_asked_as_they_are(suite: Suite) -> None:
    from apps.plain_runner import launched

    suite.write("test_visit.py", VISIT)
    with contextlib.ExitStack() as stack:
        urls: list[str] = []
        for number in range(2):
            command = BY_NAME["python_session"].command
            instance = stack.enter_context(
                launched(command, suite.folder / str(number), {"SHARED_DIR": str(suite.shared)})
            )
            instance.wait_until_listening()
            urls.append(f"--fungible-at={instance.url}")
        ended = suite.run(*urls, "-k", "test_sync")
    assert ended.tests == {"test_sync": "failure"}
    assert "2 instances took turns" in ended.out


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_an_application_that_does_not_start_ends_the_session_with_one_message(
    suite: Suite, workers: tuple[str, ...]
) -> None:
    if workers and importlib.util.find_spec("xdist") is None:
        pytest.skip("pytest-xdist is not installed")
    suite.write("test_visit.py", VISIT)
    command = f"{sys.executable} -c \"raise SystemExit('no database')\" {{port}} {suite.mark}"
    ended = suite.run(f"--fungible-start={command}", *workers)
    assert ended.status == pytest.ExitCode.USAGE_ERROR
    assert "before the instance was ready" in ended.out
    assert ended.out.count("The end of its log:\nno database") == 1
    assert "Traceback" not in ended.out
    assert "INTERNALERROR" not in ended.out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--fungible-at=http://127.0.0.1:9"], "names one instance"),
        (["--fungible-at=http://127.0.0.1:9", "--fungible-at=http://127.0.0.1:10"], "connection refused"),
        (["--fungible-start=x", "--fungible-at=http://127.0.0.1:9"], "both a start command and"),
        (["--fungible-start=x", "--fungible-instances=1"], "takes 2 or more"),
        (["--fungible-start=x", "--fungible-env=MENDED"], "NAME=value"),
        (["--fungible-start=x", "--fungible-base-url=localhost:8000"], "should look like http://localhost:8000"),
        (["--fungible-start=x", "--fungible-shared=nowhere"], "the shared path"),
        (["--fungible-file=nowhere.toml"], "can't be read"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_options_that_make_no_sense_are_refused(suite: Suite, options: list[str], says: str) -> None:
    suite.write("test_visit.py", VISIT)
    ended = suite.run(*options)
    assert ended.status == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: fungible: " in ended.out
    assert says in ended.out
    assert "Traceback" not in ended.out


def test_nothing_is_left_after_the_first_failure_ends_the_session(suite: Suite) -> None:
    suite.write("test_visit.py", VISIT)
    ended = suite.run(*suite.app("python_session", mended=False), "-x")
    assert ended.status == 1
    assert ended.tests == {"test_sync": "failure"}


def test_nothing_is_left_after_an_interrupt(suite: Suite) -> None:
    suite.write(
        "test_slow.py",
        """
import time
from pathlib import Path

def test_slow(fungible_client):
    fungible_client.get("/")
    Path("reached").touch()
    time.sleep(120)
""",
    )
    with subprocess.Popen(
        suite.command(*suite.app("python_session", mended=False)),
        cwd=suite.folder,
        env=suite.env,
        preexec_fn=heeds_signals,
    ) as run:
        try:
            end = time.monotonic() + PATIENCE_S
            while not (suite.folder / "reached").exists():
                assert time.monotonic() < end
                assert run.poll() is None
                time.sleep(0.1)
            run.send_signal(signal.SIGINT)
            assert run.wait(PATIENCE_S) == pytest.ExitCode.INTERRUPTED
        finally:
            run.kill()
    assert suite.left() == []


INERT = """
import sys

def test_nothing_of_it_is_there(request):
    assert request.config.pluginmanager.has_plugin("fungible")
    assert not request.config.pluginmanager.has_plugin("fungible-scatter")
    ours = {name for name in sys.modules if name.startswith("fungible.")}
    assert ours <= {"fungible.check", "fungible.check.suites", "fungible.check.suites.pytest_plugin"}

def test_base_url(fungible_base_url):
    assert fungible_base_url == "http://127.0.0.1:8000"
"""


def test_without_an_option_it_does_nothing_and_needs_nothing(suite: Suite) -> None:
    suite.write("test_inert.py", INERT)
    ended = suite.run(without=("rich", "yaml", "httpx", "requests", "msgspec", "cryptography"))
    assert ended.status == 0, ended.out
    assert ended.tests == {"test_nothing_of_it_is_there": "passed", "test_base_url": "passed"}
    assert "= fungible =" not in ended.out


def test_listing_tests_starts_nothing(suite: Suite) -> None:
    suite.write("test_visit.py", VISIT)
    ended = suite.run("--fungible-start=this-command-does-not-exist", "--collect-only", "-q")
    assert ended.status == 0, ended.out
