"""How long a lease surely holds, by the clocks of the machine that has it.

The store frees a lease by its own clock. Its owner may be stopped meanwhile, suspended with its machine, or cut off from
the store, and learn nothing of it. So it counts by itself, from before it asked for the lease: what it believes ends
earlier than what the store believes.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from typing import Final

MARGIN: Final = 0.1
"""The part of a lease that is not relied on: for what is begun after the look at the clock, and for clocks that drift."""

Moment = tuple[float, ...]


def _elapsed() -> tuple[Callable[[], float], bool]:
    """A clock that only goes forward, and whether it is known to go on while the machine is suspended."""
    # Linux stops CLOCK_MONOTONIC in a suspended machine, and macOS the clock behind `time.monotonic`.
    name = "CLOCK_MONOTONIC" if sys.platform == "darwin" else "CLOCK_BOOTTIME"
    number = getattr(time, name, None)
    if number is None:
        return time.monotonic, sys.platform == "win32"
    clock = functools.partial(time.clock_gettime, number)
    try:
        clock()
    except OSError:
        return time.monotonic, False
    return clock, True


_CLOCK, _GOES_ON = _elapsed()
elapsed_s: Final = _CLOCK
"""Seconds since some moment, which go on while the machine is suspended, where it has such a clock. For whatever is true
only for so long: a lease, or what was learnt from a store."""
CLOCKS: Final[tuple[Callable[[], float], ...]] = (elapsed_s,) if _GOES_ON else (elapsed_s, time.time)


class Term:
    """For how long a lease is relied on: for its length, less a margin, from when it was last asked for.

    Where no clock goes on while the machine is suspended, the time of day counts as well, and whichever says more.

    Args:
        lease_s: How long the store keeps the lease from each renewal on, in seconds.
    """

    __slots__ = ("_asked_at", "_clocks", "_sure_s")

    def __init__(self, lease_s: float, *, clocks: tuple[Callable[[], float], ...] = CLOCKS) -> None:
        self._sure_s = lease_s * (1 - MARGIN)
        self._clocks = clocks
        self._asked_at = self.now()

    def now(self) -> Moment:
        """This moment: to be taken before the store is asked for a renewal."""
        return tuple([clock() for clock in self._clocks])

    def renewed(self, asked_at: Moment) -> None:
        """The store has renewed it, as it was asked at that moment."""
        self._asked_at = asked_at

    @property
    def left_s(self) -> float:
        """Seconds for which it surely holds; 0 or less where it may have run out."""
        return self._sure_s - max(now - then for now, then in zip(self.now(), self._asked_at, strict=True))

    @property
    def over(self) -> bool:
        """Whether it may have run out."""
        return self.left_s <= 0
