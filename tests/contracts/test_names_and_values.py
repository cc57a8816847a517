"""Every byte in values, every character in names; what breaks the rules is refused, by every verb."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from contracts.backends import Backend
from fungible.stores import REMOVED, InvalidRecordError, Rate, Record, RecordTooLargeError, Store

Open = Callable[[], Store]
HOURLY = Rate(limit=10, period_s=3600)
NAMES = (
    *("a", "A", "a ", " a", "a  ", " ", "  ", "aa", "0", "00", "1e1", "-1", "null", "None", "true"),
    *("it's", 'say "so"', "back\\slash", "\\", "\\\\", "\\x00", "\\u0000", "semi;colon", "--", "/* a */", "#"),
    *("100%", "%s", "%(a)s", "{}", "{a}", "{a}:b", "}{", "[0]", "$", "$1", "$.a", "$a$", "?", ":a", "a:b", "::"),
    *("*", "a*", "_", "a_", "a.b", ".", "..", "../a", "/", "a/b", "a,b", "a=b", "a&b", "<a>", "@", "~", "`a`", "|"),
    *(
        "é",
        "e\u0301",
        "E\u0301",
        "É",
        "ß",
        "ss",
        "ı",
        "i",
        "I",
        "İ",
        "ﬀ",
        "ff",
        "Ω",
        "\u2126",
        "日本",
        "한",
        "\u1112\u1161\u11ab",
    ),
    *("😀", "👩‍👩‍👧", "\u200b", "\u00a0", "\u3000", "\ufeff", "\u2028", "\U0010fffd", "ａ", "т", "T"),
    *("x" * 512, "X" * 512, "x" * 511, "é" * 256, "😀" * 128, " " * 512, "'" * 512, "\\" * 512),
    *("__proto__", "constructor", "SELECT", "get", "key", "fields", "expires_at", "incarnation", "id", "_", "__"),
)
DIFFERENT = tuple(dict.fromkeys(NAMES))
BAD_NAMES = (
    "",
    "x" * 513,
    "é" * 257,
    "😀" * 129,
    "a\0",
    "\n",
    "a\tb",
    "\r\n",
    "\x1b[31m",
    "\x7f",
    "\x85",
    "\x9f",
    "\ud800",
    "a\udfff",
)
BAD_TIMES_S = (0, -1, float("nan"), float("inf"), 1e300, 11 * 366 * 86_400)
VALUES = {
    "every byte": bytes(range(256)),
    "each byte doubled": bytes(byte for byte in range(256) for _ in range(2)),
    "nothing": b"",
    "one zero": b"\0",
    "zeros": bytes(1000),
    "not UTF-8": b"\xff\xfe\xc0\x80",
    "a line of a protocol": b"$5\r\nhello\r\n+OK\r\nEND\r\nVALUE a 0 1\r\n",
    "looks like SQL": b"'; DROP TABLE fungible_records; --",
    "looks like JSON": b'{"a": null}',
    "looks like a number": b"007",
    "larger than a packet": bytes(range(256)) * 400,
}


async def test_every_byte_comes_back_in_a_field(open_store: Open) -> None:
    store, other = open_store(), open_store()
    put = await store.put("s", VALUES, ttl_s=60)
    assert put.fields == VALUES
    read = await other.get("s")
    assert read == put
    # Changed by each of these bytes, and compared with them.
    turned = dict(zip(VALUES, reversed(VALUES.values()), strict=True))
    changed = await other.change(read, turned)
    assert await store.get("s") == changed
    assert changed.fields == turned


async def test_every_byte_comes_back_in_an_item(open_store: Open) -> None:
    store = open_store()
    for value in VALUES.values():
        await store.append("t", value, ttl_s=60)
    assert (await store.since("t")).items == tuple(VALUES.values())


async def test_every_name_is_a_key_of_its_own(open_store: Open) -> None:
    store, other = open_store(), open_store()
    await asyncio.gather(*(store.put(name, {"name": name.encode()}, ttl_s=60) for name in DIFFERENT))
    for record, name in zip(await asyncio.gather(*map(other.get, DIFFERENT)), DIFFERENT, strict=True):
        assert record is not None
        assert (record.key, record.fields) == (name, {"name": name.encode()})
        await other.change(record, {"name": b"changed"})
        await other.delete(name)
    assert set(await asyncio.gather(*map(store.get, DIFFERENT))) == {None}


async def test_every_name_is_a_field_of_its_own(open_store: Open) -> None:
    store, other = open_store(), open_store()
    read = await store.put("s", {name: name.encode() for name in DIFFERENT}, ttl_s=60)
    assert await other.get("s") == read
    kept, removed = DIFFERENT[::2], DIFFERENT[1::2]
    changed = await store.change(
        read, {name: b"changed " + name.encode() for name in kept} | dict.fromkeys(removed, REMOVED)
    )
    assert changed.fields == {name: b"changed " + name.encode() for name in kept}
    assert await other.get("s") == changed
    for name in DIFFERENT:
        changed = await other.change(changed, {name: b"one by one"})
    assert await store.get("s") == changed
    assert set(changed.fields) == set(DIFFERENT)


async def test_every_name_is_a_rate_and_a_feed_of_its_own(open_store: Open) -> None:
    store = open_store()
    for number, name in enumerate(DIFFERENT):
        assert (await store.take(name, HOURLY)).remaining == 9
        await store.append(name, b"%d" % number, ttl_s=60)
    for number, name in enumerate(DIFFERENT):
        assert (await store.since(name)).items == (b"%d" % number,)


async def test_a_bad_name_is_refused_by_every_verb(open_store: Open) -> None:
    store = open_store()
    record = await store.put("s", {"a": b"1"}, ttl_s=60)

    def tries(name: str) -> Iterator[Awaitable[Any]]:
        yield store.get(name)
        yield store.put(name, {"a": b"1"}, ttl_s=60)
        yield store.put("s", {name: b"1"}, ttl_s=60)
        yield store.change(record, {name: b"1"})
        yield store.change(record, {name: REMOVED})
        yield store.change(Record(name, {}, record.expires_at), {"a": b"1"})
        yield store.delete(name)
        yield store.touch(name, ttl_s=60)
        yield store.take(name, HOURLY)
        yield store.append(name, b"1", ttl_s=60)
        yield store.since(name)

    for name in BAD_NAMES:
        for attempt in tries(name):
            with pytest.raises(InvalidRecordError):
                await attempt
    assert await store.get("s") == record


async def test_a_bad_time_to_live_is_refused_by_every_verb(open_store: Open) -> None:
    store = open_store()
    record = await store.put("s", {"a": b"1"}, ttl_s=60)

    def tries(ttl_s: float) -> Iterator[Awaitable[Any]]:
        yield store.put("s", {"a": b"2"}, ttl_s=ttl_s)
        yield store.change(record, {"a": b"2"}, ttl_s=ttl_s)
        yield store.touch("s", ttl_s=ttl_s)
        yield store.append("t", b"1", ttl_s=ttl_s)
        # 0 is for no tombstone.
        if ttl_s:
            yield store.delete("s", tombstone_s=ttl_s)

    for ttl_s in BAD_TIMES_S:
        for attempt in tries(ttl_s):
            with pytest.raises(InvalidRecordError):
                await attempt
    assert await store.get("s") == record
    assert (await store.since("t")).items == ()


async def test_the_longest_and_the_shortest_life_are_taken(open_store: Open, backend: Backend) -> None:
    store = open_store()
    ten_years_s = 10 * 366 * 86_400
    record = await store.put("s", {"a": b"1"}, ttl_s=ten_years_s)
    assert abs(backend.left_s(record.expires_at) - ten_years_s) < 5
    assert await store.get("s") == record
    await store.append("t", b"1", ttl_s=ten_years_s)
    await store.delete("s", tombstone_s=ten_years_s)
    await store.put("brief", {"a": b"1"}, ttl_s=1e-6)
    backend.advance(1)
    assert await store.get("brief") is None


async def test_a_value_that_is_no_bytes_is_refused(open_store: Open) -> None:
    store = open_store()
    record = await store.put("s", {"a": b"1"}, ttl_s=60)
    no_bytes: list[Any] = ["text", bytearray(b"1"), memoryview(b"1"), 1, None, {"a": b"1"}]
    for value in no_bytes:
        with pytest.raises(InvalidRecordError):
            await store.put("s", {"a": value}, ttl_s=60)
        with pytest.raises(InvalidRecordError):
            await store.change(record, {"a": value})
        with pytest.raises(InvalidRecordError):
            await store.append("t", value, ttl_s=60)
    assert await store.get("s") == record
    assert (await store.since("t")).items == ()


async def test_the_largest_record_is_taken_and_one_byte_more_refused(open_store: Open) -> None:
    store = open_store()
    room = store.guarantees.max_record_bytes - len("big")
    put = await store.put("s", {"big": bytes(room)}, ttl_s=60)
    assert await store.get("s") == put
    with pytest.raises(RecordTooLargeError) as error:
        await store.put("s", {"big": bytes(room + 1)}, ttl_s=60)
    assert (error.value.size_bytes, error.value.max_bytes) == (room + 4, room + 3)
    changed = await store.change(put, {"big": b"\xff" * room})
    assert await store.get("s") == changed
    with pytest.raises(RecordTooLargeError):
        await store.change(changed, {"big": b"\xff" * (room + 1)})
    with pytest.raises(RecordTooLargeError):
        await store.change(changed, {"more": b"1"})
    # Many fields count as one large one does.
    halves = {f"{half}": bytes(store.guarantees.max_record_bytes // 2) for half in range(2)}
    with pytest.raises(RecordTooLargeError):
        await store.put("s", halves, ttl_s=60)
    assert await store.get("s") == changed


async def test_a_record_may_have_thousands_of_fields(open_store: Open) -> None:
    store = open_store()
    fields = {f"field {number}": b"%d" % number for number in range(5000)}
    put = await store.put("s", fields, ttl_s=60)
    assert await store.get("s") == put
    changed = await store.change(put, dict.fromkeys(fields, b"changed"))
    assert await store.get("s") == changed
