"""The parent of one instance: starts it, tells how it ended, and kills it with all that descends from it.

There is one such process for each instance, so that daemons, which leave their parent and their session, still come
back to somebody who knows whose they are. It lives as long as the checker's end of its channel.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from _socket import AF_UNIX, SOCK_STREAM, socketpair

TYPE_CHECKING = False
if TYPE_CHECKING or __package__:
    from fungible.check.isolation.launcher_channel import receive, send
    from fungible.check.isolation.launcher_kernel import adopt_orphans, die_with_parent
    from fungible.check.isolation.launcher_processes import descendants, server_of
    from fungible.check.isolation.launcher_randomness import Draws
else:
    from launcher_channel import receive, send
    from launcher_kernel import adopt_orphans, die_with_parent
    from launcher_processes import descendants, server_of
    from launcher_randomness import Draws

if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import NoReturn

    from fungible.check.isolation.launcher_channel import Message

_KILL_S = 5.0
_KILL_POLL_S = 0.001
_SHELL = "/bin/sh"


class Parent:
    """Parent of one instance.

    `channel` leads to the checker, `life` is a pipe that ends with the launcher, `host_proc` the /proc in which this
    process has the number that the checker knows it by.
    """

    def __init__(self, channel: socket, life: int, host_proc: int) -> None:
        self._channel = channel
        self._life = life
        self._host_proc = host_proc
        self._main = 0
        self._draws: Draws | None = None
        self._alone = self._released = self._dying = False
        self._poll = select.poll()
        self._wake = wake_on_child_exit()
        for descriptor in (channel.fileno(), life, self._wake):
            self._poll.register(descriptor, select.POLLIN)

    def run(self, request: Message, log: int) -> NoReturn:
        """Starts what is asked for, and stays until the checker or the launcher wants it gone or is gone."""
        adopt_orphans()
        with contextlib.suppress(OSError):  # The checker has gone.
            self._start(request, log)
            while self._attend():
                pass
        if sys.platform != "linux" and self._main:
            # Orphans do not come back to us there; those that stayed in the group are still found.
            with contextlib.suppress(OSError):
                os.killpg(self._main, signal.SIGKILL)
        kill_descendants(self._reap)
        os._exit(0)

    def _start(self, request: Message, log: int) -> None:
        if request["common_randomness"]:
            self._draws = Draws()
        ours, theirs = socketpair(AF_UNIX, SOCK_STREAM)
        parent = os.getpid()
        self._main = os.fork()
        if self._main == 0:
            _become(request, log, theirs, parent, self._host_proc, self._draws)
        os.close(log)
        theirs.close()
        begun, listeners = receive(ours)
        failed, _ = receive(ours)  # The end of the stream, once the new program has taken over.
        for listener in listeners:
            self._poll.register(listener, select.POLLIN)
        answer = failed or begun or {"error": "the process died before it began"}
        send(self._channel, {"parent": own_number(self._host_proc), **answer})

    def _attend(self) -> bool:
        """Waits for whatever comes next and deals with it; False when it is time to die."""
        for descriptor, event in self._poll.poll():
            if descriptor == self._wake:
                os.read(self._wake, 512)
                self._alone = not self._reap()
            elif descriptor == self._channel.fileno():
                self._obey()
            elif descriptor == self._life:
                self._dying = True
            elif self._draws is None or not event & select.POLLIN:
                self._poll.unregister(descriptor)  # Nobody is left who could ask.
            else:
                self._draws.answer(descriptor)
        return not (self._dying or (self._alone and self._released))

    def _obey(self) -> None:
        """One order of the checker."""
        message, _ = receive(self._channel)
        order = message["order"] if message else "kill"
        if order == "terminate":
            _signal(server_of(self._main), signal.SIGTERM)
        elif order == "settled" and self._draws is not None:
            self._draws.settle()
        elif order == "release":
            self._released = True
        elif order == "kill":
            self._dying = True

    def _reap(self) -> bool:
        """Waits for what has ended; False where nothing is left."""
        return reap(self._note)

    def _note(self, process: int, status: int) -> None:
        if process == self._main:
            with contextlib.suppress(OSError):
                send(self._channel, {"exited": os.waitstatus_to_exitcode(status)})


def _become(request: Message, log: int, told: socket, parent: int, host_proc: int, draws: Draws | None) -> NoReturn:
    """Turns this process into the application, or tells why not."""
    try:
        os.setsid()
        die_with_parent()
        if os.getppid() != parent:
            os._exit(127)  # It died before it could have been noticed.
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(request["directory"])
        # Python ignores two, and whoever called the check may ignore more (nohup, a job in the background): a program
        # that is started would inherit that.
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_DFL)
        listeners = [draws.prepare(request["environment"])] if draws else []
        send(told, {"pid": own_number(host_proc)}, listeners)
        os.execve(_SHELL, ["sh", "-c", request["command"]], request["environment"])  # noqa: S606
    except OSError as error:
        send(told, {"error": f"{error.strerror}: {error.filename}"})
    finally:
        os._exit(127)


def own_number(host_proc: int) -> int:
    """The process ID of this process as the checker sees it, from outside the PID namespace."""
    return int(os.readlink("self", dir_fd=host_proc)) if host_proc >= 0 else os.getpid()


def wake_on_child_exit() -> int:
    """A descriptor that becomes readable when a child of this process ends."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    return read


def reap(note: Callable[[int, int], object] | None = None) -> bool:
    """Waits for every child that has ended, and notes its process ID and status; False where none is left."""
    try:
        while (child := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            if note is not None:
                note(*child)
    except ChildProcessError:
        return False
    return True


def kill_descendants(reap: Callable[[], bool]) -> None:
    """Kills all that descend from this process; `reap` waits for the dead and is False when no child is left.

    Again and again, as a process may have been born of one that we had not got to yet. As orphans come to us, there
    is none when there is no child.
    """
    me = os.getpid()
    give_up = time.monotonic() + _KILL_S
    while True:
        for process in descendants(me):
            _signal(process, signal.SIGKILL)
        if not reap() or time.monotonic() > give_up:
            break
        time.sleep(_KILL_POLL_S)


def _signal(process: int, number: int) -> None:
    with contextlib.suppress(OSError):  # It has ended already, or has become another user's.
        os.kill(process, number)
