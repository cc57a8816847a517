"""Whatever is wrong with an application or with what was asked: a message that says so, status 2, nothing left behind."""

import contextlib
import fcntl
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest
from apps.catalogue import BY_NAME, MISBEHAVING, filled
from command_line import CommandLine

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked up in /proc")

IMPATIENT = "engine.Conditions = functools.partial(engine.Conditions, timeout_s=1)"
ASK = [{"id": "home", "path": "/"}, {"id": "ask", "path": "/ask", "expect": {"status": [200]}}]
PAGES = [{"id": "home", "path": "/"}, {"id": "again", "path": "/"}]
HTTP_SERVER = f"{sys.executable} -m http.server --bind 127.0.0.1"


@pytest.fixture
def cli(tmp_path):
    return CommandLine(tmp_path)


def misbehaving(how, cli):
    return filled("{python} {apps}/python_misbehaving.py {port} ") + f"{how} {cli.mark}"


def marked(command, cli):
    """Leaves a file with the mark wherever an instance may write."""
    touch = f"touch {cli.mark} /tmp/{cli.mark} /var/tmp/{cli.mark}"
    return ["--start", command, "--prepare", touch]


# --- applications that misbehave --------------------------------------------------------------------------------------

UNHARMED = (2, "nothing that was sent could have broken")
"""Every schedule ran, nothing was found; that the flow only reads keeps it from being a verdict."""
SAYS = {
    "exits": (2, "ended with status 1 before the instance was ready", "the setting DATABASE_URL is missing"),
    "exits-later": (2, "ended with status 1 before the instance was ready", "giving up: no connection to the database"),
    "never-listens": (2, "GET / was not answered as ready within 2 s (last: connection refused)"),
    "ignores-the-port": (2, "It listens on 127.0.0.1:", "put {port} into the start command"),
    "daemonises": (2, "made itself a daemon", "Start it in the foreground"),
    "hangs": (2, "step ask (GET /ask) was answered no answer within 1 s", "Mend the step"),
    "closes": (2, "step ask (GET /ask) was answered closed the connection without an answer"),
    "cuts": (2, "the connection closed before the body was whole"),
    "drips": (2, "the body had not ended after 1 s"),
    "many-headers": (2, "not an HTTP answer (got more than 100 headers)"),
    "not-http": (2, "not an HTTP answer (BadStatusLine)"),
    "endless": UNHARMED,
    "huge": UNHARMED,
    "charset": UNHARMED,
    "unknown-charset": UNHARMED,
    "gzip": UNHARMED,
    "json": UNHARMED,
    "content-length": UNHARMED,
    "headers": UNHARMED,
}


@pytest.mark.parametrize("how", SAYS)
def test_an_application_that_misbehaves_is_named_or_judged_and_nothing_stays(how, cli):
    status, *words = SAYS[how]
    # What never gets ready has two seconds for it; the others take what they need on a busy machine.
    patience = 2 if how in {"never-listens", "ignores-the-port"} else 60
    before = "" if how in {"endless", "huge"} else IMPATIENT
    ended = cli.run(
        *marked(misbehaving(how, cli), cli),
        *("--file", cli.flow(ASK), "--directory", cli.app),
        *("--schedules", "scatter,crash,drain", "--ready-timeout", patience),
        before=before,
    )
    assert ended.status == status, ended.said
    for word in words:
        assert word in ended.said
    if how != "exits":  # whose own log ends with one
        assert "Traceback" not in ended.said


def test_every_application_that_misbehaves_is_tried():
    assert {it.how for it in MISBEHAVING} == set(SAYS)


# --- starting ---------------------------------------------------------------------------------------------------------


def test_a_start_command_that_does_not_exist(cli):
    ended = cli.run("--start", "no-such-server --port {port}")
    assert ended.status == 2
    assert "no-such-server" in ended.said
    assert "not found" in ended.said
    assert "ended with status 127" in ended.said


def test_a_start_command_without_port_that_listens_elsewhere(cli):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ended = cli.run(
        "--start", f"{HTTP_SERVER} --directory {cli.app} {port}", "--ready-timeout", 4, "--directory", cli.app
    )
    assert ended.status == 2
    assert "put {port} into the start command" in ended.said


def test_a_start_command_whose_port_is_taken(cli):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = cli.run("--start", f"{HTTP_SERVER} {taken.getsockname()[1]}")
    assert ended.status == 2
    assert "Address already in use" in ended.said
    assert "Each instance needs a port of its own: put {port} into the start command" in ended.said


ANSWERS_500 = """
import http.server, sys
class Always(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(500)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Always).serve_forever()
"""


def test_an_instance_is_ready_when_it_answers_404_but_not_when_it_answers_500(cli):
    start = BY_NAME["python_session"].command
    flow = ["--file", cli.flow(PAGES), "--schedules", "scatter", "--env", "MENDED=1"]
    ended = cli.run("--start", start, "--ready", "/nowhere", *flow)
    assert "nothing that was sent could have broken" in ended.said
    failing = cli.write("failing.py", ANSWERS_500)
    ended = cli.run("--start", f"{sys.executable} {failing} {{port}}", "--ready-timeout", 1, *flow)
    assert ended.status == 2
    assert "(last: status 500)" in ended.said
    assert "Name the path and status that tell that it is ready with --ready" in ended.said


def test_a_prepare_command_that_fails_or_hangs(cli):
    start = ["--start", BY_NAME["python_session"].command]
    ended = cli.run(*start, "--prepare", "echo no such table; exit 3")
    assert ended.status == 2
    assert "the prepare command 'echo no such table; exit 3' ended with status 3: no such table" in ended.said
    hangs = f"sleep 100 && echo {cli.mark}"
    ended = cli.run(*start, "--prepare", hangs, before="instances.PREPARE_SECONDS = 1.0")
    assert ended.status == 2
    assert f"the prepare command '{hangs}' had not ended after 1 s" in ended.said


def test_a_setup_command_that_fails_hangs_or_leaves_a_server_running(cli):
    start = ["--start", BY_NAME["python_session"].command, "--schedules", "scatter"]
    ended = cli.run(*start, "--setup", "echo no such database >&2; exit 4")
    assert ended.status == 2
    assert "the setup command 'echo no such database >&2; exit 4' ended with status 4: no such database" in ended.said
    hangs = f"sleep 100 && echo {cli.mark}"
    ended = cli.run(*start, "--setup", hangs, before="instances.SETUP_SECONDS = 1.0")
    assert ended.status == 2
    assert f"the setup command '{hangs}' had not ended after 1 s" in ended.said
    # It would hold the pipe open through which its output is read, were there one.
    flow = cli.flow(PAGES)
    ended = cli.run(*start, "--setup", "env -u FUNGIBLE_TEST_MARK sleep 20 &", "--file", flow, "--env", "MENDED=1")
    assert "nothing that was sent could have broken" in ended.said


def test_paths_that_do_not_exist(cli):
    start = ["--start", BY_NAME["python_session"].command]
    ended = cli.run(*start, "--shared", "no-such-volume")
    assert ended.status == 2
    assert "no-such-volume' does not exist" in ended.said
    assert "create it, or correct `shared`" in ended.said
    ended = cli.run(*start, "--directory", "no-such-folder")
    assert ended.status == 2
    assert "no-such-folder does not exist" in ended.said


# --- what is sent -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("check.toml", "[target]\nstrat = 'x'\n", "unknown key 'strat' in target: did you mean 'start'?"),
        ("check.toml", "[target\n", "not TOML"),
        ("check.txt", "", "a check file ends in .toml, .yaml, .yml or .json"),
        ("check.json", '{"flows": [{"name": "a", "steps": []}]}', "has no step"),
    ],
)
def test_a_check_file_that_is_wrong(name, content, words, cli):
    ended = cli.run("--file", cli.write(name, content))
    assert ended.status == 2
    assert words in ended.said
    assert name in ended.said


def test_a_check_file_that_is_not_there(cli):
    ended = cli.run("--file", "nowhere.toml")
    assert (ended.status, ended.said) == (
        2,
        "fungible check: nowhere.toml can't be read: No such file or directory",
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"log": {"entries": [', "not JSON"),
        ("<html>", "not JSON"),
        ("[]", "there is no list `log.entries`"),
        ('{"log": {"entries": []}}', "request"),
        ("\0" * 100, "not JSON"),
        ("", "not JSON"),
    ],
)
def test_a_recording_that_is_wrong(content, words, cli):
    path = cli.write("flow.har", content)
    ended = cli.run("--start", BY_NAME["python_session"].command, "--har", path)
    assert ended.status == 2
    assert words in ended.said
    assert "flow.har" in ended.said


def test_a_recording_that_is_too_large_is_not_even_read(cli):
    path = cli.folder / "flow.har"
    with path.open("wb") as file:
        file.truncate(100 * 2**20)
    ended = cli.run("--start", BY_NAME["python_session"].command, "--har", path)
    assert ended.status == 2
    assert "100 MiB, more than the 64 MiB that are read; record a shorter flow" in ended.said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"openapi": "3.1.0", "paths": ', "not JSON"),
        ("openapi: 3.1.0\npaths: [", "not YAML"),
        ('{"openapi": "3.1.0", "paths": {}}', "has no `paths`"),
        ('{"paths": {"/": {}}}', "no key `openapi` or `swagger`"),
        ("", "not an API description"),
    ],
)
def test_an_api_description_that_is_wrong(content, words, cli):
    ended = cli.run("--start", BY_NAME["python_rest"].command, "--openapi", cli.write("api.yaml", content))
    assert ended.status == 2
    assert words in ended.said
    assert "api.yaml" in ended.said


TASKS = {
    "/tasks": {
        "post": {
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Task"}}},
            },
            "responses": {
                "201": {
                    "description": "",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Task"}}},
                }
            },
        }
    },
    "/tasks/{id}": {
        "get": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
            "responses": {"200": {"description": ""}},
        }
    },
}


@pytest.mark.parametrize("what", ["nested", "endless"])
def test_an_api_description_whose_references_go_round_in_a_circle(what, cli):
    parent = {"$ref": "#/components/schemas/Task"}
    nested = {
        "type": "object",
        "required": ["title"],
        "properties": {"title": {"type": "string"}, "parent": parent},
    }
    schemas = {"nested": {"Task": nested}, "endless": {"Task": {"$ref": "#/components/schemas/Task"}}}[what]
    document = {
        "openapi": "3.1.0",
        "info": {"title": "", "version": ""},
        "paths": TASKS,
        "components": {"schemas": schemas},
    }
    ended = cli.run(
        *("--start", BY_NAME["python_rest"].command, "--env", f"SHARED_DIR={cli.temporary}"),
        *("--openapi", cli.write("api.json", document), "--schedules", "scatter,crash"),
    )
    assert "Traceback" not in ended.err  # the report shows the end of the application's log, which may well have one
    if what == "nested":
        assert ended.status == 1
        assert "in-process-data" in ended.said
    else:
        assert ended.status in {0, 2}, ended.said


# --- the command line -------------------------------------------------------------------------------------------------


def test_nothing_to_start(cli):
    ended = cli.run()
    assert ended.status == 2
    assert "give --start" in ended.said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--schedules", "scatter,wobble"], "unknown schedule 'wobble'; there are scatter, crash, warm"),
        (["--schedules", ","], "no schedule is named"),
        (["--output", "nowhere/report.json"], "the folder of nowhere/report.json does not exist"),
        (["--html", "nowhere/report.html"], "the folder of nowhere/report.html does not exist"),
        (["--write-flow", "/tmp"], "/tmp is a folder; name a file"),
        (["--instances", "1"], "1 instance can't be compared with itself: --instances is 2 or more"),
        (["--instances", "many"], "invalid int value: 'many'"),
        (["--at", "http://127.0.0.1:1"], "both a start command and --at were given"),
        (["--env", "NAME"], "it should look like NAME=value"),
        (["--sign-in", "ada"], "--sign-in should look like user:password"),
        (["--begin", "shop"], "it should be a path of the application, such as /shop"),
        (["--flow", "other"], "no flow is named other; the check file has: none"),
        (["--ready-timeout", "-3"], "--ready-timeout"),
        (["--isolation", "9"], "invalid choice"),
        (["--no-such-option"], "unrecognized arguments: --no-such-option"),
    ],
)
def test_arguments_that_make_no_sense(arguments, words, cli):
    ended = cli.run("--start", BY_NAME["python_session"].command, *arguments)
    assert ended.status == 2
    assert words in ended.said


@pytest.mark.parametrize(
    ("urls", "words"),
    [
        (["http://127.0.0.1:1"], "--at names one instance; it takes two or more"),
        (["http://127.0.0.1:1", "http://127.0.0.1:1"], "the instance at http://127.0.0.1:1 does not answer"),
        (["http://app.invalid", "http://app.invalid"], "the instance at http://app.invalid:80 does not answer"),
        (["ftp://a", "b"], "'ftp://a' is no URL of an instance: it should look like http://web-1:8000"),
        (["http://a:99999", "http://b"], "'http://a:99999' is no URL of an instance"),
    ],
)
def test_running_instances_that_can_not_be_asked(urls, words, cli):
    flow = cli.flow([{"id": "home", "path": "/"}])
    ended = cli.run("--file", flow, *(part for url in urls for part in ("--at", url)))
    assert ended.status == 2
    assert words in ended.said


def test_a_fault_of_the_checker_itself_is_told_in_two_lines(cli):
    start = ["--start", BY_NAME["python_session"].command, "--file", cli.flow([{"id": "home", "path": "/"}])]
    broken = "engine.establish = lambda subject: [][1]"
    ended = cli.run(*start, before=broken)
    assert ended.status == 2
    *_, fault, asked = ended.err.splitlines()
    assert fault == "fungible: internal error: IndexError: list index out of range"
    assert "Please report it" in asked
    assert "Traceback" not in ended.err
    process = cli.begin(*start, before=f'os.environ["FUNGIBLE_DEBUG"] = "1"; {broken}')
    _, err = process.communicate(timeout=100)
    assert process.returncode == 2
    assert "Traceback" in err


# --- stopped in the middle --------------------------------------------------------------------------------------------


def begun(cli, how, **more):
    """A check that would go on for long, in the middle."""
    process = cli.begin(
        *marked(misbehaving(how, cli), cli),
        *("--file", cli.flow(ASK), "--directory", cli.app),
        **more,
    )
    cli.wait_for("python_misbehaving.py", besides=process.pid)
    return process


def is_stopped(process, out, err):
    """It ended early, said so, and reported what it knew."""
    assert process.returncode == 130, out + err
    assert err.endswith("fungible: stopped; the report has what was found until then\n")
    assert "NOT JUDGED  the check was stopped before all was run" in out


@pytest.mark.parametrize("how", ["hangs", "never-listens"])
def test_nothing_lives_on_when_the_checker_is_killed(how, cli):
    process = begun(cli, how)
    process.kill()
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGKILL
    cli.until(lambda: not cli.processes(), "processes are left", 5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
@pytest.mark.parametrize("how", ["hangs", "never-listens"])
def test_a_checker_that_is_stopped_ends_what_it_started(number, how, cli):
    process = begun(cli, how)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    is_stopped(process, out, err)
    cli.is_clean()


def test_a_checker_under_nohup_goes_on_when_the_terminal_has_gone(cli):
    process = begun(cli, "never-listens", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=1)
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 130
    cli.is_clean()


UNNOTICED = """
import signal, threading
import fungible.check.instances.starter as starter

def elsewhere():
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

def send(instance, request, whole=starter.Instance.send, **how):
    if request.target == "/ask":
        threading.Timer(0.5, elsewhere).start()
    return whole(instance, request, **how)

starter.Instance.send = send
"""


def test_a_checker_is_stopped_by_a_signal_that_breaks_off_no_wait(cli):
    # As one that comes just before a wait for an answer begins; other threads get it here, so that it always does.
    process = cli.begin("--start", misbehaving("hangs", cli), "--file", cli.flow(ASK), before=UNNOTICED)
    out, err = process.communicate(timeout=20)
    is_stopped(process, out, err)
    cli.is_clean()


SLOW_SIDE_BY_SIDE = """
import fungible.check.runs.subject as subject

def compare(*given, whole=subject.Subject.compare):
    open("slow", "w").close()
    return whole(*given)

subject.Subject.compare = compare
"""


def test_a_checker_that_is_stopped_does_not_wait_for_runs_side_by_side(cli):
    reset = "test ! -e slow || sleep 100"
    app = BY_NAME["python_session"]
    process = cli.begin(
        *("--start", app.command, "--env", f"SHARED_DIR={cli.app}", "--file", cli.flow(app.steps)),
        *("--reset", reset, "--directory", cli.app),
        before=SLOW_SIDE_BY_SIDE,
    )
    cli.until(lambda: any(line.startswith("sleep") for line in cli.processes().values()), "no reset is slow")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    is_stopped(process, out, err)
    cli.is_clean()


@pytest.mark.parametrize("where", ["--setup", "--prepare"])
def test_a_checker_that_is_stopped_ends_commands_under_way(where, cli):
    command = f"sleep 100 && echo {cli.mark}"
    process = cli.begin("--start", BY_NAME["python_session"].command, where, command)
    cli.wait_for("sleep 100", besides=process.pid)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    is_stopped(process, out, err)
    cli.is_clean()


def test_a_terminal_is_as_before_when_a_check_was_stopped(cli):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(theirs)
    shown = bytearray()

    def read():
        with contextlib.suppress(OSError):
            while part := os.read(ours, 65536):
                shown.extend(part)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    env = {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
    with contextlib.ExitStack() as after:
        after.callback(os.close, ours)
        patched = pytest.MonkeyPatch()
        after.callback(patched.undo)
        for name, value in env.items():
            patched.setenv(name, value)
        process = begun(cli, "hangs", stdin=theirs, stdout=theirs, stderr=theirs)
        end = time.monotonic() + 30
        while b"\x1b[?25l" not in shown:
            assert time.monotonic() < end, bytes(shown)
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert termios.tcgetattr(theirs) == before
        os.close(theirs)
        reader.join(10)
    text = shown.decode("utf-8", "replace")
    assert "Traceback" not in text
    assert "fungible: stopped" in text
    assert re.findall(r"\x1b\[\?25[lh]", text)[-1] == "\x1b[?25h"
    cli.is_clean()
