"""Peers of `fungible.idempotency`, each as its README sets it up, on the Redis at STORE_URL; and nothing at all."""

import os
from typing import Any

from starlette.middleware import Middleware

from benchmarks.contestants.idempotency_app import application


def none() -> Any:
    """Nobody looks at the key: the control."""
    return application()


def _redis(**options: Any) -> Any:
    from redis.asyncio import Redis

    return Redis.from_url(os.environ["STORE_URL"], **options)


def asgi_idempotency_header() -> Any:
    from idempotency_header_middleware import IdempotencyHeaderMiddleware
    from idempotency_header_middleware.backends import RedisBackend

    backend = RedisBackend(redis=_redis())
    return application(middleware=[Middleware(IdempotencyHeaderMiddleware, backend=backend)])


def idemptx() -> Any:
    from idemptx import idempotent
    from idemptx.backend import AsyncRedisBackend
    from idemptx.exceptions import ConflictRequestException, RequestInProgressException

    return application(
        decorate=idempotent(storage_backend=AsyncRedisBackend(_redis()), key_ttl=300),
        refusals={ConflictRequestException: 422, RequestInProgressException: 409},
    )


def fastapi_idempotency_key() -> Any:
    from fastapi_idempotency_key import IdempotencyMiddleware
    from fastapi_idempotency_key.backends.redis import RedisBackend

    return application(middleware=[Middleware(IdempotencyMiddleware, backend=RedisBackend(redis=_redis()))])


def fastidempotent() -> Any:
    from fastidempotent import IdempotencyMiddleware, RedisBackend

    backend = RedisBackend(url=os.environ["STORE_URL"])
    return application(middleware=[Middleware(IdempotencyMiddleware, backend=backend, ttl=3600)], warm=backend.init)


def ichido() -> Any:
    from ichido import IchidoConfig, IchidoMiddleware, RedisIdempotencyStore

    config = IchidoConfig()
    store = RedisIdempotencyStore(redis_client=_redis(decode_responses=True), ttl=86_400)
    return application(middleware=[Middleware(IchidoMiddleware, store=store, config=config)])
