"""What belongs to one event loop of one process: connections, above all."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from fungible.core.forks import renew, tell_children

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One thing for each event loop that asks, made at its first question; children of a fork make their own.

    So no two threads, and no parent and child, talk over one connection.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[asyncio.AbstractEventLoop, T] = {}
        self._latest: tuple[asyncio.AbstractEventLoop, T] | None = None
        self._inherited: dict[asyncio.AbstractEventLoop, list[T]] = {}
        tell_children(self)

    def here(self) -> T:
        """That of the event loop that runs."""
        loop = asyncio.get_running_loop()
        latest = self._latest
        if latest is not None and latest[0] is loop:
            return latest[1]
        if loop not in self._made:
            # What belongs to a loop that was closed can't be closed any more but by letting go of it. In place, since
            # another thread may be here for its loop.
            for ended in [other for other in list(self._made) if other.is_closed()]:
                self._made.pop(ended, None)
            if loop in self._inherited:
                renew(loop)
            self._made[loop] = self._make()
        made = self._made[loop]
        self._latest = (loop, made)
        return made

    def taken_out(self) -> T | None:
        """That of the event loop that runs, which is forgotten; None where there is none."""
        self._latest = None
        return self._made.pop(asyncio.get_running_loop(), None)

    def forked(self) -> None:
        """Kept, unused: what their ends would do is the parent's affair."""
        for loop, made in self._made.items():
            self._inherited.setdefault(loop, []).append(made)
        self._made, self._latest = {}, None
