"""The middleware for any ASGI application: `request.session`, loaded before the application and kept with its response.

Source: the ASGI specification, HTTP and WebSocket message formats.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal

from msgspec import Struct

from fungible.core.asgi import (
    App,
    Header,
    Message,
    Receive,
    Scope,
    Send,
    header,
    list_members,
    retry_after,
    send_problem,
)
from fungible.core.errors import SettingError
from fungible.core.keyring import KeyRing
from fungible.core.startup import ends_the_server
from fungible.sessions.caching import is_shared, kept_private
from fungible.sessions.contract import Sessions
from fungible.sessions.errors import SessionConflict
from fungible.sessions.lifetimes import may_write
from fungible.sessions.opening import Mode, homes_of, open_sessions
from fungible.sessions.session import Session
from fungible.sessions.settings import CookiePolicy, SameSite, SessionSettings
from fungible.sessions.state import SessionState
from fungible.stores.contract import Store
from fungible.stores.errors import StoreUnavailableError
from fungible.stores.postures import Home

VARY: Final = b"vary"
SERVED: Final = frozenset({"http", "websocket"})
TRY_AGAIN_LATER: Final = 1013
"""The WebSocket close code for a server that can't serve now. Source: the IANA registry of close codes."""


class SessionMiddleware:
    """Gives each request its visitor's session, and keeps what the request has changed of it.

    Args:
        app: The ASGI application.
        secret: 32 bytes or more that all instances share; several, the current one first; or a `KeyRing`.
        store: Where sessions are kept; None only with `mode="sealed"`.
        mode: `stored`, `snapshot` (stored, with a copy in the cookie for requests that only read) or `sealed` (in the
            cookie alone).
        on_unavailable: What a request gets while the store is away: `refuse` answers 503 with `Retry-After`, and
            `empty` gives it an empty session that can't be changed.
        retry_after_s: What `Retry-After` says, in seconds.
        instances: How many instances run; by default what the environment says in `FUNGIBLE_INSTANCES`, else 1.
        machines: On how many machines; by default `FUNGIBLE_MACHINES`, else as many as instances.
        settings: The rest as one value, in place of the options that follow; see `SessionSettings`.
    Raises:
        SettingError: a setting can't be taken, or browsers would reject the cookie.
        PostureError: several instances can't share sessions that are kept there.
    """

    @ends_the_server
    def __init__(
        self,
        app: App,
        *,
        secret: str | bytes | Iterable[str | bytes] | KeyRing,
        store: Store | None = None,
        mode: Mode = "stored",
        on_unavailable: Literal["refuse", "empty"] = "refuse",
        retry_after_s: int = 2,
        instances: int | None = None,
        machines: int | None = None,
        settings: SessionSettings | None = None,
        cookie_name: str | None = None,
        path: str = "/",
        domain: str | None = None,
        secure: bool = True,
        same_site: SameSite = "lax",
        partitioned: bool = False,
        persistent: bool = True,
        now: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        cookie = CookiePolicy(
            name=cookie_name,
            path=path,
            domain=domain,
            secure=secure,
            same_site=same_site,
            partitioned=partitioned,
            persistent=persistent,
        )
        if on_unavailable not in ("refuse", "empty"):
            raise SettingError(f"on_unavailable={on_unavailable!r} must be 'refuse' or 'empty'")
        if settings is not None and (options or cookie != CookiePolicy()):
            raise SettingError("settings= takes the place of the options it has: give them there")
        self.app = app
        self.sessions: Sessions = open_sessions(
            store,
            secret,
            settings or SessionSettings(cookie=cookie, **options),
            mode=mode,
            instances=instances,
            machines=machines,
            now=now,
        )
        self._homes = homes_of(store, mode)
        self._empty_if_away = on_unavailable == "empty"
        self._retry_after = retry_after(retry_after_s)
        self.now = now

    def homes(self) -> Sequence[Home]:
        """Where this middleware keeps state, for `fungible doctor`."""
        return self._homes

    @classmethod
    def homes_declared(cls, *, store: Store | None = None, mode: Mode = "stored", **_others: Any) -> Sequence[Home]:
        """Where a middleware with these settings would keep state, for `fungible doctor`."""
        return homes_of(store, mode)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection."""
        if (kind := scope["type"]) not in SERVED:
            await self.app(scope, receive, send)
            return
        cookies = cookie_header(scope)
        try:
            session = await self.sessions.load(cookies) if cookies else self._visitor()
        except StoreUnavailableError as error:
            if not self._empty_if_away:
                await self.refuse(scope, send, error)
                return
            self.sessions.notice("store_unavailable", reason=error.reason)
            session = self._visitor(read_only="while its store is away")
        if kind == "websocket":
            # A cookie can't be sent any more once the connection stands, and it may stand for days.
            session.read_only = session.read_only or "in a WebSocket: its handshake has been answered"
            scope["session"] = session
            await self.app(scope, receive, send)
            session.finish()
            return
        scope["session"] = session
        exchange = _Exchange(self, scope, send, session)
        try:
            await self.app(scope, receive, exchange.save_then_send)
        except SessionConflict as conflict:
            if exchange.begun:
                raise
            await send_problem(send, 409, "Conflict", str(conflict), code=conflict.code)
            return
        except StoreUnavailableError as error:
            # The application itself has asked the store, by `session.rotate()` for instance.
            if exchange.begun or error.home not in {home.home for home in self._homes}:
                raise
            await self.refuse(scope, send, error)
            return
        if exchange.begun:
            # Most requests have nothing left: they are spared a coroutine.
            unchanged = exchange.refused or not (session.may_have_changed or session.state.ended)
            session.finish(kept=unchanged or await self.save_late(session))

    def _visitor(self, *, read_only: str = "") -> Session:
        """The session of who has none."""
        return Session(self.sessions, SessionState(self.now()), read_only=read_only)

    async def save_late(self, session: Session) -> bool:
        """Keeps what was changed since the response began, while it was streamed or after it.

        Its cookie has been sent, so only a session that is kept in a store can take it. Whether this is one.
        """
        if self.sessions.in_cookie:
            return False
        if session.state.ended or session.changed_since_written():
            await self.sessions.write(session)
        return True

    async def refuse(self, scope: Scope, send: Send, error: StoreUnavailableError) -> None:
        """Answers for the application while the store is away."""
        self.sessions.notice("store_unavailable", reason=error.reason)
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": "sessions are unavailable"})
            return
        words = "Sessions are unavailable at the moment. Nothing was lost; please try again."
        await send_problem(send, 503, "Service Unavailable", words, code=error.code, headers=[self._retry_after])


class _Exchange(Struct, eq=False):
    """One request and its response. A struct is made in a third of the time that an object takes."""

    middleware: SessionMiddleware
    scope: Scope
    send: Send
    session: Session
    streams: bool = False
    begun: bool = False
    """Whether the response has."""
    refused: bool = False
    """Whether another response went out than the application's."""

    async def save_then_send(self, message: Message) -> None:
        """What the application sends by."""
        if self.begun or message["type"] != "http.response.start":
            more = message.get("more_body", False)
            if self.streams and not more and not self.refused:
                # Before the last byte, so that the next request sees it.
                await self.middleware.save_late(self.session)
            self.streams = more
            if not self.refused:
                await self.send(message)
            return
        session, set_cookie = self.session, None
        if not session.is_untouched and may_answer(session, self.middleware):
            sessions, now = self.middleware.sessions, self.middleware.now()
            # Read more than once, and an application may send an iterator.
            headers: list[Header] = message.setdefault("headers", [])
            if not isinstance(headers, list):  # pyright: ignore[reportUnnecessaryIsInstance]
                headers = message["headers"] = list(headers)
            shared = is_shared(headers, now=now)
            try:
                # A longer life and a fresh copy can wait for a response that is this visitor's alone. The rest is written
                # first: once the client has its answer, its next request may reach another instance.
                if not shared or session.is_changed:
                    await sessions.write(session)
                    set_cookie = sessions.set_cookie(session)
            except StoreUnavailableError as error:
                # Whatever the application did, its answer would promise a session that may not be kept.
                self.begun = self.refused = True
                session.forget()
                session.read_only = "as its request was refused: its store is away"
                await self.middleware.refuse(self.scope, self.send, error)
                return
            if shared and set_cookie is not None:
                sessions.notice("made_private", cache_control=header(headers, b"cache-control") or "by another field")
        self.begun = session.answered = True
        if session.accessed or set_cookie is not None:
            message = with_session_headers(message, set_cookie)
        await self.send(message)


def may_answer(session: Session, middleware: SessionMiddleware) -> bool:
    """Whether there could be something to write, or a cookie to be sent. Most requests only read, and are spared it."""
    return session.state.clear_due or may_write(session, middleware.sessions.settings, middleware.now())


def cookie_header(scope: Scope) -> str:
    """All cookies of a request. HTTP/2 may send them in several headers (RFC 9113 section 8.2.3)."""
    found: list[bytes] = [value for name, value in scope["headers"] if name == b"cookie"]
    # Joined at once: line by line, the work would grow with the square of their number.
    return b"; ".join(found).decode("latin-1") if found else ""


def with_session_headers(message: Message, set_cookie: str | None) -> Message:
    """The start of a response with what the session adds: `Set-Cookie`, and what keeps it out of shared caches."""
    # A new list: an application may send one response object to several visitors.
    headers = [*message.get("headers", ())]
    # A cache must not give this answer to other visitors (RFC 9110 section 12.5.5, RFC 9111 section 7.3).
    if set_cookie is not None:
        changes = kept_private(headers)
        headers = [field for field in headers if field[0].lower() not in changes]
        headers += [(name, value) for name, value in changes.items() if value is not None]
        headers.append((b"set-cookie", set_cookie.encode("latin-1")))
    for name, _ in headers:
        if len(name) == len(VARY) and name.lower() == VARY:
            if not {"cookie", "*"} & {*list_members(headers, VARY)}:
                headers.append((VARY, b"Cookie"))
            break
    else:
        headers.append((VARY, b"Cookie"))
    return {**message, "headers": headers}
