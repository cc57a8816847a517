"""What the tests of SQLite share."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from fungible.stores import (
    Store,
)
from fungible.stores.sqlite import SQLiteStore

PATIENCE_S = 30


def run(work: Callable[[SQLiteStore], Awaitable[Any]], store: SQLiteStore) -> Any:
    """Runs it with the store, and closes the store."""

    async def whole() -> Any:
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await work(store)
            finally:
                await store.aclose()

    return asyncio.run(whole())


async def put_one(store: Store) -> None:
    await store.put("s", {"a": b"1"}, ttl_s=60)


async def get_one(store: Store) -> Any:
    return await store.get("s")


def rows(path: Path) -> dict[str, int]:
    """How many rows each table has."""
    with closing(sqlite3.connect(path)) as file:
        tables = ("fungible_records", "fungible_rates", "fungible_items")
        return {table: file.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}
