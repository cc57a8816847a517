"""Records as Redis holds them: a hash of the fields, and of one more, whose name no field of a caller can have.

That field, the meta field, holds eight bytes of incarnation and the expiry in Unix milliseconds, as text; so one
HGETALL tells all there is to know. A tombstone is a hash of the meta field alone, which says `-`. The key's own expiry
is the same.
"""

import math
from struct import Struct
from typing import Final

from fungible.stores.contract import REMOVED, Changes, Fields, Record
from fungible.stores.redis.connection import Word

META: Final = "\0"
TOMBSTONE: Final = b"-"
INCARNATION_BYTES: Final = 8
CHANGE_HEAD: Final = Struct(">8sdIII")
MAX_NAMES: Final = 1000


class _Names(dict[bytes, str]):
    """Field names that were read lately: an application uses the same few all the time."""

    def __missing__(self, name: bytes) -> str:
        if len(self) >= MAX_NAMES:
            self.clear()
        text = self[name] = name.decode()
        return text


_names = _Names()


def record_of(key: str, reply: list[bytes]) -> Record | None:
    """The record that HGETALL has read."""
    fields = dict(zip(map(_names.__getitem__, reply[::2]), reply[1::2], strict=True))
    meta = fields.pop(META, TOMBSTONE)
    if meta == TOMBSTONE:
        return None
    return Record(key, fields, expiry_of(meta), meta[:INCARNATION_BYTES])


def expiry_of(meta: bytes) -> float:
    """When a record expires, in Unix seconds, by its meta field."""
    return int(meta[INCARNATION_BYTES:]) / 1000


def milliseconds(seconds: float) -> int:
    """Rounded up: nothing ends before its time."""
    return math.ceil(seconds * 1000)


def put_arguments(fields: Fields, ttl_s: float, expected: str, incarnation: bytes, read: Fields) -> list[Word]:
    """What `put.lua` is given. `read` is what the expected record holds."""
    words: list[Word] = [incarnation, milliseconds(ttl_s), expected, len(read)]
    for some in (read, fields):
        for pair in some.items():
            words += pair
    return words


def change_arguments(record: Record, changes: Changes, ttl_s: float | None) -> tuple[list[Word], dict[str, bytes], int]:
    """What `change.lua` is given, the record's fields with the changes made to them, and by how many bytes they grow."""
    read = record.fields
    fields = dict(read)
    growth = 0
    there: list[str] = []
    absent: list[str] = []
    held: list[bytes] = []
    pairs: list[Word] = []
    removed: list[str] = []
    for name, value in changes.items():
        before = read.get(name)
        if before is None:
            absent.append(name)
        else:
            there.append(name)
            held.append(before)
            growth -= len(before)
        if value is REMOVED:
            # What was not there is only to be absent still.
            if before is not None:
                removed.append(name)
                del fields[name]
        else:
            pairs += (name, value)
            fields[name] = value
            growth += len(value) if before is not None else len(name) + len(value)
    ttl_ms = 0 if ttl_s is None else milliseconds(ttl_s)
    head = CHANGE_HEAD.pack(record.incarnation, ttl_ms, len(there), len(absent), len(pairs) // 2)
    return [head, *there, *absent, *held, *pairs, *removed], fields, growth
