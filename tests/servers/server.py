"""What all servers share: a process that ends with us, a port, a folder, and ways to hurt it."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Self

from servers.ports import free_port

STARTS_WITHIN_S = 60
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
ESTABLISHED = "01"
CONNECTED = "03"

# A process ends with the *thread* that started it (PR_SET_PDEATHSIG), so one thread that lives as long as
# we do starts them all. Nobody's tests leave servers behind, even when killed by SIGKILL.
_starter = ThreadPoolExecutor(1, "servers")


def ordinary_user() -> str | None:
    """Whom servers run as: None for us; another where we are root, which PostgreSQL and Memcached refuse."""
    return None if os.geteuid() else "nobody"


def _dies_with_its_starter() -> None:
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def as_ordinary_user() -> dict[str, Any]:
    """How to start a process as that user."""
    user = ordinary_user()
    return {} if user is None else {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def run_as_ordinary_user(command: Sequence[str | Path], **more: Any) -> str:
    """Runs a tool such as initdb to its end, and gives what it printed."""
    words = [str(word) for word in command]
    how = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 120, "cwd": "/"}
    run = subprocess.run(words, check=False, **how, **as_ordinary_user(), **more)
    if run.returncode:
        raise RuntimeError(f"{command[0]} ended with status {run.returncode}: {run.stdout}{run.stderr}")
    return str(run.stdout)


class Server:
    """One server. `with RedisServer() as server:` starts it and waits until it answers; at the end it is gone.

    Where we are root it runs as an ordinary user, to whom its folder belongs.
    """

    name: ClassVar[str]

    @classmethod
    def missing(cls) -> str | None:
        """Why it can't run here, or None."""
        return None if cls.binary() else f"{cls.name} is not installed"

    @classmethod
    def binary(cls) -> Path | None:
        """The program, where it is installed."""
        found = shutil.which(cls.name) or shutil.which(cls.name, path="/usr/sbin:/usr/local/sbin")
        return Path(found) if found else None

    def __init__(self) -> None:
        self.port = self.pick_port()
        self._made_by = os.getpid()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self._give_away(self.folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._prepared = False

    @property
    def url(self) -> str:
        """How an application names it."""
        raise NotImplementedError

    def pick_port(self) -> int:
        return free_port()

    def prepare(self) -> None:
        """Makes what must be in the folder before the first start."""

    def command(self) -> list[str]:
        raise NotImplementedError

    def ready(self) -> bool:
        """Whether it answers. May raise OSError."""
        raise NotImplementedError

    def reset(self) -> None:
        """Empties it."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Starts it, on the same port with the same data as before, and waits until it answers."""
        assert self._process is None, "it is running"
        if not self._prepared:
            self.prepare()
            self._prepared = True
        for attempt in range(5):
            self._process = _starter.submit(self._started).result()
            if self._answers():
                return
            self.kill()
            if attempt == 4:
                raise RuntimeError(f"{self.name} does not start: {self.log()[-2000:]}")

    def kill(self) -> None:
        """SIGKILL to all its processes: what a crash is."""
        if self._process is not None:
            processes = self._processes()
            self._signal(signal.SIGKILL, processes)
            self._process.wait()
            self._process = None
            # A database's helpers are not our children: its next start must not meet them.
            while any(Path(f"/proc/{pid}").exists() and not _is_zombie(pid) for pid in processes[1:]):
                time.sleep(0.005)

    def pause(self) -> None:
        """SIGSTOP: connections are accepted and kept, but nothing is ever answered: a black hole."""
        processes = self._processes()
        self._signal(signal.SIGSTOP, processes)
        # A thread that runs at this moment runs on for a moment, and may answer something.
        while not all(_is_stopped(pid) for pid in processes):
            time.sleep(0.001)

    def resume(self) -> None:
        """SIGCONT: ends a pause."""
        self._signal(signal.SIGCONT, self._processes())

    def revive(self) -> None:
        """Makes it run, whatever a test has done to it."""
        if self._process is None:
            self.start()
        else:
            self.resume()

    def close(self) -> None:
        """Ends it and removes its folder."""
        if os.getpid() == self._made_by:
            self.kill()
            shutil.rmtree(self.folder, ignore_errors=True)

    def connections(self) -> int:
        """How many connections it has now, by the kernel's own table (Linux)."""
        return len(self.peers())

    def peers(self) -> set[str]:
        """The other ends of its connections, as `address:port` in hexadecimal; over Unix sockets, its own ends' inodes."""
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        mine = f":{self.port:04X}"
        unix = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
        ours = {row[6] for row in unix if row[7:] and row[7].startswith(f"{self.folder}/") and row[5] == CONNECTED}
        return {row[2] for row in rows if row[1].endswith(mine) and row[3] == ESTABLISHED} | ours

    def log(self) -> str:
        """What it has printed."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def write(self, name: str, text: str) -> Path:
        """A file in its folder, which belongs to the server."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        self._give_away(path)
        return path

    def ask(self, request: bytes) -> bytes:
        """What it answers to raw bytes: at least one byte, at most a few thousand."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(request)
            return connection.recv(4096)

    def _started(self) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                preexec_fn=_dies_with_its_starter,
                start_new_session=True,
                **as_ordinary_user(),
            )

    def _answers(self) -> bool:
        assert self._process is not None
        until = time.monotonic() + STARTS_WITHIN_S
        while self._process.poll() is None and time.monotonic() < until:
            with suppress(OSError):
                if self.ready():
                    return True
            time.sleep(0.01)
        return False

    def _processes(self) -> list[int]:
        assert self._process is not None, "it is not running"
        parents = {pid: parent for pid in _pids() if (parent := _parent(pid)) is not None}
        found = [self._process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def _signal(self, number: signal.Signals, processes: list[int]) -> None:
        for pid in processes:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _give_away(self, path: Path) -> None:
        user = ordinary_user()
        if user is not None:
            shutil.chown(path, user, pwd.getpwnam(user).pw_gid)


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _stat(pid: int) -> list[str]:
    # The name, in parentheses, may hold spaces: what follows the last one is plain.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _parent(pid: int) -> int | None:
    stat = _stat(pid)
    return int(stat[1]) if stat else None


def _is_stopped(pid: int) -> bool:
    """Whether all its threads stand still; what has ended does, too."""
    try:
        threads = [thread.read_text() for thread in Path(f"/proc/{pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return all(stat.rpartition(")")[2].split()[0] in "TtZX" for stat in threads)


def _is_zombie(pid: int) -> bool:
    stat = _stat(pid)
    return not stat or stat[0] == "Z"
