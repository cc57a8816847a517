"""How one more instance of a target is brought up: disk, prepare commands, start command, ready."""

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fungible.check.errors import StartError
from fungible.check.http.client import Address, Connection, Request, send
from fungible.check.instances.ports import is_listened_at, reserved_port
from fungible.check.instances.workers import Workers, workers_of
from fungible.check.isolation.disk_process import tail
from fungible.check.isolation.disks import HUNG, Disk, Isolation, Launchers, Layout, Process
from fungible.check.model import Answer, Target

SETUP_SECONDS = 600.0
"""How long one `setup` or `reset` command may take."""
PREPARE_SECONDS = 300.0
"""How long one `prepare` command may take on each fresh disk."""
_PORT_TRIES = 3
_FOREIGN_SECONDS = 1.0
"""How long an answer counts for nothing where the instance itself does not listen on its port.

Another program may have taken the port, and the instance be about to end because of that. But where a start command asks
a daemon for a container, it is the daemon that listens.
"""
_LONGEST_PAUSE_S = 0.03
"""Between two looks whether an instance is ready: each costs a fraction of a millisecond, each start may wait so long."""
_PORT_TAKEN = re.compile(
    r"address (?:is )?already in use|EADDRINUSE|port \S+ is (?:already )?(?:in use|taken)", re.IGNORECASE
)


class _PortTakenError(StartError):
    """The instance has ended, and somebody else listens on the port that it was to listen on."""


@dataclass
class Instance:
    """A running copy of the application: where it listens, and what it stands on."""

    number: int
    address: Address
    disk: Disk | None = None
    process: Process | None = None
    requests: int = 0
    _workers: Workers | None = None
    _looked: bool = False

    @property
    def workers(self) -> Workers | None:
        """Its processes that answer, where it may have several and they can be told apart."""
        if not self._looked and self.process is not None:
            self._workers = workers_of(self.address.port, self.process.members)
        self._looked = True
        return self._workers

    def answering(self, connection: Connection, worker: int = 0) -> contextlib.AbstractContextManager[None]:
        """Opens a connection, always to the same one of its workers; the answer is read within the block."""
        if self.workers is not None:
            return self.workers.answering(connection, worker)
        connection.open()
        return contextlib.nullcontext()

    def send(self, request: Request, *, timeout_s: float = 30.0, worker: int = 0) -> Answer:
        """What one of its workers answers, always the same one. Never raises."""
        connection = Connection(self.address, request, timeout_s=timeout_s)
        with self.answering(connection, worker):
            connection.release()
            return connection.receive()

    def alive(self) -> bool:
        """False where the process has ended; instances we did not start count as alive."""
        return self.process is None or self.process.alive()

    def kill(self) -> None:
        """SIGKILL to everything of it, as a machine that loses power."""
        if self.process is not None:
            self.process.kill()

    def close(self) -> None:
        """Ends it and removes its disk."""
        self.kill()
        if self.disk is not None:
            self.disk.close()


class Outside:
    """Commands of a target that run once for all, in the real working directory."""

    def __init__(self, target: Target, directory: Path, base: Path) -> None:
        self._target = target
        self._directory = str(directory)
        self._base = base
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._closed = False

    def setup(self) -> None:
        """Runs the target's `setup` commands.

        Raises:
            StartError: a command failed.
        """
        self._run("setup", self._target.setup)

    def reset(self) -> None:
        """Runs the target's `reset` commands, as `setup`."""
        self._run("reset", self._target.reset)

    def close(self) -> None:
        """Ends the command under way, with all that it has started; no other one begins. Idempotent."""
        with self._lock:
            self._closed = True
            running = self._running
        if running is not None:
            _kill_unended(running)

    def _run(self, what: str, commands: Sequence[str]) -> None:
        env = os.environ | {name: filled(text, 0, self._directory) for name, text in self._target.env.items()}
        for number, command in enumerate(commands):
            text = filled(command, 0, self._directory)
            log = self._base / f"{what}-{number}.log"
            status = self._run_to_end(text, env, log)
            if status is None:
                raise StartError(f"the {what} command {text!r} had not ended after {SETUP_SECONDS:g} s")
            if status:
                raise StartError(f"the {what} command {text!r} ended with status {status}:\n{tail(log, 3000)}")

    def _run_to_end(self, command: str, env: Mapping[str, str], log: Path) -> int | None:
        """The status of a shell command, None where it took too long; what it leaves running once it has ended stays."""
        # Into a file: a server that it leaves running would hold a pipe open.
        with log.open("wb") as output, self._lock:
            if self._closed:
                raise StartError("stopped")
            self._running = process = subprocess.Popen(
                ["/bin/sh", "-c", command],
                cwd=self._directory,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            return process.wait(SETUP_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _kill_unended(process)
            process.wait()


def filled(text: str, port: int, directory: str) -> str:
    """A command or variable with `{port}` and `{dir}` replaced."""
    return text.replace("{port}", str(port)).replace("{dir}", directory)


class Starter:
    """Knows how to bring up one more instance of a target."""

    def __init__(
        self,
        target: Target,
        layout: Layout,
        isolation: Isolation,
        launchers: Launchers,
        base: Path,
        host: str,
        *,
        on_ready: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self.target = target
        self.isolation = isolation
        self.host = host
        self.started = 0
        self.cancelled = threading.Event()
        self._on_ready = on_ready
        self._layout = layout
        self._launchers = launchers
        self._base = base
        self._lock = threading.Lock()

    def disk(self, shared_at: Mapping[Path, Path] | None = None) -> Disk:
        """A fresh disk."""
        with self._lock:
            self.started += 1
            number = self.started
        base = self._base / f"disk-{number}"
        base.mkdir()
        return Disk(
            self._layout,
            self.isolation,
            base,
            self._launchers,
            shared_at=shared_at,
            wanted=lambda: not self.cancelled.is_set(),
        )

    def start(
        self,
        disk: Disk,
        number: int,
        *,
        first: bool = True,
        common_randomness: bool = False,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Instance:
        """Prepares the disk where it is fresh (`first`), starts the application on it, waits until it is ready.

        Raises:
            StartError: a command failed, or the instance never got ready; with the end of its log.
        """
        attempt, began = 0, time.monotonic()
        while True:
            attempt += 1
            with reserved_port() as port:
                try:
                    fresh = first and attempt == 1
                    instance = self._start_at(port, disk, number, fresh, common_randomness, wanted)
                except _PortTakenError:
                    if attempt == _PORT_TRIES:
                        raise
                    continue
            if first:
                # What an application writes while it starts, every instance writes: no evidence of anything.
                disk.mark()
            self._on_ready(time.monotonic() - began)
            return instance

    def _start_at(
        self,
        port: int,
        disk: Disk,
        number: int,
        fresh: bool,
        common_randomness: bool,
        wanted: Callable[[], bool],
    ) -> Instance:
        directory = str(disk.directory)
        env = disk.environment({key: filled(value, port, directory) for key, value in self.target.env.items()}, port)
        for command in self.target.prepare:
            # A second process on one disk: what names the port is its own, the rest was done.
            if not fresh and "{port}" not in command:
                continue
            text = filled(command, port, directory)
            status, output = disk.run(text, env, timeout_s=PREPARE_SECONDS)
            if status:
                why = f"had not ended after {PREPARE_SECONDS:g} s" if status == HUNG else f"ended with status {status}"
                raise StartError(f"the prepare command {text!r} {why}:\n{output}")
        text = filled(self.target.start, port, directory)
        process = disk.start(
            text, env, self._base / f"instance-{number}-{port}.log", common_randomness=common_randomness
        )
        instance = Instance(number, Address("127.0.0.1", port), disk, process)
        try:
            self._wait_ready(instance, text, wanted)
        except BaseException:
            process.kill()
            raise
        process.settled()
        return instance

    def _wait_ready(self, instance: Instance, command: str, wanted: Callable[[], bool]) -> None:
        ready = self.target.ready
        assert instance.process is not None
        process = instance.process
        end = time.monotonic() + ready.timeout
        request = Request(
            "GET",
            ready.path,
            (("Host", self.host), ("User-Agent", "fungible-check"), ("Accept", "*/*"), ("Accept-Encoding", "identity")),
        )
        port = instance.address.port
        pause, answer, foreign_until = 0.01, Answer(error="connection refused"), 0.0
        while (now := time.monotonic()) < end:
            if self.cancelled.is_set() or not wanted():
                raise StartError("no longer wanted")
            if not process.alive():
                words = _ended_words(command, process)  # ends what it has left, too
                raise (_PortTakenError if is_listened_at(port) else StartError)(words)
            answer = send(instance.address, request, timeout_s=min(5.0, max(0.5, end - now)))
            if answer.error is None and _is_ready(answer, ready.status):
                foreign_until = foreign_until or now + _FOREIGN_SECONDS
                if process.alive() and (process.listens_at(port) is not False or now > foreign_until):
                    return
            time.sleep(pause)
            pause = min(pause * 1.3, _LONGEST_PAUSE_S)
        raise StartError(_unready_words(command, instance, ready.path, ready.timeout, answer))


def _kill_unended(process: subprocess.Popen[bytes]) -> None:
    """Kills a command that has not ended, and all of its session; what one that has ended left running stays."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _is_ready(answer: Answer, wanted: tuple[int, ...]) -> bool:
    return answer.status in wanted if wanted else answer.status < 500


def _ended_words(command: str, process: Process) -> str:
    log = _tail(process)
    members = process.members()
    if process.exit_status == 0 and members:
        process.kill()
        return (
            f"the start command {command!r} ended with status 0 and left a process behind: it made itself a daemon.\n"
            f"Start it in the foreground (for example without --daemon, -D or a final &), so that it can be watched and ended.{log}"
        )
    status = process.exit_status
    how = f"was ended by signal {-status}" if status is not None and status < 0 else f"ended with status {status}"
    hint = ""
    if _PORT_TAKEN.search(log):
        hint = "\nEach instance needs a port of its own: put {port} into the start command, or read the port from PORT."
    return f"the start command {command!r} {how} before the instance was ready.{hint}{log}"


def _unready_words(command: str, instance: Instance, path: str, timeout: float, answer: Answer) -> str:
    assert instance.process is not None
    port = instance.address.port
    saw = answer.error or f"status {answer.status}"
    listening = [(host, at) for host, at in instance.process.listening() if at != port]
    hint = ""
    if listening and answer.error is not None:
        where = ", ".join(f"{host}:{at}" for host, at in sorted(set(listening)))
        hint = f"\nIt listens on {where} instead of 127.0.0.1:{port}: put {{port}} into the start command, or read the port from PORT."
    elif answer.error is None:
        hint = "\nName the path and status that tell that it is ready with --ready, or ready.path and ready.status in the check file."
    return f"the start command {command!r} runs, but GET {path} was not answered as ready within {timeout:g} s (last: {saw}).{hint}{_tail(instance.process)}"


def _tail(process: Process) -> str:
    text = process.log_tail(20).strip()
    return f"\nThe end of its log:\n{text}" if text else "\nIts log is empty."
