"""Disks of instances, with real processes; most rules are held at both levels of isolation."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fungible.check.errors import CheckError, StartError
from fungible.check.isolation.disks import HUNG, Disk, Isolation, Launchers, Layout, Process, probe
from fungible.check.stopping import Endings

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked up in /proc")

ROOT = Path(__file__).resolve().parents[2]
PYTHON = f"'{sys.executable}' -I -S"
PATIENCE_S = 20.0
NOBODY = 65534


def missing(what: str) -> None:
    """Skips a test for want of something, unless all must run."""
    if os.environ.get("FUNGIBLE_REQUIRE") == "all":
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is missing")


def until(condition: Callable[[], object]) -> None:
    """Waits for something that is to happen."""
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.005)


def running_with(marker: str) -> list[int]:
    """The processes of this machine that have a marker in their command line."""
    found: list[int] = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            if marker.encode() in Path(f"/proc/{process}/cmdline").read_bytes():
                found.append(int(process))
        except OSError:
            continue
    return found


@pytest.fixture
def marker() -> str:
    return f"mark-{uuid.uuid4().hex}"


@pytest.fixture
def working(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "data.txt").write_text("original")
    return folder


@pytest.fixture(scope="module")
def launchers() -> Iterator[Launchers]:
    with closing(Launchers()) as launchers:
        yield launchers


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory, launchers: Launchers) -> Isolation:
    return probe(Layout(tmp_path_factory.mktemp("probed")), launchers, Endings())


@pytest.fixture(params=[1, 0], ids=["in-place", "copy"])
def isolation(request: pytest.FixtureRequest, probed: Isolation) -> Isolation:
    if request.param == 0:
        return Isolation(0, "", common_randomness=probed.common_randomness)
    if probed.level == 0:
        missing(f"isolation in place ({probed.why})")
    return probed


@pytest.fixture
def in_place(probed: Isolation) -> Isolation:
    if probed.level == 0:
        missing(f"isolation in place ({probed.why})")
    return probed


MakeDisk = Callable[..., Disk]


@pytest.fixture
def make_disk(tmp_path: Path, launchers: Launchers) -> Iterator[MakeDisk]:
    """Makes disks that are closed after the test."""
    made: list[Disk] = []

    def make(layout: Layout, isolation: Isolation, shared_at: dict[Path, Path] | None = None) -> Disk:
        disk = Disk(layout, isolation, tmp_path / "base" / f"{len(made)}", launchers, shared_at=shared_at)
        made.append(disk)
        return disk

    yield make
    for disk in made:
        disk.close()


def run(disk: Disk, command: str) -> str:
    """Runs a command that must succeed; gives what it printed."""
    status, output = disk.run(command, disk.environment({}, 0), timeout_s=PATIENCE_S)
    assert status == 0, output
    return output


def start(disk: Disk, command: str, log: Path, *, common_randomness: bool = False) -> Process:
    """Starts a program, as an instance would be."""
    return disk.start(command, disk.environment({}, 0), log, common_randomness=common_randomness)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_what_one_instance_writes_neither_another_nor_the_host_sees(
    working: Path, isolation: Isolation, make_disk: MakeDisk, marker: str
) -> None:
    one, other = (make_disk(Layout(working), isolation) for _ in range(2))
    run(one, f'echo changed > data.txt; echo new > new.txt; echo h > "$HOME/{marker}-h"; echo t > "$TMPDIR/{marker}-t"')
    seen = run(one, f'cat data.txt new.txt "$HOME/{marker}-h" "$TMPDIR/{marker}-t"').split()
    assert seen == ["changed", "new", "h", "t"]
    assert run(other, "cat data.txt; ls") == "originaldata.txt\n"
    assert run(other, f'ls -A "$HOME" "$TMPDIR" | grep {marker} || true') == ""
    assert (working / "data.txt").read_text() == "original"
    assert [path.name for path in working.iterdir()] == ["data.txt"]
    assert not (Path.home() / f"{marker}-h").exists()
    assert not Path(f"/tmp/{marker}-t").exists()


def test_the_working_directory_is_seen_in_place_at_level_1_only(
    working: Path, isolation: Isolation, make_disk: MakeDisk
) -> None:
    disk = make_disk(Layout(working), isolation)
    assert (disk.directory == working) == (isolation.level == 1)
    assert run(disk, "pwd").strip() == str(disk.directory)


@pytest.mark.parametrize("place", ["/dev/shm", "/tmp", "/var/tmp", "HOME"])
def test_a_working_directory_anywhere_is_private(
    place: str, in_place: Isolation, make_disk: MakeDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if place == "HOME" else place) as folder:
        working = Path(folder) / "below" / "app"
        working.mkdir(parents=True)
        monkeypatch.setenv("HOME", folder if place == "HOME" else "/nonexistent")
        disk = make_disk(Layout(working), in_place)
        run(disk, "echo new > new.txt; mkdir -p deep/er; echo deep > deep/er/file")
        assert list(working.iterdir()) == []
        assert [(one.path, one.host.read_text()) for one in disk.written()] == [
            (working / "deep/er/file", "deep\n"),
            (working / "new.txt", "new\n"),
        ]
        disk.close()


def test_a_home_that_does_not_exist_is_replaced(
    working: Path, isolation: Isolation, make_disk: MakeDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")
    disk = make_disk(Layout(working), isolation)
    home = run(disk, 'echo x > "$HOME/file"; echo "$HOME"').strip()
    assert home != "/nonexistent"
    assert [one.path for one in disk.written()] == [Path(home) / "file"]


def test_a_private_path_is_private(working: Path, in_place: Isolation, make_disk: MakeDisk) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as private:
        disk, other = (make_disk(Layout(working, private=(Path(private),)), in_place) for _ in range(2))
        run(disk, f"echo x > {private}/file")
        assert run(other, f"ls {private}") == ""
        assert os.listdir(private) == []
        disk.close()
        other.close()


def test_a_shared_path_is_common_to_all(working: Path, isolation: Isolation, make_disk: MakeDisk) -> None:
    (working / "uploads").mkdir()
    (working / "one.db").write_text("empty")
    layout = Layout(working, shared=(working / "uploads", working / "one.db"))
    one, other = (make_disk(layout, isolation) for _ in range(2))
    run(one, "echo seen > uploads/file; echo filled > one.db")
    assert run(other, "cat uploads/file one.db").split() == ["seen", "filled"]
    assert (working / "uploads/file").read_text() == "seen\n"
    assert one.written() == []


def test_what_stands_in_for_a_shared_path_is_seen_there(
    working: Path, in_place: Isolation, make_disk: MakeDisk, tmp_path: Path
) -> None:
    (working / "uploads").mkdir()
    (working / "uploads/real").touch()
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    file.write_text("stand-in")
    paths = (working / "uploads", working / "made/folder", working / "made/one.db")
    places = dict(zip(paths, (folder, folder, file), strict=True))
    one, other = (make_disk(Layout(working, shared=paths), in_place, shared_at=places) for _ in range(2))
    run(one, "echo x > uploads/new; echo more >> made/one.db")
    assert run(other, "ls uploads made/folder; cat made/one.db") == "made/folder:\nnew\n\nuploads:\nnew\nstand-inmore\n"
    assert [path.name for path in (working / "uploads").iterdir()] == ["real"]
    assert not (working / "made").exists()
    assert one.written() == []


def test_a_shared_path_that_is_not_there_is_an_error(
    working: Path, isolation: Isolation, make_disk: MakeDisk, tmp_path: Path
) -> None:
    with pytest.raises(CheckError, match="does not exist"):
        make_disk(Layout(working, shared=(working / "uploads",)), isolation)
    with pytest.raises(CheckError, match="there is no folder"):
        make_disk(Layout(tmp_path / "nowhere"), isolation)


def test_a_store_at_a_unix_socket_is_reached(
    working: Path, isolation: Isolation, make_disk: MakeDisk, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as store, tempfile.TemporaryDirectory() as folder:
        store.bind(f"{folder}/store")
        store.listen()
        disk = make_disk(Layout(working), isolation)
        connect = f"import socket; socket.socket(socket.AF_UNIX).connect('{folder}/store')"
        run(disk, f'{PYTHON} -c "{connect}"')


def test_what_was_written_is_told_since_the_last_mark(working: Path, isolation: Isolation, make_disk: MakeDisk) -> None:
    disk = make_disk(Layout(working), isolation)
    assert disk.written() == []
    run(
        disk,
        "echo early > early.txt; echo early > both.txt; mkfifo pipe; mkdir __pycache__; echo x > __pycache__/x.pyc",
    )
    assert [one.path.name for one in disk.written()] == ["both.txt", "early.txt"]
    disk.mark()
    assert disk.written() == []
    run(disk, "echo late >> both.txt; echo late > late.txt; rm early.txt data.txt; ln -s both.txt link")
    written = disk.written()
    assert [(one.path, one.size) for one in written] == [
        (disk.directory / "both.txt", 11),
        (disk.directory / "late.txt", 5),
    ]
    assert [one.host.read_text() for one in written] == ["early\nlate\n", "late\n"]
    assert (working / "data.txt").exists()


def test_closing_kills_and_wipes(
    working: Path, isolation: Isolation, make_disk: MakeDisk, tmp_path: Path, log: Path, marker: str
) -> None:
    disk = make_disk(Layout(working), isolation)
    process = start(disk, f"mkdir -m 0 locked; echo x > new.txt; sleep 1000; echo {marker}", log)
    until(disk.written)
    hosts = [one.host for one in disk.written()]
    disk.close()
    assert running_with(marker) == []
    assert not process.alive()
    assert process.exit_status == -signal.SIGKILL
    assert not any(host.exists() for host in hosts)
    assert list((tmp_path / "base").iterdir()) == []
    disk.close()
    with pytest.raises(StartError, match="wiped"):
        start(disk, "true", log)


def test_processes_on_one_disk_see_the_same_files(
    working: Path, isolation: Isolation, make_disk: MakeDisk, log: Path
) -> None:
    disk = make_disk(Layout(working), isolation)
    first = start(disk, "echo hello > from-first; sleep 1000", log)
    second = start(disk, "until test -s from-first; do sleep 0.01; done; cat from-first; sleep 1000", log)
    until(second.log_tail)
    assert second.log_tail() == "hello"
    first.kill()
    assert not first.alive()
    assert second.alive()


DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in (0, 1, 2):
            os.close(fd)
        open("ready", "w").close()
        time.sleep(1000)
    os._exit(0)
time.sleep(1000)
"""


def test_killing_reaches_daemons(
    working: Path, isolation: Isolation, make_disk: MakeDisk, log: Path, marker: str
) -> None:
    disk = make_disk(Layout(working), isolation)
    (working / "daemon.py").write_text(DAEMON)
    if isolation.level == 0:
        shutil.copy(working / "daemon.py", disk.directory)
    bystander = start(disk, "sleep 1000", log)
    process = start(disk, f"{PYTHON} daemon.py {marker}", log)
    until(lambda: any(one.path.name == "ready" for one in disk.written()) and len(running_with(marker)) == 2)
    assert sorted(process.members()) == sorted(running_with(marker))
    assert process.pid in process.members()
    process.kill()
    assert running_with(marker) == []
    assert process.members() == []
    assert process.exit_status == -signal.SIGKILL
    assert bystander.alive()
    process.kill()


def test_an_exit_status_is_told(working: Path, isolation: Isolation, make_disk: MakeDisk, log: Path) -> None:
    disk = make_disk(Layout(working), isolation)
    process = start(disk, "echo one; echo two >&2; printf three; exit 7", log)
    assert process.wait(PATIENCE_S) == 7
    assert not process.alive()
    assert process.exit_status == 7
    assert process.log_tail() == "one\ntwo\nthree"
    assert process.log_tail(1) == "three"
    assert start(disk, "kill -USR1 $$; sleep 1000", log).wait(PATIENCE_S) == -signal.SIGUSR1


TERMINATED = """
import os, signal, time
def stop(number, frame):
    os.write(1, b"stopped\\n")
    os._exit(3)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("around", ["{}", "cd . && {}; exit $?"], ids=["program", "shell"])
def test_sigterm_reaches_the_server(
    around: str, working: Path, isolation: Isolation, make_disk: MakeDisk, log: Path
) -> None:
    (working / "server.py").write_text(TERMINATED)
    process = start(make_disk(Layout(working), isolation), around.format(f"{PYTHON} server.py"), log)
    until(process.log_tail)
    process.terminate()
    assert process.wait(PATIENCE_S) == 3
    assert process.log_tail() == "ready\nstopped"


def test_commands_are_run_to_their_end_or_killed(
    working: Path, isolation: Isolation, make_disk: MakeDisk, marker: str
) -> None:
    disk = make_disk(Layout(working), isolation)
    env = disk.environment({"GREETING": "hello", "PYTHONUNBUFFERED": "no"}, 8080)
    told = disk.run('echo "$GREETING $PORT $PYTHONUNBUFFERED"; echo oops >&2; exit 5', env, timeout_s=PATIENCE_S)
    assert told == (5, "hello 8080 no\noops\n")
    status, output = disk.run(f"echo begun; sleep 1000; echo {marker}", env, timeout_s=0.2)
    assert (status, output) == (HUNG, "begun\n")
    assert running_with(marker) == []
    status, output = disk.run("seq 100000", env, timeout_s=PATIENCE_S)
    assert status == 0
    assert len(output) <= 8 * 1024
    assert output.endswith("100000\n")


def test_a_helper_that_a_command_leaves_running_lives_as_long_as_the_disk(
    working: Path, isolation: Isolation, make_disk: MakeDisk, marker: str
) -> None:
    disk = make_disk(Layout(working), isolation)
    run(disk, f"sh -c 'sleep 1000; echo {marker}' > helper.log 2>&1 &")
    until(lambda: running_with(marker))
    disk.close()
    assert running_with(marker) == []


NETWORK = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", 0))
store = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
print(server.getsockname()[1], flush=True)
inbound, _ = server.accept()
print("accepted", flush=True)
time.sleep(1000)
"""


def test_sockets_are_told(working: Path, isolation: Isolation, make_disk: MakeDisk, log: Path) -> None:
    (working / "network.py").write_text(NETWORK)
    with socket.create_server(("127.0.0.1", 0)) as store:
        port = store.getsockname()[1]
        process = start(make_disk(Layout(working), isolation), f"{PYTHON} network.py {port}; exit", log)
        until(process.log_tail)
        address = ("127.0.0.1", int(process.log_tail()))
        assert process.listening() == [address]
        with socket.create_connection(address):
            until(lambda: "accepted" in process.log_tail())
            assert process.connections() == [("127.0.0.1", port)]
        process.kill()
        assert process.listening() == []
        assert process.connections() == []


DRAWS_IN_PYTHON = f"""{PYTHON} -c '
import os, random, sys, time
print(os.urandom(16).hex(), random.random(), os.urandom(16).hex(), flush=True)
while not os.path.exists("go"):
    time.sleep(0.005)
print(os.urandom(16).hex(), flush=True)
time.sleep(1000)
'"""
DRAWS_IN_NODE = """exec node -e '
const crypto = require("crypto");
const [first, second] = [crypto.randomBytes(16), crypto.randomBytes(16)];
console.log(first.toString("hex"), crypto.randomUUID(), Math.random(), second.toString("hex"));
const timer = setInterval(() => {
  if (!require("fs").existsSync("go")) return;
  clearInterval(timer);
  console.log(crypto.randomBytes(16).toString("hex"));
}, 5);
setTimeout(() => {}, 1000000);
'"""


@pytest.mark.parametrize("command", [DRAWS_IN_PYTHON, DRAWS_IN_NODE], ids=["python", "node"])
def test_common_randomness_ends_when_an_instance_has_settled(
    command: str, working: Path, isolation: Isolation, make_disk: MakeDisk, tmp_path: Path
) -> None:
    if command is DRAWS_IN_NODE and shutil.which("node") is None:
        missing("node")
    if not isolation.common_randomness:
        missing("common randomness")
    drawn: list[list[str]] = []
    for number in range(2):
        disk = make_disk(Layout(working), isolation)
        process = start(disk, command, tmp_path / f"log-{number}", common_randomness=True)
        until(process.log_tail)
        process.settled()
        run(disk, "touch go")
        until(lambda process=process: len(process.log_tail().splitlines()) == 2)
        drawn.append(process.log_tail().splitlines())
    first, second = drawn
    assert first[0] == second[0]
    assert first[1] != second[1]
    begun = first[0].split()
    assert begun[0] != begun[-1]


def test_draws_are_private_unless_asked_otherwise(working: Path, isolation: Isolation, make_disk: MakeDisk) -> None:
    disk = make_disk(Layout(working), isolation)
    draw = f"{PYTHON} -c 'import os; print(os.urandom(16).hex())'"
    assert run(disk, draw) != run(disk, draw)


def test_programs_start_with_plain_signals_and_no_input(
    working: Path, isolation: Isolation, make_disk: MakeDisk
) -> None:
    disk = make_disk(Layout(working), isolation)
    assert run(disk, "cat; yes | head -n 1") == "y\n"
    ignored = int(run(disk, "grep SigIgn /proc/self/status").split()[1], 16)
    # 32 and 33 belong to the C library, which lets nobody set them; make passes them on ignored.
    assert ignored & ~(0b11 << 31) == 0
    assert run(disk, "ls /proc/self/fd | wc -l").strip() == "4"


def test_nothing_of_ours_is_seen_in_the_working_directory(
    working: Path, isolation: Isolation, launchers: Launchers
) -> None:
    with closing(Disk(Layout(working), isolation, working / "checking" / "0", launchers)) as disk:
        assert run(disk, "find . -type f") == "./data.txt\n"
    assert not (working / "checking" / "0").exists()


def test_disks_may_be_made_and_closed_from_several_threads(
    working: Path, isolation: Isolation, launchers: Launchers, tmp_path: Path, marker: str
) -> None:
    told: list[str] = []

    def use(number: int) -> None:
        with closing(Disk(Layout(working), isolation, tmp_path / f"thread-{number}", launchers)) as disk:
            starters = [
                threading.Thread(target=start, args=(disk, f"sleep 1000; echo {marker}", tmp_path / f"log-{number}"))
                for _ in range(3)
            ]
            for starter in starters:
                starter.start()
            told.append(run(disk, f"echo {number} > mine; cat mine").strip())
            for starter in starters:
                starter.join()

    users = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert sorted(told) == ["0", "1", "2", "3"]
    assert running_with(marker) == []


def test_the_probe_says_what_it_found(working: Path, launchers: Launchers) -> None:
    found = probe(Layout(working), launchers, Endings())
    assert found.level in (0, 1)
    assert str(working) in found.why or "/tmp" in found.why
    assert [path.name for path in working.iterdir()] == ["data.txt"]


def test_all_of_this_holds_for_an_ordinary_user(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        return  # then every other test here has just shown it
    python = next((path for path in (sys.executable, "/usr/bin/python3") if may_be_run_by_nobody(path)), None)
    if python is None or shutil.which("setpriv") is None:
        missing("a Python {}.{} that ordinary users may run, or setpriv".format(*sys.version_info))
    with tempfile.TemporaryDirectory(prefix="home-") as home:
        os.chown(home, NOBODY, NOBODY)
        packages = [str(ROOT / "src"), *(path for path in sys.path if path.endswith("site-packages"))]
        done = subprocess.run(
            [
                *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
                *(str(python), "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:fungible"),
                *("-k", "not ordinary_user"),
                *(f"--basetemp={home}/tests", __file__, str(Path(__file__).with_name("test_launcher.py"))),
            ],
            env=os.environ | {"HOME": home, "PYTHONPATH": ":".join(packages), "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    assert done.returncode == 0, done.stdout + done.stderr


def may_be_run_by_nobody(python: str) -> bool:
    test = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", python]
    # Of our version: it is to import what is installed for us.
    ours = sys.version_info[:2]
    needed = f"import sys, os; sys.exit(sys.version_info[:2] != {ours} or not os.access(sys.executable, os.X_OK))"
    try:
        return subprocess.run([*test, "-c", needed], check=False, capture_output=True).returncode == 0
    except OSError:
        return False
