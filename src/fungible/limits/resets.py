"""Limits that can be given back: a key is counted under another name after each reset."""

from __future__ import annotations

import time
from collections.abc import Callable
from secrets import token_hex
from typing import Final

from fungible.limits.limit import Limit
from fungible.stores.contract import Store

SPARE_S: Final = 600.0
"""More than clocks differ by."""
FIELD: Final = "since"


class Resets:
    """Under which name each key is counted now.

    A rate can't be set back, as that would be lost among what others take at the same moment. What a reset begins is a
    new count. The old one is never used again before all of it has come back by itself.
    """

    def __init__(self, store: Store, *, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now

    async def name(self, limit: Limit, name: str) -> str:
        """What the key is called since its last reset."""
        key = _key(name)
        record = await self._store.get(key)
        if record is None:
            return name
        # For as long as it is used the record must not end: the count before it would hold again.
        life_s = _life_s(limit)
        if record.expires_at - self._now() < life_s / 2:
            await self._store.touch(key, ttl_s=life_s)
        return f"{name}!{record.fields.get(FIELD, b'').decode('ascii', 'replace')}"

    async def reset(self, limit: Limit, name: str) -> None:
        """Begins a new count."""
        await self._store.put(_key(name), {FIELD: token_hex(8).encode()}, ttl_s=_life_s(limit))


def _key(name: str) -> str:
    return f"limit-reset:{name}"


def _life_s(limit: Limit) -> float:
    return 2 * (limit.burst * limit.interval_s + SPARE_S)
