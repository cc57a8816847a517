"""Visitors with their cookie, and stores that count what they are asked, or fail when they are told to."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fungible.sessions import Session, SessionMiddleware, Sessions, SessionSettings, open_sessions
from fungible.stores import Store
from fungible.stores.memory import MemoryStore

SECRET = "only for tests, and long enough for that"
NAME = "__Host-session"
VERBS = ("get", "put", "change", "delete", "touch", "take", "append", "since", "ping")


class WatchedStore:
    """Another store, of which it is known what it was asked; `meets` may interfere before and after each call."""

    def __init__(self, store: Store | None = None) -> None:
        self.store = store or MemoryStore()
        self.guarantees = self.store.guarantees
        self.home = self.store.home
        self.calls: list[str] = []
        self.meets: Callable[[str, int, bool], Awaitable[None]] = nothing_happens

    def __getattr__(self, verb: str) -> Callable[..., Awaitable[Any]]:
        if verb not in VERBS:
            return getattr(self.store, verb)

        async def call(*arguments: Any, **options: Any) -> Any:
            number = len(self.calls)
            self.calls.append(verb)
            await self.meets(verb, number, False)
            result = await getattr(self.store, verb)(*arguments, **options)
            await self.meets(verb, number, True)
            return result

        return call

    @property
    def writes(self) -> list[str]:
        return [verb for verb in self.calls if verb not in ("get", "since", "ping")]


async def nothing_happens(verb: str, number: int, done: bool) -> None:
    """The store answers as it is."""


class Events:
    """What sessions have told the application's metrics."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, event: str, details: Mapping[str, Any]) -> None:
        self.seen.append(event)


def sessions_over(
    store: Any, *, mode: Any = "stored", now: Callable[[], float] = time.time, secret: Any = SECRET, **settings: Any
) -> Sessions:
    """One instance's sessions."""
    return open_sessions(store, secret, SessionSettings(**settings), mode=mode, now=now, instances=1)


class Browser:
    """Keeps the one cookie, and sends it to whichever instance."""

    def __init__(self, cookie: str | None = None) -> None:
        self.cookie = cookie
        self.answers: list[str] = []
        """All `Set-Cookie` headers it got."""

    @property
    def header(self) -> str:
        return "" if self.cookie is None else f"{NAME}={self.cookie}"

    async def load(self, sessions: Sessions) -> Session:
        """A request's beginning."""
        return await sessions.load(self.header)

    async def answer(self, sessions: Sessions, session: Session) -> str | None:
        """A request's end: what the middleware does when the response starts."""
        await sessions.write(session)
        set_cookie = sessions.set_cookie(session)
        if set_cookie is not None:
            self.answers.append(set_cookie)
            value, _, attributes = set_cookie.removeprefix(f"{NAME}=").partition(";")
            self.cookie = None if "Max-Age=0;" in attributes else value
        return set_cookie

    async def put(self, sessions: Sessions, **values: Any) -> Session:
        """A whole request that sets values."""
        session = await self.load(sessions)
        session.update(values)
        await self.answer(sessions, session)
        return session

    async def see(self, sessions: Sessions) -> dict[str, Any]:
        """A whole request that only looks."""
        session = await self.load(sessions)
        seen = dict(session)
        await self.answer(sessions, session)
        return seen

    async def sign_in(self, sessions: Sessions, subject: str) -> Session:
        """A whole request that signs somebody in."""
        session = await self.load(sessions)
        session["user"] = subject
        await session.rotate(subject=subject)
        await self.answer(sessions, session)
        return session

    async def sign_out(self, sessions: Sessions) -> None:
        """A whole request that signs out."""
        session = await self.load(sessions)
        await session.end()
        await self.answer(sessions, session)


Endpoint = Callable[[Request], Awaitable[Response]]


def application(*endpoints: Any, **options: Any) -> Starlette:
    """An application with a path for each endpoint, named as it is, and with the middleware."""
    routes = [Route(f"/{each.__name__}", each, methods=["GET", "HEAD", "POST"]) for each in endpoints]
    options = {"secret": SECRET, "instances": 1, **options}
    if options.get("mode") != "sealed":
        options.setdefault("store", MemoryStore())
    return Starlette(routes=routes, middleware=[Middleware(SessionMiddleware, **options)])


def client(app: Any) -> httpx.AsyncClient:
    """A browser over HTTPS."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="https://example.org")
