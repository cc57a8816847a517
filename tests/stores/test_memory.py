"""A store in memory that several threads use, each with an event loop of its own."""

import asyncio
import threading
from typing import Any

from threads_racing import race

from fungible.stores import ConflictError
from fungible.stores.contract import ABSENT, Rate, Record
from fungible.stores.memory import MemoryStore


def test_event_loops_in_several_threads_share_it_and_lose_nothing() -> None:
    store, here = MemoryStore(), threading.local()
    rate, took, made = Rate(limit=500, period_s=86_400), list[int](), list[Record]()

    def run(coroutine: Any) -> Any:
        if not hasattr(here, "loop"):
            here.loop = asyncio.new_event_loop()
        return here.loop.run_until_complete(coroutine)

    async def work(thread: int, turn: int) -> None:
        if (await store.take("rate", rate)).allowed:
            took.append(turn)
        await store.take(f"{thread}-{turn}", rate)
        await store.append("feed", b"item", ttl_s=60)
        try:
            made.append(await store.put(f"one-{turn}", {"by": b"%d" % thread}, ttl_s=60, expect=ABSENT))
        except ConflictError:
            await store.delete(f"other-{turn}", tombstone_s=5)

    def turn(thread: int, number: int) -> None:
        run(work(thread, number))
        if number == 299:
            here.loop.close()

    race(turn, turns=300)
    assert len(took) == 500
    assert len(made) == 300
    assert len(asyncio.run(store.since("feed")).items) == 8 * 300
