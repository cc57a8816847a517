"""Values as bytes: JSON's types and a few more, or of a type that msgspec or pydantic knows. Never pickle."""

from __future__ import annotations

import enum
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, Final, Protocol, cast, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec

from fungible.core import codec
from fungible.core.errors import SettingError

PLAIN_TYPES: Final = (int, float, str, bytes, bytearray, NoneType, dict, list, datetime, Decimal, UUID)
TYPED_TYPES: Final = (tuple, set, frozenset, date, time, timedelta)
"""Types that come back as such only where the annotation names them."""
CONTAINERS: Final = (dict, list, tuple, set, frozenset)
BY_MSGSPEC, BY_PYDANTIC = b"\xc1t", b"\xc1p"
"""Begin what is kept by type: no MessagePack begins so, and what one release has kept in one way is never read in another
by the next, whose function has another annotation."""


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

    @staticmethod
    def encode(value: object) -> bytes:
        """The value's bytes."""
        try:
            return codec.encode(value)
        except TypeError as error:
            raise TypeError(
                f"{error}; other types are kept where the function's annotation or type= names them"
            ) from None

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
        return BY_MSGSPEC + data

    def decode(self, data: bytes) -> Any:
        """The value."""
        try:
            return self._decoder.decode(_after(BY_MSGSPEC, data))
        except (ValueError, RecursionError) as error:
            raise UnreadableError(str(error)) from None


class PydanticCodec:
    """Values of one type that pydantic knows: models, and what is made of these."""

    def __init__(self, kind: Any) -> None:
        try:
            from pydantic import PydanticUserError, TypeAdapter
        except ImportError:
            raise SettingError(
                f"values of the type {kind!r} can be kept with pydantic 2, which is not installed"
            ) from None
        self._kind = kind
        try:
            self._adapter: Any = TypeAdapter(kind)
        except PydanticUserError as error:
            raise SettingError(f"values of the type {kind!r} can't be kept: {str(error).splitlines()[0]}") from None
        # By the names of fields, whatever aliases are for clients; where this pydantic can't read these, by alias.
        by_name = "by_name" in inspect.signature(self._adapter.validate_json).parameters
        self._reads: dict[str, Any] = {"by_alias": False, "by_name": True} if by_name else {}
        self._by_alias = not by_name

    def encode(self, value: object) -> bytes:
        """The value's bytes; it is read back at once, and must be what it was."""
        try:
            given = self._adapter.validate_python(value)
            data = self._adapter.dump_json(given, round_trip=True, by_alias=self._by_alias, warnings="error")
            back = self._adapter.validate_json(data, **self._reads)
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(
                f"a value of type {type(value).__name__!r} can't be kept as {self._kind!r}: {error}"
            ) from None
        if back != given:
            # A field that is left out or masked when it is written, or of a subclass: nobody may get half a value.
            raise TypeError(
                f"a value of type {type(value).__name__!r} can't be kept as {self._kind!r}: it does not come back from "
                "JSON as it was; look for fields that are excluded or masked, and for subclasses of what is named"
            )
        return BY_PYDANTIC + data

    def decode(self, data: bytes) -> Any:
        """The value."""
        try:
            return self._adapter.validate_json(_after(BY_PYDANTIC, data), **self._reads)
        except (ValueError, RecursionError) as error:
            raise UnreadableError(str(error)) from None


def _after(beginning: bytes, data: bytes) -> bytes:
    if not data.startswith(beginning):
        raise UnreadableError("it was kept in another way")
    return data[len(beginning) :]


PLAIN: Final[ValueCodec] = PlainCodec()


def codec_for(kind: Any) -> ValueCodec:
    """The codec of an explicit type; that of plain values where it is None.

    Raises:
        SettingError: values of the type can't be kept.
    """
    if kind is None:
        return PLAIN
    leaves = [*_leaves(kind)]
    unknown = [leaf for leaf in leaves if not _is_known(leaf)]
    if any(map(_is_pydantic, leaves)):
        return PydanticCodec(kind)
    if unknown:
        raise SettingError(
            f"values of the type {kind!r} can't be kept: {unknown[0]!r} is none of JSON's types, bytes, datetime, Decimal, "
            "UUID, and no struct, dataclass, typed dict, named tuple, enum or pydantic model"
        )
    return TypedCodec(kind)


def codec_of(function: Callable[..., Any], names: Mapping[str, Any]) -> ValueCodec:
    """The codec for what a function returns, by its annotation: plain where that names nothing but plain types.

    Args:
        names: Local ones where the function is made: its annotation may name a class there.
    Raises:
        SettingError: values of the type that the annotation names can't be kept.
    """
    try:
        kind = get_type_hints(function, localns=dict(names)).get("return")
    except (NameError, TypeError, AttributeError):
        # An annotation that can't be looked up, such as of a class that type checkers alone import.
        return PLAIN
    if kind is None:
        return PLAIN
    leaves = [*_leaves(kind)]
    if all(map(_is_plain, leaves)):
        return PLAIN
    if all(_is_plain(leaf) or leaf in TYPED_TYPES for leaf in leaves) and (Any in leaves or object in leaves):
        # Of anything in a tuple msgspec would keep less than the plain codec does.
        return PLAIN
    return codec_for(kind)


def _leaves(kind: Any, seen: set[int] | None = None) -> Iterator[Any]:
    """The types that an annotation is made of, those of fields among them."""
    seen = set() if seen is None else seen
    if id(kind) in seen:
        return
    seen.add(id(kind))
    origin = get_origin(kind)
    if origin is typing.Literal:
        return
    if origin is None:
        yield kind
        if kind in CONTAINERS or (isinstance(kind, type) and _is_abstract(kind)):
            yield Any
    elif origin is not UnionType and isinstance(origin, type):
        yield origin
    parts: list[Any] = [part for part in get_args(kind) if part is not ...]
    whole = origin if isinstance(origin, type) else kind
    if _has_fields(whole) and not _is_pydantic(whole):
        try:
            parts += get_type_hints(whole).values()
        except (NameError, TypeError, AttributeError):
            # Whoever makes the codec finds out.
            return
    for part in parts:
        if not isinstance(part, list | typing.TypeVar):
            yield from _leaves(part, seen)


def _has_fields(kind: Any) -> bool:
    """Whether msgspec takes its fields: a struct, a dataclass, a typed dict, a named tuple."""
    if not isinstance(kind, type):
        return False
    names = vars(kind)
    return (
        issubclass(kind, msgspec.Struct)
        or "__dataclass_fields__" in names
        or "__total__" in names
        or (issubclass(kind, tuple) and "_fields" in names)
    )


def _is_pydantic(kind: Any) -> bool:
    """Whether pydantic knows how to keep it, told without importing that."""
    return isinstance(kind, type) and (
        hasattr(kind, "__get_pydantic_core_schema__") or hasattr(kind, "__pydantic_core_schema__")
    )


def _is_plain(kind: Any) -> bool:
    """Whether the plain codec gives back what was put in, or the annotation does not say what that is."""
    if not isinstance(kind, type) or kind is object or kind in PLAIN_TYPES:
        return True
    if _has_fields(kind) or _is_pydantic(kind) or issubclass(kind, enum.Enum):
        return False
    return issubclass(kind, PLAIN_TYPES) or _is_abstract(kind)  # pyright: ignore[reportUnknownArgumentType]


def _is_abstract(kind: type) -> bool:
    """Whether it says nothing of what its values are: `Mapping`, `Sequence`, a protocol."""
    if _has_fields(kind) or _is_pydantic(kind):
        return False
    is_protocol: bool = getattr(kind, "_is_protocol", False)
    return kind.__module__ in {"typing", "collections.abc"} or is_protocol or inspect.isabstract(kind)


def _is_known(kind: Any) -> bool:
    """Whether values of that type may be kept at all."""
    if _is_plain(kind) or kind in TYPED_TYPES or _has_fields(kind) or _is_pydantic(kind):
        return True
    known = (enum.Enum, msgspec.Raw, msgspec.msgpack.Ext)
    return issubclass(cast("type", kind), known)
