"""Stored sessions whose cookie also carries a sealed copy, by which a request that only reads may go for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

import msgspec

from fungible.core.keyring import KeyRing
from fungible.core.recent import Recent
from fungible.core.redaction import Redacted
from fungible.core.sealing import Sealer
from fungible.sessions.cookies import handle_of
from fungible.sessions.revocations import Revocations
from fungible.sessions.session import Session
from fungible.sessions.settings import SessionSettings
from fungible.sessions.state import META, SessionState, is_readable, key_of
from fungible.sessions.stored import StoredSessions
from fungible.stores.contract import Record, Store

KEEP_LONGER_S = 60.0
"""Revocations are kept that much longer than snapshots are trusted, for clocks that are apart. Both are counted from when
the store was asked: what it has answered before an end is not trusted for longer than the end is known."""


class Snapshot(Redacted, msgspec.Struct, frozen=True, array_like=True):
    """What the cookie carries: the session's ID, and perhaps a copy of the session."""

    _hidden: ClassVar = ("id", "fields")
    id: bytes
    taken_at: float
    """When the store was asked for it, in Unix seconds, however late the answer went out; 0 where there is no copy to be
    trusted."""
    expires_at: float = 0.0
    incarnation: bytes = b""
    fields: dict[str, bytes] = {}


class _Opened(Redacted, msgspec.Struct, frozen=True, gc=False):
    """A cookie that was opened."""

    _hidden: ClassVar = ("id", "copy")
    kid: bytes
    id: bytes
    handle: str
    copy: Record
    from_s: float
    until_s: float
    """When the copy is to be trusted, in Unix seconds."""


encoder = msgspec.msgpack.Encoder()
decoder = msgspec.msgpack.Decoder(Snapshot)


class SnapshotSessions(StoredSessions):
    """Stored sessions with snapshots. A read within `freshness_s` of the last question asks the store nothing.

    A read after that asks twice: for what the request sees, and at its end for what the next ones go by. What the request
    has seen will not do for that, as somebody may have signed in, or written, while it ran.
    """

    def __init__(
        self, store: Store, ring: KeyRing, settings: SessionSettings, *, now: Callable[[], float] = time.time
    ) -> None:
        super().__init__(store, ring, settings, now=now)
        self._sealer = Sealer(ring, purpose="session-snapshot")
        self._recent_copies = Recent[_Opened]()
        self._revocations = Revocations(
            store,
            bound_s=settings.revocation_bound_s,
            keep_s=settings.freshness_s + KEEP_LONGER_S,
            now=now,
        )

    def at_hand(self, text: str) -> SessionState | None:
        """The state that one cookie's value names, if its copy is fresh and the feed of revocations is followed."""
        opened = self._recent_copies.get(text)
        if (
            opened is None
            or not opened.from_s <= (now := self.now()) < opened.until_s
            or not self._ring.is_current(opened.kid)
            or self._revocations.says(opened.handle) is not False
        ):
            return None
        return SessionState.of(opened.copy, handle=opened.handle, session_id=opened.id, now=now)

    async def read_cookie(self, text: str) -> SessionState | None:
        """The state that one cookie's value names: from its copy while that is fresh, else from the store."""
        opened = self._recent_copies.get(text) or self._opened(text)
        current = None if opened is None else self._ring.is_current(opened.kid)
        if opened is None or current is None:
            self.notice("cookie_refused", length=len(text))
            return None
        state: SessionState | None = None
        now = self.now()
        if opened.from_s <= now < opened.until_s and not await self._revocations.is_revoked(opened.handle):
            state = SessionState.of(opened.copy, handle=opened.handle, session_id=opened.id, now=now)
        if state is None:
            state = await self.read(opened.id, opened.handle)
            if state is None:
                self.notice("session_unknown")
                return None
            # The answer brings the visitor a fresh copy.
            state.send_due = state.copy_due = self._may_fit(state)
        state.send_due = state.send_due or not current
        return state

    def _may_fit(self, state: SessionState) -> bool:
        """Whether a copy may fit into the cookie: where it is plain that none does, the answer need not ask for one."""
        size_bytes = sum(len(name) + len(data) for name, data in state.fields.items()) * 4 // 3
        if size_bytes > self.settings.max_cookie_bytes:
            self.notice("snapshot_too_large", size_bytes=size_bytes)
            return False
        return True

    def _opened(self, text: str) -> _Opened | None:
        """What a cookie holds."""
        opened = self._sealer.open(text)
        try:
            snapshot = None if opened is None else decoder.decode(opened.data)
        except msgspec.DecodeError:
            return None
        if opened is None or snapshot is None:
            return None
        if snapshot.taken_at and not is_readable(snapshot.fields.get(META)):
            # The store may have it in a form that can be read.
            snapshot = Snapshot(snapshot.id, 0)
        handle = handle_of(snapshot.id)
        return self._recent_copies.add(
            text,
            _Opened(
                opened.kid,
                snapshot.id,
                handle,
                Record(key_of(handle), snapshot.fields, snapshot.expires_at, snapshot.incarnation),
                # A copy from the future is one from an instance whose clock is ahead: it is not trusted for longer.
                from_s=snapshot.taken_at - KEEP_LONGER_S,
                until_s=min(snapshot.taken_at + self.settings.freshness_s, snapshot.expires_at),
            ),
        )

    async def keep(self, session: Session) -> None:
        """Keeps what a request has changed; then the copy in the cookie must not be trusted any more."""
        state = session.state
        record = state.record
        await super().keep(session)
        if state.record is not record:
            state.copy_due = False
            state.outdated = True
            state.send_due = state.send_due or not state.dead
        if state.send_due and not state.drawn and state.handle is not None and self._revocations.knows(state.handle):
            # Rotated or ended while this request was under way: its cookie must not come after the new one.
            state.send_due = False

    async def rotate(self, session: Session) -> None:
        """Writes what was changed, under a new ID."""
        await super().rotate(session)
        session.state.copy_due = False

    def cookie_of(self, state: SessionState, session_id: bytes) -> str:
        """The cookie's value: with a copy after a read, without one after a write.

        The answers of two requests that wrote at once may reach the browser in either order, and each knows only its
        own changes: so neither carries a copy, and the next read asks the store. For the same reason the copy is what
        the store has said last, and not what the request has read: another may have written since, and been answered.
        """
        record = state.copy
        if record is not None and state.copy_due:
            taken_at, fields = state.copied_at, dict(record.fields)
            snapshot = Snapshot(session_id, taken_at, record.expires_at, record.incarnation, fields)
            text = self._sealer.seal(encoder.encode(snapshot))
            if len(text) + len(self.settings.cookie.full_name) <= self.settings.max_cookie_bytes:
                return text
            self.notice("snapshot_too_large", size_bytes=len(text))
        return self._sealer.seal(encoder.encode(Snapshot(session_id, 0)))

    async def revoked(self, handle: str, *, from_s: float) -> None:
        """Tells all instances that an ID is dead from an instant on."""
        await self._revocations.publish(handle, from_s=from_s)
