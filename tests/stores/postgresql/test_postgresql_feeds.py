"""Feeds: items become visible in the order of their ids, however long a commit takes."""

import asyncio
import multiprocessing

from postgresql_drills import connected, opened, until
from servers import PostgreSQLServer

from fungible.stores import open_store

# At a commit's end it takes up to 20 ms: what gets its id first is often committed last.
SLOW_COMMITS = """
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN PERFORM pg_sleep(random() * 0.02); RETURN NULL; END$$;
CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON fungible_items DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION dawdle()
"""


def test_an_item_waits_for_those_before_it_to_be_committed(server: PostgreSQLServer, url: str) -> None:
    async def run() -> None:
        async with opened(url) as store, connected(server.url) as other:
            await store.append("topic", b"0", ttl_s=60)
            start = await store.since("topic")
            await other.execute("BEGIN")
            await other.fetch(store._sql.append, "topic", b"1", 60_000_000)
            second = asyncio.create_task(store.append("topic", b"2", ttl_s=60))
            await until(lambda: server.run_sql("SELECT count(*) FROM pg_locks WHERE NOT granted") == "1")
            assert (await store.since("topic", start.cursor)).items == ()
            await store.append("another topic", b"", ttl_s=60)  # nobody waits for that
            await other.execute("COMMIT")
            await second
            assert (await store.since("topic", start.cursor)).items == (b"1", b"2")

    asyncio.run(run())


def test_a_reader_who_only_looks_behind_its_cursor_misses_nothing(server: PostgreSQLServer, url: str) -> None:
    writers, tasks, items = 3, 4, 15

    async def run() -> None:
        async with opened(url) as store:
            await store.ping()
            server.run_sql(SLOW_COMMITS)
            spawn = multiprocessing.get_context("spawn")
            started = [spawn.Process(target=write, args=(url, number, tasks, items)) for number in range(writers)]
            for process in started:
                process.start()
            seen: list[bytes] = []
            cursor = None
            while len(seen) < writers * tasks * items:
                page = await store.since("topic", cursor)
                seen += page.items
                cursor = page.cursor
            for process in started:
                await asyncio.to_thread(process.join)
            assert [process.exitcode for process in started] == [0] * writers
            assert (await store.since("topic", cursor)).items == ()
            assert tuple(seen) == (await store.since("topic")).items
            for number in range(writers):
                for task in range(tasks):
                    begins = f"{number}.{task}.".encode()
                    own = [item.removeprefix(begins) for item in seen if item.startswith(begins)]
                    assert own == [str(item).encode() for item in range(items)]

    asyncio.run(run())


def write(url: str, number: int, tasks: int, items: int) -> None:
    """What a writing process does: each task adds its items one after the other."""

    async def task_of(task: int) -> None:
        for item in range(items):
            await store.append("topic", f"{number}.{task}.{item}".encode(), ttl_s=600)

    async def run() -> None:
        await asyncio.gather(*(task_of(task) for task in range(tasks)))
        await store.aclose()

    store = open_store(url, timeout_s=60)
    asyncio.run(run())


def test_a_cursor_holds_when_a_topic_was_forgotten_and_comes_back(server: PostgreSQLServer, url: str) -> None:
    ahead = "CREATE OR REPLACE FUNCTION fungible_now() RETURNS bigint LANGUAGE sql VOLATILE AS '{}'"
    clock = "SELECT (date_part(''epoch'', clock_timestamp()) * 1000000)::bigint + "

    async def run() -> None:
        async with opened(url) as store:
            await store.append("topic", b"old", ttl_s=60)
            cursor = (await store.since("topic")).cursor
            server.run_sql(ahead.format(clock + str(2 * 86_400_000_000)))
            await store.sweep()
            assert server.run_sql("SELECT count(*) FROM fungible_topics") == "0"
            await store.append("topic", b"new", ttl_s=60)
            assert (await store.since("topic", cursor)).items == (b"new",)

    asyncio.run(run())
