"""Values to bytes and back: what comes back, and what is refused."""

import contextlib
from collections import OrderedDict, UserDict, namedtuple
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fungible.core.codec import DEEPEST, UndecodableError, decode, encode

AWARE = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(0))]))
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.datetimes(),
    AWARE,
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5), max_leaves=20
)


def alike(left: Any, right: Any) -> bool:
    """Whether they are equal and of equal types all the way down: 1, 1.0 and True are not alike."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(alike, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(alike(value, right[key]) for key, value in left.items())
    if isinstance(left, datetime):
        return left == right and left.utcoffset() == right.utcoffset()
    if isinstance(left, float | Decimal):
        # 0.0 and -0.0 are equal; 1.0 and 1.00 are equal Decimals.
        return repr(left) == repr(right)
    return left == right


@settings(deadline=None)
@given(VALUES)
def test_what_is_kept_comes_back_as_it_was(value: object) -> None:
    assert alike(decode(encode(value)), value)


@settings(deadline=None)
@given(VALUES)
def test_equal_values_of_one_type_give_equal_bytes(value: object) -> None:
    # That is how a change inside of a nested value is found.
    assert encode(decode(encode(value))) == encode(value)


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    with contextlib.suppress(UndecodableError):
        decode(data)


@settings(deadline=None)
@given(VALUES, st.data())
def test_bytes_that_were_damaged_are_decoded_or_refused(value: object, data: st.DataObject) -> None:
    whole = bytearray(encode(value))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    for damaged in (bytes(whole), bytes(whole[: len(whole) // 2])):
        with contextlib.suppress(UndecodableError):
            decode(damaged)


@pytest.mark.parametrize(
    "number", [-(2**63) - 1, -(2**63), 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**64), 10**100, -(10**100)]
)
def test_integers_have_no_bounds(number: int) -> None:
    assert decode(encode(number)) == number
    assert type(decode(encode([number]))[0]) is int


def test_floats_that_are_no_numbers_come_back() -> None:
    assert [repr(value) for value in decode(encode([float("nan"), float("inf"), float("-inf")]))] == [
        "nan",
        "inf",
        "-inf",
    ]
    assert str(decode(encode(Decimal("NaN")))) == "NaN"


Point = namedtuple("Point", "x y")


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Name(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "another"


class Metres(float):
    pass


@pytest.mark.parametrize(
    ("given_", "back"),
    [
        ((1, 2), [1, 2]),
        (Point(1, 2), [1, 2]),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (Name("itself"), "itself"),
        (Metres(1.5), 1.5),
        (OrderedDict(a=1), {"a": 1}),
        (UserDict({"a": (1,)}), {"a": [1]}),
        (bytearray(b"\0\xff"), b"\0\xff"),
        (memoryview(b"\0\xff"), b"\0\xff"),
        ({Colour.RED: True}, {"red": True}),
    ],
)
def test_kin_of_plain_types_come_back_plain(given_: object, back: object) -> None:
    for value, wanted in ((given_, back), ([given_], [back]), ({"in": given_}, {"in": back})):
        assert alike(decode(encode(value)), wanted)


class Basket:
    pass


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (Basket(), r"the value is of type 'Basket'"),
        ({"cart": Basket()}, r"the value\['cart'\] is of type 'Basket'"),
        ({"cart": [1, {"of": {1, 2}}]}, r"the value\['cart'\]\[1\]\['of'\] is of type 'set'"),
        ([date(2030, 1, 1)], r"the value\[0\] is of type 'date'"),
        (1j, r"the value is of type 'complex'"),
        ({"a": {1: 2}}, r"the value\['a'\] has the key 1 of type 'int'"),
        ({None: 1}, r"the value has the key None of type 'NoneType'"),
        ({b"a": 1}, r"the value has the key b'a' of type 'bytes'"),
        (encode, r"the value is of type 'function'"),
    ],
)
def test_what_can_not_be_kept_is_refused_with_its_place_and_type(value: object, place: str) -> None:
    with pytest.raises(TypeError, match=place):
        encode(value)


def nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


def test_nesting_has_a_bound() -> None:
    assert decode(encode(nested(DEEPEST))) == nested(DEEPEST)
    with pytest.raises(TypeError, match="nested more than 64 levels"):
        encode(nested(DEEPEST + 1))
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(TypeError, match="nested more than 64 levels"):
        encode(loop)
    with pytest.raises(UndecodableError):
        decode(b"\x91" * 100_000 + b"\x01")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x01\x01",
        b"\xd9\x05abc",
        b"\xa1\xff",
        msgspec.msgpack.encode(msgspec.msgpack.Ext(99, b"")),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(1, b"yesterday")),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(1, b"\xff")),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(2, b"dear")),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(2, b"\xff")),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(3, b"short")),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(4, b"")),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(4, b"xyz")),
        b'{"json": true}',
        b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07pickled\x94.",
    ],
)
def test_bytes_from_elsewhere_are_refused(data: bytes) -> None:
    with pytest.raises(UndecodableError):
        decode(data)


def test_stored_bytes_keep_their_meaning() -> None:
    # A release that changes one of these can't read what an earlier one has stored.
    kept = {
        "datetime": (datetime(2030, 1, 2, 3, 4, 5, 6, UTC), "c7200132"),
        "decimal": (Decimal("9.90"), "d602392e3930"),
        "uuid": (UUID(int=1), "d803" + "00" * 15 + "01"),
        "integer": (2**64, "c7110431" + "30" * 16),
        "bytes": (b"\0", "c40100"),
        "text": ("é", "a2c3a9"),
        "mapping": ({"a": [1, None, True, 1.5]}, "81a1619401c0c3cb3ff8000000000000"),
    }
    for value, begins in kept.values():
        assert encode(value).hex().startswith(begins)
        assert decode(encode(value)) == value
