"""The connections: as many as allowed, never lost, never shared, however their callers end."""

import asyncio
import random
import subprocess
import sys
import threading

import pytest
from postgresql_drills import connected, opened, pool_of, until
from servers import PostgreSQLServer

from fungible.stores import ConflictError, StoreUnavailableError
from fungible.stores.postgresql import PostgreSQLStore

KEYS = [f"key-{number}" for number in range(20)]


async def filled(store: PostgreSQLStore) -> None:
    for key in KEYS:
        await store.put(key, {"is": key.encode()}, ttl_s=600)


async def all_right(store: PostgreSQLStore) -> bool:
    records = await asyncio.gather(*(store.get(key) for key in KEYS))
    return [record and record.fields["is"].decode() for record in records] == KEYS


def test_thousands_of_cancellations_leave_all_connections_usable_and_all_answers_right(url: str) -> None:
    chance = random.Random(3)
    answers = {"right": 0, "wrong": 0, "cancelled": 0}

    async def ask(store: PostgreSQLStore, key: str) -> None:
        try:
            async with asyncio.timeout(chance.choice([0, chance.uniform(0, 0.004), 5])):
                record = await store.get(key)
        except TimeoutError:
            answers["cancelled"] += 1
        else:
            answers["right" if record and record.fields["is"] == key.encode() else "wrong"] += 1

    async def worker(store: PostgreSQLStore) -> None:
        for _ in range(250):
            await ask(store, chance.choice(KEYS))

    async def run() -> None:
        async with opened(f"{url}&pool_size=4") as store:
            await filled(store)
            pool = pool_of(store)
            await asyncio.gather(*(worker(store) for _ in range(16)))
            await until(lambda: pool.idle == pool.connections)
            assert 1 <= pool.connections <= 4
            assert await all_right(store)
            assert answers["wrong"] == 0
            assert min(answers["right"], answers["cancelled"]) > 500, answers

    asyncio.run(run())


def test_a_connection_whose_caller_was_cancelled_serves_the_next_one(server: PostgreSQLServer, url: str) -> None:
    async def run() -> None:
        # Nobody else's, whose end the server has not noticed yet.
        await until(lambda: server.connections() == 0)
        async with opened(f"{url}&pool_size=1") as store, connected(server.url) as blocker:
            await filled(store)
            number = server.run_sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'fungible'")
            await blocker.execute("BEGIN; LOCK TABLE fungible_records")
            waiting = asyncio.create_task(store.touch("key-0", ttl_s=700))
            await until(lambda: server.run_sql("SELECT count(*) FROM pg_locks WHERE NOT granted") == "1")
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            # The server has ended the statement, which would else wait for as long as the lock is held.
            await until(lambda: server.run_sql("SELECT count(*) FROM pg_locks WHERE NOT granted") == "0")
            await blocker.execute("COMMIT")
            assert await all_right(store)
            assert number == server.run_sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'fungible'")

    asyncio.run(run())


def test_more_calls_than_connections_wait_their_turn(server: PostgreSQLServer, url: str) -> None:
    async def run() -> None:
        async with opened(f"{url}&pool_size=3") as store:
            await filled(store)
            most = 0

            async def ask(number: int) -> None:
                nonlocal most
                await store.get(KEYS[number % 20])
                most = max(most, server.connections()) if number % 20 == 0 else most

            await asyncio.gather(*(ask(number) for number in range(300)))
            assert most == 3

    asyncio.run(run())


def test_a_call_for_which_no_connection_became_free_says_so(url: str) -> None:
    async def run() -> None:
        async with opened(f"{url}&pool_size=1") as store:
            await store.ping()
            asleep = asyncio.create_task(store._database.rows(store._database.deadline(), "SELECT pg_sleep(60)"))
            await until(lambda: pool_of(store).idle == 0)
            soon = asyncio.get_running_loop().time() + 0.05
            with pytest.raises(StoreUnavailableError, match="all 1 connections of its pool were busy"):
                await store._database.rows(soon, "SELECT 1")
            asleep.cancel()
            await store.ping()

    asyncio.run(run())


def test_a_server_that_lets_no_more_in_is_used_by_those_who_are_in(server: PostgreSQLServer, url: str) -> None:
    async def run() -> None:
        async with opened(url) as owner:
            await filled(owner)
        server.run_sql("DROP ROLE IF EXISTS few")
        server.run_sql("CREATE ROLE few LOGIN PASSWORD 'few' CONNECTION LIMIT 1")
        server.run_sql("GRANT USAGE ON SCHEMA public TO few; GRANT SELECT ON ALL TABLES IN SCHEMA public TO few")
        async with opened(server.url.replace("fungible:open-sesame", "few:few")) as store:
            await store.get("key-0")
            for _ in range(5):
                # Those for whom no connection can be opened find the one that is given back meanwhile.
                assert await all_right(store)
            assert pool_of(store).connections == 1

    asyncio.run(run())
    server.run_sql("DROP OWNED BY few")


def test_a_server_that_does_not_answer_is_an_error_at_the_deadline_and_serves_again_later(
    server: PostgreSQLServer, url: str
) -> None:
    async def run() -> None:
        async with opened(f"{url}&pool_size=4", timeout_s=2) as store:
            await filled(store)
            assert await all_right(store)
            tasks = asyncio.all_tasks()
            server.pause()
            for _ in range(2):  # first on the connections that are open, then on new ones
                answers = await asyncio.gather(*(store.get(key) for key in KEYS), return_exceptions=True)
                assert {type(answer) for answer in answers} == {StoreUnavailableError}
                assert "no answer within 2 s" in str(answers[0])
            server.resume()
            await until(lambda: pool_of(store).idle == pool_of(store).connections)
            assert await all_right(store)
            assert pool_of(store).connections <= 4
            assert asyncio.all_tasks() == tasks

    asyncio.run(run())


def test_cancelled_calls_at_a_server_that_does_not_answer_end_at_once_and_leave_nothing_behind(
    server: PostgreSQLServer, url: str
) -> None:
    async def run() -> None:
        async with opened(f"{url}&pool_size=4", timeout_s=2) as store:
            await filled(store)
            assert await all_right(store)
            tasks, pool = asyncio.all_tasks(), pool_of(store)
            server.pause()
            calls = [asyncio.create_task(store.get(key)) for key in KEYS]
            await until(lambda: pool.idle == 0)
            for call in calls:
                call.cancel()
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(answer) for answer in answers} == {asyncio.CancelledError}
            # None of them has waited for the server. What asks it to end the statements still does, is given up at the
            # deadline, and the connections with it.
            assert pool.connections > 0
            await until(lambda: asyncio.all_tasks() == tasks)
            assert pool.connections == pool.idle == 0
            server.resume()
            assert await all_right(store)

    asyncio.run(run())


def test_a_server_killed_under_load_loses_no_change_that_it_confirmed(server: PostgreSQLServer, url: str) -> None:
    confirmed, unknown = [0], [0]

    async def add(store: PostgreSQLStore, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                record = await store.get("counter")
                assert record is not None
                await store.change(record, {"n": str(int(record.fields["n"]) + 1).encode()})
                confirmed[0] += 1
            except ConflictError:
                pass
            except StoreUnavailableError:
                unknown[0] += 1
                await asyncio.sleep(0.005)

    async def more(count: list[int]) -> None:
        before = count[0]
        await until(lambda: count[0] >= before + 50)

    async def run() -> None:
        async with opened(f"{url}&pool_size=4") as store:
            await store.put("counter", {"n": b"0"}, ttl_s=600)
            stop = asyncio.Event()
            adding = [asyncio.create_task(add(store, stop)) for _ in range(8)]
            for _ in range(2):
                await more(confirmed)
                server.kill()
                await more(unknown)
                await asyncio.to_thread(server.start)
            await more(confirmed)
            stop.set()
            await asyncio.gather(*adding)
            record = await store.get("counter")
            assert record is not None
            assert confirmed[0] <= int(record.fields["n"]) <= confirmed[0] + unknown[0]
            assert server.connections() <= 4

    asyncio.run(run())


def test_a_store_serves_one_event_loop_after_the_other_and_several_at_once(url: str) -> None:
    async def run(store: PostgreSQLStore, key: str) -> None:
        for number in range(20):
            await store.put(key, {"n": str(number).encode()}, ttl_s=600)
            record = await store.get(key)
            assert record is not None
            assert record.fields == {"n": str(number).encode()}
        await store.aclose()

    async def ready() -> PostgreSQLStore:
        async with opened(url) as store:
            await store.ping()
            return store

    store = asyncio.run(ready())
    asyncio.run(run(store, "later"))
    failed: list[object] = []

    def in_thread(key: str) -> None:
        try:
            asyncio.run(run(store, key))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=in_thread, args=(f"thread-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


FORKING = """
import asyncio, os, sys
from fungible.stores import open_store

store = open_store(sys.argv[1])

async def child():
    for n in range(50):
        assert (await store.get("whose")).fields == {"is": b"parent"}
        await store.put("child", {"n": str(n).encode()}, ttl_s=600)
    await store.aclose()

async def parent():
    await store.put("whose", {"is": b"parent"}, ttl_s=600)
    pid = os.fork()
    if pid == 0:
        # The loop of our parent runs in us, too, until we leave it.
        asyncio._set_running_loop(None)
        asyncio.run(child())
        os._exit(0)
    for n in range(50):
        assert (await store.get("whose")).fields == {"is": b"parent"}
        await asyncio.sleep(0)
    status = await asyncio.to_thread(os.waitpid, pid, 0)
    assert status[1] == 0, status
    for n in range(50):
        assert (await store.get("whose")).fields == {"is": b"parent"}
    assert (await store.get("child")).fields == {"n": b"49"}
    await store.aclose()

asyncio.run(parent())
"""


def test_a_forked_process_opens_connections_of_its_own(url: str) -> None:
    run = subprocess.run([sys.executable, "-c", FORKING, url], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")


ENDING = """
import asyncio, os, sys
from fungible.stores import open_store

store = open_store(sys.argv[1])
loop = asyncio.new_event_loop()

async def server_process():
    [[number]] = await store._database.rows(store._database.deadline(), "SELECT pg_backend_pid()")
    return number

before = loop.run_until_complete(server_process())
pid = os.fork()
if pid == 0:
    assert asyncio.run(server_process()) != before
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert loop.run_until_complete(server_process()) == before
loop.run_until_complete(store.aclose())
loop.close()
"""


def test_the_end_of_a_forked_process_leaves_the_connections_of_its_parent_alone(url: str) -> None:
    run = subprocess.run([sys.executable, "-c", ENDING, url], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")


def test_closing_ends_every_connection_and_task_and_what_waits_gets_an_error(
    server: PostgreSQLServer, url: str
) -> None:
    async def run() -> None:
        async with opened(f"{url}&pool_size=2") as store, connected(server.url) as blocker:
            await filled(store)
            await blocker.execute("BEGIN; LOCK TABLE fungible_records")
            calls = [asyncio.create_task(store.get(key)) for key in KEYS]
            await until(lambda: server.run_sql("SELECT count(*) FROM pg_locks WHERE NOT granted") == "2")
            await store.aclose()
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(answer) for answer in answers} == {StoreUnavailableError}
            assert asyncio.all_tasks() == {asyncio.current_task()}
            await blocker.execute("COMMIT")
            await until(lambda: server.connections() == 1)
            # The next use opens it again.
            assert await all_right(store)

    asyncio.run(run())


def test_connections_that_nobody_needs_any_more_are_closed(server: PostgreSQLServer, url: str) -> None:
    async def run() -> None:
        async with opened(f"{url}&pool_size=5") as store:
            await filled(store)
            pool = pool_of(store)
            while pool.connections < 5:
                await all_right(store)
            pool.close_unused()
            assert pool.connections == 5  # they were needed until now
            await store.get("key-0")
            pool.close_unused()
            assert pool.connections == 1
            assert await all_right(store)

    asyncio.run(run())
