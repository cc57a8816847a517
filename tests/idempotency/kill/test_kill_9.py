"""Points F1, B4 and I5 under kill -9: at each moment of a request; then another instance is sent the retry."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from contracts.backends import Backend, make_backend

from fungible.idempotency import IdempotencyMiddleware, TransactionalIdempotency, attempt_of
from idempotency.calling import Shop, order
from idempotency.databases import Database, Kept, prepare, sqlite_at
from idempotency.kill.dying import Moments, killed_at_each_moment

LEASE_S = 30
WAIT_S = 30
"""A database notices that a client is dead a moment later: the retry waits for that."""


@pytest.fixture(params=(("sqlite", "sqlite3"), ("postgresql", "asyncpg"), ("mysql", "asyncmy")), ids="-".join)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Kept, str]:
    """A database with empty tables, and a way to connect to it."""
    dialect, way = request.param
    if dialect == "sqlite":
        kept = sqlite_at(tmp_path / "shop.db")
    else:
        name = {"postgresql": "postgresql_server", "mysql": "mariadb_server"}[dialect]
        server = request.getfixturevalue(name)
        kept = Kept(dialect, server.url, server.run_sql)
    prepare(kept)
    return kept, way


@pytest.fixture(params=("sqlite", "redis", "postgresql"))
def backend(request: pytest.FixtureRequest) -> Backend:
    """Where keys are kept that shall outlive a process."""
    made = make_backend(request.param, request)
    made.empty()
    return made


class Watched(Database):
    """A database whose statements are moments, where its driver runs them without suspending."""

    moments: Moments | None = None

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Any]:
        async with super().begin() as connection:
            if self.way == "sqlite3" and self.moments is not None:
                step = self.moments.step
                connection.set_trace_callback(lambda _statement: step())
            yield connection


async def order_in_a_transaction(place: tuple[Kept, str], key: str, moments: Moments | None = None) -> httpx.Response:
    """An instance of its own, and one request to it."""
    kept, way = place
    database = Watched(kept.dialect, way, kept.url)
    database.moments = moments
    shop = Shop()

    async def write(scope: Any) -> None:
        attempt = attempt_of(scope)
        assert attempt is not None
        await database.execute(attempt.connection)

    shop.act = write
    app = TransactionalIdempotency(shop, begin=database.begin, wait_s=WAIT_S, lock_wait_s=WAIT_S, sweep_every_s=0)
    try:
        if moments is not None:
            async with database.begin():
                moments.begin()
        return await order(app, key)
    finally:
        await app.drain()
        await database.close()


def test_f1_a_transaction_killed_at_any_moment_has_exactly_one_effect_after_the_retry(place: tuple[Kept, str]) -> None:
    kept, _ = place

    def work(moments: Moments) -> Any:
        return order_in_a_transaction(place, key, moments)

    key, before, after = "key-1", 0, 0
    for number in killed_at_each_moment(work):
        # What a killed process has done, it has done wholly or not at all.
        had_committed = asyncio.run(order_in_a_transaction(place, key)).headers.get("idempotent-replayed") == "true"
        before, after = before + (not had_committed), after + had_committed
        assert kept.effects() == number
        assert asyncio.run(order_in_a_transaction(place, key)).headers["idempotent-replayed"] == "true"
        assert kept.effects() == kept.rows() == number
        key = f"key-{number + 1}"
    # It was killed on either side of the commit, or nothing was tried.
    assert before > 3
    assert after > 1


class Line:
    """A file with a line for each effect: it outlives any process, and is not in the store."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()

    def add(self) -> None:
        with self._path.open("ab", buffering=0) as file:
            file.write(b"\n")

    def count(self) -> int:
        return os.stat(self._path).st_size


async def order_with_a_store(
    backend: Backend, line: Line, key: str, after_crash: Any, moments: Moments | None = None
) -> httpx.Response:
    """An instance of its own, and one request to it."""
    shop = Shop()

    async def write(_scope: Any) -> None:
        await asyncio.sleep(0)
        line.add()
        await asyncio.sleep(0)

    shop.act = write
    store = backend.open()
    app = IdempotencyMiddleware(shop, store=store, lease_s=LEASE_S, after_crash=after_crash, instances=1)
    try:
        await store.ping()
        if moments is not None:
            moments.begin()
        return await order(app, key)
    finally:
        await app.drain()
        await store.aclose()


def test_b4_a_request_killed_at_any_moment_is_done_at_least_once_and_its_key_is_free_after_the_lease(
    backend: Backend, tmp_path: Path
) -> None:
    seen = set[int]()

    def work(moments: Moments) -> Any:
        return order_with_a_store(backend, line, key, "retry", moments)

    key, line = "key-1", Line(tmp_path / "effects-1")
    for number in killed_at_each_moment(work):
        early = asyncio.run(order_with_a_store(backend, line, key, "retry"))
        if early.status_code == 409:
            assert early.headers["retry-after"]
            backend.advance(LEASE_S + 1)
        else:
            # It had not begun, or was done.
            assert line.count() == 1
        assert asyncio.run(order_with_a_store(backend, line, key, "retry")).status_code == 201
        seen.add(line.count())
        assert line.count() in (1, 2)
        key, line = f"key-{number + 1}", Line(tmp_path / f"effects-{number + 1}")
    # Twice, where it was killed between the effect and its memory: which is why there are transactions.
    assert seen == {1, 2}


def test_b4_a_request_killed_at_any_moment_is_done_at_most_once_where_that_is_asked_for(
    backend: Backend, tmp_path: Path
) -> None:
    outcomes = set[tuple[int, int]]()

    def work(moments: Moments) -> Any:
        return order_with_a_store(backend, line, key, "refuse", moments)

    key, line = "key-1", Line(tmp_path / "effects-1")
    for number in killed_at_each_moment(work):
        if asyncio.run(order_with_a_store(backend, line, key, "refuse")).status_code == 409:
            backend.advance(LEASE_S + 1)
        answer = asyncio.run(order_with_a_store(backend, line, key, "refuse"))
        if answer.status_code == 409:
            assert answer.json()["code"] == "idempotency_outcome_unknown"
        outcomes.add((answer.status_code, line.count()))
        key, line = f"key-{number + 1}", Line(tmp_path / f"effects-{number + 1}")
    # Unknown is said where it may have been done or not, and nowhere is it done twice.
    assert outcomes == {(201, 1), (409, 0), (409, 1)}
