"""Where a session is kept, and what is due for it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar, Final, cast

import msgspec

from fungible.core.log import RepeatedWarning
from fungible.core.redaction import Redacted
from fungible.stores.contract import Fields, Record

META: Final = "."
"""The field that holds `Meta`."""
NEXT: Final = ".next"
"""The field that leads from an ID to the one it was rotated to."""
ENDED: Final = ".ended"
"""The field that marks a session whose deletion has begun."""
NOTHING: Final[Mapping[str, bytes]] = {}


class Meta(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of a session beside its values."""

    created_at: float
    subject: str | None = None


class Next(msgspec.Struct, frozen=True, array_like=True):
    """Where a rotated ID leads."""

    handle: str
    dead_at: float
    """From then on it leads nowhere, but for requests that had read it before."""


_meta_decoder: Final = msgspec.msgpack.Decoder(Meta)
_next_decoder: Final = msgspec.msgpack.Decoder(Next)
encoder: Final = msgspec.msgpack.Encoder()
UNREAD: Final = RepeatedWarning(logging.getLogger("fungible.sessions"))


class SessionState(Redacted, msgspec.Struct, gc=False):
    """Where one session is kept, as a request knows it.

    There is one for each request that is under way; the garbage collector has no need to look at it, as what it holds
    leads back to nothing.
    """

    _hidden: ClassVar = ("id", "fields", "record")
    _created_at: float
    record: Record | None = None
    fields: Fields = NOTHING
    """The values as they were read, encoded, and the fields above."""
    id: bytes | None = None
    """The 32 random bytes that the cookie holds; None where another ID led here, or where there is none yet."""
    handle: str | None = None
    """What names the session without giving it away: a digest of the ID, and its place in the store."""
    had_cookie: bool = False
    stale: bool = False
    """Whether this is what a rotated ID still shows, while the session goes on under another one."""
    shut_out: bool = False
    """Whether what this request writes is refused: its ID was rotated before it came, or somebody has signed in."""
    rotation_due: bool = False
    send_due: bool = False
    """Whether the visitor is to be sent the cookie: once it is known that the ID still stands, see `stands`."""
    drawn: bool = False
    """Whether this request has drawn the ID: then no other can have ended or rotated it."""
    stands: bool = False
    """Whether the store has said so in the last `write`: no cookie is sent by what was known before."""
    clear_due: bool = False
    copy_due: bool = False
    """Whether the cookie may carry a copy of what is kept."""
    outdated: bool = False
    """Whether the browser's cookie may have a copy from before what this request has written."""
    copy: Record | None = None
    copied_at: float = 0.0
    """That copy, and before which instant the store was asked for it, in Unix seconds."""
    dead: bool = False
    """Whether it was ended while this request was under way: nothing that the request still does is kept, unless it signs
    somebody in, who gets a session of their own."""
    ended: tuple[tuple[str, bool], ...] = ()
    """Sessions to be ended with the response: the handle, and whether it was `shut_out`."""
    _meta: bytes | None = None
    _subject: str | None = None

    @classmethod
    def of(cls, record: Record, *, handle: str, session_id: bytes | None, now: float) -> SessionState:
        """The state of a session that was read."""
        fields = record.fields
        return cls(now, record, fields, session_id, handle, had_cookie=True, _meta=fields.get(META))

    @property
    def created_at(self) -> float:
        """When the session began, in Unix seconds."""
        self._read_meta()
        return self._created_at

    def begin(self, now: float) -> None:
        """Makes the session one that begins now."""
        self._read_meta()
        self._created_at = now

    @property
    def subject(self) -> str | None:
        """Who is signed in."""
        self._read_meta()
        return self._subject

    @subject.setter
    def subject(self, subject: str | None) -> None:
        self._read_meta()
        self._subject = subject

    def meta(self) -> bytes:
        """The field `META` as it is to be written."""
        return encoder.encode(Meta(self.created_at, self.subject))

    def abandon(self, *, end_later: bool) -> None:
        """Leaves this session: what comes now is another one. `end_later`: it is still to be ended."""
        if end_later and self.handle is not None:
            self.ended = (*self.ended, (self.handle, self.shut_out))
        # Who has ended it has cleared the cookie, and may have set another one by now.
        self.clear_due = self.had_cookie and not self.dead
        self.record = self.id = self.handle = None
        self.fields = NOTHING
        self._meta = None
        self._subject = None
        self.rotation_due = self.stale = self.shut_out = self.send_due = self.copy_due = self.outdated = False

    def _read_meta(self) -> None:
        if self._meta is not None:
            meta = decode_meta(self._meta)
            self._meta = None
            self._created_at, self._subject = meta.created_at, meta.subject


def is_readable(meta: bytes | None) -> bool:
    """Whether a session with that field `META` can be used; not one whose field a later release has written otherwise.

    Without it nobody knows who is signed in: such a session is treated as if there were none.
    """
    if meta is None:
        return False
    try:
        _meta_decoder.decode(meta)
    except msgspec.DecodeError:
        UNREAD.warn("session", "a session can't be read by this release and is passed over: a later one has written it")
        return False
    return True


def next_of(record: Record) -> Next | None:
    """Where a rotated ID leads; None where this release can't read it: then it leads nowhere."""
    try:
        return _next_decoder.decode(record.fields[NEXT])
    except msgspec.DecodeError:
        UNREAD.warn("next", "a rotated session ID leads nowhere here: a later release has written where it leads")
        return None


def subject_of(record: Record) -> str | None:
    """Who is signed in with a session that was read."""
    meta = record.fields.get(META)
    return None if meta is None else decode_meta(meta).subject


def decode_meta(data: bytes) -> Meta:
    """What is kept of a session beside its values. Of what can't be read, nobody is signed in, and its time is over."""
    try:
        return _meta_decoder.decode(data)
    except msgspec.DecodeError:
        pass
    try:
        kept: Any = msgspec.msgpack.decode(data)
    except msgspec.DecodeError:
        kept = None
    created_at = cast("list[Any]", kept)[0] if isinstance(kept, list) and kept else None
    return Meta(float(created_at) if isinstance(created_at, int | float) else 0.0)


def key_of(handle: str) -> str:
    """Where a session is kept."""
    return f"session:{handle}"


def field_of(name: str) -> str:
    """The field that holds a value: names that begin with a dot make room for ours."""
    return name if name[:1] != "." else f".{name}"


def name_of(field: str) -> str | None:
    """The name of the value in a field; None for a field of ours."""
    if field[:1] != ".":
        return field
    return field[1:] if field[:2] == ".." else None
