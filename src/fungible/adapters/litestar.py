"""Litestar: `request.session`, kept as `fungible.sessions` keeps sessions, for its middleware and its `SessionAuth`."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.middleware import DefineMiddleware
from litestar.middleware.session.base import BaseBackendConfig, BaseSessionBackend
from litestar.middleware.session.base import SessionMiddleware as LitestarMiddleware
from litestar.serialization import decode_json, encode_json
from litestar.types import ASGIApp, Empty, Message, Receive, Scope, Scopes, Send
from msgspec.structs import replace

from fungible.sessions.errors import SessionReadOnlyError
from fungible.sessions.middleware import SessionMiddleware, cookie_header, with_session_headers
from fungible.sessions.session import Session
from fungible.stores.postures import Home

__all__ = ["FungibleSessions"]

Connection = ASGIConnection[Any, Any, Any, Any]


class FungibleSessions(BaseBackendConfig["FungibleBackend"]):
    """Sessions for a Litestar application: `Litestar(..., middleware=[FungibleSessions(store=…, secret=…).middleware])`.

    Or as the `session_backend_config` of `SessionAuth`. All settings of `fungible.sessions.SessionMiddleware` are taken
    by their names, and beside them:

    Args:
        exclude: A pattern of paths, or several, that have no session.
        exclude_opt_key: The key of a route's `opt` that says the same of that route.
        scopes: Which kinds of connections have one.
    """

    def __init__(
        self,
        *,
        exclude: str | list[str] | None = None,
        exclude_opt_key: str = "skip_session",
        scopes: Scopes | None = None,
        **settings: Any,
    ) -> None:
        self._backend_class = FungibleBackend
        # Opened once: Litestar builds a middleware for each route.
        self.opened = SessionMiddleware(_nothing, **settings)
        policy = self.opened.sessions.settings.cookie
        self.exclude = exclude
        self.exclude_opt_key = exclude_opt_key
        self.scopes = scopes or {ScopeType.HTTP, ScopeType.WEBSOCKET}
        self.key = policy.full_name
        self.max_age = int(self.opened.sessions.settings.idle_timeout_s)
        self.path = policy.path
        self.domain = policy.domain
        self.secure = policy.secure
        self.httponly = True
        self.samesite = policy.same_site

    @property
    def middleware(self) -> DefineMiddleware:
        """What goes into the list `middleware` of the application, of a router or of a route."""
        return DefineMiddleware(FungibleMiddleware, backend=FungibleBackend(self))


class FungibleBackend(BaseSessionBackend[FungibleSessions]):
    """What Litestar's own code asks for sessions, its test client too."""

    def homes(self) -> Sequence[Home]:
        """Where sessions are kept, for `fungible doctor`."""
        return [replace(home, seat="FungibleSessions") for home in self.config.opened.homes()]

    def get_session_id(self, connection: Connection) -> str | None:
        """What names the session, and is no secret: nobody can make a cookie of it."""
        session: object = _untyped(connection.scope).get("session")
        return session.state.handle if isinstance(session, Session) else None

    async def load_from_connection(self, connection: Connection) -> dict[str, Any]:
        """What is in the session that the connection's cookies name."""
        return dict(await self._load(connection))

    async def store_in_message(self, scope_session: Any, message: Message, connection: Connection) -> None:
        """Keeps a session's new values, and puts the cookie into the start of the response."""
        session = await self._load(connection)
        take_over(session, scope_session)
        sessions = self.config.opened.sessions
        await sessions.write(session)
        session.answered = True
        headers: list[tuple[bytes, bytes]] = _untyped(message)["headers"]
        headers[:] = with_session_headers(_untyped(message), sessions.set_cookie(session))["headers"]

    async def _load(self, connection: Connection) -> Session:
        # The test client gives cookies without a header.
        given = "; ".join(f"{name}={value}" for name, value in connection.cookies.items())
        return await self.config.opened.sessions.load(cookie_header(_untyped(connection.scope)) or given)


class FungibleMiddleware(LitestarMiddleware[FungibleBackend]):
    """Our middleware in the place of Litestar's, with its ways to leave routes out."""

    def __init__(self, app: ASGIApp, backend: FungibleBackend) -> None:
        super().__init__(app, backend)
        self._serving = copy.copy(backend.config.opened)
        self._serving.app = self._application

    @classmethod
    def homes_declared(cls, *, backend: FungibleBackend, **_others: object) -> Sequence[Home]:
        """Where sessions would be kept, for `fungible doctor`."""
        return backend.homes()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection."""
        await self._serving(_untyped(scope), cast(Any, receive), cast(Any, send))

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        """Litestar, which may replace or clear the session by putting something else in its place."""
        session: Session = scope["session"]
        connection = Connection(scope, receive, send)
        connection._connection_state.session_id = session.state.handle  # pyright: ignore[reportPrivateUsage]

        async def taking_over(message: Any) -> None:
            if message["type"] == "http.response.start":
                take_over(session, scope.get("session"))
                scope["session"] = session
            await send(message)

        await self.app(scope, receive, taking_over)
        # What came since, in a background task or in a WebSocket: kept where that can be, and else an error.
        try:
            take_over(session, scope.get("session"))
        except SessionReadOnlyError as error:
            if session.read_only:
                # Litestar makes of an error in a WebSocket no more than the reason of its end.
                self._serving.sessions.notice("change_too_late", reason=str(error))
            raise


def take_over(session: Session, value: Any) -> None:
    """Does what `request.set_session` and `request.clear_session` ask for by putting something in the session's place.

    Args:
        value: What is there now: a mapping, a model that Litestar can serialize, or `Empty`.
    """
    if value is session:
        return
    if value is Empty or value is None:
        if session or not session.is_new:
            session.clear()
        return
    plain = cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else decode_json(encode_json(value))
    if plain == dict(session):
        return
    for key in [key for key in session if key not in plain]:
        del session[key]
    session.update(plain)


def _untyped(scope: object) -> dict[str, Any]:
    """A scope or message without its type: ours is one for all frameworks."""
    return cast(dict[str, Any], scope)


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    """The application of a middleware that only holds settings."""
