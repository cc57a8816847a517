"""The `SESSION_ENGINE`: Django's session API on sessions that lose nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, cast

from django.conf import settings  # pyright: ignore[reportMissingTypeStubs]
from django.contrib.sessions.backends.base import (  # pyright: ignore[reportMissingTypeStubs]
    SessionBase,
    UpdateError,
)

from fungible.adapters.django.expiry import EXPIRY, has_expired, note_expiry
from fungible.adapters.django.opening import opened
from fungible.adapters.sync import due
from fungible.core.asgi import Header
from fungible.core.bridge import BridgeError
from fungible.sessions.contract import SessionInfo
from fungible.sessions.session import Session
from fungible.stores.errors import StoreUnavailableError


class SessionStore(SessionBase):
    """`request.session`.

    The methods of Django's sessions do what they always did, and `increment`, `end_all`, `others` and `subject` are those
    of `fungible.sessions.Session`. What differs: changes inside of values are seen; `save` writes what was changed and
    merges it with what other requests have changed; `cycle_key` takes effect when the session is saved, so that who held
    the old key is shown nothing of who signs in.
    """

    def __init__(self, session_key: str | None = None, *, also: Sequence[str] = ()) -> None:
        """A session that is loaded when it is first looked at.

        Args:
            session_key: A `session_key`, or the value of the session's cookie.
            also: Further cookies of the same name, to be tried after it.
        """
        self._opened = opened()
        self._texts = tuple(text for text in (session_key, *also) if text)
        self._inner: Session | None = None
        self._said_modified = False
        self._answered = False
        self.unavailable: StoreUnavailableError | None = None
        """Why the last attempt to load it has failed."""
        super().__init__(session_key)  # pyright: ignore[reportUnknownMemberType]

    # --- what it is made of ---

    @property
    def inner(self) -> Session | None:
        """The session, if it was looked at."""
        return self._inner

    def _get_session(self, no_load: bool = False) -> Session:
        self.accessed = True
        if self._inner is None:
            if no_load or not self._texts:
                self._hold(self._opened.empty())
            else:
                self._opened.run(self._aget_session())
        assert self._inner is not None
        return self._inner

    async def _aget_session(self, no_load: bool = False) -> Session:
        self.accessed = True
        if self._inner is None:
            return self._hold(self._opened.empty() if no_load or not self._texts else await self._loaded())
        return self._inner

    def _hold(self, session: Session) -> Session:
        session.answered = self._answered
        self._inner = session
        return session

    async def _loaded(self) -> Session:
        try:
            session = await self._opened.read(self._texts)
        except StoreUnavailableError as error:
            self.unavailable = error
            raise
        self.unavailable = None
        if has_expired(session, self._opened.now()):
            await self._opened.sessions.end(session)
            return self._opened.empty()
        return session

    _session = property(_get_session)

    @property
    def modified(self) -> bool:
        """Whether there is something to save: what was changed inside of values counts."""
        if self._said_modified:
            return True
        session = self._inner
        return session is not None and (session.state.rotation_due or session.changed_since_written())

    @modified.setter
    def modified(self, value: bool) -> None:
        self._said_modified = value

    def is_empty(self) -> bool:
        """Whether there is neither a session nor anything to make one of."""
        session = self._inner
        if session is None:
            return not self._texts
        state = session.state
        # While the store is away nothing is known: the cookie must stay.
        return state.record is None and not state.dead and not session.read_only and not session

    @property
    def session_key(self) -> str | None:
        """The session's ID as text, signed; None where there is no session.

        Raises:
            BridgeError: asked inside an event loop after `acycle_key`, before `asave`.
        """
        session = self._inner
        if session is None:
            if not self._texts or self._opened.handle(self._texts[0]) is not None:
                return self._texts[0] if self._texts else None
            # No key of ours, but perhaps the cookie of a snapshot.
            session = self._get_session()
        state = session.state
        if state.rotation_due and state.record is not None:
            if _in_event_loop():
                raise BridgeError("the new session_key is drawn when the session is saved: await session.asave() first")
            self.write()
        if state.id is not None:
            return self._opened.session_key(state.id)
        return self._texts[0] if state.record is not None else None

    @property
    def _session_key(self) -> str | None:
        return self.session_key

    @_session_key.setter
    def _session_key(self, value: str | None) -> None:
        """Nobody chooses a key: it is drawn when the session is made."""

    # --- Django's verbs ---

    def exists(self, session_key: str) -> bool:
        """Whether there is a live session with that key."""
        return self._opened.run(self.aexists(session_key))

    async def aexists(self, session_key: str) -> bool:
        """Whether there is a live session with that key."""
        session = await self._opened.read([session_key])
        return session.state.record is not None and not has_expired(session, self._opened.now())

    def load(self) -> Session:
        """The session's values."""
        return self._get_session()

    async def aload(self) -> Session:
        """The session's values."""
        return await self._aget_session()

    def create(self) -> None:
        """Begins a session with a new key, at once, with the values that this object holds."""
        self._opened.run(self.acreate())

    async def acreate(self) -> None:
        """Begins a session with a new key, at once, with the values that this object holds."""
        before = await self._aget_session(no_load=True)
        fresh = self._opened.empty()
        fresh.update(before)
        await self._create(self._hold(fresh))

    async def _create(self, session: Session) -> None:
        if session.answered:
            session.too_late("a session can't be begun", "its cookie")
        note_expiry(session, self._opened.now())
        sessions = self._opened.sessions
        if sessions.settings.subject_key is not None:
            session.follow_subject(sessions.settings.subject_key)
        await sessions.create(session, session.changes())
        await self._extend(session)

    def save(self, must_create: bool = False) -> None:
        """Writes what was changed, and begins the session if there is none.

        Raises:
            UpdateError: the session was ended, or given another key, while this request was under way. What the
                latter has changed is kept.
        """
        self._opened.run(self.asave(must_create))

    async def asave(self, must_create: bool = False) -> None:
        """Writes what was changed; see `save`."""
        if must_create:
            await self.acreate()
            return
        session = await self._aget_session()
        if session.state.record is None and not session.state.dead:
            await self._create(session)
        else:
            await self.awrite()
        if session.state.dead or session.state.id is None:
            raise UpdateError

    def delete(self, session_key: str | None = None) -> None:
        """Ends a session, by default this one, for good."""
        self._opened.run(self.adelete(session_key))

    async def adelete(self, session_key: str | None = None) -> None:
        """Ends a session, by default this one, for good."""
        if session_key is None:
            await self._opened.sessions.end(await self._aget_session())
            return
        handle = self._opened.handle(session_key)
        if handle is not None:
            await self._opened.sessions.end_by_handle(handle)

    def clear(self) -> None:
        """Removes all values; the session and its key stay."""
        session = self._get_session()
        for key in list(session):
            del session[key]

    def flush(self) -> None:
        """Signs out: ends this session for good. What is set from now on begins another one."""
        self._opened.run(self.aflush())

    async def aflush(self) -> None:
        """Signs out; see `flush`."""
        await (await self._aget_session()).end()

    def cycle_key(self) -> None:
        """Gives the session a new key when it is saved."""
        session = self._get_session()
        session.check_rotatable()
        session.state.rotation_due = session.state.record is not None

    async def acycle_key(self) -> None:
        """Gives the session a new key when it is saved."""
        session = await self._aget_session()
        session.check_rotatable()
        session.state.rotation_due = session.state.record is not None

    @classmethod
    def clear_expired(cls) -> None:
        """Nothing to do: a store lets go of what has expired by itself."""

    @classmethod
    async def aclear_expired(cls) -> None:
        """Nothing to do: a store lets go of what has expired by itself."""

    # --- ours ---

    def increment(self, key: str | tuple[str, ...], by: float = 1) -> Any:
        """Adds to a number, so that no addition of another request is lost; see `Session.increment`."""
        return self._get_session().increment(key, by)

    @property
    def subject(self) -> str | None:
        """Who is signed in: the primary key of the user as text."""
        return self._get_session().subject

    def end_all(self, subject: str | None = None, *, keep_this: bool = False) -> int:
        """Ends every session of a user, by default of this session's, on all devices; see `Session.end_all`."""
        return self._opened.run(self.aend_all(subject, keep_this=keep_this))

    async def aend_all(self, subject: str | None = None, *, keep_this: bool = False) -> int:
        """Ends every session of a user; see `end_all`."""
        return await (await self._aget_session()).end_all(subject, keep_this=keep_this)

    def others(self) -> list[SessionInfo]:
        """The live sessions of this session's user."""
        return self._opened.run(self.aothers())

    async def aothers(self) -> list[SessionInfo]:
        """The live sessions of this session's user."""
        return await (await self._aget_session()).others()

    def write(self) -> None:
        """Writes what was changed, if anything was. Begins nothing where there is nothing to keep.

        Nothing is raised where the session was ended meanwhile: it stays so.
        """
        if self._write_due():
            self._opened.run(self._awrite())

    async def awrite(self) -> None:
        """Writes what was changed; see `write`."""
        if self._write_due():
            await self._awrite()

    def waits(self, fields: Iterable[Header]) -> bool:
        """Whether what is due can wait for another response, as a shared cache may store this one.

        Args:
            fields: Those of the response.
        """
        session = self._inner
        return session is not None and not self._said_modified and self._opened.waits(session, fields)

    def answer(self) -> None:
        """Notes that the response has begun: from now on only what needs no cookie can be changed."""
        self._answered = True
        if self._inner is not None:
            self._inner.answered = True

    def settle(self) -> None:
        """Keeps what was changed while the response was streamed."""
        if self._inner is not None:
            self._opened.settle(self._inner, self.write)

    def _write_due(self) -> bool:
        session = self._inner
        if session is None or session.read_only:
            return False
        if settings.SESSION_SAVE_EVERY_REQUEST or self.modified:
            note_expiry(session, self._opened.now())
        return due(self._opened.sessions, session, self._opened.now())

    async def _awrite(self) -> None:
        session = self._inner
        assert session is not None
        await self._opened.sessions.write(session)
        await self._extend(session)

    async def _extend(self, session: Session) -> None:
        """Has the store keep the session for longer than the settings say, where `set_expiry` wants it so."""
        record = session.state.record
        if record is None or session.state.dead or not session.get(EXPIRY):
            return
        kept = self._opened.sessions.settings
        longest_s = session.created_at + kept.absolute_timeout_s - self._opened.now()
        ttl_s = min(cast(float, cast(Any, self).get_expiry_age()), longest_s)
        if ttl_s > kept.idle_timeout_s:
            await self._opened.sessions.store.touch(record.key, ttl_s=ttl_s)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


if settings.configured and __name__ == settings.SESSION_ENGINE:
    # All that Django's own middleware does with its engine at start is to import it. A mistake is to be seen then.
    opened()
