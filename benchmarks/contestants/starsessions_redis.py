"""starsessions on Redis, loaded for every request as its README shows."""

import os

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starsessions import SessionAutoloadMiddleware, SessionMiddleware
from starsessions.stores.redis import RedisStore

from benchmarks.contestants.starlette_routes import session_routes


def application() -> Starlette:
    store = RedisStore(connection=Redis.from_url(os.environ["STORE_URL"]))
    return Starlette(
        routes=session_routes(),
        middleware=[
            Middleware(SessionMiddleware, store=store, lifetime=14 * 86_400, rolling=True, cookie_https_only=False),
            Middleware(SessionAutoloadMiddleware),
        ],
    )
