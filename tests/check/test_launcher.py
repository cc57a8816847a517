"""Whoever is killed, nothing is left: the checker, the launcher, the first process in its PID namespace."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fungible.check.errors import StartError
from fungible.check.isolation.disks import Disk, Isolation, Launchers, Layout, Process, probe
from fungible.check.stopping import Endings

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked up in /proc")

ROOT = Path(__file__).resolve().parents[2]
LEFT_AT_MOST_S = 5.0
PATIENCE_S = 20.0

CHECKER = """
import sys, time
from pathlib import Path
from fungible.check.isolation.disks import Disk, Isolation, Launchers, Layout

base, marker, level, pid_namespace = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), bool(int(sys.argv[4]))
launchers = Launchers()
disks = [
    Disk(Layout(base / "app"), Isolation(level, "", False, pid_namespace), base / f"disk-{number}", launchers)
    for number in range(2)
]
for disk in disks:
    # A daemon, in a session of its own, beside the main process.
    command = f"setsid sh -c 'echo x > written; sleep 1000; echo {marker}' & sleep 1000; echo {marker}"
    disk.start(command, disk.environment({}, 0), base / "log")
while sum(len(disk.written()) for disk in disks) < 2:
    time.sleep(0.01)
print("ready", flush=True)
sys.stdin.read()
for disk in disks:
    disk.close()
launchers.close()
"""

VARIANTS = {"pid-namespace": (1, True), "mounts-only": (1, False), "copy": (0, False)}


def processes_with(marker: str) -> list[int]:
    """The processes of this machine that have a marker in their command line."""
    found: list[int] = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            if marker.encode() in Path(f"/proc/{process}/cmdline").read_bytes():
                found.append(int(process))
        except OSError:
            continue
    return found


def is_soon(condition: Callable[[], object], *, within_s: float) -> bool:
    give_up = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.01)
    return True


def children_of(process: int) -> list[int]:
    listed = Path(f"/proc/{process}/task/{process}/children")
    return [int(child) for child in listed.read_text().split()]


@pytest.fixture(scope="module")
def launchers() -> Iterator[Launchers]:
    with closing(Launchers()) as launchers:
        yield launchers


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, launchers: Launchers) -> Isolation:
    return probe(Layout(tmp_path_factory.mktemp("probed")), launchers, Endings())


@pytest.fixture(params=VARIANTS, ids=list(VARIANTS))
def isolation(request: pytest.FixtureRequest, found: Isolation) -> Isolation:
    level, pid_namespace = VARIANTS[request.param]
    if (level, pid_namespace) > (found.level, found.pid_namespace):
        if os.environ.get("FUNGIBLE_REQUIRE") == "all":
            pytest.fail(f"namespaces are missing: {found.why}")
        pytest.skip(f"namespaces are missing: {found.why}")
    return Isolation(level, "", common_randomness=False, pid_namespace=pid_namespace)


@pytest.fixture
def marker() -> str:
    return f"mark-{uuid.uuid4().hex}"


@pytest.fixture
def checker(tmp_path: Path, isolation: Isolation, marker: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process with two disks, an instance on each."""
    (tmp_path / "app").mkdir()
    arguments = [str(tmp_path), marker, str(isolation.level), str(int(isolation.pid_namespace))]
    with subprocess.Popen(
        [sys.executable, "-c", CHECKER, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
        # Unless it was killed, it now deletes what its launchers could not.


def program_of(checker: int) -> int:
    """The one process that a checker has started: launchers are its copies."""
    (program,) = children_of(checker)
    assert "launcher.py" in command_of(program)
    return program


def test_nothing_is_left_when_the_checker_is_killed(
    checker: subprocess.Popen[bytes], tmp_path: Path, marker: str
) -> None:
    program = program_of(checker.pid)
    launchers = children_of(program)
    assert len(launchers) == 2
    assert len(processes_with(marker)) >= 5
    checker.send_signal(signal.SIGKILL)
    assert is_soon(lambda: processes_with(marker) == [], within_s=LEFT_AT_MOST_S)
    assert is_soon(lambda: not any(map(is_running, [program, *launchers])), within_s=LEFT_AT_MOST_S)
    assert [path for path in tmp_path.glob("disk-*/disk/*") if path.is_dir()] == []


def test_nothing_is_left_when_a_launcher_is_killed(checker: subprocess.Popen[bytes], marker: str) -> None:
    for child in children_of(program_of(checker.pid)):
        os.kill(child, signal.SIGKILL)
    assert is_soon(lambda: processes_with(marker) == [checker.pid], within_s=LEFT_AT_MOST_S)


def test_nothing_is_left_when_the_program_and_then_the_checker_is_killed(
    checker: subprocess.Popen[bytes], marker: str
) -> None:
    program = program_of(checker.pid)
    launchers = children_of(program)
    os.kill(program, signal.SIGKILL)
    assert is_soon(lambda: not is_running(program), within_s=LEFT_AT_MOST_S)
    assert len(processes_with(marker)) >= 5  # what runs goes on
    checker.send_signal(signal.SIGKILL)
    assert is_soon(lambda: processes_with(marker) == [], within_s=LEFT_AT_MOST_S)
    assert is_soon(lambda: not any(map(is_running, launchers)), within_s=LEFT_AT_MOST_S)


def test_no_process_is_left_once_all_is_closed(checker: subprocess.Popen[bytes], marker: str) -> None:
    program = program_of(checker.pid)
    launchers = children_of(program)
    checker.communicate(b"", timeout=PATIENCE_S)
    assert checker.returncode == 0
    assert processes_with(marker) == []
    assert not any(map(is_running, [program, *launchers]))


def command_of(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text()


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def started(disk: Disk, command: str, folder: Path) -> Process:
    return disk.start(command, disk.environment({}, 0), folder / "log")


def program_here() -> int:
    """The program that launchers of this process are copies of."""
    (program,) = [child for child in children_of(os.getpid()) if "launcher.py" in command_of(child)]
    return program


def test_a_disk_without_its_launcher_says_so_and_can_be_closed(
    isolation: Isolation, launchers: Launchers, tmp_path: Path
) -> None:
    (tmp_path / "app").mkdir()
    with closing(Disk(Layout(tmp_path / "app"), isolation, tmp_path / "disk", launchers)) as disk:
        process = started(disk, "echo x > new; sleep 1000", tmp_path)
        (launcher,) = children_of(program_here())
        os.kill(launcher, signal.SIGKILL)
        assert process.wait(PATIENCE_S) == -signal.SIGKILL
        assert not process.alive()
        with pytest.raises(StartError, match="could not be started"):
            started(disk, "true", tmp_path)
    assert not (tmp_path / "disk").exists()


def test_a_program_that_is_killed_is_started_anew(isolation: Isolation, launchers: Launchers, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()

    def disk(name: str) -> closing[Disk]:
        return closing(Disk(Layout(tmp_path / "app"), isolation, tmp_path / name, launchers))

    with disk("first") as first:
        before = program_here()
        os.kill(before, signal.SIGKILL)
        assert is_soon(lambda: not is_running(before), within_s=PATIENCE_S)
        with disk("second") as second:
            assert program_here() != before
            for one in (first, second):
                assert one.run("echo works", one.environment({}, 0), timeout_s=PATIENCE_S) == (0, "works\n")
    assert [path.name for path in tmp_path.iterdir()] == ["app"]


def test_a_launcher_that_hangs_is_killed_with_all_that_it_started(
    isolation: Isolation, launchers: Launchers, tmp_path: Path, marker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fungible.check.isolation.disk_launcher._ANSWER_S", 1.0)
    (tmp_path / "app").mkdir()
    with closing(Disk(Layout(tmp_path / "app"), isolation, tmp_path / "disk", launchers)) as disk:
        started(disk, f"sleep 1000; echo {marker}", tmp_path)
        (launcher,) = children_of(program_here())
        os.kill(launcher, signal.SIGSTOP)
    assert is_soon(lambda: processes_with(marker) == [], within_s=LEFT_AT_MOST_S)
    assert not (tmp_path / "disk").exists()


def test_nothing_is_started_once_the_program_is_closed(isolation: Isolation, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    launchers = Launchers()
    launchers.close()
    with pytest.raises(StartError, match="stopped"):
        Disk(Layout(tmp_path / "app"), isolation, tmp_path / "disk", launchers)


def test_nothing_that_an_instance_leaves_becomes_a_zombie(
    isolation: Isolation, launchers: Launchers, tmp_path: Path, marker: str
) -> None:
    (tmp_path / "app").mkdir()
    with closing(Disk(Layout(tmp_path / "app"), isolation, tmp_path / "disk", launchers)) as disk:
        process = started(
            disk, f"for i in 1 2 3; do (true & sleep 0) ; done; echo done; sleep 1000; : {marker}", tmp_path
        )
        assert is_soon(process.log_tail, within_s=PATIENCE_S)
        assert is_soon(lambda: len(process.members()) == 2, within_s=PATIENCE_S)
        states = [
            Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()[0] for member in process.members()
        ]
        assert "Z" not in states


def test_the_launcher_needs_nothing_but_the_standard_library() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for module in (ROOT / "src/fungible/check/isolation").glob("launcher*"):
            if module.is_file():
                (Path(folder) / module.name).write_bytes(module.read_bytes())
        # With a channel that ends at once there is nothing to keep.
        done = subprocess.run(
            [sys.executable, "-c", ALONE, f"{folder}/launcher.py"], capture_output=True, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")


ALONE = """
import socket, subprocess, sys
ours, theirs = socket.socketpair()
ours.close()
sys.exit(subprocess.run([sys.executable, "-I", "-S", sys.argv[1], str(theirs.fileno())], pass_fds=[theirs.fileno()]).returncode)
"""
