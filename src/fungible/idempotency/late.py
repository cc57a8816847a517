"""Results that could not be stored when they were there, since the store was away: stored as soon as it is back."""

from __future__ import annotations

import asyncio
import random
from typing import Final

from fungible.idempotency.claims import Claim, Claims
from fungible.idempotency.errors import LeaseLostError
from fungible.idempotency.running import LOGGER
from fungible.stores.errors import StoreUnavailableError

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
FOR_LEASES: Final = 10
"""How long it is tried, in leases: then who retries has come long ago."""


async def store_late(claims: Claims, claim: Claim, result: bytes | None, *, ttl_s: float | None = None) -> None:
    """Stores a result when the store is back. Until its lease runs out retries are refused; afterwards one may run."""
    loop = asyncio.get_running_loop()
    until = loop.time() + claim.request.options.lease_s * FOR_LEASES
    pause_s = FIRST_PAUSE_S
    while loop.time() < until:
        await asyncio.sleep(pause_s * random.uniform(0.5, 1))
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        try:
            await claims.finish_late(claim, result, ttl_s=ttl_s)
        except StoreUnavailableError:
            continue
        except LeaseLostError:
            break
        return
    LOGGER.error("an answer could not be stored before a retry came or time was over: the retry may run again")
