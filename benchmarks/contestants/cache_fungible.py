"""Fungible's cache on the store at STORE_URL; NEAR=1 puts a near-cache before it."""

import asyncio
import os

from starlette.applications import Starlette

from benchmarks.contestants import cache_routes
from fungible.cache import Cache, NearCache, cached
from fungible.stores import open_store


def application() -> Starlette:
    counted = cache_routes.Counted()
    near = NearCache() if os.environ.get("NEAR") else None
    cache = Cache(open_store(os.environ["STORE_URL"]), near=near, instances=2, machines=1)
    slow = cached(cache, ttl_s=cache_routes.TTL_S, key="slow:{key}")(counted.slow)
    quick = cached(cache, ttl_s=cache_routes.TTL_S, key="quick:{key}")(counted.quick)
    return cache_routes.application(counted, slow, quick)


def prepare() -> None:
    """Makes the tables, where there are some."""

    async def make() -> None:
        url = os.environ["STORE_URL"]
        store = open_store(f"{url}?migrate=auto" if url.startswith(("postgresql", "mysql")) else url)
        await store.ping()
        await store.aclose()

    asyncio.run(make())
