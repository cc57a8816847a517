"""`flask.session` as a view sees it, and the sessions of one application."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar

from flask.sessions import SessionMixin
from werkzeug.exceptions import Conflict, ServiceUnavailable

from fungible.adapters.sync import UNAVAILABLE, OnUnavailable, SyncSessions
from fungible.sessions.contract import SessionInfo, Sessions
from fungible.sessions.errors import SessionConflict
from fungible.sessions.session import Session
from fungible.stores.errors import StoreUnavailableError

PERMANENT: Final = "_permanent"
T = TypeVar("T")


class FlaskSession(SessionMixin):
    """`flask.session`. It is loaded when it is first looked at; changes inside its values are seen."""

    def __init__(self, opened: Opened, cookie_header: str) -> None:
        self.accessed = False
        self._opened = opened
        self._cookie_header = cookie_header
        self._permanent: bool | None = None
        self._answered = False
        self.inner: Session | None = None
        """The session, once it was looked at."""

    def __getitem__(self, key: str) -> Any:
        return self._session[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._session[key] = value

    def __delitem__(self, key: str) -> None:
        del self._session[key]

    def __contains__(self, key: object) -> bool:
        return key in self._session

    def __iter__(self) -> Iterator[str]:
        return iter(self._session)

    def __len__(self) -> int:
        return len(self._session)

    def __repr__(self) -> str:
        return repr(self.inner) if self.inner is not None else "<Session, not looked at>"

    def clear(self) -> None:
        """Ends this session when the response starts; what is set after this begins another one, with another ID."""
        self._session.clear()

    @property
    def permanent(self) -> bool:
        """Whether the cookie outlives the browser's end."""
        return bool(self._session.get(PERMANENT)) if self._permanent is None else self._permanent

    @permanent.setter
    def permanent(self, value: bool) -> None:
        if self._answered and bool(value) != self.permanent:
            self._session.too_late("the life of a session's cookie can't be changed", "it")
        # Kept when the session is: said of every visitor, as by a hook before each request, it makes no session.
        self._permanent = bool(value)

    @property
    def new(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether nothing of it is kept yet."""
        return self._session.is_new

    @property
    def modified(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether something was changed, inside of values too. Setting it does nothing, and is not needed."""
        return self.inner is not None and self.inner.changed_since_written()

    @modified.setter
    def modified(self, value: bool) -> None:
        pass

    @property
    def subject(self) -> str | None:
        """Who is signed in. Setting it gives the session a new ID with the response."""
        return self._session.subject

    @subject.setter
    def subject(self, subject: str | None) -> None:
        self._session.subject = subject

    @property
    def created_at(self) -> float:
        """When it began, in Unix seconds."""
        return self._session.created_at

    def increment(self, key: str | tuple[str, ...], by: float = 1) -> Any:
        """Adds to a number, so that no addition of another request is lost; see `Session.increment`."""
        return self._session.increment(key, by)

    def rotate(self, *, subject: str | None = None) -> None:
        """Gives the session a new ID, now; see `Session.rotate`."""
        self._opened.run(self._session.rotate(subject=subject))

    def end(self) -> None:
        """Signs out, now, for good; see `Session.end`."""
        self._opened.run(self._session.end())

    def end_all(self, subject: str | None = None, *, keep_this: bool = False) -> int:
        """Ends every session of a subject; see `Session.end_all`."""
        return self._opened.run(self._session.end_all(subject, keep_this=keep_this))

    def others(self) -> list[SessionInfo]:
        """The live sessions of this session's subject."""
        return self._opened.run(self._session.others())

    def save(self) -> None:
        """Writes what was changed, now; otherwise it is written with the response."""
        self._opened.run(self._session.save())

    def settle_permanent(self) -> None:
        """Writes down what was said of the cookie's life, if there is a session at all."""
        permanent = self._permanent
        if permanent is None:
            return
        session = self._session
        if session.read_only or (session.is_new and not session):
            return
        if bool(session.get(PERMANENT)) != permanent:
            session[PERMANENT] = permanent
            # The browser has to be told, although the ID is the same.
            session.state.send_due = True

    def answer(self) -> None:
        """Notes that the response has begun: from now on only what needs no cookie can be changed."""
        self._answered = True
        if self.inner is not None:
            self.inner.answered = True

    def settle(self) -> None:
        """Keeps what was changed while the response was streamed, or by a function at the request's teardown."""
        inner = self.inner
        if inner is not None:
            self._opened.settle(inner, lambda: self._opened.write(inner))

    def refuse_changes(self, reason: str) -> None:
        """Forgets what was changed, and takes no more."""
        if self.inner is not None:
            self.inner.forget()
            self.inner.read_only = self.inner.read_only or reason

    @property
    def _session(self) -> Session:
        self.accessed = True
        if self.inner is None:
            self.inner = self._opened.load(self._cookie_header)
            self.inner.answered = self._answered
        return self.inner


class SessionsUnavailable(ServiceUnavailable):
    """The answer of a request that needs its session while the store is away."""

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        """The headers of the answer."""
        return [*super().get_headers(*args, **kwargs), ("Cache-Control", "no-store")]


class Opened(SyncSessions):
    """The sessions of one application."""

    def __init__(
        self,
        sessions: Sessions,
        while_open: Sessions,
        *,
        retry_after_s: int,
        on_unavailable: OnUnavailable,
        now: Callable[[], float],
    ) -> None:
        # A view that is a coroutine has an event loop of its own, which serves nothing else: it may wait.
        super().__init__(sessions, on_unavailable=on_unavailable, retry_after_s=retry_after_s, in_loop="block", now=now)
        self.while_open = while_open
        """The same, for cookies that live as long as the browser is open."""

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine of the session's. Where that can't be done, the view ends here.

        Raises:
            ServiceUnavailable: the store is away.
            Conflict: another request has changed the same, and the application asked to be told.
        """
        try:
            return super().run(coroutine)
        except SessionConflict as error:
            raise Conflict(str(error)) from error
        except StoreUnavailableError as error:
            raise self._unavailable() from error

    def load(self, cookie_header: str) -> Session:
        """The session that a request's `Cookie` header names; see `run`."""
        try:
            return super().load(cookie_header)
        except StoreUnavailableError as error:
            raise self._unavailable() from error

    def _unavailable(self) -> ServiceUnavailable:
        return SessionsUnavailable(UNAVAILABLE, retry_after=self.retry_after_s)

    def set_cookie(self, session: Session) -> str | None:
        """The `Set-Cookie` header that the response needs."""
        return (self.sessions if session.get(PERMANENT) else self.while_open).set_cookie(session)
