"""With the store away the log says why and what is done meanwhile: one line, however many requests meet it."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import flask
import httpx
import pytest
from django.test import AsyncClient, Client
from django.test.utils import override_settings
from django_project import OURS, REST
from litestar import Litestar, Request, get
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse

from fungible.adapters.flask import FungibleSessions, session
from fungible.adapters.litestar import FungibleSessions as LitestarSessions
from fungible.cache.middleware import CacheMiddleware
from fungible.idempotency.middleware import IdempotencyMiddleware
from fungible.limits import Limit
from fungible.limits.middleware import LimitMiddleware
from fungible.sessions import SessionMiddleware
from fungible.stores import open_store

# Nobody listens there, and the password must not be told.
AWAY = "redis://:hunter2@127.0.0.1:1/0"
SECRET = "only for tests, and long enough for that"
REQUESTS = 4


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[str], list[str]]]:
    """What was logged under a name."""
    yield lambda name: [record.getMessage() for record in caplog.records if record.name == name]
    assert "hunter2" not in caplog.text


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Puts something into the session, where there is one, and answers."""
    cached = {"cache-control": "max-age=60"}
    if "session" in scope:
        scope["session"]["n"] = 1
        cached = {}
    await PlainTextResponse("answered", headers=cached)(scope, receive, send)


def ask(app: Any, method: str = "POST") -> set[int]:
    """The statuses of some requests, one after the other."""

    async def asked() -> set[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="https://example.org") as client:
            headers = {"idempotency-key": "k", "authorization": "Bearer x"}
            return {(await client.request(method, "/", headers=headers)).status_code for _ in range(REQUESTS)}

    return asyncio.run(asked())


@pytest.mark.parametrize("mode", ["stored", "snapshot"])
def test_sessions_say_so(mode: Any, lines: Callable[[str], list[str]]) -> None:
    app = SessionMiddleware(application, secret=SECRET, store=open_store(AWAY), mode=mode, instances=1)
    assert ask(app) == {503}
    [line] = lines("fungible.sessions")
    assert "the store of the sessions can't be used" in line
    assert "refused" in line.lower()


@pytest.mark.parametrize(("on_unavailable", "status", "done"), [("refuse", 503, "refused"), ("open", 200, "without")])
def test_idempotency_says_so(on_unavailable: Any, status: int, done: str, lines: Callable[[str], list[str]]) -> None:
    store = open_store(AWAY)
    assert ask(IdempotencyMiddleware(application, store=store, on_unavailable=on_unavailable, instances=1)) == {status}
    [line] = lines("fungible.idempotency")
    assert line.startswith("the store redis://127.0.0.1:1")
    assert done in line


def test_limits_say_so(lines: Callable[[str], list[str]]) -> None:
    limit = Limit("each", 100, per_s=60, on_unavailable="closed")
    assert ask(LimitMiddleware(application, store=open_store(AWAY), limits=[limit], instances=1)) == {503}
    [line] = lines("fungible.limits")
    assert "is unavailable" in line


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_caches_say_so(method: str, lines: Callable[[str], list[str]]) -> None:
    assert ask(CacheMiddleware(application, store=open_store(AWAY), instances=1), method) == {200}
    told = lines("fungible.cache")
    assert sum("is unavailable" in line for line in told) == 1
    assert sum("may be served as it was before" in line for line in told) == (method == "POST")


def cookie() -> dict[str, str]:
    """A cookie of a session that once was."""

    async def begun() -> dict[str, str]:
        app = SessionMiddleware(application, secret=SECRET, store=open_store("memory:"), instances=1)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://example.org") as client:
            return dict((await client.get("/")).cookies)

    return asyncio.run(begun())


def test_flask_says_so(lines: Callable[[str], list[str]]) -> None:
    app = flask.Flask(__name__)
    app.secret_key = SECRET
    FungibleSessions(app, store=open_store(AWAY))
    app.add_url_rule("/", "put", lambda: session.update(n=1) or "")
    client = app.test_client()
    assert {client.get("/").status_code for _ in range(REQUESTS)} == {503}
    assert len(lines("fungible.sessions")) == 1


@pytest.mark.parametrize("on_unavailable", ["refuse", "empty"])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_django_says_so(kind: Any, on_unavailable: str, lines: Callable[[str], list[str]]) -> None:
    [(_, value)] = cookie().items()
    given = {"store": AWAY, "secret": SECRET, "on_unavailable": on_unavailable}
    with override_settings(MIDDLEWARE=[OURS, *REST], FUNGIBLE_SESSION=given):
        client = kind()
        client.cookies["sessionid"] = value

        async def ask() -> set[int]:
            return {(await client.get("/me-async")).status_code for _ in range(REQUESTS)}

        seen = asyncio.run(ask()) if kind is AsyncClient else {client.get("/me").status_code for _ in range(REQUESTS)}
    assert seen == {503 if on_unavailable == "refuse" else 200}
    assert len(lines("fungible.sessions")) == 1


def test_litestar_says_so(lines: Callable[[str], list[str]]) -> None:
    @get("/")
    async def put(request: Request[Any, Any, Any]) -> None:
        request.session["n"] = 1

    sessions = LitestarSessions(store=open_store(AWAY), secret=SECRET)
    assert ask(Litestar([put], middleware=[sessions.middleware], logging_config=None), "GET") == {503}
    assert len(lines("fungible.sessions")) == 1


def test_an_empty_session_in_place_of_one_that_can_not_be_read_is_told_too(lines: Callable[[str], list[str]]) -> None:
    async def look(scope: Any, receive: Any, send: Any) -> None:
        assert dict(StarletteRequest(scope).session) == {}
        await PlainTextResponse("")(scope, receive, send)

    app = SessionMiddleware(look, secret=SECRET, store=open_store(AWAY), on_unavailable="empty", instances=1)

    async def asked() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="https://example.org", cookies=cookies) as client:
            for _ in range(REQUESTS):
                assert (await client.get("/")).status_code == 200

    cookies = cookie()
    asyncio.run(asked())
    assert len(lines("fungible.sessions")) == 1
