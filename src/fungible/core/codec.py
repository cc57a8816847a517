"""Values to bytes and back: JSON's types, bytes, datetime, Decimal and UUID. Never pickle, which runs what it reads."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import msgspec

from fungible.core.errors import FungibleError

# Types of MessagePack extensions. Stored bytes carry them: a number is never given a second meaning.
DATETIME, DECIMAL, UUID_, BIG_INTEGER = 1, 2, 3, 4
PLAIN = frozenset({str, bytes, float, bool, type(None)})
SMALLEST, LARGEST = -(1 << 63), (1 << 64) - 1
"""MessagePack's integers."""
DEEPEST = 64
"""Levels that values may be nested: a bound, so that no value can exhaust the stack of whoever reads it."""


class UndecodableError(FungibleError, ValueError):
    """Bytes that no `encode` has made."""

    code = "undecodable"


def encode(value: object) -> bytes:
    """A value as MessagePack.

    Tuples become lists, and subclasses of str, int, float, dict and list become these.

    Raises:
        TypeError: a value, or a key of a mapping, is of a type that can't be kept; the message names type and place.
    Source: the MessagePack specification, with extension types 1-4 for datetime, Decimal, UUID and integers of more
        than 64 bits.
    >>> decode(encode({"price": Decimal("9.99"), "tags": ("new",)}))
    {'price': Decimal('9.99'), 'tags': ['new']}
    """
    if type(value) in PLAIN or (type(value) is int and SMALLEST <= value <= LARGEST):
        return _encoder.encode(value)
    try:
        return _encoder.encode(_plain(value, 0))
    except _UnkeptError as unkept:
        place = "".join(f"[{part!r}]" for part in reversed(unkept.place))
        raise TypeError(f"the value{place} {unkept.words}") from None


def decode(data: bytes) -> Any:
    """The value that `encode` made these bytes from.

    Raises:
        UndecodableError: they are not from `encode`.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError) as error:
        raise UndecodableError(f"stored bytes can't be read: {error}") from None


class _UnkeptError(Exception):
    """A value that can't be kept, and on the way up the place where it is, the innermost part first."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words
        self.place: list[object] = []


def _plain(value: object, depth: int) -> object:
    """The value in terms that MessagePack has, all the way down; the very value if it is in such terms already."""
    kind = type(value)
    if kind in PLAIN:
        return value
    if type(value) is int and SMALLEST <= value <= LARGEST:
        return value
    if isinstance(value, dict):
        return _plain_mapping(cast(Mapping[object, object], value), _deeper(depth))
    if isinstance(value, list | tuple):
        return _plain_list(cast(list[object], value), _deeper(depth))
    return _plain_scalar(value, depth)


def _plain_list(value: Sequence[object], depth: int) -> Sequence[object]:
    plain: list[object] = []
    changed = False
    for index, item in enumerate(value):
        try:
            kept = item if type(item) in PLAIN else _plain(item, depth)
        except _UnkeptError as unkept:
            unkept.place.append(index)
            raise
        changed = changed or kept is not item
        plain.append(kept)
    return plain if changed else value


def _plain_mapping(value: Mapping[object, object], depth: int) -> object:
    plain: dict[str, object] = {}
    changed = type(value) is not dict
    for key, item in value.items():
        if type(key) is not str:
            if not isinstance(key, str):
                raise _UnkeptError(f"has the key {key!r} of type {type(key).__name__!r}; only str keys can be kept")
            key, changed = str.__str__(key), True
        try:
            kept = item if type(item) in PLAIN else _plain(item, depth)
        except _UnkeptError as unkept:
            unkept.place.append(key)
            raise
        changed = changed or kept is not item
        plain[key] = kept
    return plain if changed else value


def _plain_scalar(value: object, depth: int) -> object:
    if isinstance(value, int):
        number = int(value)
        return number if SMALLEST <= number <= LARGEST else _ext(BIG_INTEGER, f"{number:x}")
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(cast(bytes, value))
    if isinstance(value, datetime):
        return _ext(DATETIME, value.isoformat())
    if isinstance(value, Decimal):
        return _ext(DECIMAL, str(value))
    if isinstance(value, UUID):
        return msgspec.msgpack.Ext(UUID_, value.bytes)
    if isinstance(value, Mapping):
        return _plain_mapping(cast(Mapping[object, object], value), _deeper(depth))
    raise _UnkeptError(
        f"is of type {type(value).__name__!r}, which can't be kept; JSON's types, bytes, datetime, Decimal and UUID can"
    )


def _deeper(depth: int) -> int:
    if depth == DEEPEST:
        raise _UnkeptError(f"is nested more than {DEEPEST} levels deep")
    return depth + 1


def _ext(code: int, text: str) -> msgspec.msgpack.Ext:
    return msgspec.msgpack.Ext(code, text.encode())


def _from_ext(code: int, data: memoryview) -> object:
    raw = bytes(data)
    if code == DATETIME:
        return datetime.fromisoformat(raw.decode())
    if code == DECIMAL:
        return Decimal(raw.decode())
    if code == UUID_:
        return UUID(bytes=raw)
    if code == BIG_INTEGER:
        return int(raw, 16)
    raise ValueError(f"there is no extension type {code}")


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ext_hook=_from_ext)
