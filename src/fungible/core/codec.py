"""Values to bytes and back: JSON's types, bytes, datetime, Decimal and UUID. Never pickle, which runs what it reads."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import msgspec

from fungible.core.errors import FungibleError

# Types of MessagePack extensions. Stored bytes carry them: a number is never given a second meaning.
DATETIME, DECIMAL, UUID_, BIG_INTEGER = 1, 2, 3, 4
PLAIN = frozenset({str, bytes, float, bool, type(None)})
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
    kind = type(value)
    return _encoder.encode(value if kind in PLAIN else _plain(value, "", 0))


def decode(data: bytes) -> Any:
    """The value that `encode` made these bytes from.

    Raises:
        UndecodableError: they are not from `encode`.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError) as error:
        raise UndecodableError(f"stored bytes can't be read: {error}") from None


def _plain(value: object, place: str, depth: int) -> object:
    """The value in terms that MessagePack has, all the way down."""
    if type(value) in PLAIN:
        return value
    if isinstance(value, int):
        number = int(value)
        small = -(1 << 63) <= number < 1 << 64
        return number if small else _ext(BIG_INTEGER, f"{number:x}")
    if isinstance(value, Mapping | list | tuple):
        if depth == DEEPEST:
            raise TypeError(f"the value{place} is nested more than {DEEPEST} levels deep")
        if isinstance(value, Mapping):
            return _plain_mapping(cast(Mapping[object, object], value), place, depth + 1)
        items = cast(list[object], value)
        return [_plain(item, f"{place}[{index}]", depth + 1) for index, item in enumerate(items)]
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
    raise TypeError(
        f"the value{place} is of type {type(value).__name__!r}, which can't be kept; JSON's types, bytes, datetime, "
        "Decimal and UUID can"
    )


def _plain_mapping(value: Mapping[object, object], place: str, depth: int) -> dict[str, object]:
    plain: dict[str, object] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise TypeError(
                f"the mapping{place} has the key {key!r} of type {type(key).__name__!r}; only str keys can be kept"
            )
        plain[str.__str__(key)] = _plain(item, f"{place}[{key!r}]", depth)
    return plain


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
