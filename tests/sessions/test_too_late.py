"""A change that comes once the response has begun is kept or refused, and never dropped without a word."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from fungible.sessions import Session, SessionMiddleware, SessionReadOnlyError
from fungible.stores.memory import MemoryStore
from sessions.visiting import NAME, SECRET, Browser, Events, WatchedStore, application, client

MODES = ["stored", "snapshot", "sealed"]
Do = Callable[[Session], Awaitable[Any] | Any]


async def put(session: Session) -> None:
    session["late"] = 1


async def add(session: Session) -> None:
    session.increment("late")


async def remove(session: Session) -> None:
    del session["n"]


async def clear(session: Session) -> None:
    session.clear()


async def end(session: Session) -> None:
    await session.end()


async def rotate(session: Session) -> None:
    await session.rotate()


async def sign_in(session: Session) -> None:
    await session.rotate(subject="ada")


async def set_subject(session: Session) -> None:
    session.subject = "ada"


async def begin_another(session: Session) -> None:
    session.clear()
    session["fresh"] = 1


async def name_the_subject(session: Session) -> None:
    session["user"] = "ada"


NEED_A_COOKIE: list[Do] = [rotate, sign_in, set_subject, begin_another, name_the_subject]
KEPT_IN_A_STORE: list[Do] = [put, add, remove, clear, end]


async def first(request: Request) -> Response:
    request.session.update(n=1, list=[])
    return PlainTextResponse("")


async def look(request: Request) -> Response:
    return JSONResponse(dict(request.session))


class Late:
    """Two endpoints that do something once their response has begun, and what came of it."""

    def __init__(self, do: Do) -> None:
        self.do = do
        self.error: Exception | None = None

    async def _try(self, session: Session) -> None:
        try:
            await self.do(session)
        except SessionReadOnlyError as error:
            self.error = error

    async def stream(self, request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"first"
            await self._try(request.session)
            yield b"last"

        return StreamingResponse(body())

    async def background(self, request: Request) -> Response:
        return PlainTextResponse("firstlast", background=BackgroundTask(self._try, request.session))


@pytest.mark.parametrize("when", ["stream", "background"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("do", [*NEED_A_COOKIE, put, add], ids=lambda do: do.__name__)
async def test_a_visitor_without_a_session_can_not_begin_one_any_more(
    mode: str, do: Do, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    late, events = Late(do), Events()
    app = application(late.stream, late.background, look, mode=mode, on_event=events, subject_key="user")
    async with client(app) as browser:
        answer = await browser.get(f"/{when}")
        assert (answer.text, answer.status_code) == ("firstlast", 200)
        assert "set-cookie" not in answer.headers
        assert (await browser.get("/look")).json() == {}
    assert "once the response has begun" in str(late.error)
    assert "change_too_late" in events.seen
    assert "a change of a session is lost, as it came too late" in caplog.text


@pytest.mark.parametrize("when", ["stream", "background"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("do", NEED_A_COOKIE, ids=lambda do: do.__name__)
async def test_what_needs_another_cookie_is_refused_before_anything_is_done(mode: str, do: Do, when: str) -> None:
    late = Late(do)
    app = application(first, late.stream, late.background, look, mode=mode, subject_key="user")
    async with client(app) as browser:
        await browser.get("/first")
        await browser.get("/look")
        assert "set-cookie" not in (await browser.get(f"/{when}")).headers
        assert "once the response has begun" in str(late.error)
        seen = {} if do is begin_another and mode != "sealed" else {"n": 1, "list": []}
        assert (await browser.get("/look")).json() == seen


@pytest.mark.parametrize("when", ["stream", "background"])
@pytest.mark.parametrize("mode", ["stored", "snapshot"])
@pytest.mark.parametrize("do", KEPT_IN_A_STORE, ids=lambda do: do.__name__)
async def test_what_needs_only_the_store_is_done(mode: str, do: Do, when: str) -> None:
    late = Late(do)
    app = application(first, late.stream, late.background, look, mode=mode, freshness_s=1e-6)
    async with client(app) as browser:
        await browser.get("/first")
        await browser.get(f"/{when}")
        assert late.error is None
        seen = (await browser.get("/look")).json()
    kept = {"n": 1, "list": []}
    assert seen == {put: kept | {"late": 1}, add: kept | {"late": 1}, remove: {"list": []}}.get(do, {})


@pytest.mark.parametrize("when", ["stream", "background"])
@pytest.mark.parametrize("do", KEPT_IN_A_STORE, ids=lambda do: do.__name__)
async def test_a_sealed_session_can_not_be_changed_at_all(do: Do, when: str) -> None:
    late = Late(do)
    async with client(application(first, late.stream, late.background, look, mode="sealed")) as browser:
        await browser.get("/first")
        assert (await browser.get(f"/{when}")).text == "firstlast"
        assert "its cookie can't be sent any more" in str(late.error)
        assert (await browser.get("/look")).json() == {"n": 1, "list": []}


def served(app: Any, visitor: Browser, kind: str = "http") -> list[str]:
    """Serves one request of a visitor by an ASGI application, and gives the types of what it sent."""
    sent: list[str] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def serve() -> None:
        await app({"type": kind, "headers": [(b"cookie", visitor.header.encode())]}, None, send)

    asyncio.run(serve())
    return sent


@pytest.mark.parametrize(("kind", "mode"), [("http", "sealed"), ("websocket", "sealed"), ("websocket", "stored")])
def test_what_is_changed_inside_of_a_value_is_an_error_once_the_application_has_ended(kind: str, mode: str) -> None:
    events, sent = Events(), []

    async def changing(scope: Any, receive: Any, send: Any) -> None:
        held = scope["session"]["list"]
        if kind == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"whole"})
        held.append("lost")
        sent.append("all")

    store = None if mode == "sealed" else MemoryStore()
    app: Any = SessionMiddleware(changing, secret=SECRET, store=store, mode=mode, instances=1, on_event=events)
    visitor = Browser()
    asyncio.run(visitor.put(app.sessions, list=[]))
    with pytest.raises(SessionReadOnlyError, match="inside of list is lost"):
        served(app, visitor, kind)
    assert sent == ["all"]
    assert events.seen == ["change_too_late"]


def test_a_session_takes_no_change_once_its_request_has_ended() -> None:
    held: list[Session] = []

    async def keeping(scope: Any, receive: Any, send: Any) -> None:
        held.append(scope["session"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    app: Any = SessionMiddleware(keeping, secret=SECRET, store=MemoryStore(), instances=1)
    visitor = Browser()
    asyncio.run(visitor.put(app.sessions, n=1))
    served(app, visitor)
    with pytest.raises(SessionReadOnlyError, match="once its request has ended"):
        held[0]["n"] = 2
    assert held[0]["n"] == 1


async def test_a_session_takes_no_change_once_its_response_was_replaced_by_503() -> None:
    store, late = WatchedStore(), Late(put)

    async def changed(request: Request) -> Response:
        request.session["n"] = 1
        return PlainTextResponse("", background=BackgroundTask(late._try, request.session))

    async def away(verb: str, number: int, done: bool) -> None:
        from fungible.stores import StoreUnavailableError

        raise StoreUnavailableError(home=store.home, reason="it is away")

    async with client(application(changed, store=store)) as browser:
        store.meets = away
        assert (await browser.get("/changed")).status_code == 503
    assert "its store is away" in str(late.error)


async def test_nothing_is_refused_that_changes_nothing() -> None:
    async def same(session: Session) -> None:
        session.subject = None
        await session.end()
        session.clear()

    late = Late(same)
    async with client(application(late.stream, mode="sealed")) as browser:
        assert NAME not in (await browser.get("/stream")).cookies
    assert late.error is None
