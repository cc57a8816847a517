"""What the tests of this folder share."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from fungible.core.urls import parse_home_url
from fungible.stores.postgresql import PostgreSQLStore
from fungible.stores.postgresql.connecting import parse_settings
from fungible.stores.postgresql.pool import Pool

PATIENCE_S = 60


@asynccontextmanager
async def opened(url: str, *, timeout_s: float = 10, **options: Any) -> AsyncIterator[PostgreSQLStore]:
    """A store, closed at the end."""
    # Longer than the default: other work on the machine must not fail a rule that is not about deadlines.
    store = PostgreSQLStore(parse_settings(parse_home_url(url), timeout_s=timeout_s), **options)
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield store
    finally:
        await store.aclose()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    """A connection of our own, beside the store's."""
    connection = await asyncpg.connect(url.partition("?")[0])
    try:
        yield connection
    finally:
        connection.terminate()


def pool_of(store: PostgreSQLStore) -> Pool:
    """The connections that it has on this event loop."""
    return store._database._pools.here()


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that nothing tells us about."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
