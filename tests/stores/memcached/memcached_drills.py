"""What the tests of this folder share."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from servers import MemcachedServer

from fungible.core.urls import parse_home_url
from fungible.stores import StoreUnavailableError
from fungible.stores.memcached import MemcachedStore
from fungible.stores.memcached.servers import Server, parse_settings

PATIENCE_S = 60
"""Nothing here is about time: what takes longer than this hangs."""


@asynccontextmanager
async def opened(
    url: str, *, timeout_s: float = 10, now: Callable[[], float] = time.time
) -> AsyncIterator[MemcachedStore]:
    """A store, closed at the end."""
    # Longer than the default: other work on the machine must not fail a rule that is not about deadlines.
    store = MemcachedStore(parse_settings(parse_home_url(url), timeout_s=timeout_s), now=now)
    try:
        yield store
    finally:
        await store.aclose()


def servers_of(store: MemcachedStore) -> tuple[Server, ...]:
    """What it has on this event loop."""
    return store._items._loops.here().servers.all


def statistics(server: MemcachedServer) -> dict[str, int]:
    """The server's counters."""
    words = (line.split() for line in server.ask(b"stats\r\n").decode().splitlines())
    return {name: int(number) for _, name, number in (line for line in words if len(line) == 3) if number.isdigit()}


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that nothing tells us about."""
    while True:
        if condition():
            return
        await asyncio.sleep(0.01)


async def returns(store: MemcachedStore) -> None:
    """Waits until the store answers."""
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
