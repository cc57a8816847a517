"""The library `limits` on Redis, asynchronous, in a middleware as small as can be. `STRATEGY` is one of its three."""

import os
from typing import Any

from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

STRATEGIES = {
    "fixed": FixedWindowRateLimiter,
    "moving": MovingWindowRateLimiter,
    "sliding": SlidingWindowCounterRateLimiter,
}


class Limiting:
    """Refuses with 429."""

    def __init__(self, app: Any) -> None:
        storage = RedisStorage(f"async+{os.environ['STORE_URL']}", implementation="redispy")
        self.app = app
        self.strategy = STRATEGIES[os.environ.get("STRATEGY", "moving")](storage)
        self.item = RateLimitItemPerMinute(int(os.environ.get("LIMIT", "100")))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        key = dict(scope["headers"]).get(b"cookie", b"").decode()
        allowed = await self.strategy.hit(self.item, key)
        await (self.app if allowed else PlainTextResponse("too many", 429))(scope, receive, send)


async def me(_: Request) -> Response:
    return PlainTextResponse("ada")


def application() -> Limiting:
    return Limiting(Starlette(routes=[Route("/me", me)]))
