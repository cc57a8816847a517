"""The store's clock, known to every instance: so that one whose own clock is wrong takes no retry for a theft."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fungible.core.leases import elapsed_s
from fungible.stores.contract import Record, Store

KEY: Final = "refresh-clock"
MEASURED_EVERY_S: Final = 60.0


class StoreClock:
    """Unix seconds by the store's clock, where it has one; it is asked once a minute at most.

    A record's expiry, less the time to live it was given, is the time at which the store wrote it. Between two
    measurements the instance's own clock goes on, also while its machine is suspended. A store that lacks a clock of its own gives the instance's.
    """

    def __init__(self, store: Store, *, monotonic: Callable[[], float] = elapsed_s) -> None:
        self._store = store
        self._monotonic = monotonic
        self._measured: tuple[float, float] | None = None

    async def __call__(self) -> float:
        """Now.

        Raises:
            StoreUnavailableError: the store was to be asked, and does not answer.
        """
        measured = self._measured
        if measured is None or self._monotonic() - measured[0] > MEASURED_EVERY_S:
            asked_at = self._monotonic()
            record = await self._store.put(KEY, {"asked": b""}, ttl_s=MEASURED_EVERY_S)
            measured = self.learn(record, MEASURED_EVERY_S, asked_at)
        return measured[1] + self._monotonic() - measured[0]

    def learn(self, written: Record, ttl_s: float, asked_at: float) -> tuple[float, float]:
        """Takes the time from a record that was written anew; `asked_at` is by the monotonic clock."""
        # In the middle of the round trip: the error is half of it at most.
        self._measured = ((asked_at + self._monotonic()) / 2, written.expires_at - ttl_s)
        return self._measured
