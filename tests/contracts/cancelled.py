"""Callers that are cancelled all the time: each checks that no answer is another's."""

import asyncio
import os
import random
from collections.abc import Sequence
from contextlib import suppress

from fungible.stores import ConflictError, Rate, Store

CALLERS = 16
RATE = Rate(limit=1_000_000, period_s=1)
KINDS = range(8)
"""Of calls; most of them only read."""


async def prepared(store: Store) -> Sequence[str]:
    """A key for each caller, whose record only it knows."""
    keys = [f"key{number}" for number in range(CALLERS)]
    for key in keys:
        await store.put(key, {"mine": key.encode() * 100}, ttl_s=600)
    return keys


async def call(store: Store, key: str, kind: int) -> None:
    """One call, whose answer can only be its own."""
    if kind == 0:
        assert set((await store.since(key)).items) <= {key.encode()}
        return
    if kind == 1:
        await store.append(key, key.encode(), ttl_s=5)
        return
    if kind == 2:
        assert (await store.take("everybody's", RATE)).allowed
        return
    record = await store.get(key)
    assert record is not None
    assert record.fields["mine"] == key.encode() * 100
    if kind == 3:
        with suppress(ConflictError):
            changed = await store.change(record, {"drawn": os.urandom(6)})
            assert changed.fields["mine"] == key.encode() * 100


async def cancelled_calls(store: Store, keys: Sequence[str], *, each: int, within_s: float) -> int:
    """So many calls by each caller, most of them cancelled within a time; gives how many were."""
    chance = random.Random(3)

    async def caller(key: str) -> int:
        cancelled = 0
        for _ in range(each):
            task = asyncio.create_task(call(store, key, chance.choice(KINDS)))
            if chance.random() < 0.7:
                # Before it starts, while it waits for its turn or a connection, or for an answer.
                await asyncio.sleep(chance.choice([0, 0, chance.uniform(0, within_s)]))
                task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                cancelled += 1
        return cancelled

    return sum(await asyncio.gather(*map(caller, keys)))
