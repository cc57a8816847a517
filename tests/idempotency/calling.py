"""A shop that counts what it does, clients that send the same order again, and a store that can be away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from fungible.idempotency import IdempotencyMiddleware
from fungible.stores import Store, StoreUnavailableError
from fungible.stores.memory import MemoryStore

KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"
ADA = {"authorization": "Bearer ada"}
VERBS = ("get", "put", "change", "delete", "touch", "take", "append", "since", "ping")


class Shop:
    """An ASGI application: each POST is an order, and takes effect."""

    def __init__(self) -> None:
        self.effects = 0
        self.status = 201
        self.headers = [(b"content-type", b"text/plain"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
        self.parts: list[bytes] | None = None
        self.error: Exception | None = None
        self.held: asyncio.Event | None = None
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()
        self.act: Callable[[Any], Awaitable[None]] | None = None
        self.afterwards: Callable[[], Awaitable[None]] | None = None
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            assert message["type"] == "http.request"
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.bodies.append(body)
        self.effects += 1
        self.begun.set()
        if self.act is not None:
            await self.act(scope)
        if self.held is not None:
            await self.held.wait()
        if self.error is not None:
            raise self.error
        parts = self.parts or [b"order %d" % self.effects]
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})
        if self.afterwards is not None:
            await self.afterwards()
        self.ended.set()


def guarded(app: Any, store: Store | None = None, **options: Any) -> IdempotencyMiddleware:
    """An instance of the application with the middleware."""
    return IdempotencyMiddleware(app, store=store or MemoryStore(), **{"instances": 1, **options})


def client(app: Any, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
    """Somebody who sends orders; Ada, if nothing is said."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(
        transport=transport, base_url="https://example.org", headers=ADA if headers is None else headers
    )


async def order(
    app: Any,
    key: str | None = KEY,
    body: bytes = b"mug",
    path: str = "/orders",
    method: str = "POST",
    headers: dict[str, str] | None = None,
    **more: str,
) -> httpx.Response:
    """One request with a key."""
    named = {} if key is None else {"idempotency-key": key}
    async with client(app, headers) as sender:
        return await sender.request(method, path, content=body, headers={**named, **more})


def is_problem(answer: httpx.Response, status: int, code: str) -> bool:
    """Whether it is a problem document of that code (RFC 9457)."""
    document = answer.json()
    return (
        answer.headers["content-type"] == "application/problem+json"
        and (answer.status_code, document["status"], document["code"]) == (status, status, code)
        and bool(document["detail"])
        and "idempotent-replayed" not in answer.headers
    )


class FlakyStore:
    """Another store that is away when it is told so: before a verb is carried out, or after it."""

    def __init__(self, store: Store | None = None) -> None:
        self.store = store or MemoryStore()
        self.guarantees = self.store.guarantees
        self.home = self.store.home
        self.away_before: set[str] = set()
        self.away_after: set[str] = set()
        self.calls: list[str] = []
        self.called = asyncio.Condition()

    async def has_called(self, verb: str, times: int) -> None:
        """Waits until it was asked so often."""
        async with self.called:
            await self.called.wait_for(lambda: self.calls.count(verb) >= times)

    def __getattr__(self, verb: str) -> Callable[..., Awaitable[Any]]:
        if verb not in VERBS:
            return getattr(self.store, verb)

        async def call(*arguments: Any, **options: Any) -> Any:
            self.calls.append(verb)
            async with self.called:
                self.called.notify_all()
            if verb in self.away_before:
                raise StoreUnavailableError(home=self.home, reason="told to be away")
            result = await getattr(self.store, verb)(*arguments, **options)
            if verb in self.away_after:
                raise StoreUnavailableError(home=self.home, reason="its answer was lost")
            return result

        return call


async def call_raw(app: Any, headers: list[tuple[bytes, bytes]], body: bytes = b"mug", **scope: Any) -> list[Any]:
    """What the application sends, for requests that no client would send."""
    given = {"type": "http", "method": "POST", "path": "/orders", "raw_path": b"/orders", "query_string": b""}
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if messages:
            return messages.pop(0)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({**given, "headers": [(b"authorization", b"Bearer ada"), *headers], **scope}, receive, send)
    return sent


def starlette(stream: Any, store: Any, **options: Any) -> Starlette:
    """An application of Starlette's with one path."""
    middleware = Middleware(IdempotencyMiddleware, store=store, instances=1, **options)
    return Starlette(routes=[Route("/stream", stream, methods=["POST"])], middleware=[middleware])
