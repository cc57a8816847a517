"""The checker's side of launchers: has one made for each disk, has it start instances, ends it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from fungible.check.errors import StartError
from fungible.check.isolation.disk_process import Process, tail
from fungible.check.isolation.launcher_channel import Message, receive, send

_PROGRAM = Path(__file__).with_name("launcher.py")
_ANSWER_S = 20.0


class Launchers:
    """The program that launchers are copies of: started with the first disk, and again should it have been killed.

    Methods may be called from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._program: subprocess.Popen[bytes] | None = None
        self._orders: socket.socket | None = None
        self._closed = False

    def fork(self, control: socket.socket, errors: int) -> None:
        """Makes a launcher that listens to the other end of `control`, and prints its errors to `errors`.

        Raises:
            StartError: The program can't be started, or was closed.
        """
        with self._lock:
            if self._closed:
                raise StartError("stopped")
            try:
                for _ in range(2):
                    if self._told([control.fileno(), errors]):
                        return
                    self._begin(errors)
                if not self._told([control.fileno(), errors]):
                    raise StartError("the program that isolates instances does not run")
            except OSError as error:
                raise StartError(f"the program that isolates instances can't be started: {error}") from error

    def close(self) -> None:
        """Ends the program; disks are closed before. Idempotent."""
        with self._lock:
            self._closed = True
            self._end()

    def _told(self, descriptors: list[int]) -> bool:
        """Passes a disk's descriptors on; False where there is no program, or not any more."""
        if self._orders is None:
            return False
        try:
            send(self._orders, {}, descriptors)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def _begin(self, errors: int) -> None:
        self._end()
        self._orders, theirs = socket.socketpair()
        self._orders.settimeout(_ANSWER_S)
        with theirs:
            self._program = _spawn(theirs, errors)

    def _end(self) -> None:
        if self._orders is not None:
            self._orders.close()
            self._orders = None
        if self._program is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._program.wait(timeout=_ANSWER_S)
            self._program.kill()
            self._program.wait()
            self._program = None


class Launcher:
    """The launcher of one disk, with what it made of its plan: `overlaid` paths, and why others `failed`.

    Raises:
        StartError: It can't do what the plan says must be.
    """

    def __init__(self, launchers: Launchers, plan: Message, errors: Path) -> None:
        self._lock = threading.Lock()
        self._errors = errors
        self._keeper = 0
        self._control, theirs = socket.socketpair()
        self._control.settimeout(_ANSWER_S)
        try:
            with theirs, errors.open("wb") as stderr:
                launchers.fork(theirs, stderr.fileno())
            ready = self._first_answer(plan)
        except BaseException:
            self.close()
            raise
        self._keeper = ready["keeper"]
        self.overlaid = tuple(Path(path) for path in ready["overlaid"])
        self.failed: dict[str, str] = ready["failed"]
        self.as_user: bool = ready["as_user"]

    def start(
        self, command: str, env: Mapping[str, str], directory: Path, log: Path, *, common_randomness: bool
    ) -> Process:
        """Starts an instance.

        Raises:
            StartError: It could not be started.
        """
        request: Message = {
            "command": command,
            "environment": dict(env),
            "directory": str(directory),
            "common_randomness": common_randomness,
        }
        channel, theirs = socket.socketpair()
        channel.settimeout(_ANSWER_S)
        try:
            # Opened here: what the instance writes is to land where the checker looks for it.
            with theirs, log.open("ab") as output, self._lock:
                send(self._control, request, [theirs.fileno(), output.fileno()])
            answer, _ = receive(channel)
        except OSError as error:
            channel.close()
            raise StartError(f"an instance could not be started: {error}{self._last_words()}") from error
        if answer is None or "error" in answer:
            channel.close()
            reason = answer["error"] if answer else f"its launcher has gone{self._last_words()}"
            raise StartError(f"an instance could not be started: {reason}")
        return Process(channel, log, pid=answer["pid"], parent=answer["parent"])

    def close(self) -> None:
        """Ends it and all that it started; they are dead when this returns."""
        with self._lock, contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)
            if not self._has_ended() and self._keeper:
                # It holds its end of the line, so the number is still its own; what it started dies with it.
                os.kill(self._keeper, signal.SIGKILL)
                self._has_ended()
        self._control.close()

    def _has_ended(self) -> bool:
        """Waits for its end of the line to close, which is when the last of it has ended; False after a while."""
        try:
            while self._control.recv(4096):
                pass  # It answers no more.
        except TimeoutError:
            return False
        return True

    def _first_answer(self, plan: Message) -> Message:
        try:
            send(self._control, plan)
            answer, _ = receive(self._control)
        except OSError as error:
            raise StartError(f"the launcher of a disk does not answer: {error}{self._last_words()}") from error
        if answer is None:
            raise StartError(f"the launcher of a disk ended before it began{self._last_words()}")
        if "error" in answer:
            raise StartError(answer["error"])
        return answer

    def _last_words(self) -> str:
        """The last line it printed, which is the error that ended it, if any."""
        lines = tail(self._errors, 4096).strip().splitlines()
        return f" ({lines[-1]})" if lines else ""


def _spawn(channel: socket.socket, stderr: int) -> subprocess.Popen[bytes]:
    """Starts the program; in a session of its own, so that Ctrl-C is the checker's alone.

    What it can't print to the log of a disk goes to that of the first one.
    """
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(_PROGRAM), str(channel.fileno())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        cwd="/",
        pass_fds=[channel.fileno()],
        start_new_session=True,
    )
