"""What is kept under which name: one item for a record, a rate or a feed.

Each item holds the key that it is about. A name on the server has at most 250 bytes, no spaces and no control characters:
for other keys it is made from a digest, and no two keys may be taken for one whatever the digest does.
"""

import math
import re
from hashlib import blake2b
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from fungible.stores.contract import Record

RECORD, RATE, FEED, SEGMENT = b"fungible:r", b"fungible:t", b"fungible:f", b"fungible:s"
PLAIN: Final = re.compile(r"[!-~]{1,200}")
DIGEST_BYTES: Final = 32
LONGEST_RELATIVE_S: Final = 30 * 86_400
"""Longer times the server takes for instants."""
LATEST: Final = (1 << 31) - 1
"""The last second that the server's 32-bit time has, in January 2038."""
LONGEST_VALUE_BYTES: Final = (1 << 20) - 1024
"""An item has 1 MiB with its name and its header, unless the server was started with another -I."""


class KeptRecord(Struct, array_like=True, frozen=True):
    """A record, or a tombstone."""

    key: str
    incarnation: bytes
    expires_at: float
    fields: dict[str, bytes] | None
    """None: a tombstone."""


class KeptRate(Struct, array_like=True, frozen=True):
    """A rate's theoretical arrival time."""

    key: str
    tat_us: int


class KeptItem(Struct, array_like=True, frozen=True):
    """One item of a feed."""

    number: int
    expires_at: float
    item: bytes


class KeptSegment(Struct, array_like=True, frozen=True):
    """Where older items of a feed are kept."""

    name: str
    last: int
    """The number of the last of them."""
    expires_at: float


class KeptFeed(Struct, array_like=True, frozen=True):
    """A feed, with the live items that were appended last; or one of its segments, under the segment's name."""

    key: str
    epoch: str
    """Drawn where the feed comes into being: numbers of another epoch say nothing about this one's."""
    last: int
    items: list[KeptItem]
    older: list[KeptSegment] = []
    """Segments, the oldest first."""


Kept = TypeVar("Kept", KeptRecord, KeptRate, KeptFeed)


def name_of(kind: bytes, key: str) -> bytes:
    """The name of an item on the server."""
    if PLAIN.fullmatch(key):
        return b"%b:%b" % (kind, key.encode())
    # Of another form than a plain one, which has a colon where this has a number sign.
    return b"%b#%b" % (kind, blake2b(key.encode(), digest_size=DIGEST_BYTES).hexdigest().encode())


def decoded(value: bytes | None, key: str, kind: type[Kept]) -> Kept | None:
    """What is kept for this key; None where there is nothing, or nothing of ours."""
    if value is None:
        return None
    try:
        kept = msgspec.msgpack.decode(value, type=kind)
    except (msgspec.DecodeError, ValueError):
        return None
    return kept if kept.key == key else None


def encoded(kept: KeptRecord | KeptRate | KeptFeed) -> bytes:
    """The value to keep."""
    return _encoder.encode(kept)


def exptime(expires_at: float, now: float) -> int:
    """When the server may forget an item: not before it expires, which the item itself says exactly. -1: at once."""
    if expires_at <= now:
        return -1
    # The server counts whole seconds: two more than the time left are never less than it.
    left_s = math.ceil(expires_at - now) + 2
    return left_s if left_s <= LONGEST_RELATIVE_S else min(math.ceil(now) + left_s, LATEST)


def live_record(kept: KeptRecord | None, now: float) -> Record | None:
    """The live record, or None."""
    if kept is None or kept.fields is None or kept.expires_at <= now:
        return None
    return Record(kept.key, kept.fields, kept.expires_at, kept.incarnation)


def is_buried(kept: KeptRecord | None, now: float) -> bool:
    """Whether a tombstone holds the key."""
    return kept is not None and kept.fields is None and kept.expires_at > now


_encoder = msgspec.msgpack.Encoder()
