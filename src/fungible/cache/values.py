"""Values as bytes: JSON's types and a few more, or whatever msgspec makes of a type. Never pickle."""

from __future__ import annotations

import enum
import typing
from collections.abc import Callable
from typing import Any, Protocol, get_args, get_type_hints

import msgspec

from fungible.core import codec
from fungible.core.errors import SettingError


class UnreadableError(Exception):
    """Stored bytes that are no value of this function: of an earlier release, most likely."""


class ValueCodec(Protocol):
    """Makes bytes of values, and values of these bytes."""

    def encode(self, value: object) -> bytes:
        """The value's bytes.

        Raises:
            TypeError: it can't be kept.
        """
        ...

    def decode(self, data: bytes) -> Any:
        """The value.

        Raises:
            UnreadableError: `encode` has not made these bytes.
        """
        ...


class PlainCodec:
    """JSON's types, bytes, datetime, Decimal and UUID."""

    encode = staticmethod(codec.encode)

    @staticmethod
    def decode(data: bytes) -> Any:
        """The value."""
        try:
            return codec.decode(data)
        except codec.UndecodableError as error:
            raise UnreadableError(str(error)) from None


class TypedCodec:
    """Values of one type that msgspec knows: structs, dataclasses, typed dicts, enums, and what is made of these."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        try:
            self._decoder = msgspec.msgpack.Decoder(kind)
        except TypeError as error:
            raise SettingError(f"values of the type {kind!r} can't be kept: {error}") from None
        self._encoder = msgspec.msgpack.Encoder()

    def encode(self, value: object) -> bytes:
        """The value's bytes; it is read back at once, so that nobody meets later what does not fit its type."""
        try:
            data = self._encoder.encode(value)
            self._decoder.decode(data)
        except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
            raise TypeError(
                f"a value of type {type(value).__name__!r} can't be kept as {self._kind!r}: {error}"
            ) from None
        return data

    def decode(self, data: bytes) -> Any:
        """The value."""
        try:
            return self._decoder.decode(data)
        except (ValueError, RecursionError) as error:
            raise UnreadableError(str(error)) from None


PLAIN: typing.Final[ValueCodec] = PlainCodec()


def codec_for(kind: Any) -> ValueCodec:
    """The codec of an explicit type; that of plain values where it is None."""
    return PLAIN if kind is None else TypedCodec(kind)


def codec_of(function: Callable[..., Any]) -> ValueCodec:
    """The codec for what a function returns, by its annotation: plain where that names nothing but plain types."""
    try:
        kind = get_type_hints(function).get("return")
    except (NameError, TypeError, AttributeError):
        # An annotation that can't be looked up, such as of a class within a function.
        return PLAIN
    return TypedCodec(kind) if kind is not None and _names_a_class(kind) else PLAIN


def _names_a_class(kind: Any) -> bool:
    """Whether msgspec is needed to get back what was put in: a struct, a dataclass, a typed or named tuple, an enum."""
    if isinstance(kind, type):
        bases = kind.__mro__
        if msgspec.Struct in bases or enum.Enum in bases or (tuple in bases and "_fields" in vars(kind)):
            return True
        if "__dataclass_fields__" in vars(kind) or "__total__" in vars(kind):
            return True
    return any(_names_a_class(part) for part in get_args(kind))
