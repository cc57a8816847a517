"""Point F1, F3, F5, F7, B3, B5 and B7 in transactional mode, through every driver: effect and memory are one."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from contracts.clock import Clock
from servers import PostgreSQLServer

from fungible.core.errors import SettingError
from fungible.idempotency import IdempotencyKeys, TransactionalIdempotency, TransactionError, attempt_of
from idempotency.calling import Shop, is_problem, order
from idempotency.databases import EVERY_WAY, Database, Kept, prepare, sqlite_at


@pytest.fixture(params=EVERY_WAY, ids="-".join)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Kept, str]:
    """A database with empty tables, and a way to connect to it."""
    dialect, way = request.param
    if way.startswith("alchemy"):
        pytest.importorskip("sqlalchemy")
    if dialect == "sqlite":
        kept = sqlite_at(tmp_path / "shop.db")
    else:
        name = {"postgresql": "postgresql_server", "mysql": "mariadb_server"}[dialect]
        server = request.getfixturevalue(name)
        kept = Kept(dialect, server.url, server.run_sql)
    prepare(kept)
    return kept, way


class SQLShop(Shop):
    """A shop whose effects are rows, written on the connection that it is given."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.database = database
        self.act = self.write

    async def write(self, scope: Any) -> None:
        attempt = attempt_of(scope)
        assert attempt is not None
        await self.database.execute(attempt.connection)


class Instance:
    """An instance of the shop, and its connections."""

    def __init__(self, place: tuple[Kept, str], **options: Any) -> None:
        self.kept, way = place
        self.database = Database(self.kept.dialect, way, self.kept.url)
        self.shop = SQLShop(self.database)
        options = {"sweep_every_s": 0, "begin": self.database.begin, **options}
        self.app = TransactionalIdempotency(self.shop, **options)

    async def __aenter__(self) -> "Instance":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.app.drain()
        await self.database.close()


async def test_f1_effect_and_answer_are_committed_together_and_replayed(place: tuple[Kept, str]) -> None:
    async with Instance(place) as one, Instance(place) as other:
        first, again = await order(one.app), await order(other.app)
        assert (first.status_code, first.text) == (again.status_code, again.text) == (201, "order 1")
        assert first.headers.get_list("set-cookie") == again.headers.get_list("set-cookie") == ["a=1", "b=2"]
        assert "idempotent-replayed" not in first.headers
        assert again.headers["idempotent-replayed"] == "true"
        assert first.headers["idempotency-key-expires"] == again.headers["idempotency-key-expires"]
        assert (one.kept.effects(), one.kept.rows(), other.shop.effects) == (1, 1, 0)
        assert is_problem(await order(other.app, body=b"lamp"), 422, "idempotency_key_reused")
        assert (await order(other.app, headers={"authorization": "Bearer bob"})).status_code == 201


async def test_f1_the_answer_is_sent_only_after_the_commit(place: tuple[Kept, str]) -> None:
    async with Instance(place) as one:
        seen: list[int] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            async def looked(message: Any) -> None:
                seen.append(one.kept.effects())
                await send(message)

            await one.app(scope, receive, looked)

        await order(app)
        assert set(seen) == {1}


async def test_f1_what_a_handler_raises_undoes_its_effect_and_a_retry_runs(place: tuple[Kept, str]) -> None:
    async with Instance(place) as one:
        one.shop.error = ValueError("after the effect")
        assert (await order(one.app)).status_code == 500
        assert (one.kept.effects(), one.kept.rows()) == (0, 0)
        one.shop.error = None
        assert (await order(one.app)).text == (await order(one.app)).text == "order 2"
        assert one.kept.effects() == 1


async def test_f3_where_asked_for_a_handler_that_raised_is_undone_and_not_run_again(place: tuple[Kept, str]) -> None:
    async with Instance(place, on_error="keep") as one:
        one.shop.error = ValueError("after the effect")
        answers = [await order(one.app) for _ in range(2)]
        assert {answer.json()["code"] for answer in answers} == {"idempotency_handler_failed"}
        assert (one.kept.effects(), one.kept.rows(), one.shop.effects) == (0, 1, 1)


async def test_f1_a_refusal_undoes_what_was_written_and_is_replayed(place: tuple[Kept, str]) -> None:
    async with Instance(place) as one:
        one.shop.status = 402
        first, again = await order(one.app), await order(one.app)
        assert (first.status_code, again.status_code, first.text) == (402, 402, again.text)
        assert (one.kept.effects(), one.kept.rows(), one.shop.effects) == (0, 1, 1)


async def test_f1_the_application_says_of_which_answers_the_effect_is_committed(place: tuple[Kept, str]) -> None:
    async with Instance(place, commits=lambda status: status != 409) as one:
        one.shop.status = 402
        await order(one.app, "a")
        one.shop.status = 409
        await order(one.app, "b")
        assert (one.kept.effects(), one.kept.rows()) == (1, 2)


async def test_b3_what_says_that_work_has_not_begun_leaves_nothing(place: tuple[Kept, str]) -> None:
    async with Instance(place) as one:
        one.shop.status = 429
        assert (await order(one.app)).status_code == 429
        assert (one.kept.effects(), one.kept.rows()) == (0, 0)
        one.shop.status = 201
        assert (await order(one.app)).text == "order 2"


async def test_f5_an_answer_that_is_too_long_is_refused_and_its_effect_undone(place: tuple[Kept, str]) -> None:
    async with Instance(place, max_response_bytes=500) as one:
        one.shop.parts = [b"x" * 600]
        answers = [await order(one.app) for _ in range(2)]
        assert {answer.json()["code"] for answer in answers} == {"idempotency_response_too_large"}
        assert "undone" in answers[0].json()["detail"]
        assert (one.kept.effects(), one.shop.effects) == (0, 1)


async def test_i4_a_retry_is_refused_while_the_first_transaction_is_open(place: tuple[Kept, str]) -> None:
    async with Instance(place) as one, Instance(place, lock_wait_s=0.01) as other:
        one.shop.held = asyncio.Event()
        first = asyncio.create_task(order(one.app))
        await one.shop.begun.wait()
        refused = await order(other.app)
        assert is_problem(refused, 409, "idempotency_unfinished")
        assert "retry-after" in refused.headers
        one.shop.held.set()
        assert (await first).text == (await order(other.app)).text == "order 1"
        assert one.kept.effects() == 1


async def test_i4_a_retry_waits_for_the_first_transaction_where_asked_to(place: tuple[Kept, str]) -> None:
    async with Instance(place, wait_s=30) as one, Instance(place, wait_s=30) as other:
        one.shop.held = asyncio.Event()
        first = asyncio.create_task(order(one.app))
        await one.shop.begun.wait()
        waiting = asyncio.create_task(order(other.app))
        await asyncio.sleep(0)
        one.shop.held.set()
        assert (await first).text == (await waiting).text == "order 1"
        assert (one.kept.effects(), other.shop.effects) == (1, 0)


async def test_i4_of_many_at_once_one_takes_effect(place: tuple[Kept, str]) -> None:
    async with Instance(place, wait_s=30) as one, Instance(place, wait_s=30) as other:
        answers = await asyncio.gather(*(order(each.app) for each in (one, other) for _ in range(8)))
        assert one.kept.effects() == 1
        assert {answer.status_code for answer in answers} <= {201, 409}
        assert len({answer.text for answer in answers if answer.status_code == 201}) == 1


async def test_i6_an_expired_key_runs_anew(place: tuple[Kept, str]) -> None:
    time_s = 1_000_000.0
    async with Instance(place, ttl_s=60, now=lambda: time_s) as one:
        assert (await order(one.app)).text == "order 1"
        time_s += 59
        assert (await order(one.app)).text == "order 1"
        time_s += 2
        assert (await order(one.app, body=b"lamp")).text == "order 2"
        assert one.kept.rows() == 1


async def test_b7_a_sweeper_removes_expired_rows(place: tuple[Kept, str]) -> None:
    time_s = 1_000_000.0
    async with Instance(place, ttl_s=60, now=lambda: time_s) as one:
        for number in range(5):
            await order(one.app, f"old {number}")
        time_s += 61
        await order(one.app, "new")
        keys = IdempotencyKeys(now=lambda: time_s)
        swept: list[int] = []
        while not swept or swept[-1]:
            async with one.database.begin() as connection:
                swept.append(await keys.sweep(connection, most=2))
        assert swept == [2, 2, 1, 0]
        assert (one.kept.rows(), one.kept.effects()) == (1, 6)


async def test_b7_the_middleware_sweeps_by_itself(place: tuple[Kept, str]) -> None:
    time_s = 1_000_000.0
    async with Instance(place, ttl_s=60, now=lambda: time_s) as one:
        await order(one.app, "old")
    time_s += 61
    async with Instance(place, ttl_s=60, now=lambda: time_s, sweep_every_s=60) as other:
        await order(other.app, "new")
    assert other.kept.rows() == 1


async def test_f8_a_caller_may_have_so_many_live_keys(place: tuple[Kept, str]) -> None:
    async with Instance(place, max_keys=2) as one:
        for key in ("a", "b", "a"):
            assert (await order(one.app, key)).status_code == 201
        assert is_problem(await order(one.app, "c"), 429, "idempotency_too_many_keys")
        assert (await order(one.app, "c", headers={"authorization": "Bearer bob"})).status_code == 201
        assert (one.kept.rows(), one.kept.effects()) == (3, 3)


async def test_f1_a_transaction_that_the_handler_ends_itself_is_never_run_again(place: tuple[Kept, str]) -> None:
    async with Instance(place) as one:
        write = one.shop.write

        async def write_and_commit(scope: Any) -> None:
            await write(scope)
            await one.database.execute(attempt_of(scope).connection, "COMMIT")  # type: ignore[union-attr]

        one.shop.act = write_and_commit
        assert (await order(one.app)).status_code == 500
        assert is_problem(await order(one.app), 409, "idempotency_outcome_unknown")
        assert one.kept.effects() == 1


async def test_f1_what_follows_an_answer_is_not_given_the_connection(place: tuple[Kept, str]) -> None:
    async with Instance(place) as one:
        found: list[str] = []

        async def act(scope: Any) -> None:
            attempt = attempt_of(scope)
            assert attempt is not None

            async def afterwards() -> None:
                with pytest.raises(TransactionError) as refused:
                    await one.database.execute(attempt.connection)
                found.append(str(refused.value))

            await one.database.execute(attempt.connection)
            one.shop.afterwards = afterwards

        one.shop.act = act
        assert (await order(one.app)).status_code == 201
        await one.shop.ended.wait()
        assert "its own" in found[0]
        assert one.kept.effects() == 1


async def test_b4_the_transaction_of_a_machine_that_is_gone_is_ended_by_the_database(
    postgresql_server: PostgreSQLServer,
) -> None:
    kept = Kept("postgresql", postgresql_server.url, postgresql_server.run_sql)
    prepare(kept)
    async with (
        Instance((kept, "asyncpg"), abandon_s=0.2) as gone,
        Instance((kept, "alchemy-async-session"), wait_s=60, abandon_s=None) as other,
    ):
        gone.shop.held = asyncio.Event()
        first = asyncio.create_task(order(gone.app))
        await gone.shop.begun.wait()
        assert (await order(other.app)).text == "order 1"
        gone.shop.held.set()
        assert is_problem(await first, 503, "store_unavailable")
        assert (kept.effects(), kept.rows()) == (1, 1)
        # It was the transaction's alone.
        async with gone.database.begin() as connection:
            assert await connection.fetchval("SHOW idle_in_transaction_session_timeout") == "0"


def test_b4_a_transaction_is_abandoned_after_some_time_or_never() -> None:
    with pytest.raises(SettingError, match="abandon_s"):
        TransactionalIdempotency(Shop(), begin=lambda: None, abandon_s=0)  # type: ignore[arg-type, return-value]


async def test_b3_a_refusal_of_a_stranger_is_kept_for_a_short_time_and_any_effect_for_the_whole(
    place: tuple[Kept, str],
) -> None:
    clock = Clock()
    async with Instance(place, now=clock, refusal_ttl_s=100, commits=lambda status: status < 410) as one:
        for status, key in ((422, "undone"), (409, "committed"), (500, "failed")):
            one.shop.status = status
            await order(one.app, key)
        clock.time_s += 101
        one.shop.status = 201
        assert [(await order(one.app, key)).text for key in ("undone", "committed", "failed")] == [
            "order 4",
            "order 2",
            "order 3",
        ]


async def test_f6_a_client_that_goes_away_does_not_undo_the_work(place: tuple[Kept, str]) -> None:
    async with Instance(place, wait_s=30) as one:
        one.shop.held = asyncio.Event()
        first = asyncio.create_task(order(one.app))
        await one.shop.begun.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        one.shop.held.set()
        assert (await order(one.app)).text == "order 1"
        assert one.kept.effects() == 1


async def test_f1_the_table_is_made_where_there_is_none(place: tuple[Kept, str]) -> None:
    kept, way = place
    kept.run("DROP TABLE fungible_idempotency")
    database = Database(kept.dialect, way, kept.url)
    for _ in range(2):
        async with database.begin() as connection:
            await IdempotencyKeys().create_table(connection)
    assert kept.rows() == 0
    await database.close()


async def test_f7_a_database_without_the_table_is_an_honest_503_and_nothing_is_run(place: tuple[Kept, str]) -> None:
    place[0].run("DROP TABLE fungible_idempotency")
    async with Instance(place) as one:
        assert is_problem(await order(one.app), 503, "store_unavailable")
        assert one.shop.effects == 0


UNDOES_THREE = {
    "postgresql": """
        CREATE SEQUENCE attempts;
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            -- A sequence counts on when a transaction is rolled back.
            IF nextval('attempts') <= 3 THEN RAISE EXCEPTION 'as asked' USING ERRCODE = '40001'; END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER fail BEFORE INSERT ON fungible_idempotency FOR EACH ROW EXECUTE FUNCTION fail();
    """,
    # So does a table of MyISAM.
    "mysql": """
        CREATE TABLE attempts (n INT) ENGINE = MyISAM;
        INSERT INTO attempts VALUES (0);
        DELIMITER //
        CREATE TRIGGER fail BEFORE INSERT ON fungible_idempotency FOR EACH ROW
        BEGIN
            UPDATE attempts SET n = n + 1;
            IF (SELECT n FROM attempts) <= 3 THEN SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213; END IF;
        END//
        DELIMITER ;
        SELECT 'made'
    """,
}
UNDONE = {
    "postgresql": "DROP TRIGGER fail ON fungible_idempotency; DROP FUNCTION fail; DROP SEQUENCE attempts",
    "mysql": "DROP TRIGGER fail; DROP TABLE attempts",
}


async def test_f7_what_the_database_undoes_before_the_handler_has_begun_is_begun_anew(place: tuple[Kept, str]) -> None:
    kept, _ = place
    if kept.dialect not in UNDOES_THREE:
        return
    kept.run(UNDOES_THREE[kept.dialect])
    try:
        async with Instance(place) as one:
            assert (await order(one.app)).status_code == 201
            assert (one.kept.effects(), one.kept.rows(), one.shop.effects) == (1, 1, 1)
    finally:
        kept.run(UNDONE[kept.dialect])


def test_f7_open_means_nothing_where_the_handler_needs_the_database() -> None:
    with pytest.raises(SettingError, match="on_unavailable"):
        TransactionalIdempotency(Shop(), begin=lambda: None, routes={"/a": {"on_unavailable": "open"}})  # type: ignore[arg-type]


async def test_f1_nothing_that_follows_an_answer_is_done_where_the_commit_fails(place: tuple[Kept, str]) -> None:
    from contextlib import asynccontextmanager

    async with Instance(place) as one:

        @asynccontextmanager
        async def begin() -> Any:
            async with one.database.begin() as connection:
                yield connection
                raise ConnectionResetError("the database is gone at the commit")

        mailed: list[str] = []

        async def mail() -> None:
            mailed.append("thanks")

        one.shop.afterwards = mail
        app = TransactionalIdempotency(one.shop, begin=begin, sweep_every_s=0)
        assert is_problem(await order(app), 503, "store_unavailable")
        assert (one.kept.effects(), mailed) == (0, [])
        assert (await order(one.app)).status_code == 201
        assert (one.kept.effects(), mailed) == (1, ["thanks"])
