"""What is computed on one event loop at present, so that all who miss the same value there wait for one computation."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from fungible.cache.entries import owner_of
from fungible.cache.leases import Claim
from fungible.cache.permits import Permits, Place
from fungible.cache.tags import Versions
from fungible.stores.contract import Record


class Outcome:
    """How a computation ended: with a value's bytes, an error, or neither, where another instance was first."""

    __slots__ = ("as_of", "data", "error")

    def __init__(self, as_of: int, data: bytes | None = None, error: BaseException | None = None) -> None:
        self.as_of = as_of
        """A turn of the loop's clock: what was done before it is seen in the value."""
        self.data = data
        self.error = error


class Flight:
    """One computation, and those who wait for it."""

    __slots__ = ("_hurried", "_place", "began", "claim", "ended", "versions")

    def __init__(self, ended: asyncio.Future[Outcome]) -> None:
        self.ended = ended
        self.began: int | None = None
        """The turn at which the computation began, once it has."""
        self.claim: Claim | None = None
        self.versions: Versions = ()
        self._place: Place | None = None
        self._hurried = False

    async def wait_for(self, place: Place) -> None:
        """Waits for one of the places of those who may compute."""
        self._place = place
        if self._hurried:
            place.hurry()
        await place.granted

    def hurry(self) -> None:
        """Lets it go ahead: who waits for it may have the place that it would wait for."""
        self._hurried = True
        if self._place is not None:
            self._place.hurry()

    def serves(self, arrived: int, record: Record | None, versions: Versions, *, away: bool) -> bool:
        """Whether who arrived at that turn, and read that record, may have its value.

        Who arrived after it began may only if nothing was invalidated meanwhile: what invalidates a value ends its
        record, and with it the lease that this computation has.
        """
        if self.began is None or arrived <= self.began:
            return True
        if self.claim is None:
            return away
        return record is not None and owner_of(record) == self.claim.owner and versions == self.versions


class Here:
    """What belongs to one event loop."""

    def __init__(self, max_computing: int) -> None:
        self.flights: dict[str, Flight] = {}
        self.permits = Permits(max_computing)
        self._turn = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def turn(self) -> int:
        """The next turn of a clock that tells what was first on this loop."""
        self._turn += 1
        return self._turn

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Runs something in a task of its own: whoever asked for it may be cancelled."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
