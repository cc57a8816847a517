"""The checker's side of a launcher: starts it, has it start instances, ends it."""

import contextlib
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


class Launcher:
    """One launcher, with what it made of its plan: `overlaid` paths, and why others `failed`.

    Raises:
        StartError: It can't do what the plan says must be.
    """

    def __init__(self, plan: Message, errors: Path) -> None:
        self._lock = threading.Lock()
        self._errors = errors
        self._control, theirs = socket.socketpair()
        self._control.settimeout(_ANSWER_S)
        try:
            with theirs, errors.open("wb") as stderr:
                self._program = _spawn(theirs, stderr.fileno())
            ready = self._first_answer(plan)
        except BaseException:
            self.close()
            raise
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
            # It answers no more, but its end of the line closes when the last of it has ended.
            while self._control.recv(4096):
                pass
        self._control.close()
        if program := getattr(self, "_program", None):
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.wait(timeout=_ANSWER_S)
            program.kill()
            program.wait()

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
    """Starts the program; in a session of its own, so that Ctrl-C is the checker's alone."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(_PROGRAM), str(channel.fileno())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        cwd="/",
        pass_fds=[channel.fileno()],
        start_new_session=True,
    )
