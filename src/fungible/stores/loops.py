"""What belongs to one event loop of one process: connections, above all."""

import asyncio
import os
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One thing for each event loop that asks, made at its first question; children of a fork make their own."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[asyncio.AbstractEventLoop, T] = {}
        self._process = os.getpid()
        self._inherited: list[dict[asyncio.AbstractEventLoop, T]] = []

    def here(self) -> T:
        """That of the event loop that runs."""
        if self._process != os.getpid():
            # Forked: these sockets are the parent's. They are kept, unused: closing them here could take them off the
            # parent's epoll, which both processes share.
            self._inherited.append(self._made)
            self._made, self._process = {}, os.getpid()
        loop = asyncio.get_running_loop()
        if loop not in self._made:
            for ended in [other for other in list(self._made) if other.is_closed()]:
                self._made.pop(ended, None)
            self._made[loop] = self._make()
        return self._made[loop]

    def taken_out(self) -> T | None:
        """That of the event loop that runs, which is forgotten; None where there is none."""
        if self._process != os.getpid():
            return None
        return self._made.pop(asyncio.get_running_loop(), None)
