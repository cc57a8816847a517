"""Point F1 where the application holds its own transaction: `keys.transaction`, as `async with` and as `with`."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import httpx
import pytest
from fastapi import Depends, FastAPI
from fastapi import Request as FastAPIRequest
from fastapi.exception_handlers import request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from servers import PostgreSQLServer
from starlette.responses import JSONResponse, Response

from fungible.idempotency import (
    IdempotencyError,
    IdempotencyKeys,
    IdempotencyMiddleware,
    KeyReusedError,
    MissingKeyError,
    StoredResponse,
    TransactionalIdempotency,
    TransactionError,
    Unfinished,
    answer_refusal,
    attempt_of,
)
from fungible.stores.memory import MemoryStore
from idempotency.calling import client, is_problem, order
from idempotency.databases import EFFECT, Database, Kept, prepare, sqlite_at


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    found = sqlite_at(tmp_path / "shop.db")
    prepare(found)
    return found


def scope(key: str | None = "k", caller: str = "ada") -> dict[str, Any]:
    headers = [(b"authorization", caller.encode())]
    if key is not None:
        headers.append((b"idempotency-key", key.encode()))
    return {"type": "http", "method": "POST", "path": "/orders", "headers": headers}


def test_f1_a_plain_with_does_as_well(kept: Kept) -> None:
    keys = IdempotencyKeys()
    for replayed in (False, True):
        with sqlite3.connect(kept.url) as connection:
            with keys.transaction(scope(), connection, body=b"mug") as attempt:
                assert attempt.replay is replayed
                if not attempt.replay:
                    connection.execute(EFFECT)
                    attempt.finish((201, [(b"set-cookie", b"a"), (b"set-cookie", b"b")], b"done"))
            if attempt.response is not None:
                assert (attempt.response.status, attempt.response.body) == (201, b"done")
                assert attempt.response.headers[:3] == (
                    (b"set-cookie", b"a"),
                    (b"set-cookie", b"b"),
                    (b"idempotent-replayed", b"true"),
                )
        connection.close()
    assert (kept.effects(), kept.rows()) == (1, 1)


def test_f1_an_error_in_the_block_leaves_nothing_once_it_is_rolled_back(kept: Kept) -> None:
    connection = sqlite3.connect(kept.url)

    def handle() -> None:
        with connection, IdempotencyKeys().transaction(scope(), connection, body=b""):
            connection.execute(EFFECT)
            raise ValueError("after the effect")

    with pytest.raises(ValueError, match="after the effect"):
        handle()
    assert (kept.effects(), kept.rows()) == (0, 0)
    connection.close()


def test_f1_a_block_that_says_no_response_is_an_error(kept: Kept) -> None:
    connection = sqlite3.connect(kept.url)
    with (
        pytest.raises(TransactionError, match="finish"),
        connection,
        IdempotencyKeys().transaction(scope(), connection, body=b""),
    ):
        connection.execute(EFFECT)
    assert (kept.effects(), kept.rows()) == (0, 0)
    connection.close()


def test_f1_a_connection_without_a_transaction_is_refused(kept: Kept) -> None:
    connection = sqlite3.connect(kept.url, isolation_level=None)
    with pytest.raises(TransactionError, match="BEGIN"), IdempotencyKeys().transaction(scope(), connection, body=b""):
        pass
    connection.close()
    with pytest.raises(TransactionError, match="into a builtins"):
        IdempotencyKeys().transaction(scope(), object(), body=b"")
    assert kept.rows() == 0


def test_i4_a_lock_that_another_has_is_waited_for_and_then_refused(kept: Kept) -> None:
    first, second = sqlite3.connect(kept.url), sqlite3.connect(kept.url)
    first.execute(EFFECT)
    with pytest.raises(Unfinished), IdempotencyKeys(lock_wait_s=0.01).transaction(scope(), second, body=b""):
        pass
    # The connection waits for locks as before.
    assert second.execute("PRAGMA busy_timeout").fetchone() == (5000,)
    first.close()
    second.close()


def test_i3_and_b1_hold_as_elsewhere(kept: Kept) -> None:
    keys = IdempotencyKeys()
    connection = sqlite3.connect(kept.url)
    with connection, keys.transaction(scope(), connection, body=b"mug") as attempt:
        attempt.finish(StoredResponse(200, (), b"ada's"))
    with pytest.raises(KeyReusedError), keys.transaction(scope(), connection, body=b"lamp"):
        pass
    with connection, keys.transaction(scope(caller="bob"), connection, body=b"mug") as attempt:
        assert not attempt.replay
        attempt.finish(StoredResponse(200, (), b"bob's"))
    with pytest.raises(MissingKeyError):
        keys.transaction(scope(None), connection, body=b"")
    connection.close()


def fastapi_with_own_transactions(database: Database) -> FastAPI:
    app, keys = FastAPI(), IdempotencyKeys()
    app.add_exception_handler(IdempotencyError, answer_refusal)  # type: ignore[arg-type]

    @app.post("/orders")
    async def place(request: FastAPIRequest, order: dict[str, Any]) -> Any:
        async with database.begin() as connection, keys.transaction(request, connection) as attempt:
            if not attempt.replay:
                await database.execute(connection)
                response = JSONResponse(order, status_code=201, headers={"location": "/orders/1"})
                attempt.finish(response)
        return response if attempt.response is None else attempt.response.as_response(Response)

    return app


async def test_f1_fastapi_with_a_transaction_of_its_own(kept: Kept) -> None:
    app = fastapi_with_own_transactions(Database("sqlite", "sqlite3", kept.url))
    async with client(app) as sender:
        first = await sender.post("/orders", json={"mug": 1}, headers={"idempotency-key": "k"})
        again = await sender.post("/orders", json={"mug": 1}, headers={"idempotency-key": '"k"'})
        assert (first.status_code, first.json()) == (again.status_code, again.json()) == (201, {"mug": 1})
        assert first.headers["location"] == again.headers["location"]
        assert again.headers["idempotent-replayed"] == "true"
        other = await sender.post("/orders", json={"mug": 2}, headers={"idempotency-key": "k"})
        assert is_problem(other, 422, "idempotency_key_reused")
        assert is_problem(await sender.post("/orders", json={"mug": 2}), 400, "idempotency_key_missing")
    assert kept.effects() == 1


async def test_f1_fastapi_with_the_middleware_and_a_dependency(kept: Kept) -> None:
    database = Database("sqlite", "sqlite3", kept.url)
    app = FastAPI()
    app.add_middleware(TransactionalIdempotency, begin=database.begin, sweep_every_s=0)

    async def connection(request: FastAPIRequest) -> Any:
        attempt = attempt_of(request)
        if attempt is not None:
            yield attempt.connection
            return
        async with database.begin() as own:
            yield own

    @app.post("/orders", status_code=201)
    async def place(order: dict[str, int], connection: Annotated[Any, Depends(connection)]) -> Any:
        connection.execute(EFFECT)
        return order

    async def send(sender: httpx.AsyncClient, body: Any, **headers: str) -> httpx.Response:
        return await sender.post("/orders", json=body, headers=headers)

    async with client(app) as sender:
        key = {"idempotency-key": "k"}
        first, again = await send(sender, {"mug": 1}, **key), await send(sender, {"mug": 1}, **key)
        assert (first.status_code, first.content) == (again.status_code, again.content) == (201, b'{"mug":1}')
        assert again.headers["idempotent-replayed"] == "true"
        assert kept.effects() == 1
        # What FastAPI refuses before the handler is kept as well; without a key nothing is.
        for _ in range(2):
            assert (await send(sender, ["no order"], **{"idempotency-key": "bad"})).status_code == 422
        assert (await send(sender, {"mug": 1})).status_code == 201
        assert (kept.effects(), kept.rows()) == (2, 2)


async def test_b5_an_owner_whose_transaction_the_database_has_ended_can_not_commit(
    postgresql_server: PostgreSQLServer,
) -> None:
    kept = Kept("postgresql", postgresql_server.url, postgresql_server.run_sql)
    prepare(kept)
    held, begun = asyncio.Event(), asyncio.Event()
    effects: list[str] = []
    slow, quick = (Database("postgresql", "asyncpg", kept.url) for _ in range(2))

    def shop(database: Database, name: str) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            attempt = attempt_of(scope)
            assert attempt is not None
            await database.execute(attempt.connection)
            effects.append(name)
            if name == "slow":
                begun.set()
                await held.wait()
            await send({"type": "http.response.start", "status": 201, "headers": []})
            await send({"type": "http.response.body", "body": name.encode()})

        return TransactionalIdempotency(app, begin=database.begin, sweep_every_s=0, wait_s=30)

    first = asyncio.create_task(order(shop(slow, "slow")))
    await begun.wait()
    kept.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'")
    assert (await order(shop(quick, "quick"))).text == "quick"
    held.set()
    refused = await first
    assert is_problem(refused, 503, "store_unavailable")
    assert (kept.effects(), effects) == (1, ["slow", "quick"])
    assert (await order(shop(slow, "again"))).text == "quick"
    for database in (slow, quick):
        await database.close()


async def test_b3_a_refusal_before_the_handler_can_be_said_to_be_none_of_its_work(kept: Kept) -> None:
    database = Database("sqlite", "sqlite3", kept.url)
    for middleware, options in (
        (TransactionalIdempotency, {"begin": database.begin}),
        (IdempotencyMiddleware, {"store": MemoryStore(), "instances": 1}),
    ):
        app = FastAPI()
        app.add_middleware(middleware, **options)  # type: ignore[arg-type]

        @app.exception_handler(RequestValidationError)
        async def refused(request: FastAPIRequest, error: RequestValidationError) -> Response:
            attempt = attempt_of(request)
            assert attempt is not None
            attempt.free()
            return await request_validation_exception_handler(request, error)

        @app.post("/orders", status_code=201)
        async def place(order: dict[str, int]) -> dict[str, int]:
            return order

        async with client(app) as sender:
            for body, status in ((["no order"], 422), ({"mug": 1}, 201), (["no order"], 422), ({"mug": 1}, 201)):
                answer = await sender.post("/orders", json=body, headers={"idempotency-key": "k"})
                assert answer.status_code == status
        assert answer.headers["idempotent-replayed"] == "true"


async def test_f7_a_serialization_failure_at_the_commit_asks_for_another_try(
    postgresql_server: PostgreSQLServer,
) -> None:
    kept = Kept("postgresql", postgresql_server.url, postgresql_server.run_sql)
    prepare(kept)
    database = Database("postgresql", "asyncpg", kept.url)

    @asynccontextmanager
    async def begin() -> AsyncIterator[Any]:
        connection = await asyncpg.connect(kept.url)
        try:
            async with connection.transaction(isolation="serializable"):
                yield connection
        finally:
            await connection.close()

    meet = asyncio.Barrier(2)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        connection = attempt_of(scope).connection  # type: ignore[union-attr]
        # Each reads what the other writes: one of the two orders must be refused.
        await connection.fetch("SELECT COUNT(*) FROM effects")
        await meet.wait()
        await database.execute(connection)
        await meet.wait()
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    guarded = TransactionalIdempotency(app, begin=begin, sweep_every_s=0)
    answers = await asyncio.gather(order(guarded, "a"), order(guarded, "b"))
    assert sorted(answer.status_code for answer in answers) == [201, 503]
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert is_problem(refused, 503, "store_unavailable")
    assert (kept.effects(), kept.rows()) == (1, 1)
    await database.close()
