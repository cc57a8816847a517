"""Why something could not be judged or did not run: the application's own log, the reset commands, the schedules."""

import http.server
import json
import sys
import threading

import pytest
from apps.catalogue import BY_NAME
from command_line import CommandLine

SESSION = BY_NAME["python_session"]
# Tells what went wrong only after it has answered, as several servers do.
FAILS = """
import http.server, sys, time
class App(http.server.BaseHTTPRequestHandler):
    def log_message(self, *what):
        pass
    def answer(self):
        status = {"/fails": 500, "/away": 503}.get(self.path, 200)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
        if status > 499:
            self.wfile.flush()
            time.sleep(0.1)
            print("KeyError: 'the column colour'", file=sys.stderr, flush=True)
    do_GET = do_POST = answer
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), App).serve_forever()
"""
# Makes its table in the database while it starts, as the first of all that it does.
MAKES_TABLES = """
import os, sys, time, urllib.request
time.sleep(1)
urllib.request.urlopen(sys.argv[1] + "/create", data=b"")
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
EMPTIES = """
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(sys.argv[1] + "/truncate", data=b"")
except urllib.error.HTTPError:
    sys.exit("no such table")
"""


@pytest.fixture
def database():
    """A database as far as this matters: it has a table only once somebody has made it. `asked` tells how it answered."""

    class Database(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked = self.server.asked
            status = 404 if self.path == "/truncate" and ("/create", 200) not in asked else 200
            asked.append((self.path, status))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *what):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Database) as server:
        server.asked = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def cli(tmp_path):
    return CommandLine(tmp_path)


def fails(cli, *steps, **more):
    program = cli.write("fails.py", FAILS)
    return cli.run("--start", f"{sys.executable} {program} {{port}}", "--file", cli.flow(steps), *more.get("how", ()))


# The log


@pytest.mark.parametrize(("path", "status"), [("/fails", 500), ("/away", 503)])
def test_an_error_of_the_server_in_the_baseline_shows_the_end_of_the_log(path, status, cli):
    home = {"id": "home", "path": "/"}
    ended = fails(cli, home, {"id": "ask", "path": path, "expect": {"status": [200]}})
    assert ended.status == 2
    assert f"step ask (GET {path}) was answered {status}" in ended.said
    assert "The end of the application's log: KeyError: 'the column colour'" in ended.said


def test_a_flow_that_gets_errors_only_shows_the_log_too(cli):
    ended = fails(cli, {"id": "ask", "path": "/fails"}, {"id": "again", "path": "/away"})
    assert ended.status == 2
    assert "answers every step of the flow 'flow' with an error (ask: 500)" in ended.said
    assert "KeyError: 'the column colour'" in ended.said


def test_an_error_that_no_step_forbids_is_noted_with_the_log(cli):
    ended = fails(
        cli,
        {"id": "home", "path": "/", "method": "POST"},
        {"id": "ask", "path": "/fails"},
        how=("--schedules", "scatter", "--format", "json"),
    )
    (note,) = [note for note in ended.report["notes"] if note.startswith("ask is answered 500 by one instance alone")]
    assert "KeyError: 'the column colour'" in note


def test_a_refusal_of_the_client_shows_no_log(cli):
    ended = fails(cli, {"id": "ask", "path": "/", "expect": {"status": [401]}})
    assert ended.status == 2
    assert "log" not in ended.said.replace("--", "")


# Reset


def test_a_reset_that_needs_tables_the_application_makes_is_run_once_they_are_there(database, cli):
    url = f"http://127.0.0.1:{database.server_port}"
    python, rest = SESSION.command.split(" ", 1)
    ended = cli.run(
        *("--start", f"{python} {cli.write('makes.py', MAKES_TABLES)} {url} {rest}"),
        *("--reset", f"{python} {cli.write('empties.py', EMPTIES)} {url}"),
        *("--env", f"SHARED_DIR={cli.temporary}", "--file", cli.flow(SESSION.steps)),
        *("--schedules", "scatter", "--format", "json"),
    )
    assert ended.status == 1, ended.said
    assert [found["kind"] for found in ended.report["findings"]] == ["session"]
    emptied = [status for path, status in database.asked if path == "/truncate"]
    assert emptied[0] == 404
    assert set(emptied[1:]) == {200}


def test_a_reset_that_fails_beside_a_running_instance_too_says_so(cli):
    ended = cli.run(
        "--start", SESSION.command, "--reset", "echo no such table; exit 3", "--file", cli.flow(SESSION.steps)
    )
    assert ended.status == 2
    assert "the reset command 'echo no such table; exit 3' ended with status 3: no such table" in ended.said
    assert "It fails beside a running instance as well" in ended.said


def test_a_reset_that_has_worked_and_fails_later_is_told_at_once(cli):
    once = "test ! -e done && touch done"
    ended = cli.run(
        "--start", SESSION.command, "--reset", once, "--directory", cli.app, "--file", cli.flow(SESSION.steps)
    )
    assert ended.status == 2
    assert f"the reset command '{once}' ended with status 1" in ended.said
    assert "beside a running instance" not in ended.said


# Schedules and questions


def notes_of(report):
    return {run["name"]: run["note"] for run in report["schedules"] if not run["runs"]}


def test_every_schedule_that_did_not_run_has_its_reason_in_the_report(cli):
    reads = [{"id": "home", "path": "/"}, {"id": "again", "path": "/"}]
    how = ["--start", SESSION.command, "--env", "MENDED=1", "--file", cli.flow(reads)]
    report = cli.run(*how, "--schedules", "scatter,repeat,race", "--format", "json").report
    assert [run["name"] for run in report["schedules"]] == ["scatter", "crash", "warm", "repeat", "race", "drain"]
    reads_only = "no flow has a request that changes something"
    assert notes_of(report) == {
        "crash": "not asked for",
        "warm": "not asked for",
        "drain": "not asked for",
        "repeat": reads_only,
        "race": reads_only,
    }
    assert f"the schedule race was not run: {reads_only}" in report["not_exercised"]
    text = cli.run(*how, "--schedules", "scatter,race").said
    assert (
        f"Schedules not run – crash: not asked for – warm: not asked for – repeat: not asked for – race: {reads_only}"
        in text
    )


def test_a_flow_that_could_not_be_judged_leaves_every_schedule_with_a_reason_and_no_question(cli):
    flow = cli.flow([{"id": "home", "path": "/", "expect": {"status": [418]}}])
    report = cli.run("--start", SESSION.command, "--file", flow, "--format", "json").report
    assert report["verdict"] == "unjudged"
    assert set(notes_of(report).values()) == {"no flow passed on one instance"}
    assert len(notes_of(report)) == 6
    assert report["questions"] == []
    assert not [row for row in report["not_exercised"] if "no sign-in" in row or "negative step" in row]


def test_an_instance_that_does_not_start_leaves_no_question_and_every_schedule_with_a_reason(cli):
    report = json.loads(cli.run("--start", "no-such-server {port}", "--format", "json").out)
    assert report["questions"] == []
    assert set(notes_of(report).values()) == {"the check did not come to it"}
