"""What is sent, what the server runs, and what it holds."""

import asyncio
import random
from collections.abc import Mapping

import pytest
from contracts.rates import rates
from hypothesis import given, settings
from hypothesis import strategies as st
from redis_drills import counting, opened, say, talking, until
from servers import RedisServer

from fungible.stores import (
    ABSENT,
    REMOVED,
    ConflictError,
    GoneError,
    Rate,
    Record,
)
from fungible.stores.contract import gcra
from fungible.stores.redis.records import CHANGE_HEAD, change_arguments


def test_each_verb_is_one_command_and_runs_as_few_as_it_can(server: RedisServer) -> None:
    async def run() -> None:
        async with opened(server.url) as store:
            record = await store.put("s", {"a": b"1", "b": b"2"}, ttl_s=60)
            await store.change(record, {"a": b"2"})
            await store.touch("s", ttl_s=60)
            await store.take("r", Rate(limit=10, period_s=60))
            await store.append("t", b"1", ttl_s=60)
            await store.since("t")
            await store.delete("gone")
            expected = {
                store.get("s"): {"HGETALL": 1},
                store.put("s", {"a": b"1"}, ttl_s=60): {"HGET": 1, "TIME": 1, "DEL": 1, "HSET": 2, "PEXPIREAT": 1},
                store.change(record, {"a": b"9"}): {"HMGET": 1, "HSET": 1},
                store.change(record, {"a": b"1"}): {"HMGET": 1, "HGETALL": 1},
                store.touch("s", ttl_s=1): {"HGET": 1, "TIME": 1},
                store.take("r", Rate(limit=10, period_s=60)): {"GET": 1, "SET": 1, "TIME": 1},
                store.since("t"): {"XRANGE": 1, "TIME": 1},
            }
            record = await store.put("s", {"a": b"1"}, ttl_s=60)
            for call, inside in expected.items():
                with counting(server) as counted:
                    try:
                        await call
                    except ConflictError:
                        assert "HGETALL" in inside
                scripted = {} if inside == {"HGETALL": 1} else {"EVALSHA": 1}
                assert dict(counted) == inside | scripted

    asyncio.run(run())


def test_a_script_that_the_server_does_not_know_is_brought_once(server: RedisServer) -> None:
    async def run() -> None:
        async with opened(server.url) as store:
            record = await store.put("s", {"n": b"0"}, ttl_s=60)
            say(server, "SCRIPT", "FLUSH")
            with counting(server) as counted:
                for number in range(5):
                    record = await store.change(record, {"n": b"%d" % number})
            assert (counted["EVALSHA"], counted["EVAL"]) == (5, 1)

    asyncio.run(run())


def test_a_record_is_a_hash_with_its_fields_and_one_more(server: RedisServer) -> None:
    async def run() -> None:
        async with opened(server.url) as store:
            put = await store.put("s", {"a": b"1", "ä": b"\0"}, ttl_s=60)
        flat = say(server, "HGETALL", "fungible:r:s")
        held = dict(zip(flat[::2], flat[1::2], strict=True))
        assert held.pop(b"\0") == put.incarnation + b"%d" % round(put.expires_at * 1000)
        assert held == {b"a": b"1", "ä".encode(): b"\0"}
        seconds, micros = map(int, say(server, "TIME"))
        expires_ms = say(server, "PTTL", "fungible:r:s") + seconds * 1000 + micros // 1000
        assert expires_ms == pytest.approx(put.expires_at * 1000, abs=5000)

    asyncio.run(run())


def test_nothing_stays_in_the_server_for_ever(server: RedisServer) -> None:
    async def run() -> None:
        async with opened(server.url) as store:
            record = await store.put("s", {"a": b"1"}, ttl_s=60)
            await store.change(record, {"a": REMOVED})
            await store.delete("deleted", tombstone_s=60)
            await store.take("r", Rate(limit=1, period_s=60))
            await store.append("t", b"1", ttl_s=60)
        keys = say(server, "KEYS", "*")
        assert len(keys) == 4
        for key in keys:
            assert 0 < say(server, "PTTL", key) <= 60_002, key

    asyncio.run(run())


@pytest.mark.parametrize("count", [1, 3999, 4000, 4001, 9000])
def test_a_record_may_have_more_fields_than_a_script_can_take_at_once(url: str, count: int) -> None:
    fields = {f"f{number}": b"%d" % number for number in range(count)}

    async def run() -> None:
        async with opened(url) as store:
            put = await store.put("s", fields, ttl_s=60, expect=ABSENT)
            assert await store.get("s") == put
            changes = {name: REMOVED if number % 3 else b"new" for number, name in enumerate(fields)}
            # Nothing is done if the very last of them is not as it was read.
            last = f"f{count - 1}"
            misread = Record("s", {**fields, last: b"misread"}, put.expires_at, put.incarnation)
            with pytest.raises(ConflictError):
                await store.change(misread, changes)
            assert await store.get("s") == put
            changed = await store.change(put, {**changes, "more": b"1"})
            assert await store.get("s") == changed
            assert len(changed.fields) == 1 + (count + 2) // 3
            again = await store.put("s", fields, ttl_s=60, expect=changed)
            assert again.fields == fields

    asyncio.run(run())


names = st.sampled_from(["a", "b", "c", "ä", " "])
values = st.binary(max_size=4)


def weight(fields: Mapping[str, bytes]) -> int:
    return sum(len(name) + len(value) for name, value in fields.items())


@given(read=st.dictionaries(names, values), changes=st.dictionaries(names, values | st.just(REMOVED)))
def test_what_the_script_is_given_says_exactly_what_was_read_and_what_is_wanted(
    read: dict[str, bytes], changes: dict[str, bytes]
) -> None:
    record = Record("s", read, 0.0, b"12345678")
    (head, *rest), fields, growth = change_arguments(record, changes, 1.0005)
    assert fields == record.changed(changes).fields
    # At least as much as it is: a record that is said not to grow is not weighed.
    assert weight(read) + growth >= weight(fields)
    incarnation, ttl_ms, there, absent, sets = CHANGE_HEAD.unpack(head)
    assert (incarnation, ttl_ms) == (b"12345678", 1001)
    present, rest = rest[:there], rest[there:]
    missing, rest = rest[:absent], rest[absent:]
    held, rest = rest[:there], rest[there:]
    pairs, removed = rest[: 2 * sets], rest[2 * sets :]
    assert dict(zip(present, held, strict=True)) == {name: read[name] for name in changes if name in read}
    assert set(missing) == {name for name in changes if name not in read}
    assert dict(zip(pairs[::2], pairs[1::2], strict=True)) == {
        name: value for name, value in changes.items() if value is not REMOVED
    }
    assert set(removed) == {name for name, value in changes.items() if value is REMOVED and name in read}


def test_a_tombstone_does_not_look_like_a_record_to_any_incarnation(url: str) -> None:
    async def run() -> None:
        async with opened(url) as store:
            await store.delete("s", tombstone_s=60)
            for incarnation in (b"", b"-", b"\0" * 8):
                with pytest.raises(GoneError):
                    await store.change(Record("s", {}, 0, incarnation), {"a": b"1"})
            assert await store.get("s") is None

    asyncio.run(run())


@settings(max_examples=60, deadline=None)
@given(
    rate=rates(st.integers(1, 10**7), st.floats(0.001, 3e8, allow_subnormal=False), st.integers(0, 20)),
    costs=st.lists(st.integers(1, 10), min_size=1, max_size=8),
    chance=st.integers(),
)
def test_rates_agree_to_the_microsecond_with_the_rule(
    redis_server: RedisServer, rate: Rate, costs: list[int], chance: int
) -> None:
    key = f"r{random.Random(chance).getrandbits(64)}"

    async def run() -> None:
        async with opened(redis_server.url) as store:
            for cost in costs:
                before = int(say(redis_server, "GET", f"fungible:l:{key}") or 0)
                taken = await store.take(key, rate, cost=cost)
                after = int(say(redis_server, "GET", f"fungible:l:{key}") or 0)
                # When it was there: not known, but for how far ahead of it the arrival time is kept.
                now = after - round(taken.reset_after_s * 1e6)
                if after:
                    assert gcra(before, now, rate, cost) == (after, taken)

    asyncio.run(run())


def test_a_feed_that_began_anew_with_lower_ids_is_read_from_its_start(server: RedisServer) -> None:
    async def run() -> None:
        async with opened(server.url) as store:
            for number in range(3):
                await store.append("t", b"%d" % number, ttl_s=60)
            page = await store.since("t")
            assert page.items == (b"0", b"1", b"2")
            # The server has lost it all, and its clock has stepped back meanwhile.
            say(server, "DEL", "fungible:f:t")
            until = "9999999999999"
            for number in range(2):
                say(
                    server, "XADD", "fungible:f:t", f"1000-{number}", "until", until, "mark", "ab", "item", f"n{number}"
                )
            again = await store.since("t", page.cursor)
            assert again.items == (b"n0", b"n1")
            assert (await store.since("t", again.cursor)).items == ()

    asyncio.run(run())


def test_a_feed_that_lost_its_end_in_a_failover_loses_no_newer_item(server: RedisServer) -> None:
    async def run() -> None:
        async with opened(server.url) as store:
            for number in range(3):
                await store.append("t", b"%d" % number, ttl_s=60)
            page = await store.since("t")
            # The replica lacks the last one; and by its clock what it adds comes before that one, and after, too.
            (identity, _), *_ = say(server, "XREVRANGE", "fungible:f:t", "+", "-", "COUNT", 1)
            say(server, "XDEL", "fungible:f:t", identity)
            await store.append("t", b"new", ttl_s=60)
            assert (await store.since("t", page.cursor)).items == (b"0", b"1", b"new")

    asyncio.run(run())


@pytest.mark.parametrize("cursor", ["", "12", "1-1", "x-y.z", "1-1.", "999999999999999999999999-1.ab"])
def test_a_cursor_that_is_none_of_ours_reads_everything(url: str, cursor: str) -> None:
    async def run() -> None:
        async with opened(url) as store:
            await store.append("t", b"1", ttl_s=60)
            assert (await store.since("t", cursor)).items == (b"1",)

    asyncio.run(run())


def test_a_long_feed_is_read_in_several_steps_without_a_gap(server: RedisServer) -> None:
    async def run() -> None:
        async with opened(server.url) as store:
            await asyncio.gather(*(store.append("t", b"%d" % number, ttl_s=60) for number in range(2001)))
            with counting(server) as counted:
                page = await store.since("t")
            assert page.items == tuple(b"%d" % number for number in range(2001))
            assert counted["EVALSHA"] == 3
            assert (await store.since("t", page.cursor)).items == ()

    asyncio.run(run())


def test_no_item_keeps_those_that_have_expired_behind_it(server: RedisServer) -> None:
    async def run() -> None:
        async with opened(server.url) as store:
            await store.append("t", b"long", ttl_s=86_400)
            with talking(server) as ask:
                for number in range(3000):
                    ask("XADD", "fungible:f:t", "*", "until", 1, "mark", f"{number:x}", "item", b"dead")
            before = 3001
            for number in range(1000):
                await store.append("t", b"%d" % number, ttl_s=86_400)
                after = say(server, "XLEN", "fungible:f:t")
                # Never much at once: others wait meanwhile.
                assert before - after <= 3
                before = after
            assert before == 1001
            assert (await store.since("t")).items == (b"long", *(b"%d" % number for number in range(1000)))

    asyncio.run(run())


def test_a_feed_that_an_earlier_release_has_written_goes_on(server: RedisServer) -> None:
    async def run() -> None:
        async with opened(server.url) as store:
            for number in range(10):
                words = ("until", 9_999_999_999_999, "mark", "a", "item", b"%d" % number)
                say(server, "XADD", "fungible:f:t", "*", *words)
            cursor = (await store.since("t")).cursor
            await store.append("t", b"new", ttl_s=60)
            assert (await store.since("t", cursor)).items == (b"new",)
            assert len((await store.since("t")).items) == 11

    asyncio.run(run())


def test_what_has_expired_leaves_a_feed_that_is_used(server: RedisServer) -> None:
    async def run() -> None:
        async with opened(server.url) as store:
            await asyncio.gather(*(store.append("t", b"old", ttl_s=0.1) for _ in range(40)))
            await store.append("t", b"new", ttl_s=60)
            assert say(server, "XLEN", "fungible:f:t") == 41
            expired = int(say(server, "TIME")[0]) + 1
            await until(lambda: int(say(server, "TIME")[0]) > expired)
            # Each takes off more than it adds.
            for _ in range(20):
                await store.append("t", b"new", ttl_s=60)
            assert say(server, "XLEN", "fungible:f:t") == 21

    asyncio.run(run())
