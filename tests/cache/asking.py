"""An application whose answers are told by the test, behind the middleware, on as many instances as wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
from contracts.clock import Clock

from fungible.cache import CacheMiddleware
from fungible.stores.memory import MemoryStore

BASE = "http://shop.example"


class Origin:
    """Answers each request with what it was told to; counts them."""

    def __init__(self, control: str | None = "max-age=60", *, held: bool = False) -> None:
        self.headers: list[tuple[str, str]] = [] if control is None else [("cache-control", control)]
        self.status = 200
        self.body: Callable[[], list[bytes]] | None = None
        self.asked: list[dict[str, Any]] = []
        self.raises: Exception | None = None
        self.breaks = False
        """Whether the body ends in the middle of it."""
        self.touches: Callable[[dict[str, Any]], object] | None = None
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        if not held:
            self.go.set()

    @property
    def count(self) -> int:
        return len(self.asked)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope)
        number = self.count
        self.begun.set()
        await self.go.wait()
        if self.touches is not None:
            self.touches(scope)
        if self.raises is not None:
            raise self.raises
        chunks = self.body() if self.body is not None else [b"body %d" % number]
        headers = [(name.encode(), value.encode()) for name, value in self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if scope["method"] == "HEAD":
            chunks = []
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if self.breaks:
            raise ConnectionError("in the middle of the body")
        await send({"type": "http.response.body", "body": b""})


def instance(origin: Any, store: Any, **settings: Any) -> httpx.AsyncClient:
    """A client of one instance."""
    app = CacheMiddleware(origin, store=store, instances=1, **settings)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE)


Two = tuple[httpx.AsyncClient, httpx.AsyncClient, Clock]


def two(origin: Origin, **settings: Any) -> Two:
    """Two instances on one store, and their clock."""
    clock = Clock()
    clock.time_s = 1_800_000_000.0
    store = MemoryStore(now=clock)
    return instance(origin, store, now=clock, **settings), instance(origin, store, now=clock, **settings), clock


async def is_stored(origin: Origin, headers: dict[str, str] | None = None, **settings: Any) -> bool:
    """Whether a second request, to another instance, is answered without the application."""
    one, other, _ = two(origin, **settings)
    await one.get("/", headers=headers)
    before = origin.count
    answer = await other.get("/")
    assert ("hit" in answer.headers["cache-status"]) == (origin.count == before)
    return origin.count == before
