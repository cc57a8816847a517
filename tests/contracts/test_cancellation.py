"""Calls that are cancelled at any moment: no reply reaches another, and no connection is lost."""

import asyncio
import random

import pytest

from contracts.backends import SERVED, Backend
from fungible.stores import (
    Rate,
)

HOURLY = Rate(limit=1000, period_s=3600)
RETURNS_WITHIN_S = 30


@pytest.mark.parametrize("backend", SERVED, indirect=True)
async def test_cancelled_calls_give_no_reply_to_another_and_leak_no_connection(backend: Backend) -> None:
    store = backend.open()
    for number in range(40):
        await store.put(f"s{number}", {"n": b"%d" % number}, ttl_s=600)
    # As many connections as so many callers ever need.
    await asyncio.gather(*(store.get(f"s{number % 40}") for number in range(200)))
    before = backend.server.connections()
    chance, cancelled, answered = random.Random(7), 0, 0

    async def drill(worker: int) -> None:
        nonlocal cancelled, answered
        for _ in range(60):
            number = chance.randrange(40)
            try:
                async with asyncio.timeout(chance.choice([0, 1e-4, 1e-3, 3e-3]) * chance.random()):
                    await one(number, chance.randrange(5), worker)
                    answered += 1
            except TimeoutError:
                cancelled += 1

    async def one(number: int, kind: int, worker: int) -> None:
        key = f"s{number}"
        if kind == 0:
            taken = await store.take(f"r{worker}", HOURLY, cost=1)
            assert 0 <= taken.remaining < 1000
        elif kind == 1:
            mine = await store.put(f"w{worker}", {"w": b"%d" % worker}, ttl_s=600)
            assert mine.fields == {"w": b"%d" % worker}
        elif kind == 2:
            assert (await store.since(f"empty{worker}")).items == ()
        else:
            record = await store.get(key)
            assert record is not None
            assert (record.key, record.fields) == (key, {"n": b"%d" % number})

    async with asyncio.TaskGroup() as group:
        for worker in range(40):
            group.create_task(drill(worker))
    assert cancelled > 300
    # And with all of them gone, each call has its own answer still.
    for number in range(40):
        record = await store.get(f"s{number}")
        assert record is not None
        assert record.fields == {"n": b"%d" % number}
    async with asyncio.timeout(RETURNS_WITHIN_S):
        while True:
            # The server learns of a closed connection when it next looks.
            if backend.server.connections() <= before:
                break
            await asyncio.sleep(0.02)
