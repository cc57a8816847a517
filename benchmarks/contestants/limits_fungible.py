"""Ours, on any store. `LIMIT` a minute for each client; a cookie says who it is. Without a store: the same unlimited."""

import asyncio
import os

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fungible.limits import LimitMiddleware, by_header, per_minute
from fungible.stores import open_store

WITH_TABLES = ("postgresql:", "mysql:")


async def me(_: Request) -> Response:
    return PlainTextResponse("ada")


def bare() -> Starlette:
    return Starlette(routes=[Route("/me", me)])


def application() -> Starlette:
    limit = per_minute(
        "clients", int(os.environ.get("LIMIT", "100")), by=by_header("cookie"), on_unavailable=os.environ["POLICY"]
    )
    options = {"store": open_store(os.environ["STORE_URL"]), "limits": [limit]}
    return Starlette(routes=[Route("/me", me)], middleware=[Middleware(LimitMiddleware, **options)])


def prepare() -> None:
    """Makes the tables, where the store has some."""

    async def migrated() -> None:
        url = os.environ["STORE_URL"]
        store = open_store(f"{url}?migrate=auto" if url.startswith(WITH_TABLES) else url)
        await store.ping()
        await store.aclose()

    asyncio.run(migrated())
