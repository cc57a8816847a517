"""Sessions kept in a store; the cookie carries an ID of 256 random bits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from weakref import WeakValueDictionary

from fungible.core.codec import UndecodableError, decode
from fungible.core.keyring import KeyRing
from fungible.core.recent import Recent
from fungible.sessions.contract import SessionInfo
from fungible.sessions.cookies import SessionCookie, VerifiedID, handle_of, new_id, signed_id, verified_id
from fungible.sessions.lifetimes import extension_s
from fungible.sessions.rotation import rotate
from fungible.sessions.session import Session
from fungible.sessions.settings import SessionSettings
from fungible.sessions.state import ENDED, META, NEXT, SessionState, meta_decoder, name_of, next_decoder
from fungible.sessions.subjects import SessionIndex
from fungible.stores.contract import ABSENT, REMOVED, Record, Store
from fungible.stores.errors import ConflictError, GoneError, StoreUnavailableError

MAX_HOPS: Final = 1000
"""Rotations that are followed from an old ID: there never are so many while one request runs."""
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

    def __init__(
        self, store: Store, ring: KeyRing, settings: SessionSettings, *, now: Callable[[], float] = time.time
    ) -> None:
        self.store = store
        self.settings = settings
        self.now = now
        self.subjects = SessionIndex(store, now=now)
        self._ring = ring
        self._cookie = SessionCookie(settings)
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
            if META not in record.fields:
                return None
            return SessionState.of(record, handle=handle, session_id=session_id, now=self.now())
        return await self._read_rotated(record, handle)

    async def _read_rotated(self, record: Record, handle: str) -> SessionState | None:
        """What a rotated ID shows for a few seconds: what it showed before, while the session lives.

        It never leads to what came later, nor to a cookie with the new ID; but what is written with it is kept.
        """
        if self.now() >= next_decoder.decode(record.fields[NEXT]).dead_at:
            self.notice("rotated_id_refused")
            return None
        if await self.standing(record) is None:
            return None
        shown = record.changed({NEXT: REMOVED})
        state = SessionState.of(shown, handle=handle, session_id=None, now=self.now())
        state.stale = True
        return state

    async def standing(self, record: Record) -> Record | None:
        """The record that stands for a session now, where it was rotated since; None if it has ended."""
        for _ in range(MAX_HOPS):
            if ENDED in record.fields:
                return None
            if NEXT not in record.fields:
                return record
            found = await self.store.get(key_of(next_decoder.decode(record.fields[NEXT]).handle))
            if found is None:
                return None
            record = found
        return None

    # --- writing ---

    async def write(self, session: Session) -> None:
        """Keeps what a request has changed."""
        state = session.state
        if session.read_only or state.dead:
            return
        while state.ended:
            await self.end_by_handle(state.ended[0])
            state.ended = state.ended[1:]
        if self.settings.subject_key is not None:
            session.follow_subject(self.settings.subject_key)
        changes = session.changes()
        if state.record is None:
            if changes or state.subject is not None:
                await self.create(session, changes)
        elif state.rotation_due:
            await self.rotate(session)
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
        state.send_due, state.rotation_due = True, False
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
            state.send_due = True
        except (ConflictError, GoneError):
            state.send_due = False

    async def _merge(self, session: Session, read: Record, current: Record, ttl_s: float | None) -> None:
        """Merges what a request has changed with what another one has, and writes that."""
        for _ in range(MAX_ATTEMPTS):
            standing = await self.standing(current)
            if standing is None:
                self.lost(session)
                return
            merged = session.merged_with(standing.fields)
            self.notice("merged")
            try:
                if merged:
                    standing = await self.store.change(standing, {**merged, NEXT: REMOVED}, ttl_s=ttl_s)
                go_on(session, read, standing)
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
        session.state.send_due = False
        self.notice("revival_refused")

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
        if state.send_due and state.id is not None:
            return self._cookie.sent(state, self.cookie_of(state, state.id))
        return self._cookie.cleared(state)

    def cookie_of(self, state: SessionState, session_id: bytes) -> str:
        """The cookie's value."""
        return signed_id(session_id, self._ring)

    # --- rotating and ending ---

    async def rotate(self, session: Session) -> None:
        """Writes what was changed, under a new ID."""
        if not (session.read_only or session.state.dead):
            await rotate(self, session)

    async def end(self, session: Session) -> None:
        """Deletes the session for good."""
        if session.state.handle is not None:
            await self.end_by_handle(session.state.handle)

    async def end_by_handle(self, handle: str) -> None:
        """Deletes a session for good: also where another request rotates it at this very moment."""
        pending: list[str] = [handle]
        for place in pending:
            # Told first: cut off in between, no copy of what is dead in the store goes on being trusted.
            await self.revoked(place, from_s=self.now())
            record = await self._marked(place)
            subject: str | None = None
            if record is not None:
                if NEXT in record.fields and len(pending) < MAX_HOPS:
                    pending.append(next_decoder.decode(record.fields[NEXT]).handle)
                if META in record.fields:
                    subject = meta_decoder.decode(record.fields[META]).subject
            await self.store.delete(key_of(place), tombstone_s=self.settings.tombstone_s)
            if subject is not None:
                await self.subjects.remove(subject, place)

    async def _marked(self, handle: str) -> Record | None:
        """The record, marked so that nobody can rotate it any more, or rotated already."""
        record = await self.store.get(key_of(handle))
        while record is not None and NEXT not in record.fields:
            try:
                return await self.store.change(record, {ENDED: b"1", NEXT: REMOVED})
            except ConflictError as conflict:
                if ENDED in conflict.current.fields:
                    return conflict.current
                record = conflict.current
            except GoneError:
                return None
        return record

    async def end_all(self, subject: str, *, keep: str | None = None) -> int:
        """Deletes every session of a subject."""
        ended: set[str] = set()
        while True:
            # Again until none is left: a session that is rotated meanwhile is in the index before its old ID leads on.
            handles = [handle for handle in await self.subjects.handles(subject) if handle not in {*ended, keep}]
            if not handles:
                return len(ended)
            for handle in handles:
                await self.end_by_handle(handle)
            await self.subjects.remove(subject, *handles)
            ended.update(handles)

    async def sessions_of(self, subject: str | None, *, current: str | None = None) -> list[SessionInfo]:
        """A subject's live sessions, the newest first."""
        if subject is None:
            return []
        found: list[SessionInfo] = []
        for handle in await self.subjects.handles(subject):
            record = await self.store.get(key_of(handle))
            if record is None or META not in record.fields or NEXT in record.fields or ENDED in record.fields:
                continue
            found.append(
                SessionInfo(
                    handle=handle,
                    created_at=meta_decoder.decode(record.fields[META]).created_at,
                    expires_at=record.expires_at,
                    current=handle == current,
                    values=values_of(record),
                )
            )
        return sorted(found, key=lambda info: info.created_at, reverse=True)

    async def revoked(self, handle: str, *, from_s: float) -> None:
        """Is told of each ID that is dead from an instant on. Nothing to do: the store is asked at each request."""

    def notice(self, event: str, **details: Any) -> None:
        """Tells the application's metrics what happened."""
        self.settings.on_event(event, details)


def go_on(session: Session, read: Record, standing: Record) -> None:
    """A request whose changes were merged goes on from what now stands."""
    state = session.state
    if standing.key == read.key:
        state.record = standing
    else:
        # Rotated since: this request, which may be another's who had planted its ID, goes on showing what it showed,
        # with its own changes. The client has, or will get, the new ID from the request that rotated.
        state.record, state.id, state.stale = read.changed(session.changes()), None, True
        session.keep_own()
    session.written(state.record.fields)


def values_of(record: Record) -> dict[str, Any]:
    """The values in a session's record."""
    values: dict[str, Any] = {}
    for field, data in record.fields.items():
        name = name_of(field)
        if name is not None:
            try:
                values[name] = decode(data)
            except UndecodableError:
                continue
    return values


def key_of(handle: str) -> str:
    """Where a session is kept."""
    return f"session:{handle}"
