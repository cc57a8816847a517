"""What the tests of this folder share."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from fungible.core.urls import parse_home_url
from fungible.stores import StoreUnavailableError
from fungible.stores.mysql import MySQLStore
from fungible.stores.mysql.connecting import LONG_WAIT_S, Connection, parse_settings
from fungible.stores.mysql.pool import Pool

PATIENCE_S = 60
"""Nothing here is about time: what takes longer than this hangs."""


@asynccontextmanager
async def opened(url: str, *, timeout_s: float = 10) -> AsyncIterator[MySQLStore]:
    """A store, closed at the end."""
    # Longer than the default: other work on the machine must not fail a rule that is not about deadlines.
    store = MySQLStore.from_url(parse_home_url(url), timeout_s=timeout_s)
    try:
        yield store
    finally:
        await store.aclose()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """A connection of our own, beside the store's."""
    connection = await parse_settings(parse_home_url(url), timeout_s=PATIENCE_S).connect(wait_s=LONG_WAIT_S)
    try:
        yield connection
    finally:
        connection.abort()


def pool_of(store: MySQLStore) -> Pool:
    """The connections that it has on this event loop."""
    return store._database._pools.here()


async def until(condition: Callable[[], Awaitable[bool]] | Callable[[], bool]) -> None:
    """Waits for something that nothing tells us about."""
    while True:
        holds = condition()
        if await holds if isinstance(holds, Awaitable) else holds:
            return
        await asyncio.sleep(0.01)


async def returns(store: MySQLStore) -> None:
    """Waits until the store answers, and has its tables."""
    while True:
        try:
            return await store.ping()
        except StoreUnavailableError:
            await asyncio.sleep(0.01)


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs a test on an event loop of its own."""

    async def patiently() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await coroutine

    asyncio.run(patiently())
