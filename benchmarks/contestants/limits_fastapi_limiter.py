"""fastapi-limiter on pyrate-limiter's bucket in Redis: one bucket, which all clients share."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi_limiter.depends import RateLimiter
from pyrate_limiter import Duration, Limiter, Rate, RedisBucket
from redis.asyncio import Redis


def application() -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        redis = Redis.from_url(os.environ["STORE_URL"])
        rates = [Rate(int(os.environ.get("LIMIT", "100")), Duration.MINUTE)]
        app.state.limit = RateLimiter(limiter=Limiter(await RedisBucket.init(rates, redis, "bucket")))
        yield

    async def limit(request: Request, response: Response) -> None:
        await request.app.state.limit(request, response)

    app = FastAPI(lifespan=lifespan)

    @app.get("/me", dependencies=[Depends(limit)], response_class=PlainTextResponse)
    async def me() -> str:
        return "ada"

    return app
