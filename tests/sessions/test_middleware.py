"""The middleware: saved before the answer goes out, and nothing else of the answer is touched."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from fungible.sessions import SessionMiddleware, SessionReadOnlyError
from fungible.stores import StoreUnavailableError
from fungible.stores.memory import MemoryStore
from sessions.visiting import NAME, SECRET, Browser, Events, WatchedStore, application, client


async def count(request: Request) -> Response:
    return JSONResponse(request.session.increment("n"))


async def look(request: Request) -> Response:
    return JSONResponse(dict(request.session))


async def nothing(request: Request) -> Response:
    return PlainTextResponse("nothing")


def blocking(request: Request) -> Response:
    """A sync endpoint: the framework runs it in a thread."""
    request.session["thread"] = request.session.get("thread", 0) + 1
    return JSONResponse(dict(request.session))


async def fail(request: Request) -> Response:
    request.session["failed"] = True
    raise RuntimeError("unhandled")


async def refuse(request: Request) -> Response:
    request.session["refused"] = True
    raise HTTPException(403)


@pytest.mark.parametrize("mode", ["stored", "snapshot", "sealed"])
async def test_a_visitors_session_goes_on_from_request_to_request(mode: str) -> None:
    async with client(application(count, look, blocking, mode=mode)) as browser:
        assert [(await browser.get("/count")).json() for _ in range(3)] == [1, 2, 3]
        assert (await browser.get("/blocking")).json() == {"n": 3, "thread": 1}
        assert (await browser.get("/blocking")).json() == {"n": 3, "thread": 2}
        assert (await browser.get("/look")).json() == {"n": 3, "thread": 2}


@pytest.mark.parametrize("mode", ["stored", "snapshot"])
async def test_a_visitor_without_a_session_costs_no_store_call_and_gets_no_cookie(mode: str) -> None:
    store = WatchedStore()
    async with client(application(look, nothing, store=store, mode=mode)) as browser:
        for path in ("/look", "/nothing", "/missing"):
            answer = await browser.get(path, headers={"cookie": "other=1; session=2"})
            assert "set-cookie" not in answer.headers
    assert store.calls == []


async def test_head_requests_are_served_and_saved_like_get() -> None:
    async def head(request: Request) -> Response:
        request.session["head"] = request.method
        return PlainTextResponse("body")

    async with client(application(head, look)) as browser:
        answer = await browser.head("/head")
        assert (answer.status_code, "set-cookie" in answer.headers) == (200, True)
        assert (await browser.get("/look")).json() == {"head": "HEAD"}


async def test_an_unhandled_exception_saves_nothing_and_a_handled_one_does() -> None:
    async with client(application(count, look, fail, refuse)) as browser:
        await browser.get("/count")
        assert (await browser.get("/fail")).status_code == 500
        assert (await browser.get("/look")).json() == {"n": 1}
        assert (await browser.get("/refuse")).status_code == 403
        assert (await browser.get("/look")).json() == {"n": 1, "refused": True}


async def test_a_value_that_can_not_be_kept_fails_the_request_and_saves_nothing() -> None:
    async def wrong(request: Request) -> Response:
        request.session["n"] = 7
        request.session["list"] = [object()]
        return PlainTextResponse("done")

    async with client(application(count, look, wrong)) as browser:
        await browser.get("/count")
        answer = await browser.get("/wrong")
        assert (answer.status_code, "set-cookie" in answer.headers) == (500, False)
        assert (await browser.get("/look")).json() == {"n": 1}


async def test_a_streamed_response_is_saved_before_its_first_byte_and_later_changes_are_kept() -> None:
    store = WatchedStore()
    seen: list[list[str]] = []

    async def stream(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            seen.append([*store.writes])
            yield b"first"
            request.session["during"] = True
            yield b"second"

        request.session["before"] = True
        return StreamingResponse(body())

    events = Events()
    async with client(application(stream, look, count, store=store, on_event=events)) as browser:
        await browser.get("/count")
        store.calls.clear()
        assert (await browser.get("/stream")).text == "firstsecond"
        assert seen == [["change"]]
        assert (await browser.get("/look")).json() == {"n": 1, "before": True, "during": True}
        # One that no cookie was sent for can't be begun any more.
        browser.cookies.clear()

        async def too_late(request: Request) -> Response:
            return PlainTextResponse("", background=BackgroundTask(request.session.update, late=1))

        async with client(application(too_late, look, store=store, on_event=events)) as other:
            assert "set-cookie" not in (await other.get("/too_late")).headers
            assert (await other.get("/look")).json() == {}
    assert "change_too_late" in events.seen


async def test_what_a_stream_changes_is_saved_before_its_last_byte() -> None:
    store = WatchedStore()
    writes: list[int] = []

    async def streaming(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        scope["session"]["during"] = True
        await send({"type": "http.response.body", "body": b"last"})

    async def send(message: Any) -> None:
        writes.append(len(store.writes))

    app: Any = SessionMiddleware(streaming, secret=SECRET, store=store, instances=1)
    visitor = Browser()
    await visitor.put(app.sessions, n=1)
    await app({"type": "http", "headers": [(b"cookie", visitor.header.encode())]}, None, send)
    assert writes == [1, 1, 2]
    assert await visitor.see(app.sessions) == {"n": 1, "during": True}


async def test_other_cookies_of_the_response_stay() -> None:
    async def several(request: Request) -> Response:
        request.session["a"] = 1
        response = PlainTextResponse("")
        response.set_cookie("one", "1")
        response.set_cookie("two", "2")
        return response

    async with client(application(several)) as browser:
        answer = await browser.get("/several")
        names = [value.partition("=")[0] for value in answer.headers.get_list("set-cookie")]
        assert names == ["one", "two", NAME]


async def test_one_response_object_for_all_visitors_carries_nobodys_cookie() -> None:
    shared = PlainTextResponse("shared")

    async def once(request: Request) -> Response:
        if "new" in request.query_params:
            request.session["a"] = 1
        return shared

    app = application(once)
    async with client(app) as one, client(app) as other:
        assert "set-cookie" in (await one.get("/once?new")).headers
        assert "set-cookie" not in (await other.get("/once")).headers


async def test_caches_are_told_what_depends_on_the_cookie() -> None:
    async def cached(request: Request) -> Response:
        request.session.increment("n")
        return PlainTextResponse("", headers={"cache-control": "private, max-age=5", "vary": "Accept, Cookie"})

    async def subject(request: Request) -> Response:
        return JSONResponse(request.session.subject)

    async with client(application(look, nothing, count, cached, subject)) as browser:
        assert "vary" not in (await browser.get("/nothing")).headers
        # Also for a visitor without a cookie: the answer would be another one with it.
        looked = await browser.get("/look")
        assert (looked.headers["vary"], "cache-control" in looked.headers) == ("Cookie", False)
        assert (await browser.get("/subject")).headers["vary"] == "Cookie"
        new = await browser.get("/count")
        assert (new.headers["vary"], new.headers["cache-control"]) == ("Cookie", "no-store")
        both = await browser.get("/cached")
        assert (both.headers.get_list("vary"), both.headers["cache-control"]) == (
            ["Accept, Cookie"],
            "private, max-age=5",
        )


async def test_the_cookies_flags_are_as_set() -> None:
    async def flags(**options: Any) -> str:
        async with client(application(count, **options)) as browser:
            return (await browser.get("/count")).headers["set-cookie"].partition(";")[2].strip()

    assert await flags() == "Path=/; Max-Age=1209600; HttpOnly; Secure; SameSite=Lax"
    assert await flags(persistent=False) == "Path=/; HttpOnly; Secure; SameSite=Lax"
    assert await flags(secure=False, same_site="strict", path="/a") == (
        "Path=/a; Max-Age=1209600; HttpOnly; SameSite=Strict"
    )
    assert await flags(same_site="none", partitioned=True, idle_timeout_s=60) == (
        "Path=/; Max-Age=60; HttpOnly; Secure; SameSite=None; Partitioned"
    )
    assert await flags(domain="example.org") == (
        "Path=/; Domain=example.org; Max-Age=1209600; HttpOnly; Secure; SameSite=Lax"
    )


async def test_signing_out_takes_the_cookie_back() -> None:
    async def leave(request: Request) -> Response:
        await request.session.end()
        return PlainTextResponse("")

    async with client(application(count, leave, look)) as browser:
        assert "set-cookie" not in (await browser.get("/leave")).headers
        await browser.get("/count")
        assert (await browser.get("/leave")).headers["set-cookie"].startswith(f"{NAME}=; Path=/; Max-Age=0;")
        assert (await browser.get("/look")).json() == {}


async def test_two_middlewares_with_cookies_of_their_own_do_not_meet() -> None:
    store = MemoryStore()
    inner = application(count, look, store=store, cookie_name="__Host-inner")
    app = SessionMiddleware(
        Starlette(routes=[Route("/count", count), Route("/look", look), Mount("/inner", inner)]),
        secret=SECRET, store=store, instances=1,
    )  # fmt: skip
    async with client(app) as browser:
        assert [(await browser.get("/count")).json() for _ in range(2)] == [1, 2]
        assert (await browser.get("/inner/count")).json() == 1
        assert (await browser.get("/look")).json() == {"n": 2}
        assert (await browser.get("/inner/look")).json() == {"n": 1}
        assert set(browser.cookies) == {NAME, "__Host-inner"}


async def test_it_goes_with_middlewares_outside_and_inside() -> None:
    async with client(GZipMiddleware(application(count, look), minimum_size=1)) as browser:
        await browser.get("/count")
        assert (await browser.get("/look")).json() == {"n": 1}


async def test_cookies_in_several_headers_are_read_as_one() -> None:
    async with client(application(count, look)) as browser:
        await browser.get("/count")
        cookie = f"{NAME}={browser.cookies[NAME]}"
        browser.cookies.clear()
        answer = await browser.get("/look", headers=[("cookie", "a=1"), ("cookie", cookie), ("cookie", "b=2")])
        assert answer.json() == {"n": 1}


async def test_lifespan_events_pass_through() -> None:
    scopes: list[str] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope["type"])

    app: Any = SessionMiddleware(inner, secret=SECRET, store=MemoryStore(), instances=1)
    await app({"type": "lifespan"}, None, None)
    assert scopes == ["lifespan"]


async def test_a_store_that_is_away_in_the_handler_is_a_503_and_not_a_500() -> None:
    store = WatchedStore()

    async def sign_in(request: Request) -> Response:
        request.session["user"] = "ada"
        await request.session.rotate(subject="ada")
        return PlainTextResponse("signed in")

    async def elsewhere(request: Request) -> Response:
        raise StoreUnavailableError(home="redis://elsewhere", reason="another store of the application's")

    async def away(verb: str, number: int, done: bool) -> None:
        raise StoreUnavailableError(home=store.home, reason="it is away")

    async with client(application(sign_in, elsewhere, store=store)) as browser:
        store.meets = away
        answer = await browser.post("/sign_in")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert "set-cookie" not in answer.headers
        assert (await browser.get("/elsewhere")).status_code == 500


async def connect(app: Any, cookie: str) -> list[dict[str, Any]]:
    """Opens a WebSocket, and gives all that the application sends."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"cookie", f"{NAME}={cookie}".encode())]
    await app({"type": "websocket", "path": "/", "headers": headers, "subprotocols": []}, receive, send)
    return sent


async def websocket(scope: Any, receive: Any, send: Any) -> None:
    session = scope["session"]
    await send({"type": "websocket.accept"})
    with pytest.raises(SessionReadOnlyError, match="WebSocket"):
        session["n"] = 5
    await send({"type": "websocket.send", "text": str(session["n"])})


async def test_a_websocket_sees_the_session_and_can_not_change_it() -> None:
    app: Any = SessionMiddleware(websocket, secret=SECRET, store=MemoryStore(), instances=1)
    visitor = Browser()
    await visitor.put(app.sessions, n=1, list=[])
    assert await connect(app, visitor.cookie or "") == [
        {"type": "websocket.accept"},
        {"type": "websocket.send", "text": "1"},
    ]
    assert await visitor.see(app.sessions) == {"n": 1, "list": []}


async def test_a_websocket_is_closed_with_1013_where_the_store_is_away() -> None:
    store = WatchedStore()
    app: Any = SessionMiddleware(websocket, secret=SECRET, store=store, instances=1)
    visitor = Browser()
    await visitor.put(app.sessions, n=1, list=[])

    async def away(verb: str, number: int, done: bool) -> None:
        raise StoreUnavailableError(home=store.home, reason="it is away")

    store.meets = away
    [message] = await connect(app, visitor.cookie or "")
    assert (message["type"], message["code"]) == ("websocket.close", 1013)


async def test_fifty_requests_of_one_visitor_at_once_lose_nothing() -> None:
    async def add(request: Request) -> Response:
        await asyncio.sleep(0)
        request.session.setdefault("items", []).append(request.query_params["k"])
        request.session.increment("n")
        request.session[f"k{request.query_params['k']}"] = 1
        return PlainTextResponse("")

    async with client(application(add, count, look)) as browser:
        await browser.get("/count")
        answers = await asyncio.gather(*(browser.get(f"/add?k={k}") for k in range(50)))
        assert [answer.status_code for answer in answers] == [200] * 50
        seen = (await browser.get("/look")).json()
        assert seen["n"] == 51
        assert sorted(map(int, seen["items"])) == list(range(50))
        assert len(seen) == 52
