"""WebSocket handshakes count like requests."""

import json
from typing import Any

from limit_asking import WatchedStore, application, limit_of


async def accept(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept", "headers": [(b"x", b"y")]})


async def shake(app: Any, **more: Any) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        messages.append(dict(message))

    scope = {"type": "websocket", "path": "/chat", "client": ("192.0.2.1", 1), "headers": [], **more}
    await app(scope, None, send)
    return messages


async def test_an_acceptance_says_what_is_left() -> None:
    [accepted] = await shake(application(limit_of(2, methods=("GET",)), app=accept))
    assert dict(accepted["headers"]) == {
        b"x": b"y",
        b"ratelimit-policy": b'"api";q=2;w=3600',
        b"ratelimit": b'"api";r=1;t=1800',
    }


async def test_a_handshake_over_the_limit_is_closed() -> None:
    app = application(limit_of(1), app=accept)
    await shake(app)
    [closed] = await shake(app)
    assert (closed["type"], closed["code"]) == ("websocket.close", 1013)


async def test_it_is_denied_with_429_where_the_server_can_say_so() -> None:
    app = application(limit_of(1), app=accept)
    await shake(app)
    start, body = await shake(app, extensions={"websocket.http.response": {}})
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 429)
    assert dict(start["headers"])[b"retry-after"] == b"3600"
    assert body["type"] == "websocket.http.response.body"
    assert json.loads(body["body"])["violated-policies"] == ["api"]


async def test_it_is_refused_while_the_store_is_away_and_the_limit_is_closed() -> None:
    store = WatchedStore()
    store.away = True
    app = application(limit_of(1), app=accept, store=store)
    assert (await shake(app))[0]["type"] == "websocket.close"
    assert (await shake(app, extensions={"websocket.http.response": {}}))[0]["status"] == 503
