"""What has expired goes: in small batches, in nobody's way, and nothing else with it."""

import asyncio

from postgresql_drills import connected, opened, pool_of, until
from servers import PostgreSQLServer

from fungible.stores import Rate
from fungible.stores.postgresql import PostgreSQLStore

LATER = """
CREATE OR REPLACE FUNCTION fungible_now() RETURNS bigint LANGUAGE sql VOLATILE
AS 'SELECT (date_part(''epoch'', clock_timestamp()) * 1000000)::bigint + {us}'
"""
ROWS = """
SELECT (SELECT count(*) FROM fungible_records), (SELECT count(*) FROM fungible_rates),
    (SELECT count(*) FROM fungible_topics), (SELECT count(*) FROM fungible_items)
"""


def later(server: PostgreSQLServer, seconds: float) -> None:
    server.run_sql(LATER.format(us=round(seconds * 1e6)))


async def fill(store: PostgreSQLStore, count: int) -> None:
    for number in range(count):
        await store.put(f"record-{number}", {"n": b"1"}, ttl_s=10)
        await store.delete(f"deleted-{number}", tombstone_s=10)
        await store.take(f"rate-{number}", Rate(limit=1, period_s=10))
        await store.append(f"topic-{number}", b"1", ttl_s=10)


def test_everything_that_has_expired_goes_batch_by_batch(server: PostgreSQLServer, url: str) -> None:
    async def run() -> None:
        async with opened(url, batch=10) as store:
            await fill(store, 17)
            assert await store.sweep() == 0
            later(server, 86_500)
            # How many rows each transaction has deleted.
            server.run_sql("""
                CREATE TABLE batches (size integer);
                CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
                $$BEGIN INSERT INTO batches SELECT count(*) FROM gone; RETURN NULL; END$$;
                CREATE TRIGGER note AFTER DELETE ON fungible_records REFERENCING OLD TABLE AS gone
                FOR EACH STATEMENT EXECUTE FUNCTION note();
            """)
            assert await store.sweep() == 5 * 17
            assert server.run_sql(ROWS) == "0|0|0|0"
            assert server.run_sql("SELECT string_agg(size::text, ' ') FROM batches") == "10 10 10 4"

    asyncio.run(run())


def test_what_was_prolonged_stays_and_is_swept_at_its_new_end(server: PostgreSQLServer, url: str) -> None:
    async def run() -> None:
        async with opened(url) as store:
            record = await store.put("touched", {"n": b"1"}, ttl_s=10)
            changed = await store.put("changed", {"n": b"1"}, ttl_s=10)
            await store.touch("touched", ttl_s=1000)
            await store.change(changed, {"n": b"2"}, ttl_s=1000)
            await store.delete("buried", tombstone_s=1000)
            await store.take("rate", Rate(limit=1, period_s=1000))
            await store.take("rate", Rate(limit=1, period_s=1000, burst=2))
            await store.append("topic", b"1", ttl_s=1000)
            later(server, 500)
            await store.sweep()
            assert server.run_sql(ROWS) == "3|1|1|1"
            found = await store.get("touched")
            assert found is not None
            assert found.incarnation == record.incarnation
            later(server, 1100)
            await store.sweep()
            # Taken twice: the rate is as new after 2000 s.
            assert server.run_sql(ROWS) == "0|1|1|0"
            later(server, 2100)
            await store.sweep()
            assert server.run_sql(ROWS) == "0|0|1|0"
            later(server, 86_400 + 1_100)
            await store.sweep()
            assert server.run_sql(ROWS) == "0|0|0|0"

    asyncio.run(run())


def test_a_record_written_anew_for_a_shorter_time_is_swept_at_its_new_end(server: PostgreSQLServer, url: str) -> None:
    async def run() -> None:
        async with opened(url) as store:
            await store.put("key", {}, ttl_s=100_000)
            await store.put("key", {}, ttl_s=10)
            await store.put("buried", {}, ttl_s=100_000)
            await store.delete("buried", tombstone_s=10)
            later(server, 11)
            assert await store.sweep() == 2
            assert server.run_sql(ROWS) == "0|0|0|0"

    asyncio.run(run())


def test_a_row_that_somebody_holds_is_passed_over(server: PostgreSQLServer, url: str) -> None:
    async def run() -> None:
        async with opened(url) as store, connected(server.url) as other:
            await fill(store, 3)
            later(server, 11)
            await other.execute("BEGIN")
            await other.fetch("SELECT FROM fungible_records WHERE key = 'record-1' FOR UPDATE")
            await store.sweep()
            assert server.run_sql("SELECT key FROM fungible_records") == "record-1"
            await other.execute("COMMIT")
            await store.sweep()
            assert server.run_sql("SELECT count(*) FROM fungible_records") == "0"

    asyncio.run(run())


def test_a_store_that_is_in_use_sweeps_by_itself_and_survives_an_outage(server: PostgreSQLServer, url: str) -> None:
    async def run() -> None:
        async with opened(url, sweep_every_s=0.02, timeout_s=2) as store:
            await fill(store, 3)
            later(server, 11)
            await until(lambda: server.run_sql("SELECT count(*) FROM fungible_records") == "0")
            server.kill()
            await until(lambda: pool_of(store)._failure is not None)  # it has tried, and nobody has asked it to
            server.start()
            later(server, 0)
            await until(lambda: server.connections() > 0)
            await store.put("key", {}, ttl_s=10)
            later(server, 11)
            await until(lambda: server.run_sql("SELECT count(*) FROM fungible_records") == "0")

    asyncio.run(run())


def test_rows_that_somebody_holds_keep_no_sweep_going(server: PostgreSQLServer, url: str) -> None:
    async def run() -> None:
        async with opened(url, batch=3) as store, connected(server.url) as other:
            await fill(store, 3)
            later(server, 11)
            await other.execute("BEGIN")
            await other.fetch("SELECT FROM fungible_records FOR UPDATE")
            await store.sweep()
            assert server.run_sql("SELECT count(*) FROM fungible_records") == "6"
            await other.execute("COMMIT")

    asyncio.run(run())
