"""Litestar's server-side sessions on Redis; and Litestar without sessions."""

import asyncio
import os
from typing import Any

from litestar import Litestar, MediaType, Request, get, post
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.stores.redis import RedisStore

from benchmarks.contestants.routes import KEY, NOBODY, Gates, add, count, pause_s, start

Asked = Request[Any, Any, Any]
OK = "ok"


@get("/me", media_type=MediaType.TEXT)
async def me(request: Asked) -> str:
    return request.session.get("user", NOBODY)


@get("/write", media_type=MediaType.TEXT)
async def write(request: Asked) -> str:
    request.session["n"] = request.session.get("n", 0) + 1
    return OK


@post("/login", media_type=MediaType.TEXT, status_code=200)
async def login(request: Asked) -> str:
    start(request.session)
    return OK


@post("/logout", media_type=MediaType.TEXT, status_code=200)
async def logout(request: Asked) -> str:
    request.clear_session()
    return OK


@post("/add/{kind:str}/{item:str}/{ms:int}", media_type=MediaType.TEXT, status_code=200)
async def add_one(request: Asked, kind: str, item: str, ms: int) -> str:
    request.session.get("user")
    if wait_s := pause_s(ms):
        await asyncio.sleep(wait_s)
    add(request.session, kind, item)
    return OK


@get("/count")
async def counted(request: Asked) -> dict[str, int]:
    return count(request.session)


def gate_routes() -> list[Any]:
    gates = Gates()

    @post("/slow/{name:str}", media_type=MediaType.TEXT, status_code=200)
    async def slow(request: Asked, name: str) -> str:
        request.session.get("user")
        await gates.wait(name)
        add(request.session, KEY, "late")
        return OK

    @get("/loaded/{name:str}", media_type=MediaType.TEXT)
    async def loaded(name: str) -> str:
        await gates.loaded(name)
        return OK

    @post("/release/{name:str}", media_type=MediaType.TEXT, status_code=200)
    async def release(name: str) -> str:
        await gates.release(name)
        return OK

    return [slow, loaded, release]


def application() -> Litestar:
    return Litestar(
        route_handlers=[me, write, login, logout, add_one, counted, *gate_routes()],
        middleware=[ServerSideSessionConfig().middleware],
        stores={"sessions": RedisStore.with_client(os.environ["STORE_URL"])},
    )


@get("/me", media_type=MediaType.TEXT)
async def bare_me() -> str:
    return "ada"


@get("/write", media_type=MediaType.TEXT)
async def bare_write() -> str:
    return OK


def bare() -> Litestar:
    return Litestar(route_handlers=[bare_me, bare_write])
