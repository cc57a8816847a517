"""The standard library's sqlite3 in one thread, in WAL mode."""

import asyncio
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor

from starlette.applications import Starlette

from benchmarks.contestants import floor_sql


class Driver:
    def __init__(self, path: str) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._path = path

    async def open(self) -> None:
        self._db = await self._run(sqlite3.connect, self._path, 15, 0, None)
        for sql in ("pragma journal_mode=wal", "pragma synchronous=normal", floor_sql.TABLE):
            await self._run(self._db.execute, sql)

    async def read(self, key: str) -> str | None:
        row = await self._run(self._row, key)
        return row[0] if row else None

    async def insert(self, key: str, data: str) -> None:
        await self._run(self._db.execute, "insert into bare_sessions values (?, ?)", (key, data))

    async def update(self, key: str, data: str) -> None:
        await self._run(self._db.execute, "update bare_sessions set data = ? where id = ?", (data, key))

    def _row(self, key: str) -> tuple[str] | None:
        return self._db.execute("select data from bare_sessions where id = ?", (key,)).fetchone()

    async def _run(self, work, *arguments):
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


async def connected() -> Driver:
    driver = Driver(os.environ["STORE_URL"].removeprefix("sqlite:///"))
    await driver.open()
    return driver


def application() -> Starlette:
    return floor_sql.application(connected)
