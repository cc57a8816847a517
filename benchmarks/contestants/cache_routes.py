"""What each application with a cache answers: `/value/{key}` from a slow computation, `/hit` from a quick one.

`/computed` tells how often this process has computed `/value/...`; `/me` is answered at once, so that its start is seen.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

COMPUTE_S = 0.3
TTL_S = 60
ITEM = {"id": 3, "name": "Mug", "price": "9.99", "tags": ["kitchen", "new"], "stock": [1, 2, 3, 4], "text": "x" * 120}
Value = Callable[[str], Awaitable[Any]]


class Counted:
    """The computations of this process."""

    def __init__(self) -> None:
        self.count = 0

    async def slow(self, key: str) -> dict[str, Any]:
        self.count += 1
        await asyncio.sleep(COMPUTE_S)
        return {**ITEM, "key": key}

    async def quick(self, key: str) -> dict[str, Any]:
        return {**ITEM, "key": key}


def routes(counted: Counted, slow: Value, quick: Value) -> list[Route]:
    """The routes of an application whose values are cached functions."""

    async def value(request: Request) -> Response:
        return JSONResponse(await slow(request.path_params["key"]))

    async def hit(_: Request) -> Response:
        return JSONResponse(await quick("hit"))

    async def computed(_: Request) -> Response:
        return PlainTextResponse(str(counted.count))

    async def me(_: Request) -> Response:
        return PlainTextResponse("ready")

    return [Route("/value/{key}", value), Route("/hit", hit), Route("/computed", computed), Route("/me", me)]


def application(counted: Counted, slow: Value, quick: Value, **options: Any) -> Starlette:
    return Starlette(routes=routes(counted, slow, quick), **options)
