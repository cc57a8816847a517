"""slowapi on Redis, as its documentation shows it."""

import os

from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


def application() -> Starlette:
    limiter = Limiter(
        key_func=lambda request: request.headers.get("cookie", "nobody"),
        storage_uri=os.environ["STORE_URL"],
        headers_enabled=True,
    )

    @limiter.limit(f"{os.environ.get('LIMIT', '100')}/minute")
    async def me(request: Request) -> Response:
        return PlainTextResponse("ada")

    app = Starlette(routes=[Route("/me", me)])
    app.state.limiter = limiter
    app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)  # type: ignore[arg-type]
    return app
