"""How many computations run at once while nothing is cached: the rest waits, unless waiting could never end."""

from __future__ import annotations

import asyncio
from collections import deque


class Place:
    """One computation's place: waited for, held, or not needed."""

    __slots__ = ("counts", "granted")

    def __init__(self, granted: asyncio.Future[None]) -> None:
        self.granted = granted
        self.counts = False
        """Whether it is one of those that are counted, and has to be given back."""

    def hurry(self) -> None:
        """Lets it go ahead uncounted: somebody waits for it who holds a place, and would not give it back before."""
        if not self.granted.done():
            self.granted.set_result(None)


class Permits:
    """So many places on one event loop, given in the order of arrival."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[Place] = deque()

    def place(self) -> Place:
        """A place, granted at once or later: to be awaited, and to be given back in any case."""
        place = Place(asyncio.get_running_loop().create_future())
        if self._free > 0:
            self._grant(place)
        else:
            self._waiting.append(place)
        return place

    def give_back(self, place: Place) -> None:
        """Ends a place, or the waiting for it."""
        place.granted.cancel()
        if not place.counts:
            return
        place.counts = False
        self._free += 1
        while self._waiting and self._free > 0:
            following = self._waiting.popleft()
            if not following.granted.done():
                self._grant(following)

    def _grant(self, place: Place) -> None:
        self._free -= 1
        place.counts = True
        place.granted.set_result(None)
