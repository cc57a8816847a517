"""Litestar with our backend in its own middleware's place."""

import os
from typing import Any

from gates import wait_at
from litestar import Litestar, Request, get, post
from litestar.handlers import HTTPRouteHandler

from fungible.adapters.litestar import FungibleSessions
from fungible.stores import open_store

sessions = FungibleSessions(
    store=open_store(os.environ["STORE_URL"]),
    secret=os.environ["SESSION_SECRET"],
    mode=os.environ["SESSION_MODE"],
    instances=2,
    machines=1,
)


@get("/plain")
async def plain() -> str:
    return "plain"


@get("/me")
async def me(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return dict(request.session)


@post("/add")
async def add(request: Request[Any, Any, Any]) -> None:
    session: Any = request.session
    item = request.query_params["item"]
    session.setdefault("cart", {"items": []})
    await wait_at(request.query_params.get("gate"))
    session["cart"]["items"].append(item)
    session[f"item-{item}"] = True
    session.increment("count")


@post("/sign-in")
async def sign_in(request: Request[Any, Any, Any]) -> None:
    session: Any = request.session
    user = request.query_params["user"]
    session["user"] = user
    await session.rotate(subject=user)


@post("/sign-out")
async def sign_out(request: Request[Any, Any, Any]) -> None:
    request.clear_session()


@post("/sign-out-everywhere")
async def sign_out_everywhere(request: Request[Any, Any, Any]) -> None:
    session: Any = request.session
    await session.end_all()


@get("/slow")
async def slow(request: Request[Any, Any, Any]) -> dict[str, Any]:
    seen = dict(request.session)
    await wait_at(request.query_params["gate"])
    if "reads" not in request.query_params:
        request.session["late"] = True
    return seen


routes: list[HTTPRouteHandler] = [plain, me, add, sign_in, sign_out, sign_out_everywhere, slow]
app = Litestar(routes, middleware=[sessions.middleware])
