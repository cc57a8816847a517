"""What one cache key's record holds: a value, what it is good for, and who computes the next one.

All times of a record are told from its end, `Record.expires_at`, which never moves while it has a value: so that they
are the store's, and nothing has to be written twice when the record is written.
"""

from __future__ import annotations

import hashlib
import re
from enum import IntEnum
from typing import Final

import msgspec
from msgspec import Struct

from fungible.core.errors import SettingError
from fungible.stores.contract import CONTROL, Record

VALUE: Final = "v"
META: Final = "m"
LEASE: Final = "l"
LONGEST_KEY: Final = 400
"""Bytes of a key that is kept as it is: a digest stands for a longer one."""


class Kind(IntEnum):
    """What a record with a value says."""

    KEPT = 0
    """Here is the value."""
    PASS = 1
    """What was computed can't be kept: compute, and wait for nobody."""
    VARIES = 2
    """Responses differ by the request headers that are named here."""


class Meta(Struct, frozen=True, array_like=True):
    """What is known of a value beside its bytes."""

    kind: Kind = Kind.KEPT
    life_s: float = 0.0
    """From the writing of the record to its end."""
    stale_s: float = 0.0
    """How long it may be used while another one is computed, when it is fresh no more."""
    grace_s: float = 0.0
    """How long the record stays when the value may not be used any more: whoever computes the next one needs it."""
    took_s: float = 0.0
    """How long it took to compute."""
    tags: tuple[tuple[str, bytes], ...] = ()
    """The names of its tags' records, each with its version from before the computation."""


class Lease(Struct, frozen=True, array_like=True):
    """Who computes, and until when."""

    owner: bytes
    """Drawn for each computation: the fence. Empty where a computation has failed, and the next may begin after it."""
    before_s: float
    """It ends so many seconds before the record does."""


FREE: Final = b""
"""The lease field of a record that nobody computes for."""

_encode: Final = msgspec.msgpack.Encoder().encode
_meta: Final = msgspec.msgpack.Decoder(Meta).decode
_lease: Final = msgspec.msgpack.Decoder(Lease).decode


def encoded(part: Meta | Lease) -> bytes:
    """A part of a record as a field's value."""
    return _encode(part)


def meta_of(record: Record) -> Meta | None:
    """What the record says of its value; None where it has none, or one that this release can't read."""
    data = record.fields.get(META)
    if data is None:
        return None
    try:
        return _meta(data)
    except msgspec.DecodeError:
        return None


def lease_of(record: Record, now: float) -> Lease | None:
    """The lease that holds now; None where anybody may take it."""
    data = record.fields.get(LEASE)
    if not data:
        return None
    try:
        lease = _lease(data)
    except msgspec.DecodeError:
        return None
    return lease if record.expires_at - lease.before_s > now else None


def owner_of(record: Record) -> bytes:
    """Whose lease the record names, ended or not; empty where it names none."""
    try:
        return _lease(record.fields.get(LEASE, FREE)).owner
    except msgspec.DecodeError:
        return b""


def left_fresh_s(record: Record, meta: Meta, now: float) -> float:
    """Seconds for which the value stays fresh: below 0 where it is stale."""
    return record.expires_at - meta.grace_s - meta.stale_s - now


def is_usable(record: Record, meta: Meta, now: float) -> bool:
    """Whether the value may be used, be it stale."""
    return record.expires_at - meta.grace_s > now


def check_prefix(prefix: str) -> None:
    """Refuses what can't begin the names of a cache's records.

    Raises:
        SettingError: it is not printable ASCII, or too long, or could be taken for another prefix and a part of a name.
    """
    if not 0 < len(prefix) <= 64 or not prefix.isascii() or not prefix.isprintable():
        raise SettingError(f"prefix={prefix!r} must be 1-64 printable ASCII characters")
    if re.search(r":(?:[vtr]|dropped)(?:[:#]|\Z)", prefix):
        raise SettingError(f"prefix={prefix!r} holds what begins the names of another cache's records: leave it out")


def name_of(space: str, key: str) -> str:
    """The name of a record in a store: the key itself where it is short and plain, else a digest of it.

    >>> name_of("cache:v", "product:3")
    'cache:v:product:3'
    """
    if len(key) <= LONGEST_KEY and key.isascii() and key.isprintable():
        return f"{space}:{key}"
    if len(data := key.encode("utf-8", "surrogatepass")) <= LONGEST_KEY and not CONTROL.search(key) and _is_text(key):
        return f"{space}:{key}"
    return f"{space}#{hashlib.sha256(data).hexdigest()}"


def _is_text(key: str) -> bool:
    """Whether it has no halves of characters, which UTF-8 can't hold."""
    return not any("\ud800" <= character <= "\udfff" for character in key)
