"""The routes for Starlette and FastAPI, over whatever puts `request.session` there."""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from benchmarks.contestants.routes import KEY, NOBODY, Gates, add, count, pause_s, start

SignOut = Callable[[Request], Awaitable[None]]


async def clear(request: Request) -> None:
    """How most peers sign out: an emptied session is deleted."""
    request.session.clear()


def session_routes(*, sign_out: SignOut = clear, kinds: tuple[str, ...] = (KEY,)) -> list[BaseRoute]:
    """All of them."""
    gates = Gates()

    async def login(request: Request) -> Response:
        start(request.session, kinds)
        return PlainTextResponse("ok")

    async def logout(request: Request) -> Response:
        await sign_out(request)
        return PlainTextResponse("ok")

    async def me(request: Request) -> Response:
        return PlainTextResponse(request.session.get("user", NOBODY))

    async def write(request: Request) -> Response:
        request.session["n"] = request.session.get("n", 0) + 1
        return PlainTextResponse("ok")

    async def add_one(request: Request) -> Response:
        request.session.get("user")
        if wait_s := pause_s(request.path_params["ms"]):
            await asyncio.sleep(wait_s)
        add(request.session, request.path_params["kind"], request.path_params["item"])
        return PlainTextResponse("ok")

    async def counted(request: Request) -> Response:
        return JSONResponse(count(request.session))

    async def slow(request: Request) -> Response:
        request.session.get("user")
        await gates.wait(request.path_params["name"])
        add(request.session, KEY, "late")
        return PlainTextResponse("ok")

    async def loaded(request: Request) -> Response:
        await gates.loaded(request.path_params["name"])
        return PlainTextResponse("ok")

    async def release(request: Request) -> Response:
        await gates.release(request.path_params["name"])
        return PlainTextResponse("ok")

    return [
        Route("/me", me),
        Route("/write", write),
        Route("/login", login, methods=["POST"]),
        Route("/logout", logout, methods=["POST"]),
        Route("/add/{kind}/{item}/{ms}", add_one, methods=["POST"]),
        Route("/count", counted),
        Route("/slow/{name}", slow, methods=["POST"]),
        Route("/loaded/{name}", loaded),
        Route("/release/{name}", release, methods=["POST"]),
    ]


def bare_routes() -> list[BaseRoute]:
    """Those that are measured for what they cost, without a session."""

    async def me(_: Request) -> Response:
        return PlainTextResponse("ada")

    async def write(_: Request) -> Response:
        return PlainTextResponse("ok")

    return [Route("/me", me), Route("/write", write)]
