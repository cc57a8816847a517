"""The middleware for any ASGI application: `request.session`, loaded before the application and kept with its response.

Source: the ASGI specification, HTTP and WebSocket message formats.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any, Literal

from fungible.core.errors import SettingError
from fungible.core.keyring import KeyRing
from fungible.sessions.contract import Sessions
from fungible.sessions.errors import SessionConflict
from fungible.sessions.opening import Mode, homes_of, open_sessions
from fungible.sessions.session import Session
from fungible.sessions.settings import CookiePolicy, SameSite, SessionSettings
from fungible.sessions.state import SessionState
from fungible.stores.contract import Store
from fungible.stores.errors import StoreUnavailableError
from fungible.stores.postures import Home

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TRY_AGAIN_LATER = 1013
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
        self._retry_after_s = retry_after_s
        self._now = now

    def homes(self) -> Sequence[Home]:
        """Where this middleware keeps state, for `fungible doctor`."""
        return self._homes

    @classmethod
    def homes_declared(cls, *, store: Store | None = None, mode: Mode = "stored", **_others: Any) -> Sequence[Home]:
        """Where a middleware with these settings would keep state, for `fungible doctor`."""
        return homes_of(store, mode)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        cookies = cookie_header(scope)
        try:
            session = await self.sessions.load(cookies) if cookies else self._visitor()
        except StoreUnavailableError as error:
            if not self._empty_if_away:
                await self._refuse(scope, send, error)
                return
            session = self._visitor(read_only="while its store is away")
        if scope["type"] == "websocket":
            # A cookie can't be sent any more once the connection stands, and it may stand for days.
            session.read_only = session.read_only or "in a WebSocket: its handshake has been answered"
            scope["session"] = session
            await self.app(scope, receive, send)
            return
        await self._serve(scope, receive, send, session)

    def _visitor(self, *, read_only: str = "") -> Session:
        """The session of who has none."""
        return Session(self.sessions, SessionState(self._now()), read_only=read_only)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, session: Session) -> None:
        scope["session"] = session
        begun = refused = streams = False

        async def save_then_send(message: Message) -> None:
            nonlocal begun, refused, streams
            if message["type"] == "http.response.start" and not begun:
                # Saved first: once the client has its answer, its next request may reach another instance.
                try:
                    if not session.is_untouched:
                        await self.sessions.write(session)
                except StoreUnavailableError as error:
                    # Whatever the application did, its answer would promise a session that may not be kept.
                    begun = refused = True
                    await self._refuse(scope, send, error)
                    return
                begun = True
                message = with_session_headers(message, session, self.sessions.set_cookie(session))
            elif streams and not refused and not message.get("more_body"):
                # Before the last byte, for the same reason.
                await self._save_late(session)
            streams = bool(message.get("more_body"))
            if not refused:
                await send(message)

        try:
            await self.app(scope, receive, save_then_send)
        except SessionConflict as conflict:
            if begun:
                raise
            begun = True
            await problem(send, 409, "Conflict", str(conflict), code=conflict.code, headers=[])
            return
        except StoreUnavailableError as error:
            # The application itself has asked the store, by `session.rotate()` for instance.
            if begun or error.home not in {home.home for home in self._homes}:
                raise
            begun = True
            await self._refuse(scope, send, error)
            return
        if begun and not refused and not session.is_untouched:
            await self._save_late(session)

    async def _save_late(self, session: Session) -> None:
        """Keeps what was changed since the response began, while it was streamed or after it.

        Its cookie has been sent, so only a session that is kept already can take it.
        """
        if not session.changed_since_written():
            return
        if session.is_new:
            self.sessions.notice("change_too_late")
            return
        await self.sessions.write(session)

    async def _refuse(self, scope: Scope, send: Send, error: StoreUnavailableError) -> None:
        self.sessions.notice("store_unavailable", reason=error.reason)
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": "sessions are unavailable"})
            return
        retry = (b"retry-after", str(self._retry_after_s).encode())
        words = "Sessions are unavailable at the moment. Nothing was lost; please try again."
        await problem(send, 503, "Service Unavailable", words, code=error.code, headers=[retry])


def cookie_header(scope: Scope) -> str:
    """All cookies of a request. HTTP/2 may send them in several headers (RFC 9113 section 8.2.3)."""
    found: str | None = None
    for name, value in scope["headers"]:
        if name == b"cookie":
            text: str = value.decode("latin-1")
            found = text if found is None else f"{found}; {text}"
    return found or ""


def with_session_headers(message: Message, session: Session, set_cookie: str | None) -> Message:
    """The start of a response with what the session adds: `Set-Cookie`, and what keeps it out of shared caches."""
    if set_cookie is None and not session.accessed:
        return message
    # A new list: an application may send one response object to several visitors.
    headers = [*message.get("headers", ())]
    # A cache must not give this answer to other visitors (RFC 9110 section 12.5.5, RFC 9111 section 7.3).
    for name, value in headers:
        if name == b"vary" and b"cookie" in value.lower():
            break
    else:
        headers.append((b"vary", b"Cookie"))
    if set_cookie is not None:
        headers.append((b"set-cookie", set_cookie.encode("latin-1")))
        if not any(name == b"cache-control" for name, _ in headers):
            headers.append((b"cache-control", b"no-store"))
    return {**message, "headers": headers}


async def problem(
    send: Send, status: int, title: str, detail: str, *, code: str, headers: list[tuple[bytes, bytes]]
) -> None:
    """Sends a problem document. Source: RFC 9457."""
    body = json.dumps({"title": title, "status": status, "detail": detail, "code": code}).encode()
    fixed = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})
