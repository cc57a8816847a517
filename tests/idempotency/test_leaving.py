"""Point F6: a client that goes away ends nothing, its retry gets the answer, and a server that ends waits."""

import asyncio
import logging
from typing import Any

import pytest
from contracts.backends import Backend
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from fungible.stores.memory import MemoryStore
from idempotency.calling import FlakyStore, Shop, call_raw, guarded, order, starlette


async def test_f6_a_client_that_goes_away_does_not_end_the_work_and_its_retry_gets_the_answer(backend: Backend) -> None:
    shop = Shop()
    shop.held = asyncio.Event()
    app = guarded(shop, backend.open(), wait_s=60)
    first = asyncio.create_task(order(app))
    await shop.begun.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    shop.held.set()
    answer = await order(app)
    assert (answer.text, shop.effects, answer.headers["idempotent-replayed"]) == ("order 1", 1, "true")
    await shop.ended.wait()


async def test_f6_the_handler_is_not_told_that_its_client_has_gone() -> None:
    disconnects: list[bool] = []

    async def stream(request: Request) -> Response:
        await request.body()
        disconnects.append(await request.is_disconnected())
        return Response("done")

    app = starlette(stream, MemoryStore())
    # `call_raw` says that the client has gone as soon as its body was read.
    await call_raw(app, [(b"idempotency-key", b"k")], path="/stream")
    assert disconnects == [False]


async def test_f6_a_request_that_is_cancelled_is_not_told_either_and_streams_to_its_end() -> None:
    held, begun = asyncio.Event(), asyncio.Event()
    disconnects: list[bool] = []

    async def stream(request: Request) -> Response:
        await request.body()

        async def parts() -> Any:
            yield "one "
            begun.set()
            await held.wait()
            disconnects.append(await request.is_disconnected())
            yield "two"

        return StreamingResponse(parts())

    app = starlette(stream, MemoryStore(), wait_s=60)
    first = asyncio.create_task(order(app, path="/stream"))
    await begun.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    held.set()
    assert (await order(app, path="/stream")).text == "one two"
    assert disconnects == [False]


async def test_f6_what_follows_an_answer_waits_until_it_is_kept_also_where_the_client_has_gone() -> None:
    shop, store, seen = Shop(), FlakyStore(), list[str]()
    shop.held = asyncio.Event()

    async def afterwards() -> None:
        seen.append(store.calls[-1])

    shop.afterwards = afterwards
    app = guarded(shop, store)
    first = asyncio.create_task(order(app))
    await shop.begun.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    shop.held.set()
    await app.drain()
    assert seen == ["change"]


async def test_f6_a_client_that_goes_before_its_body_came_leaves_nothing() -> None:
    shop = Shop()
    store = FlakyStore()

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", b"Bearer ada"), (b"idempotency-key", b"k")]
    scope = {"type": "http", "method": "POST", "path": "/orders", "headers": headers}
    await guarded(shop, store)(scope, receive, send)
    assert (shop.effects, sent, store.calls) == (0, [], [])


async def test_f6_what_a_handler_does_after_its_answer_is_done_after_it_was_kept_and_sent() -> None:
    order_of_events: list[str] = []
    store = FlakyStore()

    async def stream(request: Request) -> Response:
        async def later() -> None:
            order_of_events.append(f"later, after {store.calls[-1]}")

        return Response("done", background=BackgroundTask(later))

    app = starlette(stream, store)
    assert (await order(app, path="/stream")).text == "done"
    assert order_of_events == ["later, after change"]
    assert (await order(app, path="/stream")).text == "done"
    assert len(order_of_events) == 1


async def test_f6_an_error_after_the_client_has_gone_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop()
    shop.held, shop.error = asyncio.Event(), ValueError("seen by nobody else")
    app = guarded(shop)
    first = asyncio.create_task(order(app))
    await shop.begun.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    with caplog.at_level(logging.ERROR, "fungible.idempotency"):
        shop.held.set()
        await app.drain()
    assert "seen by nobody else" in caplog.text


async def test_f6_a_server_that_ends_waits_for_work_whose_client_has_gone() -> None:
    shop = Shop()
    shop.held = asyncio.Event()
    closed: list[int] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await shop(scope, receive, send)
            return
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        closed.append(shop.ended.is_set())
        await send({"type": "lifespan.shutdown.complete"})

    app = guarded(application)
    messages: asyncio.Queue[Any] = asyncio.Queue()
    answers: asyncio.Queue[Any] = asyncio.Queue()
    life = asyncio.create_task(app({"type": "lifespan"}, messages.get, answers.put))
    await messages.put({"type": "lifespan.startup"})
    await answers.get()
    first = asyncio.create_task(order(app))
    await shop.begun.wait()
    first.cancel()
    await messages.put({"type": "lifespan.shutdown"})
    await asyncio.sleep(0)
    shop.held.set()
    await life
    assert closed == [True]


async def test_f6_a_shutdown_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop()
    shop.held = asyncio.Event()
    app = guarded(shop, drain_s=0)
    first = asyncio.create_task(order(app))
    await shop.begun.wait()
    await app.drain()
    assert "cut off" in caplog.text
    shop.held.set()
    await first
