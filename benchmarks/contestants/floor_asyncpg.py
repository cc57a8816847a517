"""asyncpg's pool, as it comes."""

import os

import asyncpg
from starlette.applications import Starlette

from benchmarks.contestants import floor_sql


class Driver:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def read(self, key: str) -> str | None:
        row = await self._pool.fetchrow("select data from bare_sessions where id = $1", key)
        return row["data"] if row else None

    async def insert(self, key: str, data: str) -> None:
        await self._pool.execute("insert into bare_sessions values ($1, $2)", key, data)

    async def update(self, key: str, data: str) -> None:
        await self._pool.execute("update bare_sessions set data = $2 where id = $1", key, data)


async def connected() -> Driver:
    pool = await asyncpg.create_pool(os.environ["STORE_URL"])
    await pool.execute(floor_sql.TABLE)
    return Driver(pool)


def application() -> Starlette:
    return floor_sql.application(connected)
