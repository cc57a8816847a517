"""What the adapters for frameworks that block have in common: sessions without an event loop of one's own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, Literal, TypeVar

from fungible.core.asgi import Header, header, retry_after
from fungible.core.bridge import run
from fungible.core.errors import SettingError
from fungible.core.keyring import MIN_SECRET_BYTES
from fungible.sessions.caching import is_shared, kept_private
from fungible.sessions.contract import Sessions
from fungible.sessions.lifetimes import extension_s
from fungible.sessions.notices import LOGGER
from fungible.sessions.session import Session
from fungible.sessions.state import SessionState
from fungible.stores.errors import StoreUnavailableError

T = TypeVar("T")
OnUnavailable = Literal["refuse", "empty"]

UNAVAILABLE: Final = "Sessions are unavailable at the moment. Nothing was lost; please try again."


class SyncSessions:
    """Sessions for callers that block. What needs no store goes without the event loop's thread.

    Args:
        sessions: As `open_sessions` gives them.
        on_unavailable: `refuse` raises `StoreUnavailableError` where the store is away; `empty` gives an empty session
            that can't be changed.
        retry_after_s: What `Retry-After` says while it is, in seconds.
        in_loop: See `fungible.core.bridge.Bridge.run`.
        now: The clock, in Unix seconds.
    Raises:
        SettingError: one of them can't be taken.
    """

    def __init__(
        self,
        sessions: Sessions,
        *,
        on_unavailable: OnUnavailable,
        retry_after_s: int,
        in_loop: Literal["refuse", "block"] = "refuse",
        now: Callable[[], float] = time.time,
    ) -> None:
        if on_unavailable not in ("refuse", "empty"):
            raise SettingError(f"on_unavailable={on_unavailable!r} must be 'refuse' or 'empty'")
        retry_after(retry_after_s)
        self.retry_after_s = retry_after_s
        self.sessions = sessions
        self._empty_if_away = on_unavailable == "empty"
        self._in_loop: Literal["refuse", "block"] = in_loop
        self._now = now

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine of the session's, such as `session.rotate()`, to its end."""
        return self._bridged(coroutine)

    def load(self, cookie_header: str) -> Session:
        """The session that a request's `Cookie` header names; an empty one where it names none."""
        if self.sessions.settings.cookie.full_name not in cookie_header:
            return self.empty()
        try:
            return self._bridged(self.sessions.load(cookie_header))
        except StoreUnavailableError:
            if not self._empty_if_away:
                raise
            return self.empty(read_only="while its store is away")

    def write(self, session: Session) -> None:
        """Keeps what a request has changed."""
        if not session.read_only and due(self.sessions, session, self._now()):
            self.run(self.sessions.write(session))

    def waits(self, session: Session, fields: Iterable[Header]) -> bool:
        """Whether what is due for a session can wait for another response, as a shared cache may store this one.

        Args:
            fields: Those of the response.
        """
        return is_shared(fields, now=self._now()) and not session.is_changed

    def private_fields(self, fields: list[Header]) -> dict[str, str | None]:
        """What a response needs that carries a session's cookie; see `kept_private`."""
        if is_shared(fields, now=self._now()):
            self.sessions.notice("made_private", cache_control=header(fields, b"cache-control") or "by another field")
        return {
            name.decode(): None if value is None else value.decode("latin-1")
            for name, value in kept_private(fields).items()
        }

    def settle(self, session: Session, write: Callable[[], None]) -> None:
        """Keeps what was changed once the response had begun, where that can be, and takes no more changes.

        Nothing is raised, as nobody is left to see it: what is lost is logged.

        Args:
            write: Writes the session.
        """
        try:
            kept = not self.sessions.in_cookie
            if kept and (session.state.ended or session.changed_since_written()):
                write()
            session.finish(kept=kept)
        except Exception as error:
            LOGGER.error("what was changed in a session once its response had begun could not be kept: %s", error)

    def _bridged(self, coroutine: Coroutine[Any, Any, T]) -> T:
        try:
            return run(coroutine, in_loop=self._in_loop)
        except StoreUnavailableError as error:
            self.tell(error)
            raise

    def tell(self, error: StoreUnavailableError) -> None:
        """Tells that the store is away."""
        self.sessions.notice("store_unavailable", reason=error.reason)

    def empty(self, *, read_only: str = "") -> Session:
        """A session that holds nothing and is not kept yet."""
        return Session(self.sessions, SessionState(self._now()), read_only=read_only)


def fields_of(headers: Iterable[tuple[str, str]]) -> list[Header]:
    """A response's fields as ASGI has them."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]


def due(sessions: Sessions, session: Session, now: float) -> bool:
    """Whether `write` would have anything to do: a change, an end, a new ID, a longer life, or another cookie."""
    state = session.state
    if state.send_due or state.ended or state.rotation_due or session.changed_since_written():
        return True
    return extension_s(state, sessions.settings, now) is not None


def secrets_of(current: str | bytes, former: Iterable[str | bytes]) -> list[str | bytes]:
    """A framework's secret key and its fallbacks as a key ring's. Fallbacks too short for one can't have signed."""
    return [current, *(secret for secret in former if len(secret) >= MIN_SECRET_BYTES)]


def problem_body(status: int, title: str, detail: str, code: str) -> bytes:
    """A problem document (RFC 9457), as the ASGI middleware sends it."""
    return json.dumps({"title": title, "status": status, "detail": detail, "code": code}).encode()
