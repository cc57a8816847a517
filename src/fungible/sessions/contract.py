"""What a middleware needs of sessions, wherever they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from fungible.sessions.session import Session
    from fungible.sessions.settings import SessionSettings


class SessionInfo(Struct, frozen=True, kw_only=True):
    """A live session, as a list of a subject's devices shows it."""

    handle: str
    """What names it, for `end_by_handle`; nobody can make a cookie of it."""
    created_at: float
    expires_at: float
    current: bool
    """Whether it is the session that asked."""
    values: Mapping[str, Any]


class Sessions(Protocol):
    """Sessions of one kind: stored, sealed or snapshots. Any instance can load what another has written."""

    @property
    def in_cookie(self) -> bool:
        """Whether the cookie is all there is: then nothing can be kept once the response has begun."""
        ...

    @property
    def settings(self) -> SessionSettings:
        """How they are kept."""
        ...

    async def load(self, cookie_header: str) -> Session:
        """The session that a request's `Cookie` header names; an empty one where it names none.

        Whatever the header holds, this raises nothing but `StoreUnavailableError`.
        """
        ...

    async def write(self, session: Session) -> None:
        """Keeps what a request has changed; does nothing where nothing has changed.

        Raises:
            SessionConflict: see `SessionSettings.conflicts`.
            SessionTooLargeError: it would not fit into a cookie.
            StoreUnavailableError: it may have been written or not.
            TypeError: a value can't be kept.
        """
        ...

    def set_cookie(self, session: Session) -> str | None:
        """The `Set-Cookie` header that the response needs, if any."""
        ...

    async def rotate(self, session: Session) -> None:
        """Writes what was changed, under a new ID."""
        ...

    async def end(self, session: Session) -> None:
        """Deletes the session for good."""
        ...

    async def end_by_handle(self, handle: str) -> None:
        """Deletes the session of a `SessionInfo` for good."""
        ...

    async def end_all(self, subject: str, *, keep: str | None = None) -> int:
        """Deletes every session of a subject but the one with the handle `keep`; gives their number."""
        ...

    async def sessions_of(self, subject: str | None, *, current: str | None = None) -> list[SessionInfo]:
        """A subject's live sessions, the newest first."""
        ...

    def notice(self, event: str, **details: Any) -> None:
        """Tells the application's metrics, and the log, what happened."""
        ...
