"""Clients that ask an application, and stores that count what they are asked, or are away when they are told to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from contracts.backends import SHARED

from fungible.limits import Limit, LimitMiddleware
from fungible.stores import Store, StoreUnavailableError
from fungible.stores.memory import MemoryStore

# The kinds of stores. That Redis behaves the same as a cluster is the contract's matter.
KINDS: Final = ("memory", *(name for name in SHARED if name not in {"redis+cluster", "redis+sentinel"}))
VERBS: Final = ("get", "put", "touch", "take")


class Time:
    """A clock that stands still until it is told to move; the memory store goes by it as well."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


class WatchedStore:
    """Another store, of which it is known what it was asked."""

    def __init__(self, store: Store | None = None) -> None:
        self.store = store or MemoryStore()
        self.guarantees = self.store.guarantees
        self.home = self.store.home
        self.calls: list[tuple[str, str]] = []
        """Verbs and keys."""
        self.away = False

    def __getattr__(self, verb: str) -> Any:
        if verb not in VERBS:
            return getattr(self.store, verb)

        async def call(key: str, *arguments: Any, **options: Any) -> Any:
            self.calls.append((verb, key))
            if self.away:
                raise StoreUnavailableError(home=self.home, reason="it is switched off")
            return await getattr(self.store, verb)(key, *arguments, **options)

        return call


class Events:
    """What limits have told the application's metrics."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event: str, details: Mapping[str, Any]) -> None:
        self.seen.append((event, dict(details)))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.seen]


def limit_of(number: int = 2, *, name: str = "api", per_s: float = 3600, **more: Any) -> Limit:
    """A limit so slow that nothing comes back while a test runs."""
    return Limit(name, number, per_s=per_s, **{"on_unavailable": "closed", **more})


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """The application: says hello, in two parts."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hel", "more_body": True})
    await send({"type": "http.response.body", "body": b"lo"})


class Answer:
    """What was sent."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.messages = messages
        self.status: int = messages[0].get("status", 0) if messages else 0
        headers: dict[str, str] = {}
        for name, value in messages[0].get("headers", ()) if messages else ():
            headers[name.decode()] = value.decode()
        self.headers = headers
        self.body = b"".join(message.get("body", b"") for message in messages)


def application(*limits: Limit, app: Any = hello, store: Any = None, **options: Any) -> LimitMiddleware:
    """The application with the middleware."""
    return LimitMiddleware(app, store=store or MemoryStore(), limits=limits, **{"instances": 1, **options})


async def ask(
    app: Any,
    path: str = "/",
    *,
    method: str = "GET",
    client: tuple[str, int] | None = ("192.0.2.1", 50000),
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Answer:
    """One request, as a server hands it on."""
    messages: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        messages.append(dict(message))

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "client": client,
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()],
        **more,
    }
    await app(scope, receive, send)
    return Answer(messages)
