"""Ours, on any store: `MODE=stored` or `MODE=snapshot`. With `EXTRA`, sessions hold a list and a mapping to add to."""

import asyncio
import os

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request

from benchmarks.contestants.routes import KINDS, SECRET
from benchmarks.contestants.starlette_routes import session_routes
from fungible.sessions import SessionMiddleware
from fungible.stores import open_store

WITH_TABLES = ("postgresql:", "mysql:")


async def end(request: Request) -> None:
    await request.session.end()


def application() -> Starlette:
    store = open_store(os.environ["STORE_URL"])
    options = {"store": store, "secret": SECRET, "secure": False, "mode": os.environ.get("MODE", "stored")}
    return Starlette(
        routes=session_routes(sign_out=end, kinds=KINDS if os.environ.get("EXTRA") else KINDS[:1]),
        middleware=[Middleware(SessionMiddleware, **options)],
    )


def prepare() -> None:
    """Makes the tables, where the store has some."""

    async def migrated() -> None:
        url = os.environ["STORE_URL"]
        store = open_store(f"{url}?migrate=auto" if url.startswith(WITH_TABLES) else url)
        await store.ping()
        await store.aclose()

    asyncio.run(migrated())
