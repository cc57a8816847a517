"""fastapi-cache2 on Redis: its decorator on functions that are not endpoints, as its documentation shows."""

import os
from typing import Any

from fastapi_cache import FastAPICache
from fastapi_cache.backends.redis import RedisBackend
from fastapi_cache.decorator import cache
from redis import asyncio as redis
from starlette.applications import Starlette

from benchmarks.contestants import cache_routes


def application() -> Starlette:
    counted = cache_routes.Counted()
    FastAPICache.init(RedisBackend(redis.from_url(os.environ["STORE_URL"])), prefix="bench")

    @cache(expire=cache_routes.TTL_S)
    async def slow(key: str) -> Any:
        return await counted.slow(key)

    @cache(expire=cache_routes.TTL_S)
    async def quick(key: str) -> Any:
        return await counted.quick(key)

    return cache_routes.application(counted, slow, quick)
