"""asyncmy's pool, as it comes but for `autocommit`."""

import os
from typing import Any
from urllib.parse import urlsplit

import asyncmy
from starlette.applications import Starlette

from benchmarks.contestants import floor_sql


class Driver:
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def read(self, key: str) -> str | None:
        row = await self._run("select data from bare_sessions where id = %s", key)
        return row[0] if row else None

    async def insert(self, key: str, data: str) -> None:
        await self._run("insert into bare_sessions values (%s, %s)", key, data)

    async def update(self, key: str, data: str) -> None:
        await self._run("update bare_sessions set data = %s where id = %s", data, key)

    async def _run(self, sql: str, *values: str) -> tuple[Any, ...] | None:
        async with self._pool.acquire() as connection, connection.cursor() as cursor:
            await cursor.execute(sql, values)
            return await cursor.fetchone() if cursor.description else None


async def connected() -> Driver:
    url = urlsplit(os.environ["STORE_URL"])
    pool = await asyncmy.create_pool(
        host=url.hostname,
        port=url.port,
        user=url.username,
        password=url.password or "",
        db=url.path[1:],
        autocommit=True,
    )
    async with pool.acquire() as connection, connection.cursor() as cursor:
        await cursor.execute(floor_sql.TABLE)
    return Driver(pool)


def application() -> Starlette:
    return floor_sql.application(connected)
