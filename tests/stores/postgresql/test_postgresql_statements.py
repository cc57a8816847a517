"""What the server gets to see: how many statements, under which settings, and what they leave in the tables."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from contracts.rates import rates
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from postgresql_drills import connected, opened, until
from servers import PostgreSQLServer

from fungible.stores import (
    ABSENT,
    REMOVED,
    ConflictError,
    Lack,
    Rate,
    Record,
    RecordTooLargeError,
    StoreUnavailableError,
)
from fungible.stores.contract import gcra
from fungible.stores.postgresql import PostgreSQLStore

RATE = Rate(limit=2, period_s=60)
Call = Callable[[PostgreSQLStore, Record], Awaitable[Any]]
VERBS: dict[str, tuple[Call, int]] = {
    "get": (lambda store, read: store.get("key"), 1),
    "put any": (lambda store, read: store.put("key", {"a": b"1"}, ttl_s=60), 1),
    "put absent": (lambda store, read: store.put("other", {"a": b"1"}, ttl_s=60, expect=ABSENT), 1),
    "put expected": (lambda store, read: store.put("key", {"a": b"2"}, ttl_s=60, expect=read), 1),
    "change": (lambda store, read: store.change(read, {"a": b"2"}, ttl_s=60), 1),
    "delete": (lambda store, read: store.delete("key"), 1),
    "delete with tombstone": (lambda store, read: store.delete("key", tombstone_s=60), 1),
    "touch": (lambda store, read: store.touch("key", ttl_s=600), 1),
    "take": (lambda store, read: store.take("key", RATE), 1),
    "append": (lambda store, read: store.append("topic", b"1", ttl_s=60), 1),
    "since": (lambda store, read: store.since("topic"), 1),
    # Only what is refused asks again, for what stands in the way.
    "put refused": (lambda store, read: store.put("key", {}, ttl_s=60, expect=ABSENT), 2),
    "change refused": (
        lambda store, read: store.change(Record("key", {"a": b"0"}, 0, read.incarnation), {"a": b""}),
        2,
    ),
}


def executed(server: PostgreSQLServer) -> list[str]:
    """The statements in its log, without those that end or begin nothing."""
    lines = [line for line in server.log().splitlines() if "LOG:  execute" in line or "LOG:  statement" in line]
    return [line.partition("LOG:  ")[2] for line in lines]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_one_statement(server: PostgreSQLServer, url: str, verb: str) -> None:
    call, statements = VERBS[verb]

    async def run() -> None:
        server.run_sql("ALTER DATABASE fungible SET log_statement = 'all'")
        async with opened(url) as store:
            read = await store.put("key", {"a": b"1"}, ttl_s=60)
            before = len(executed(server))
            try:
                await call(store, read)
            except ConflictError:
                assert statements == 2
            assert len(executed(server)) - before == statements

    try:
        asyncio.run(run())
    finally:
        server.run_sql("ALTER DATABASE fungible RESET log_statement")


def test_behind_a_pooler_no_statement_has_a_name_and_no_setting_is_made(server: PostgreSQLServer, url: str) -> None:
    async def run() -> None:
        server.run_sql("ALTER DATABASE fungible SET log_statement = 'all'")
        async with opened(f"{url}&statement_cache=0") as store:
            before = len(executed(server))
            for call, _ in VERBS.values():
                await store.delete("other")
                read = await store.put("key", {"a": b"1"}, ttl_s=60)
                with suppress(ConflictError):
                    await call(store, read)
                await store.delete("key")
                server.run_sql("DELETE FROM fungible_records")
            named = [line for line in executed(server)[before:] if "__asyncpg" in line]
            assert not named
            [[timeout]] = await store._database.rows(store._database.deadline(), "SHOW statement_timeout")
            assert timeout == "0"

    try:
        asyncio.run(run())
    finally:
        server.run_sql("ALTER DATABASE fungible RESET log_statement")


@pytest.mark.parametrize(("durability", "commit"), [("full", "on"), ("relaxed", "off")])
def test_durability_is_the_servers_and_what_it_costs_is_declared(url: str, durability: str, commit: str) -> None:
    async def run() -> None:
        async with opened(f"{url}&durability={durability}") as store:
            [[found]] = await store._database.rows(store._database.deadline(), "SHOW synchronous_commit")
            assert found == commit
            assert store.guarantees.lacks == ({Lack.RECENT_WRITES} if commit == "off" else set())

    asyncio.run(run())


def test_the_server_gives_up_a_statement_when_we_do(server: PostgreSQLServer, url: str) -> None:
    async def run() -> None:
        async with opened(url, timeout_s=1) as store, connected(server.url) as blocker:
            await store.put("key", {"a": b"1"}, ttl_s=60)
            await blocker.execute("BEGIN; UPDATE fungible_records SET expires_at = expires_at")
            for _ in range(2):
                with pytest.raises(StoreUnavailableError, match="no answer within 1 s"):
                    await store.touch("key", ttl_s=60)
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            await until(lambda: server.run_sql(waiting) == "0")
            await blocker.execute("COMMIT")
            assert await store.touch("key", ttl_s=60)

    asyncio.run(run())


def test_writing_a_record_again_and_again_writes_no_index(server: PostgreSQLServer, url: str) -> None:
    times = 200

    async def run() -> None:
        async with opened(url) as store:
            record = await store.put("key", {"n": b"0", "user": b"ada" * 50}, ttl_s=60)
            for number in range(times):
                record = await store.change(record, {"n": str(number).encode()}, ttl_s=60 + number)
                await store.touch("key", ttl_s=120 + number)
                await store.put("key", record.fields, ttl_s=3600)
                await store.take("rate", RATE)
                await store.append("topic", b"", ttl_s=60 + number)

    asyncio.run(run())
    # A server process counts in full when it ends.
    counts = "SELECT sum(n_tup_upd), sum(n_tup_hot_upd) FROM pg_stat_user_tables WHERE relname LIKE 'fungible%'"

    async def counted() -> None:
        await until(lambda: int(server.run_sql(counts).partition("|")[0] or 0) >= 5 * times - 2)

    asyncio.run(counted())
    updated, without_index = map(int, server.run_sql(counts).split("|"))
    # Now and then a page is full, until it is tidied up by whoever comes next.
    assert without_index > 0.95 * updated


def test_a_record_never_grows_beyond_its_limit_whoever_adds_to_it(url: str) -> None:
    half = bytes(1 << 19)

    async def run() -> None:
        async with opened(url) as store, opened(url) as other:
            read = await store.put("key", {}, ttl_s=60)
            await other.change(read, {"theirs": half})
            with pytest.raises(RecordTooLargeError):
                await store.change(read, {"ours": half})
            less = await store.change(read, {"ours": half[:-100]})
            await store.change(less, {"ours": REMOVED})
            await other.change(read, {"other": half[:-100]})
            stands = await store.get("key")
            assert stands is not None
            assert set(stands.fields) == {"theirs", "other"}

    asyncio.run(run())


FROZEN = """
CREATE TABLE clock (at bigint);
INSERT INTO clock VALUES (0);
CREATE OR REPLACE FUNCTION fungible_now() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT at FROM clock';
"""
drawn = rates(
    st.integers(1, 10_000) | st.just(10**9),
    st.floats(1e-6, 1e6) | st.just(3e8),
    st.integers(0, 100) | st.just(10**12),
)
steps = st.tuples(st.integers(0, 10**7), drawn, st.integers(1, 20) | st.sampled_from([10**6, 10**30]))


def test_taking_agrees_with_the_reference_to_the_microsecond(server: PostgreSQLServer, url: str) -> None:
    start_us = 1_800_000_000_000_000

    async def run(store: PostgreSQLStore, clock: Any, taken: list[tuple[int, Rate, int]]) -> None:
        now_us, tat_us = start_us, 0
        await clock.execute("DELETE FROM fungible_rates")
        for later_us, rate, cost in taken:
            now_us += later_us
            await clock.execute("UPDATE clock SET at = $1", now_us)
            tat_us, expected = gcra(tat_us, now_us, rate, cost)
            assert await store.take("key", rate, cost=cost) == expected
            assert await clock.fetchval("SELECT tat FROM fungible_rates") == tat_us

    with asyncio.Runner() as runner:

        async def ready() -> tuple[PostgreSQLStore, Any]:
            store = await entered.__aenter__()
            await store.ping()
            server.run_sql(FROZEN)
            return store, await connection.__aenter__()

        entered, connection = opened(url), connected(server.url)
        store, clock = runner.run(ready())

        # One step at a time, and then several on one key.
        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(st.lists(steps, min_size=1, max_size=6) | st.lists(steps.filter(lambda step: step[2] < 21), max_size=6))
        def hold(taken: list[tuple[int, Rate, int]]) -> None:
            runner.run(run(store, clock, taken))

        hold()
        runner.run(connection.__aexit__(None, None, None))
        runner.run(entered.__aexit__(None, None, None))
