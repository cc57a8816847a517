"""What a framework routes to a handler is limited and guarded as that handler's route, however it is spelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from litestar import Litestar, asgi, route
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from fungible.idempotency import IdempotencyMiddleware
from fungible.limits import LimitMiddleware, by_route, per_hour
from fungible.stores.memory import MemoryStore

METHODS = ("GET", "HEAD", "POST")
SPELLINGS = (
    "/login",
    "/login/",
    "/login//",
    "//login",
    "///login",
    "/login%0A",
    "/login%0a/",
    "/%6cogin",
    "/%6C%6Fgin",
    "/./login",
    "/x/../login",
    "/LOGIN",
    "/login?x=/other",
    "/login;x",
    "/login%3Bx",
    "/login%2F",
    "/login%00",
)
ROOTS = ("", "/shop", "/shop/")


async def signed_in(_: Any) -> PlainTextResponse:
    return PlainTextResponse("signed in")


def starlette() -> Any:
    return Starlette(routes=[Route("/login", signed_in, methods=list(METHODS))])


def fastapi() -> Any:
    app = FastAPI()

    @app.api_route("/login", methods=list(METHODS))
    async def login() -> str:
        return "signed in"

    return app


def litestar() -> Any:
    @route("/login", http_method=["GET", "HEAD", "POST"], status_code=200)
    async def login() -> None:
        return None

    return Litestar([login])


def limiting(app: Any, path: str = "/login") -> Any:
    limit = per_hour(
        "sign-in", 1000, methods=("GET", "POST"), paths=(path,), by=lambda _: "all", on_unavailable="closed"
    )
    return LimitMiddleware(app, store=MemoryStore(), limits=[limit], instances=1)


def guarding(app: Any, path: str = "/login") -> Any:
    routes = {path: {"required": True, "methods": ["GET", "POST"]}}
    return IdempotencyMiddleware(app, store=MemoryStore(), routes=routes, instances=1, anonymous="share")


async def sent(app: Any, method: str, path: str, *, root: str = "", doubled: bool = False) -> httpx.Response:
    """As uvicorn hands a request on behind a proxy that strips the root: with the root in the path, or without it."""
    transport = httpx.ASGITransport(app, root_path=root)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        return await client.request(method, f"http://shop{root.rstrip('/') if doubled else ''}{path}")


@pytest.mark.parametrize("doubled", [False, True])
@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("make", [starlette, fastapi, litestar])
async def test_no_spelling_that_reaches_a_handler_escapes_its_route(
    make: Callable[[], Any], root: str, doubled: bool
) -> None:
    app = make()
    limited, guarded = limiting(app), guarding(app)
    reached = 0
    for path in SPELLINGS:
        for method in METHODS:
            if (await sent(app, method, path, root=root, doubled=doubled)).status_code != 200:
                continue
            reached += 1
            answer = await sent(limited, method, path, root=root, doubled=doubled)
            assert "ratelimit-policy" in answer.headers, (method, path)
            assert (await sent(guarded, method, path, root=root, doubled=doubled)).status_code == 400, (method, path)
    # The plain spelling in each method at least, but where the framework takes the root for something else.
    assert reached >= len(METHODS) or root.endswith("/")


@pytest.mark.parametrize("wrap", [limiting, guarding])
async def test_inside_a_mount_paths_begin_below_it_and_outside_they_do_not(wrap: Callable[..., Any]) -> None:
    marks = {"limiting": "ratelimit-policy", "guarding": "content-type"}

    async def is_met(app: Any, path: str) -> bool:
        answer = await sent(app, "POST", path)
        found = answer.headers.get(marks[wrap.__name__], "")
        return found == "application/problem+json" if wrap is guarding else bool(found)

    inside = Starlette(routes=[Mount("/v1", app=wrap(starlette())), Mount("/v2", app=starlette())])
    assert [await is_met(inside, path) for path in ("/v1/login", "/v1/login%0A", "/v2/login")] == [True, True, False]
    around = wrap(Starlette(routes=[Mount("/v1", app=starlette()), Mount("/v2", app=starlette())]), "/v1/login")
    assert [await is_met(around, path) for path in ("/v1/login", "/v2/login", "/login")] == [True, False, False]


async def test_a_mount_of_litestar_is_below_its_path_as_well() -> None:
    @asgi("/v1", is_mount=True, copy_scope=True)
    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await limiting(starlette())(scope, receive, send)

    assert "ratelimit-policy" in (await sent(Litestar([mounted]), "POST", "/v1/login")).headers


async def test_by_route_all_spellings_and_head_share_one_limit_and_two_mounts_have_two() -> None:
    limit = per_hour("routes", 1, by=by_route, on_unavailable="closed")
    app = LimitMiddleware(litestar(), store=MemoryStore(), limits=[limit], instances=1)
    first, *others = [(await sent(app, "GET", path)).status_code for path in ("/login", "//login", "/login/")]
    assert (first, others) == (200, [429, 429])
    assert (await sent(app, "HEAD", "/login")).status_code == 429
    assert (await sent(app, "POST", "/login")).status_code == 200
    assert (await sent(app, "POST", "/login", root="/v2")).status_code == 200
