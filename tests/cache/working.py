"""Computations that are counted and held, and stores that fail when they are told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from contracts.backends import Backend

from fungible.cache import Cache
from fungible.stores import StoreUnavailableError
from fungible.stores.memory import MemoryStore


class Work:
    """What a cache computes: how often is counted, and each begins by waiting until it is let go."""

    def __init__(self, *, held: bool = False) -> None:
        self.count = 0
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.fails: set[int] = set()
        """The numbers of those that raise an error, beginning with 1."""
        if not held:
            self.go.set()

    async def __call__(self) -> Any:
        self.count += 1
        number = self.count
        self.begun.set()
        await self.go.wait()
        if number in self.fails:
            raise WorkError(f"number {number} has failed")
        return {"number": number}


class WorkError(Exception):
    """What a computation raises."""


def caches(backend: Backend, count: int, **settings: Any) -> list[Cache]:
    """So many instances' caches."""
    settings = {"now": backend.now, "instances": 1, "beta": 0, **settings}
    return [Cache(backend.open(), **settings) for _ in range(count)]


async def until(condition: Callable[[], bool]) -> None:
    """Waits until other tasks have brought something about."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


class CountingStore:
    """A store in memory that counts what it is asked, and fails when it is told to."""

    def __init__(self, store: Any = None) -> None:
        self.store = store or MemoryStore()
        self.guarantees, self.home = self.store.guarantees, self.store.home
        self.calls: list[str] = []
        self.is_away = False

    def __getattr__(self, verb: str) -> Any:
        async def call(*arguments: Any, **options: Any) -> Any:
            self.calls.append(verb)
            if self.is_away:
                raise StoreUnavailableError(home=self.home, reason="told so")
            return await getattr(self.store, verb)(*arguments, **options)

        return call
