"""Sessions kept in a store; the cookie carries an ID of 256 random bits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from weakref import WeakValueDictionary

from fungible.core.keyring import KeyRing
from fungible.core.recent import Recent
from fungible.core.subjects import check_subject
from fungible.sessions.contract import SessionInfo
from fungible.sessions.cookies import SessionCookie, VerifiedID, handle_of, new_id, signed_id, verified_id
from fungible.sessions.lifetimes import extension_s
from fungible.sessions.notices import Notices
from fungible.sessions.rotation import begin_after_the_end, rotate, standing
from fungible.sessions.session import Session
from fungible.sessions.settings import SessionSettings
from fungible.sessions.state import (
    ENDED,
    META,
    NEXT,
    SessionState,
    is_readable,
    key_of,
    next_of,
    subject_of,
)
from fungible.sessions.subjects import SessionIndex
from fungible.sessions.termination import end, end_all, end_one
from fungible.stores.contract import ABSENT, REMOVED, Record, Store
from fungible.stores.errors import ConflictError, GoneError, StoreUnavailableError

MAX_ATTEMPTS: Final = 1000
"""Each failed attempt means that another request has written: so many never come together."""


class StoredSessions:
    """Sessions in a store.

    Args:
        store: Where they are kept.
        ring: Signs the IDs in cookies, so that an ID we never issued costs no question to the store.
        settings: How they are kept.
        now: The clock, in Unix seconds.
    """

    in_cookie = False

    def __init__(
        self, store: Store, ring: KeyRing, settings: SessionSettings, *, now: Callable[[], float] = time.time
    ) -> None:
        self.store = store
        self.settings = settings
        self.now = now
        self.subjects = SessionIndex(store, most=settings.max_sessions, now=now, end=self._end_oldest)
        self._ring = ring
        self._cookie = SessionCookie(settings)
        self._notices = Notices(settings.on_event)
        self._recent = Recent[VerifiedID]()
        self._turns: WeakValueDictionary[tuple[int, str], asyncio.Lock] = WeakValueDictionary()

    # --- reading ---

    async def load(self, cookie_header: str) -> Session:
        """The session that a request's cookies name."""
        for text in self._cookie.values(cookie_header):
            state = self.at_hand(text) or await self.read_cookie(text)
            if state is not None:
                return Session(self, state)
        return Session(self, SessionState(self.now()))

    def at_hand(self, text: str) -> SessionState | None:
        """The state that one cookie's value names, where it is known here; None where the store is to be asked."""
        return None

    async def read_cookie(self, text: str) -> SessionState | None:
        """The state that one cookie's value names; None if it is not ours, or its session has ended."""
        verified = self._recent.get(text) or self._verified(text)
        current = None if verified is None else self._ring.is_current(verified.kid)
        if verified is None or current is None:
            self.notice("cookie_refused", length=len(text))
            return None
        state = await self.read(verified.id, verified.handle)
        if state is None:
            self.notice("session_unknown")
            return None
        state.send_due = not current
        return state

    def _verified(self, text: str) -> VerifiedID | None:
        verified = verified_id(text, self._ring)
        return None if verified is None else self._recent.add(text, verified)

    async def read(self, session_id: bytes, handle: str) -> SessionState | None:
        """The state of the session with that ID."""
        record = await self.store.get(key_of(handle))
        if record is None or ENDED in record.fields:
            return None
        if NEXT not in record.fields:
            if not is_readable(record.fields.get(META)):
                return None
            return SessionState.of(record, handle=handle, session_id=session_id, now=self.now())
        return await self._read_rotated(record, handle)

    async def _read_rotated(self, record: Record, handle: str) -> SessionState | None:
        """What a rotated ID shows for a few seconds: what it showed before, while the session lives.

        It never leads to what came later, nor to a cookie with the new ID, and nothing that is written with it is kept.
        """
        leads = next_of(record)
        if leads is None or self.now() >= leads.dead_at or not is_readable(record.fields.get(META)):
            self.notice("rotated_id_refused")
            return None
        found = await standing(self, record)
        if found is None or (not found.same_subject and subject_of(record) is not None):
            # Ended; or who was signed in has signed out, or another has signed in, and so they are out here, too.
            return None
        shown = record.changed({NEXT: REMOVED})
        state = SessionState.of(shown, handle=handle, session_id=None, now=self.now())
        state.stale = state.shut_out = True
        return state

    # --- writing ---

    async def write(self, session: Session) -> None:
        """Keeps what a request has changed, and sees to it that the cookie that is due may be sent."""
        if session.read_only:
            return
        state = session.state
        state.stands = False
        await self.keep(session)
        if state.send_due and state.id is not None and not (state.drawn or state.stands):
            await self.ask_again(state)

    async def ask_again(self, state: SessionState) -> None:
        """Asks whether the ID that a cookie is due for still stands: the last thing that is done before the answer.

        By the answer of an hour, or of a millisecond, ago it would go out after the cookie of a sign-in that was quicker.
        """
        assert state.handle is not None
        asked_at = self.now()
        try:
            record = await self.store.get(key_of(state.handle))
        except StoreUnavailableError:
            if state.outdated:
                raise
            # The request was served, and its visitor's cookie is as good as before.
            state.send_due = False
            return
        if record is None or NEXT in record.fields or ENDED in record.fields:
            state.send_due = False
            return
        state.stands = True
        state.copy, state.copied_at = record, asked_at

    async def keep(self, session: Session) -> None:
        """Keeps what a request has changed."""
        state = session.state
        while state.ended:
            handle, shut_out = state.ended[0]
            if not await end(self, handle, shut_out=shut_out):
                # The browser may have the cookie of who has signed in: it is neither taken back nor replaced.
                state.clear_due = False
                state.dead = state.record is None
            state.ended = state.ended[1:]
        if self.settings.subject_key is not None:
            session.follow_subject(self.settings.subject_key)
        if state.dead:
            await begin_after_the_end(self, session)
            return
        changes = session.changes()
        if state.record is None:
            if changes or state.subject is not None:
                await self.create(session, changes)
        elif state.rotation_due:
            await self.rotate(session)
        elif changes and state.shut_out:
            self.refuse(session, state.record)
        elif changes:
            record, ttl_s = state.record, extension_s(state, self.settings, self.now())
            try:
                # NEXT guards that the session was not rotated since: a rotated record takes no more writes.
                state.record = await self.store.change(record, {**changes, NEXT: REMOVED}, ttl_s=ttl_s)
            except ConflictError as conflict:
                async with self._turn(record.key):
                    await self._merge(session, record, conflict.current, ttl_s)
            except GoneError:
                self.lost(session)
            else:
                state.stands = True
                session.written(state.record.fields)
            state.send_due = not state.dead and (state.send_due or ttl_s is not None)
        elif not state.stale:
            await self._extend(state, state.record)

    async def create(self, session: Session, changes: Mapping[str, Any]) -> None:
        """Begins a session: its ID is drawn here, whatever the visitor sent."""
        state = session.state
        fields = {field: value for field, value in changes.items() if value is not REMOVED}
        session_id = new_id()
        handle = handle_of(session_id)
        state.begin(self.now())
        fields[META] = state.meta()
        state.record = await self.store.put(key_of(handle), fields, ttl_s=self.settings.idle_timeout_s, expect=ABSENT)
        state.id, state.handle = session_id, handle
        state.send_due = state.drawn = True
        state.rotation_due = state.dead = state.clear_due = False
        if state.subject is not None:
            await self.subjects.add(state.subject, handle, ends_at=state.created_at + self.settings.absolute_timeout_s)
        session.written(state.record.fields)

    async def _extend(self, state: SessionState, record: Record) -> None:
        """Extends the session's life, where that is due, and sends the cookie again."""
        ttl_s = extension_s(state, self.settings, self.now())
        if ttl_s is None:
            return
        try:
            # No `touch`: where the session was rotated meanwhile, the old ID must not come after the new one.
            await self.store.change(record, {NEXT: REMOVED}, ttl_s=ttl_s)
            state.send_due = state.stands = True
        except (ConflictError, GoneError):
            state.send_due = False

    async def _merge(self, session: Session, read: Record, current: Record, ttl_s: float | None) -> None:
        """Merges what a request has changed with what another one has, and writes that."""
        for _ in range(MAX_ATTEMPTS):
            found = await standing(self, current, read)
            if found is None:
                self.lost(session)
                return
            if not found.takes_writes(read):
                self.refuse(session, read)
                return
            stood = found.record
            merged = session.merged_with(stood.fields)
            self.notice("merged")
            try:
                if merged:
                    stood = await self.store.change(stood, {**merged, NEXT: REMOVED}, ttl_s=ttl_s)
                    session.state.stands = stood.key == read.key
                go_on(session, read, stood)
                return
            except ConflictError as conflict:
                current = conflict.current
            except GoneError:
                self.lost(session)
                return
        raise StoreUnavailableError(home=self.store.home, reason="too many requests write one session")

    def lost(self, session: Session) -> None:
        """The session was ended while this request was under way: it stays so, and no cookie is sent."""
        session.forget()
        session.state.dead = True
        session.state.rotation_due = session.state.send_due = False
        self.tell(
            "revival_refused", "a session was ended while a request was under way: what that has changed was dropped"
        )

    def refuse(self, session: Session, read: Record) -> None:
        """Refuses what a request has changed of a session that goes on under an ID which that request must not reach.

        It goes on showing what it showed, with its own changes.
        """
        session.state.shut_out = True
        show_own(session, read)
        self.tell(
            "write_refused",
            "what a request has changed in its session was dropped: it came with a session ID from before a sign-in",
        )

    def _turn(self, key: str) -> asyncio.Lock:
        """One at a time within this process where requests write the same values: others would only try in vain."""
        place = (id(asyncio.get_running_loop()), key)
        lock = self._turns.get(place)
        if lock is None:
            lock = self._turns[place] = asyncio.Lock()
        return lock

    # --- the cookie ---

    def set_cookie(self, session: Session) -> str | None:
        """The `Set-Cookie` header that the response needs."""
        state = session.state
        value = self.due_cookie(state)
        return self._cookie.cleared(state) if value is None else self._cookie.sent(state, value)

    def due_cookie(self, state: SessionState) -> str | None:
        """The value of the cookie that the response needs, if any; never of an ID that may have been rotated since."""
        if state.send_due and state.id is not None and (state.drawn or state.stands):
            return self.cookie_of(state, state.id)
        return None

    def cookie_of(self, state: SessionState, session_id: bytes) -> str:
        """The cookie's value."""
        return signed_id(session_id, self._ring)

    # --- rotating and ending ---

    async def rotate(self, session: Session) -> None:
        """Writes what was changed, under a new ID."""
        if session.read_only:
            return
        if session.state.dead:
            await begin_after_the_end(self, session, at_once=True)
        else:
            await rotate(self, session)

    async def end(self, session: Session) -> None:
        """Deletes the session for good."""
        state = session.state
        if state.handle is not None and not await end(self, state.handle, shut_out=state.shut_out):
            # The browser may have the cookie of who has signed in: it is neither taken back nor replaced.
            state.dead = True

    async def end_by_handle(self, handle: str) -> None:
        """Deletes a session for good: also where another request rotates it at this very moment."""
        await end(self, handle)

    async def _end_oldest(self, handle: str) -> None:
        """Ends a subject's oldest session, as there is no more room in the index; its place there is freed by the caller."""
        limit = self.settings.max_sessions
        self.tell(
            "oldest_ended",
            f"a subject has more than {limit} sessions (max_sessions): the oldest was ended",
            handle=handle,
            limit=limit,
        )
        await end_one(self, handle, listed=False)

    async def end_all(self, subject: str, *, keep: str | None = None) -> int:
        """Deletes every session of a subject."""
        check_subject(subject)
        return await end_all(self, subject, keep=keep)

    async def sessions_of(self, subject: str | None, *, current: str | None = None) -> list[SessionInfo]:
        """A subject's live sessions, the newest first."""
        check_subject(subject)
        return [] if subject is None else await self.subjects.infos(subject, current=current)

    async def revoked(self, handle: str, *, from_s: float) -> None:
        """Is told of each ID that is dead from an instant on. Nothing to do: the store is asked at each request.

        Raises:
            StoreError: other instances may not know of it.
        """

    def notice(self, event: str, **details: Any) -> None:
        """Tells the application's metrics, and the log, what happened."""
        self._notices.tell(event, details)

    def tell(self, event: str, words: str, **details: Any) -> None:
        """Tells the application's metrics, and its log: something that a visitor has done was not done."""
        self._notices.tell(event, details, words)


def go_on(session: Session, read: Record, stood: Record) -> None:
    """A request whose changes were merged goes on from what now stands."""
    state = session.state
    if stood.key == read.key:
        state.record = stood
    else:
        # Rotated since: this request, which may be another's who had planted its ID, goes on showing what it showed,
        # with its own changes. The client has, or will get, the new ID from the request that rotated.
        show_own(session, read)
        return
    session.written(state.record.fields)


def show_own(session: Session, read: Record) -> None:
    """A request goes on showing what it has read, with its own changes, and knows nothing of what became of them."""
    state = session.state
    state.record, state.id, state.stale = read.changed(session.changes()), None, True
    session.keep_own()
    session.written(state.record.fields)
