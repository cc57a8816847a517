"""aiocache on Redis: `cached`, and `cached_stampede` with its lease."""

import os
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from aiocache import cached, cached_stampede
from aiocache.backends.redis import RedisCache
from aiocache.serializers import JsonSerializer
from starlette.applications import Starlette

from benchmarks.contestants import cache_routes


def application() -> Starlette:
    return _with(cached)


def stampede() -> Starlette:
    return _with(cached_stampede, lease=2)


def _with(decorator: Callable[..., Any], **options: Any) -> Starlette:
    counted, url = cache_routes.Counted(), urlsplit(os.environ["STORE_URL"])

    def kept(function: Any, prefix: str) -> Any:
        # By what it is called with; the function is a bound method, which is no part of the key.
        async def call(key: str) -> Any:
            return await function(key)

        return decorator(
            ttl=cache_routes.TTL_S,
            cache=RedisCache,
            endpoint=url.hostname,
            port=url.port,
            serializer=JsonSerializer(),
            key_builder=lambda _, key: f"{prefix}:{key}",
            **options,
        )(call)

    return cache_routes.application(counted, kept(counted.slow, "slow"), kept(counted.quick, "quick"))
