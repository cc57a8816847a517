"""Point F7 with a real server: killed or silent it is an honest 503 within the deadline, and it comes back by itself."""

import asyncio
from collections.abc import Iterator

import pytest
from servers import PostgreSQLServer, RedisServer

from fungible.idempotency import TransactionalIdempotency, attempt_of
from fungible.stores import open_store
from idempotency.calling import Shop, guarded, is_problem, order
from idempotency.databases import Database, Kept, prepare

DEADLINE_S = 0.3
RETURNS_WITHIN_S = 30


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[RedisServer]:
    redis_server.reset()
    yield redis_server
    redis_server.revive()


@pytest.mark.parametrize("hurt", ["kill", "pause"])
async def test_f7_a_store_that_is_killed_or_silent_runs_nothing_and_returns(redis: RedisServer, hurt: str) -> None:
    shop, store = Shop(), open_store(redis.url, timeout_s=DEADLINE_S)
    app = guarded(shop, store, routes={"/open": {"on_unavailable": "open"}})
    assert (await order(app)).status_code == 201
    getattr(redis, hurt)()
    assert is_problem(await order(app, "other"), 503, "store_unavailable")
    assert shop.effects == 1
    assert (await order(app, path="/open")).status_code == 201
    redis.revive()
    async with asyncio.timeout(RETURNS_WITHIN_S):
        while (await order(app, "third")).status_code in (503, 409):  # noqa: ASYNC110 - reconnects wait a while
            await asyncio.sleep(0.02)
    assert shop.effects == 3
    await store.aclose()


async def test_f7_a_store_that_is_killed_in_the_middle_of_a_handler_does_not_hide_its_effect(
    redis: RedisServer,
) -> None:
    shop, store = Shop(), open_store(redis.url, timeout_s=DEADLINE_S)
    shop.held = asyncio.Event()
    app = guarded(shop, store)
    first = asyncio.create_task(order(app))
    await shop.begun.wait()
    redis.kill()
    shop.held.set()
    assert ((await first).status_code, (await first).text) == (201, "order 1")
    redis.start()
    async with asyncio.timeout(RETURNS_WITHIN_S):
        while (again := await order(app)).status_code in (503, 409):  # noqa: ASYNC110 - it is stored as soon as it can be
            await asyncio.sleep(0.02)
    # What Redis forgot at its restart has come back: nobody was first.
    assert (again.text, shop.effects) == ("order 1", 1)
    await store.aclose()


async def test_f7_a_database_that_is_away_is_an_honest_503_and_an_open_transaction_is_undone(
    postgresql_server: PostgreSQLServer,
) -> None:
    kept = Kept("postgresql", postgresql_server.url, postgresql_server.run_sql)
    prepare(kept)
    database, shop = Database("postgresql", "asyncpg", kept.url), Shop()
    shop.held = asyncio.Event()

    async def write(scope: object) -> None:
        attempt = attempt_of(scope)
        assert attempt is not None
        await database.execute(attempt.connection)

    shop.act = write
    app = TransactionalIdempotency(shop, begin=database.begin, sweep_every_s=0)
    first = asyncio.create_task(order(app))
    await shop.begun.wait()
    while not kept.run("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    postgresql_server.kill()
    shop.held.set()
    assert is_problem(await first, 503, "store_unavailable")
    assert is_problem(await order(app), 503, "store_unavailable")
    postgresql_server.start()
    assert kept.effects() == 0
    assert (await order(app)).status_code == 201
    assert (kept.effects(), kept.rows()) == (1, 1)
    await database.close()
