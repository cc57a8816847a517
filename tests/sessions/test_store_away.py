"""The store is killed or silent: an honest 503, no cookie is touched, and who was signed in still is when it returns."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from servers import RedisServer
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from fungible.sessions import SessionReadOnlyError
from fungible.stores import Store, open_store
from sessions.visiting import Events, application, client

DEADLINE_S = 0.3
RETURNS_WITHIN_S = 30
HURTS = pytest.mark.parametrize("hurt", ["kill", "pause"])


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[RedisServer]:
    redis_server.reset()
    yield redis_server
    redis_server.revive()


@asynccontextmanager
async def store_at(redis: RedisServer) -> AsyncIterator[Store]:
    store = open_store(redis.url, timeout_s=DEADLINE_S)
    yield store
    await store.aclose()


async def sign_in(request: Request) -> Response:
    request.session["user"] = "ada"
    await request.session.rotate(subject="ada")
    return PlainTextResponse("signed in")


async def look(request: Request) -> Response:
    return JSONResponse(dict(request.session))


async def change(request: Request) -> Response:
    request.session.increment("n")
    return PlainTextResponse("changed")


async def once_it_is_back(browser: httpx.AsyncClient, path: str) -> Any:
    """What a visitor sees who does what the answer says: tries again."""
    async with asyncio.timeout(RETURNS_WITHIN_S):
        while (answer := await browser.get(path)).status_code == 503:  # noqa: ASYNC110 - reconnects wait a while
            await asyncio.sleep(0.02)
    return answer.json()


@HURTS
@pytest.mark.parametrize("mode", ["stored", "snapshot"])
async def test_requests_are_refused_with_503_and_go_on_when_it_returns(
    redis: RedisServer, hurt: str, mode: str
) -> None:
    events = Events()
    async with store_at(redis) as store:
        # The copy in the cookie is never fresh: that is another matter.
        app = application(
            sign_in, look, change, store=store, mode=mode, on_event=events, retry_after_s=7, freshness_s=1e-6
        )
        async with client(app) as browser:
            await browser.post("/sign_in")
            assert (await browser.get("/look")).json() == {"user": "ada"}
            cookie = dict(browser.cookies)
            getattr(redis, hurt)()
            for path in ("/look", "/change"):
                answer = await browser.get(path)
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
                assert answer.json()["code"] == "store_unavailable"
                assert "set-cookie" not in answer.headers
                assert answer.headers["cache-control"] == "no-store"
            assert dict(browser.cookies) == cookie
            assert "store_unavailable" in events.seen
            async with client(app) as visitor:
                assert (await visitor.get("/look")).json() == {}
            redis.revive()
            seen = await once_it_is_back(browser, "/look")
            # A change that was refused may have been made: its answer could be all that was lost.
            assert seen in ({"user": "ada"}, {"user": "ada", "n": 1})


@HURTS
async def test_where_asked_for_requests_get_an_empty_session_that_can_not_be_changed(
    redis: RedisServer, hurt: str
) -> None:
    async def read_only(request: Request) -> Response:
        seen = dict(request.session)
        with pytest.raises(SessionReadOnlyError, match="store is away"):
            request.session["n"] = 1
        for verb in (request.session.rotate, request.session.end):
            with pytest.raises(SessionReadOnlyError):
                await verb()
        return JSONResponse({**seen, "read_only": True})

    async with store_at(redis) as store:
        app = application(sign_in, look, read_only, store=store, on_unavailable="empty")
        async with client(app) as browser:
            await browser.post("/sign_in")
            getattr(redis, hurt)()
            assert (await browser.get("/look")).json() == {}
            answer = await browser.get("/read_only")
            assert answer.json() == {"read_only": True}
            assert "set-cookie" not in answer.headers
            redis.revive()
            async with asyncio.timeout(RETURNS_WITHIN_S):
                while not (seen := (await browser.get("/look")).json()):  # noqa: ASYNC110 - reconnects wait a while
                    await asyncio.sleep(0.02)
            assert seen == {"user": "ada"}


@HURTS
@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
async def test_an_answer_whose_session_can_not_be_written_is_replaced_by_503(
    redis: RedisServer, hurt: str, known: bool
) -> None:
    async def pay(request: Request) -> Response:
        request.session["paid"] = True
        getattr(redis, hurt)()
        response = PlainTextResponse("paid")
        response.set_cookie("thanks", "1")
        return response

    async with store_at(redis) as store, client(application(sign_in, look, pay, store=store)) as browser:
        if known:
            await browser.post("/sign_in")
        answer = await browser.post("/pay")
        assert (answer.status_code, "paid" in answer.text) == (503, False)
        assert "set-cookie" not in answer.headers
        assert answer.headers["content-type"] == "application/problem+json"
        redis.revive()
        seen = await once_it_is_back(browser, "/look")
        assert seen.get("user") == ("ada" if known else None)
