"""The floor on SQL: one bare driver call for a read, two for a write (a read, then an update of the whole session)."""

import json
from collections.abc import Awaitable, Callable
from typing import Protocol
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from benchmarks.contestants.routes import NOBODY, SESSION

TABLE = "create table if not exists bare_sessions (id varchar(64) primary key, data text not null)"


class Driver(Protocol):
    """What is asked of a driver."""

    async def read(self, key: str) -> str | None: ...

    async def insert(self, key: str, data: str) -> None: ...

    async def update(self, key: str, data: str) -> None: ...


def application(connected: Callable[[], Awaitable[Driver]]) -> Starlette:
    """The routes that are measured. The driver is connected by the first request that needs it."""
    drivers: list[Driver] = []

    async def driver() -> Driver:
        if not drivers:
            drivers.append(await connected())
        return drivers[0]

    async def load(request: Request) -> tuple[str, dict[str, object]] | None:
        key = request.cookies.get("session")
        data = await (await driver()).read(key) if key else None
        return (key, json.loads(data)) if key and data else None

    async def me(request: Request) -> Response:
        found = await load(request)
        return PlainTextResponse(str(found[1]["user"]) if found else NOBODY)

    async def write(request: Request) -> Response:
        found = await load(request)
        if found:
            key, session = found
            session["n"] = session.get("n", 0) + 1  # type: ignore[operator]
            await (await driver()).update(key, json.dumps(session))
        return PlainTextResponse("ok")

    async def login(_: Request) -> Response:
        key = uuid4().hex
        await (await driver()).insert(key, json.dumps(SESSION))
        return PlainTextResponse("ok", headers={"set-cookie": f"session={key}; path=/; httponly"})

    return Starlette(routes=[Route("/me", me), Route("/write", write), Route("/login", login, methods=["POST"])])
