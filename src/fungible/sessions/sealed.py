"""Sessions kept in the cookie itself, sealed: nothing is stored anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from fungible.core.errors import SettingError
from fungible.core.keyring import KeyRing
from fungible.core.sealing import Sealer
from fungible.sessions.contract import SessionInfo
from fungible.sessions.cookies import SessionCookie
from fungible.sessions.errors import SessionTooLargeError
from fungible.sessions.lifetimes import extension_s, longest_ttl_s
from fungible.sessions.notices import Notices
from fungible.sessions.session import Session
from fungible.sessions.settings import SessionSettings
from fungible.sessions.state import META, SessionState, is_readable, name_of
from fungible.sessions.values import apply
from fungible.stores.contract import Record

NEEDS_A_STORE = "a sealed session is kept by the browser alone, so {what} needs a store: mode='stored' or 'snapshot'"


class Sealed(msgspec.Struct, frozen=True, array_like=True):
    """What the cookie carries."""

    expires_at: float
    fields: dict[str, bytes]


encoder = msgspec.msgpack.Encoder()
decoder = msgspec.msgpack.Decoder(Sealed)


class SealedSessions:
    """Sessions in cookies (AES-256-GCM).

    No store is asked, and so: of two requests that write at once one is lost, and a copy of a cookie stays good until
    it expires, also after signing out. Where that matters, keep sessions in a store.
    """

    in_cookie = True

    def __init__(self, ring: KeyRing, settings: SessionSettings, *, now: Callable[[], float] = time.time) -> None:
        if settings.conflicts == "raise":
            raise SettingError(NEEDS_A_STORE.format(what="conflicts='raise', which is to see two writes at once,"))
        self.settings = settings
        self._now = now
        self._sealer = Sealer(ring, purpose="session")
        self._cookie = SessionCookie(settings)
        self._notices = Notices(settings.on_event)

    async def load(self, cookie_header: str) -> Session:
        """The session in a request's cookie."""
        now = self._now()
        for text in self._cookie.values(cookie_header):
            opened = self._sealer.open(text)
            try:
                sealed = None if opened is None else decoder.decode(opened.data)
            except msgspec.DecodeError:
                sealed = None
            if opened is None or sealed is None or not is_readable(sealed.fields.get(META)):
                self.notice("cookie_refused", length=len(text))
                continue
            if sealed.expires_at <= now:
                self.notice("session_unknown")
                continue
            record = Record("", sealed.fields, sealed.expires_at)
            state = SessionState.of(record, handle="", session_id=None, now=now)
            state.send_due = not opened.by_current_key
            return Session(self, state)
        return Session(self, SessionState(now))

    async def write(self, session: Session) -> None:
        """Seals what a request has changed into the next cookie."""
        state = session.state
        if session.read_only:
            return
        if self.settings.subject_key is not None:
            session.follow_subject(self.settings.subject_key)
        state.ended = ()
        changes = session.changes()
        now = self._now()
        if state.record is None:
            if not changes and state.subject is None:
                return
            state.begin(now)
        elif not changes and not state.rotation_due and extension_s(state, self.settings, now) is None:
            return
        fields = apply(state.fields, changes)
        fields[META] = state.meta()
        ends_at = now + longest_ttl_s(state, self.settings, now)
        self._sealed(fields, ends_at)
        state.record = Record("", fields, ends_at)
        state.handle = ""
        state.rotation_due = False
        state.send_due = True
        session.written(fields)

    def set_cookie(self, session: Session) -> str | None:
        """The `Set-Cookie` header that the response needs."""
        state = session.state
        if state.send_due and state.record is not None:
            return self._cookie.sent(state, self._sealed(state.record.fields, state.record.expires_at))
        return self._cookie.cleared(state)

    async def rotate(self, session: Session) -> None:
        """Seals anew with the response. There is no ID that somebody could have planted."""
        state = session.state
        state.rotation_due = state.record is not None or state.subject is not None or session.changed_since_written()

    async def end(self, session: Session) -> None:
        """Takes the cookie back from the browser. A copy of it stays good until it expires."""

    async def end_by_handle(self, handle: str) -> None:
        """Can't be done without a store."""
        raise SettingError(NEEDS_A_STORE.format(what="ending another one"))

    async def end_all(self, subject: str, *, keep: str | None = None) -> int:
        """Can't be done without a store."""
        raise SettingError(NEEDS_A_STORE.format(what="signing out everywhere"))

    async def sessions_of(self, subject: str | None, *, current: str | None = None) -> list[SessionInfo]:
        """Can't be done without a store."""
        raise SettingError(NEEDS_A_STORE.format(what="a list of sessions"))

    def notice(self, event: str, **details: Any) -> None:
        """Tells the application's metrics, and the log, what happened."""
        self._notices.tell(event, details)

    def _sealed(self, fields: Mapping[str, bytes], expires_at: float) -> str:
        text = self._sealer.seal(encoder.encode(Sealed(expires_at, dict(fields))))
        size = len(text) + len(self.settings.cookie.full_name)
        if size > self.settings.max_cookie_bytes:
            sizes = ((name_of(field), len(data)) for field, data in fields.items())
            largest = sorted(((name, size) for name, size in sizes if name is not None), key=lambda item: -item[1])
            raise SessionTooLargeError(size_bytes=size, max_bytes=self.settings.max_cookie_bytes, largest=largest[:3])
        return text
