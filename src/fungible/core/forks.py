"""What the child of a fork is told first: sockets, threads and locks of its parent are not its own.

The child has a copy of every object, and so of each event loop and each connection, while the sockets and the selector
behind them are one and the same for both processes. A child that goes on with its parent's loop would read replies that
are meant for its parent, and closing a transport there would take the socket out of the parent's selector.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, Protocol
from weakref import WeakSet


class Inherited(Protocol):
    """Something that a child of a fork must not use as it is."""

    def forked(self) -> None:
        """Called in the child, before anything else runs there."""
        ...


_inherited: Final[WeakSet[Inherited]] = WeakSet()
_own: Final[WeakSet[asyncio.AbstractEventLoop]] = WeakSet()
"""Loops that were renewed in this process."""


def tell_children(one: Inherited) -> None:
    """Has `one.forked()` called in each child that is forked while `one` lives."""
    _inherited.add(one)


def let_go(transport: asyncio.BaseTransport, loop: asyncio.AbstractEventLoop, end: Callable[[], object]) -> None:
    """Lets go of the socket of a transport in this process; its peer and the parent see nothing of it.

    Another socket that leads nowhere takes its number. Whatever the transport does from now on, to read, to say good-bye
    or to be closed, it does to that one. The selector that is shared with the parent knows the parent's by number and
    by file, and so keeps it: a mere close would leave the number to the next socket, under this transport's hands.

    Args:
        end: Ends the connection. Called in the loop, if it still runs here, for those who wait there for replies.
    """
    shared = transport.get_extra_info("socket")
    if transport.is_closing() or shared is None or shared.fileno() < 0:
        return
    with socket.socket() as nowhere:
        os.dup2(nowhere.fileno(), shared.fileno(), inheritable=False)
    if not loop.is_closed():
        loop.call_soon(end)


def renew(loop: asyncio.AbstractEventLoop) -> None:
    """Gives a loop that was forked what it would share with its parent's: threads, selector, and the pipe that wakes it.

    Its parent's threads are not here, and host names would wait for them; what wakes one of two loops at one pipe is a
    matter of luck. asyncio has no means for this, so its own attributes are changed; uvloop's loops get the threads alone.
    """
    if loop in _own:
        return
    _own.add(loop)
    loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix="asyncio"))
    inside: Any = loop
    if not isinstance(getattr(inside, "_selector", None), selectors.BaseSelector):
        return
    # Under the old numbers, since signals are written to one of them.
    for new, old in zip(socket.socketpair(), (inside._ssock, inside._csock), strict=True):
        new.setblocking(False)
        os.dup2(new.fileno(), old.fileno(), inheritable=False)
        new.close()
    shared, inside._selector = inside._selector, selectors.DefaultSelector()
    for key in shared.get_map().values():
        # What can't be watched has been closed.
        with suppress(OSError):
            inside._selector.register(key.fileobj, key.events, key.data)
    # In this process alone: the parent's goes on.
    shared.close()


def _tell() -> None:
    _own.clear()
    for one in list(_inherited):
        one.forked()


# Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_tell)
