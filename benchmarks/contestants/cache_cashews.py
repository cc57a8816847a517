"""cashews on Redis: as it comes, with `lock=True`, and with its client-side cache."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from cashews import Cache
from starlette.applications import Starlette

from benchmarks.contestants import cache_routes


def application() -> Starlette:
    return _with(lock=False, client_side=False)


def locked() -> Starlette:
    return _with(lock=True, client_side=False)


def client_side() -> Starlette:
    return _with(lock=True, client_side=True)


def _with(*, lock: bool, client_side: bool) -> Starlette:
    counted, cache = cache_routes.Counted(), Cache()
    cache.setup(os.environ["STORE_URL"], client_side=client_side)

    @cache(ttl=cache_routes.TTL_S, key="slow:{key}", lock=lock)
    async def slow(key: str) -> Any:
        return await counted.slow(key)

    @cache(ttl=cache_routes.TTL_S, key="quick:{key}", lock=lock)
    async def quick(key: str) -> Any:
        return await counted.quick(key)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await cache.init()
        yield
        await cache.close()

    return cache_routes.application(counted, slow, quick, lifespan=lifespan)
