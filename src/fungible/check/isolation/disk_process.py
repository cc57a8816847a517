"""One instance as the checker sees it: alive or ended, what it listens on, its log; and how to end it."""

import contextlib
import os
import select
import signal
import socket
import threading
import time
from pathlib import Path

from fungible.check.isolation import disk_sockets
from fungible.check.isolation.launcher_channel import Message, receive, send
from fungible.check.isolation.launcher_processes import descendants, state

_KILL_S = 10.0
_HEAR_S = 0.5
"""Nothing is waited for longer at a time: before a channel is polled another thread may close it, and what is opened
next gets its number."""
_TAIL_BYTES = 64 * 1024


class Process:
    """One instance of the application, with all that it started.

    `channel` leads to its parent in the launcher, whose process ID is `parent`. Methods may be called from several
    threads. After it was killed, or its disk closed, it is dead and stays so.
    """

    def __init__(self, channel: socket.socket, log: Path, *, pid: int, parent: int) -> None:
        self.pid = pid
        self.log = log
        self._parent = parent
        self._channel = channel
        self._lock = threading.Lock()
        self._status: int | None = None
        self._gone = False

    def alive(self) -> bool:
        """Whether the main process still runs."""
        return self.exit_status is None

    @property
    def exit_status(self) -> int | None:
        """How the main process ended: its status, or the negative number of a signal; None while it runs."""
        self._hear(0)
        return self._status

    def wait(self, timeout_s: float) -> int | None:
        """Waits for the main process to end; None where it still runs after `timeout_s`."""
        until = time.monotonic() + timeout_s
        while self._status is None and (left := until - time.monotonic()) > 0:
            self._hear(min(left, _HEAR_S))
        return self.exit_status

    def terminate(self) -> None:
        """SIGTERM to the main process; where that is a shell around one other process, to that one."""
        self._order("terminate")

    def settled(self) -> None:
        """The instance is ready: what it draws from now on is its own."""
        self._order("settled")

    def kill(self) -> None:
        """SIGKILL to all its processes; they are dead when this returns."""
        self._order("kill")
        until = time.monotonic() + _KILL_S
        while not self._gone and (left := until - time.monotonic()) > 0:
            self._hear(min(left, _HEAR_S))
        if not self._gone:
            self._kill_from_here()

    def release(self) -> None:
        """Nothing more is wanted of it: once none of its processes is left, its parent need not stay either."""
        self._order("release")

    def members(self) -> list[int]:
        """The process IDs of what lives of it: the main process, its descendants and their orphans."""
        self._hear(0)
        if self._gone:
            return []
        return [process for process in descendants(self._parent) if state(process) not in ("", "Z")]

    def listening(self) -> list[tuple[str, int]]:
        """The addresses it accepts TCP connections at; always empty where there is no /proc."""
        return disk_sockets.listening(self.members())

    def listens_at(self, port: int) -> bool | None:
        """Whether it accepts TCP connections at a port; None where there is no /proc to tell."""
        return any(at == port for _, at in self.listening()) if disk_sockets.VISIBLE else None

    def connections(self) -> list[tuple[str, int]]:
        """Where it is connected to over TCP, such as its stores; always empty where there is no /proc."""
        return disk_sockets.connections(self.members())

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of what it has printed."""
        return "\n".join(tail(self.log, _TAIL_BYTES).splitlines()[-lines:])

    def _order(self, order: str) -> None:
        message: Message = {"order": order}
        with self._lock, contextlib.suppress(OSError):
            if not self._gone:
                send(self._channel, message)

    def _hear(self, timeout_s: float) -> None:
        """Takes in what the parent has told, waiting for the first of it."""
        if not _readable(self._channel, timeout_s):
            return
        with self._lock:
            while not self._gone and _readable(self._channel, 0):
                self._note(receive(self._channel)[0])

    def _note(self, message: Message | None) -> None:
        if message is not None:
            self._status = message.get("exited", self._status)
            return
        # The parent ends last of all, or was killed with all of them.
        self._gone = True
        self._status = -signal.SIGKILL if self._status is None else self._status
        self._channel.close()

    def _kill_from_here(self) -> None:
        """For a parent that does not answer: kills it and what descends from it."""
        for process in (self._parent, *descendants(self._parent)):
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
        self._hear(_KILL_S)


def _readable(channel: socket.socket, timeout_s: float) -> bool:
    """Whether something can be read within the time; False too for what another thread has closed."""
    descriptor = channel.fileno()
    if descriptor < 0:
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def tail(file: Path, size: int) -> str:
    """The last `size` bytes of a file as text; empty where there is none."""
    try:
        with file.open("rb") as log:
            log.seek(max(0, file.stat().st_size - size))
            return log.read(size).decode("utf-8", "replace")
    except OSError:
        return ""
