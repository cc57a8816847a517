"""Ours with keys in a store, whatever it is: `STORE_URL`. `AFTER_CRASH` is `retry` or `refuse`, `LEASE_S` the lease."""

import asyncio
import os
from typing import Any

from starlette.middleware import Middleware

from benchmarks.contestants.idempotency_app import application
from fungible.idempotency import IdempotencyMiddleware
from fungible.stores import open_store

WITH_TABLES = ("postgresql:", "mysql:")


def middleware() -> Any:
    store = open_store(os.environ["STORE_URL"])
    guard = Middleware(
        IdempotencyMiddleware,
        store=store,
        lease_s=float(os.environ["LEASE_S"]),
        wait_s=float(os.environ["WAIT_S"]),
        after_crash=os.environ.get("AFTER_CRASH", "retry"),
    )
    return application(middleware=[guard], warm=store.ping)


def prepare() -> None:
    """Makes the tables, where the store has some."""

    async def migrated() -> None:
        url = os.environ["STORE_URL"]
        store = open_store(f"{url}?migrate=auto" if url.startswith(WITH_TABLES) else url)
        await store.ping()
        await store.aclose()

    asyncio.run(migrated())
