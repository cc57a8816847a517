"""What is kept on the server, under which name and for how long; what does not fit, and what gets lost."""

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from memcached_drills import opened, run, statistics
from servers import MemcachedServer

from fungible.stores import ABSENT, ConflictError, GoneError, Lack, Rate, RecordTooLargeError, open_store
from fungible.stores.memcached.values import (
    LATEST,
    LONGEST_VALUE_BYTES,
    RECORD,
    KeptFeed,
    KeptRecord,
    decoded,
    encoded,
    exptime,
    name_of,
)

if TYPE_CHECKING:
    from fungible.stores.memcached import MemcachedStore

KEYS = [
    "a",
    "A",
    "a ",
    " a",
    "a b",
    "\xe1",
    "a\u0301",
    "x" * 200,
    "x" * 201,
    "x" * 512,
    "\U0001f980" * 128,
    "gets a",
    "#",
    ":",
]
ONE_DAY_S = 86_400.0


def test_every_key_has_a_name_of_its_own_that_the_server_takes() -> None:
    names = [name_of(kind, key) for kind in (RECORD, b"fungible:t") for key in KEYS]
    assert len(set(names)) == len(names)
    for name in names:
        assert len(name) <= 250
        assert all(0x21 <= byte <= 0x7E for byte in name)
    # What another key's name is made from can't be asked for by name.
    assert name_of(RECORD, name_of(RECORD, "a b").decode().removeprefix("fungible:r")) not in names


def test_keys_that_the_server_would_not_take_work(server: MemcachedServer) -> None:
    async def drill() -> None:
        async with opened(server.url) as store:
            for key in KEYS:
                await store.put(key, {"mine": key.encode()}, ttl_s=600, expect=ABSENT)
                await store.append(key, key.encode(), ttl_s=600)
            for key in KEYS:
                record = await store.get(key)
                assert record is not None
                assert record.fields == {"mine": key.encode()}
                assert (await store.since(key)).items == (key.encode(),)

    run(drill())


def test_an_item_about_another_key_is_not_taken_for_ones_own(server: MemcachedServer) -> None:
    async def drill() -> None:
        async with opened(server.url) as store:
            # As if two keys had one digest.
            value = encoded(KeptRecord("another key", b"12345678", time.time() + 600, {"secret": b"1"}))
            name = name_of(RECORD, "a key")
            assert server.ask(b"set %b 0 0 %d\r\n%b\r\n" % (name, len(value), value)) == b"STORED\r\n"
            assert await store.get("a key") is None
            for foreign in (b"", b"\xc1", b"plain text", b"\x93\x01\x02\x03"):
                assert server.ask(b"set %b 0 0 %d\r\n%b\r\n" % (name, len(foreign), foreign)) == b"STORED\r\n"
                assert await store.get("a key") is None
            put = await store.put("a key", {"mine": b"1"}, ttl_s=600, expect=ABSENT)
            assert await store.get("a key") == put

    run(drill())


@pytest.mark.parametrize("ttl_s", [0.001, 0.5, 1, 29 * ONE_DAY_S, 30 * ONE_DAY_S, 31 * ONE_DAY_S, 3660 * ONE_DAY_S])
def test_the_server_keeps_an_item_until_it_expires_and_not_for_ever(server: MemcachedServer, ttl_s: float) -> None:
    now = time.time()
    asked = exptime(now + ttl_s, now)
    # More than 30 days are an instant, to the server: as a number of seconds they would lie in 1970.
    until = asked if asked > 30 * ONE_DAY_S else now + asked
    assert until == LATEST or 1 <= until - (now + ttl_s) <= 4
    assert exptime(now, now) == exptime(now - 5, now) == -1

    async def drill() -> None:
        async with opened(server.url) as store:
            put = await store.put("k", {"a": b"1"}, ttl_s=ttl_s)
            if ttl_s >= 1:
                assert await store.get("k") == put
            kept = server.ask(b"get %b\r\n" % name_of(RECORD, "k"))
            assert kept.startswith(b"VALUE")

    run(drill())


def test_what_was_deleted_without_a_tombstone_leaves_nothing_on_the_server(server: MemcachedServer) -> None:
    async def drill() -> None:
        async with opened(server.url) as store:
            await store.put("k", {"a": b"1"}, ttl_s=600)
            await store.delete("k")
            assert server.ask(b"get %b\r\n" % name_of(RECORD, "k")) == b"END\r\n"
            await store.delete("never there")
            assert server.ask(b"get %b\r\n" % name_of(RECORD, "never there")) == b"END\r\n"

    run(drill())


def test_a_plain_delete_does_not_take_away_a_tombstone(server: MemcachedServer) -> None:
    async def drill() -> None:
        async with opened(server.url) as store, opened(server.url) as other:
            for turn in range(100):
                key = f"k{turn}"
                put = await store.put(key, {"a": b"1"}, ttl_s=600)
                await asyncio.gather(store.delete(key, tombstone_s=600), other.delete(key))
                with pytest.raises(GoneError):
                    await store.put(key, {}, ttl_s=600)
                with pytest.raises(GoneError):
                    await store.change(put, {"a": b"2"})

    run(drill())


def test_each_verb_asks_the_server_as_often_as_documented(server: MemcachedServer) -> None:
    async def drill() -> None:
        async with opened(server.url) as store:

            async def asked(verb: "object") -> tuple[int, int]:
                before = statistics(server)
                await verb  # type: ignore[misc]
                after = statistics(server)
                return after["cmd_get"] - before["cmd_get"], after["cmd_set"] - before["cmd_set"]

            assert await asked(store.put("k", {"a": b"1"}, ttl_s=600)) == (1, 1)
            record = await store.get("k")
            assert record is not None
            assert await asked(store.get("k")) == (1, 0)
            assert await asked(store.change(record, {"a": b"2"})) == (1, 1)
            assert await asked(store.touch("k", ttl_s=700)) == (1, 1)
            assert await asked(store.touch("k", ttl_s=60)) == (1, 0)
            assert await asked(store.take("k", Rate(limit=1, period_s=600))) == (1, 1)
            # What was refused has taken nothing, and writes nothing.
            assert await asked(store.take("k", Rate(limit=1, period_s=600))) == (1, 0)
            assert await asked(store.append("t", b"1", ttl_s=60)) == (1, 1)
            assert await asked(store.since("t")) == (1, 0)
            assert await asked(store.delete("k", tombstone_s=60)) == (1, 1)
            assert await asked(store.delete("k")) == (1, 0)

    run(drill())


def test_tasks_of_one_process_do_not_race_each_other(server: MemcachedServer) -> None:
    async def drill() -> None:
        async with opened(server.url) as store:
            record = await store.put("k", {}, ttl_s=600)
            before = statistics(server)
            await asyncio.gather(*(store.change(record, {f"f{number}": b"1"}) for number in range(50)))
            after = statistics(server)
            assert after["cas_badval"] == before["cas_badval"]
            assert after["cas_hits"] - before["cas_hits"] == 50
            record = await store.get("k")
            assert record is not None
            assert len(record.fields) == 50

    run(drill())


class FullServer(MemcachedServer):
    """With so little memory that it soon evicts."""

    def command(self) -> list[str]:
        command = super().command()
        command[command.index("-m") + 1] = "8"
        return command


class SmallItemsServer(MemcachedServer):
    """Set to smaller items than by default."""

    def command(self) -> list[str]:
        return [*super().command(), "-I", "128k", "-o", "slab_chunk_max=64"]


@pytest.fixture
def full() -> Iterator[FullServer]:
    if missing := FullServer.missing():
        pytest.skip(missing)
    with FullServer() as server:
        yield server


@pytest.fixture
def small() -> Iterator[SmallItemsServer]:
    if missing := SmallItemsServer.missing():
        pytest.skip(missing)
    with SmallItemsServer() as server:
        yield server


def test_what_is_too_large_for_the_server_is_refused_and_what_stood_stays(small: SmallItemsServer) -> None:
    async def drill() -> None:
        async with opened(small.url) as store:
            put = await store.put("k", {"a": b"1"}, ttl_s=600)
            for attempt in (
                store.put("k", {"a": bytes(200_000)}, ttl_s=600),
                store.change(put, {"a": bytes(200_000)}),
                store.put("new", {"a": bytes(200_000)}, ttl_s=600),
                store.append("t", bytes(200_000), ttl_s=600),
            ):
                with pytest.raises(RecordTooLargeError) as raised:
                    await attempt
                assert "-I" in "".join(raised.value.__notes__)
            # The server has read the value that it did not take, and answers on.
            assert await store.get("k") == put
            assert await store.get("new") is None

    run(drill())


def test_what_does_not_fit_in_an_item_is_refused(server: MemcachedServer) -> None:
    async def drill() -> None:
        async with opened(server.url) as store:
            most = store.guarantees.max_record_bytes
            put = await store.put("k", {"a": bytes(most - 1)}, ttl_s=600)
            assert await store.get("k") == put
            with pytest.raises(RecordTooLargeError):
                await store.put("k", {"a": bytes(most)}, ttl_s=600)
            # Small by the rules of the contract, but each name and value has a header of its own.
            many = {f"{number:x}": b"" for number in range(170_000)}
            with pytest.raises(RecordTooLargeError) as raised:
                await store.put("k", many, ttl_s=600)
            assert raised.value.max_bytes == LONGEST_VALUE_BYTES
            with pytest.raises(RecordTooLargeError):
                await store.append("t", bytes(most + 1), ttl_s=600)

    run(drill())


def test_what_was_evicted_is_gone_and_a_slow_writer_does_not_bring_it_back(full: FullServer) -> None:
    async def fill(store: "MemcachedStore", turn: int) -> None:
        await asyncio.gather(*(store.put(f"{turn}-{number}", {"a": bytes(5000)}, ttl_s=600) for number in range(100)))

    async def drill() -> None:
        async with opened(full.url) as store:
            assert Lack.EVICTS in store.guarantees.lacks
            put = await store.put("k", {"a": bytes(5000)}, ttl_s=600)
            await store.append("t", bytes(5000), ttl_s=600)
            cursor = (await store.since("t")).cursor
            turn = 0
            while statistics(full)["evictions"] < 2000:
                await fill(store, turn)
                turn += 1
            assert await store.get("k") is None
            with pytest.raises(GoneError):
                await store.change(put, {"a": b"2"})
            with pytest.raises(GoneError):
                await store.put("k", {}, ttl_s=600, expect=put)
            assert await store.touch("k", ttl_s=600) is None
            # A feed that was evicted begins anew, and its readers notice.
            assert (await store.since("t", cursor)).items == ()
            await store.append("t", b"new", ttl_s=600)
            page = await store.since("t", cursor)
            assert page.items == (b"new",)
            assert (await store.since("t", page.cursor)).items == ()

    run(drill())


def test_a_feed_forgets_its_items_one_by_one(server: MemcachedServer) -> None:
    async def drill() -> None:
        clock = [time.time()]
        async with opened(server.url, now=lambda: clock[0]) as store:
            for number in range(10):
                await store.append("t", b"%d" % number, ttl_s=60)
                clock[0] += 10
            assert (await store.since("t")).items == (b"5", b"6", b"7", b"8", b"9")
            cursor = (await store.since("t")).cursor
            await store.append("t", b"10", ttl_s=60)
            answer = server.ask(b"get fungible:f:t\r\n")
            kept = decoded(answer.partition(b"\r\n")[2].removesuffix(b"\r\nEND\r\n"), "t", KeptFeed)
            assert kept is not None
            assert len(kept.items) == 6, "only live items are kept"
            assert (await store.since("t", cursor)).items == (b"10",)

    run(drill())


def test_conflicts_show_what_stands(server: MemcachedServer) -> None:
    async def drill() -> None:
        async with opened(server.url) as store:
            put = await store.put("k", {"a": b"1"}, ttl_s=600)
            with pytest.raises(ConflictError) as raised:
                await store.put("k", {}, ttl_s=600, expect=ABSENT)
            assert raised.value.current == put

    run(drill())


def test_a_later_release_may_append_to_what_is_kept() -> None:
    kept = KeptRecord("k", b"12345678", 5.0, {"a": b"1"})
    longer = b"\x95" + encoded(kept)[1:] + b"\x01"
    assert decoded(longer, "k", KeptRecord) == kept


def test_it_is_opened_by_its_scheme() -> None:
    assert open_store("memcached://localhost").home == "memcached://localhost"
