"""A claim's lease, renewed for as long as its work is under way."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from fungible.idempotency.claims import Claim, Claims
from fungible.idempotency.errors import LeaseLostError
from fungible.stores.errors import StoreUnavailableError

BEATS_IN_A_LEASE = 3
"""So that one may fail, and the next is still in time."""


class Lease:
    """Renews a claim's lease while its block runs. Work that is done before the first renewal is due costs nothing."""

    def __init__(self, claims: Claims, claim: Claim) -> None:
        self._claims = claims
        self._claim = claim
        self._every_s = claim.request.options.lease_s / BEATS_IN_A_LEASE
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._timer = asyncio.get_running_loop().call_later(self._every_s, self._begin)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._timer is not None
        self._timer.cancel()
        if self._task is not None:
            # A renewal that arrives late changes nothing: it names a state that the record no longer has.
            self._task.cancel()
            await asyncio.wait({self._task})

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._beat(), name="fungible-idempotency-lease")

    async def _beat(self) -> None:
        while True:
            try:
                await self._claims.beat(self._claim)
            except LeaseLostError:
                return
            except StoreUnavailableError:
                pass
            await asyncio.sleep(self._every_s)
