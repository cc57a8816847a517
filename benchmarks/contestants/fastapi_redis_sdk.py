"""fastapi-redis-sdk: sessions in hashes with expiring fields, which need Redis 7.4. And FastAPI without sessions.

The routes are Starlette's in both, so that the difference is the session alone.
"""

import os

from fastapi import FastAPI

from benchmarks.contestants.starlette_routes import bare_routes, session_routes


def application() -> FastAPI:
    # Read once, when its settings are first asked for.
    os.environ |= {"REDIS_URL": os.environ["STORE_URL"], "REDIS_SESSION_COOKIE_HTTPS_ONLY": "false"}
    from redis_fastapi import FastAPIRedis

    app = FastAPI(routes=session_routes())
    FastAPIRedis(app).lifespan().sessions(principal_keys=["user"])
    return app


def bare() -> FastAPI:
    return FastAPI(routes=bare_routes())
