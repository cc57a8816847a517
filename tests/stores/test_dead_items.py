"""Feeds whose items die in any order: in the stores that this process can look into."""

import asyncio
import sqlite3
from pathlib import Path

from contracts.clock import Clock

from fungible.stores import Store
from fungible.stores.memory import SWEEP_EVERY, MemoryStore
from fungible.stores.sqlite import SQLiteStore
from fungible.stores.sqlite.serving import SWEEP_EVERY as SQLITE_SWEEPS_EVERY


async def _fill(store: Store, clock: Clock, more: int) -> None:
    await store.append("t", b"long", ttl_s=86_400)
    for _ in range(1000):
        await store.append("t", b"short", ttl_s=1)
    clock.time_s += 2
    for _ in range(more):
        await store.append("t", b"long", ttl_s=86_400)


def test_memory_keeps_no_dead_item_behind_one_that_lives_long() -> None:
    clock = Clock()
    store = MemoryStore(now=clock)
    asyncio.run(_fill(store, clock, SWEEP_EVERY))
    assert len(store._feeds["t"]) == 1 + SWEEP_EVERY


def test_sqlite_keeps_no_dead_item_behind_one_that_lives_long(tmp_path: Path) -> None:
    clock = Clock()
    store = SQLiteStore(tmp_path / "a.db", now=clock, timeout_s=30)

    async def run() -> None:
        try:
            await _fill(store, clock, 40 * SQLITE_SWEEPS_EVERY)
        finally:
            await store.aclose()

    asyncio.run(run())
    with sqlite3.connect(tmp_path / "a.db") as file:
        assert file.execute("SELECT count(*) FROM fungible_items WHERE item = x'73686f7274'").fetchone() == (0,)
    file.close()
