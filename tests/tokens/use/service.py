"""A login server and an API in one ASGI application, as strict as can be: a refresh token used twice ends the family."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fungible.stores import Store
from fungible.tokens.client import ClientTokens, OAuthRefresh, RefreshingAuth, TokenHolder
from fungible.tokens.refresh_errors import InvalidRefreshTokenError
from tokens.use.rig import ISSUER, refresh_over

TOKEN_URL = "https://login.example/token"
API = "https://api.example"
SECRET = "only for tests, and long enough for that"


class Service:
    """Both, over one store. `orders` are the bodies that came in; `refused` are access tokens that no longer count."""

    def __init__(self, store: Store, **options: Any) -> None:
        self.tokens = refresh_over(store, **{"grace_s": 0, **options})
        self.refreshes = 0
        self.forms: list[dict[str, Any]] = []
        self.authorizations: list[str | None] = []
        self.orders: list[bytes] = []
        self.refused: set[str] = set()
        self.meets: Callable[[], Awaitable[Response | None]] = nothing_happens
        self.app = Starlette(
            routes=[
                Route("/token", self.token, methods=["POST"]),
                Route("/orders", self.order, methods=["GET", "POST"]),
            ]
        )

    async def sign_in(self, *, now: float, expires_in: float = 300) -> ClientTokens:
        begun = await self.tokens.begin("ada", client="app")
        return ClientTokens(
            access_token=ISSUER.issue("ada"),
            refresh_token=begun.refresh_token,
            expires_at=now + expires_in,
            obtained_at=now,
        )

    async def token(self, request: Request) -> Response:
        self.refreshes += 1
        form = dict(await request.form())
        self.forms.append(form)
        self.authorizations.append(request.headers.get("authorization"))
        answer = await self.meets()
        if answer is not None:
            return answer
        try:
            refreshed = await self.tokens.refresh(str(form["refresh_token"]), client="app")
        except InvalidRefreshTokenError as error:
            return JSONResponse({"error": error.code}, 400)
        return JSONResponse(
            {
                "access_token": ISSUER.issue(refreshed.subject),
                "token_type": "Bearer",
                "expires_in": 300,
                "refresh_token": refreshed.refresh_token,
            }
        )

    async def order(self, request: Request) -> Response:
        text = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not text or text in self.refused:
            return Response("", 401, {"WWW-Authenticate": 'Bearer realm="api", error="invalid_token"'})
        self.orders.append(await request.body())
        return Response(text)

    def refresh(self, **options: Any) -> OAuthRefresh:
        """Asks this service's token endpoint."""
        return OAuthRefresh(
            TOKEN_URL,
            **{"client_id": "app", **options},
            client=lambda: httpx.AsyncClient(transport=httpx.ASGITransport(self.app)),
        )

    def auth(self, holder: TokenHolder, **options: Any) -> RefreshingAuth:
        """Of one process."""
        return RefreshingAuth(holder, self.refresh(), **options)

    def http(self, auth: RefreshingAuth) -> httpx.AsyncClient:
        """A client of the API."""
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=API, auth=auth)

    def blocking_http(self, auth: RefreshingAuth) -> httpx.Client:
        """The same for callers that block."""
        return httpx.Client(transport=Blocking(self.app), base_url=API, auth=auth)


async def nothing_happens() -> Response | None:
    """The token endpoint does what it is there for."""
    return None


class Blocking(httpx.BaseTransport):
    """Serves each request of a blocking client on an event loop of its own."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def serve() -> httpx.Response:
            body = request.read()
            copy = httpx.Request(request.method, request.url, headers=request.headers, content=body)
            response = await httpx.ASGITransport(self._app).handle_async_request(copy)
            return httpx.Response(response.status_code, headers=response.headers, content=await response.aread())

        return asyncio.run(serve())
