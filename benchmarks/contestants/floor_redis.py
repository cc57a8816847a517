"""The floor on Redis: each request's commands written to one connection, replies read by hiredis. Nothing else.

It parses the cookie, reads the session and decodes it, and writes it back whole: no ID is checked, nothing is compared,
nothing is retried. What sessions cost above this is what they promise.
"""

import asyncio
import json
import os
import re
from collections import deque
from urllib.parse import urlsplit
from uuid import uuid4

import hiredis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from benchmarks.contestants.routes import NOBODY, SESSION

LIFE_S = 14 * 86_400
_COOKIE = re.compile(rb"(?:^|; )session=(\w+)")


class Connection(asyncio.Protocol):
    """Many callers' commands in one stream; replies come in the order that the commands went."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._waiting: deque[asyncio.Future[bytes | None]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def ask(self, *words: object) -> asyncio.Future[bytes | None]:
        reply = asyncio.get_running_loop().create_future()
        self._waiting.append(reply)
        self._transport.write(hiredis.pack_command(words))  # type: ignore[attr-defined]
        return reply

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(reply)


class Sessions:
    """A key for each session, which holds JSON."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)
        self._connection: Connection | None = None

    async def load(self, request: Request) -> tuple[str, dict[str, object]] | None:
        matched = _COOKIE.search(next((value for name, value in request.scope["headers"] if name == b"cookie"), b""))
        if matched is None:
            return None
        key = f"s:{matched[1].decode()}"
        data = await (await self._connected()).ask("GETEX", key, "EX", LIFE_S)
        return (key, json.loads(data)) if data else None

    async def save(self, key: str, session: dict[str, object]) -> None:
        await (await self._connected()).ask("SET", key, json.dumps(session), "EX", LIFE_S)

    async def _connected(self) -> Connection:
        if self._connection is None:
            loop, where = asyncio.get_running_loop(), self._address
            self._connection = (await loop.create_connection(Connection, where.hostname, where.port))[1]
        return self._connection


def application() -> Starlette:
    sessions = Sessions(os.environ["STORE_URL"])

    async def me(request: Request) -> Response:
        found = await sessions.load(request)
        return PlainTextResponse(str(found[1]["user"]) if found else NOBODY)

    async def write(request: Request) -> Response:
        found = await sessions.load(request)
        if found:
            key, session = found
            session["n"] = session.get("n", 0) + 1  # type: ignore[operator]
            await sessions.save(key, session)
        return PlainTextResponse("ok")

    async def login(_: Request) -> Response:
        name = uuid4().hex
        await sessions.save(f"s:{name}", dict(SESSION))
        return PlainTextResponse("ok", headers={"set-cookie": f"session={name}; path=/; httponly"})

    return Starlette(routes=[Route("/me", me), Route("/write", write), Route("/login", login, methods=["POST"])])
