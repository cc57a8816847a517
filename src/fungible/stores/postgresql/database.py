"""Runs statements: within their deadline, where the tables are, and with errors that are ours."""

import asyncio
import random
from collections.abc import Awaitable
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn, TypeVar

from fungible.core.errors import FungibleError
from fungible.stores.backoff import pauses
from fungible.stores.loops import PerLoop
from fungible.stores.postgresql.connecting import Settings
from fungible.stores.postgresql.failures import MISSING_TABLES, TO_MIGRATE, TO_RUN, granted, is_rolled_back, our_error
from fungible.stores.postgresql.pool import Pool
from fungible.stores.postgresql.statements import Statements
from fungible.stores.postgresql.sweeping import ITEMS_DUE, ITEMS_GONE, TABLES, Swept
from fungible.stores.postgresql.tables import Tables

Answer = TypeVar("Answer")


class Database:
    """One database, by way of the pool of each event loop."""

    def __init__(self, settings: Settings, statements: Statements, *, sweep_every_s: float, batch: int) -> None:
        self._settings = settings
        self._timeout_s = settings.timeout_s
        self._sweep_every_s = sweep_every_s
        self._batch = batch
        self._tables = Tables(settings, statements)
        self._pools = PerLoop(self._new_pool)

    def deadline(self) -> float:
        """When an operation that begins now must have ended, by the event loop's clock."""
        return self._pools.here().loop.time() + self._timeout_s

    async def rows(self, deadline: float, sql: str, *args: object) -> list[Any]:
        """The rows of one statement.

        Raises:
            StoreUnavailableError: there was no answer by the deadline, or an error for one.
            NotMigratedError: the tables are missing.
        """
        pool = self._pools.here()
        try:
            if not pool.ready:
                await self._tables.make_ready(pool, deadline)
            return await pool.fetch(deadline, sql, *args)
        except Exception as error:
            return await self._rows_again(pool, error, deadline, sql, *args)

    async def ping(self) -> None:
        """Raises an error unless the server is there, lets us in, takes writes, and has the tables."""
        pool = self._pools.here()
        if not pool.ready:
            await self._ours(self._tables.make_ready(pool, self.deadline()))
        await self._ours(self._tables.check(pool))

    async def applied(self) -> int:
        """The number of the last migration that was applied."""
        return await self._ours(self._tables.applied(self._pools.here()))

    async def migrate(self) -> list[int]:
        """Applies the migrations that are missing."""
        return await self._ours(self._tables.migrate(), grants=TO_MIGRATE)

    async def sweep(self) -> int:
        """Deletes what has expired, batch by batch: none of them holds locks, or a connection, for long."""
        dealt_with = 0
        for batch in (*(partial(self._sweep, swept) for swept in TABLES), self._sweep_items):
            more = True
            while more:
                found, changed = await batch()
                dealt_with += changed
                # Rows that others hold stay due, and are left for the next time.
                more = found == self._batch and changed > 0
        return dealt_with

    async def _sweep(self, swept: Swept) -> tuple[int, int]:
        """Deals with a batch of a table: how many rows were due, and how many of them were deleted or filed anew."""
        keys = [key for (key,) in await self.rows(self.deadline(), swept.due, self._batch)]
        changed = 0
        for sql in swept.changes if keys else ():
            [[count]] = await self.rows(self.deadline(), sql, keys)
            changed += count
        return len(keys), changed

    async def _sweep_items(self) -> tuple[int, int]:
        """The same of the items of feeds."""
        due = await self.rows(self.deadline(), ITEMS_DUE, self._batch)
        if not due:
            return 0, 0
        [[count]] = await self.rows(self.deadline(), ITEMS_GONE, *map(list, zip(*due, strict=True)))
        return len(due), count

    async def aclose(self) -> None:
        """Closes the connections of the running event loop."""
        pool = self._pools.taken_out()
        if pool is not None:
            await pool.aclose()

    def _new_pool(self) -> Pool:
        pool = Pool(self._settings.connect, size=self._settings.pool_size, timeout_s=self._timeout_s)
        self._keep_up_later(pool)
        return pool

    def _keep_up_later(self, pool: Pool) -> None:
        # At drawn times: instances that were started together take turns.
        pool.spawn_later(self._sweep_every_s * random.uniform(0.5, 1.5), partial(self._keep_up, pool))

    async def _keep_up(self, pool: Pool) -> None:
        """What is done now and then, in nobody's request."""
        try:
            pool.close_unused()
            # A server that is away is found out by those who need it.
            with suppress(FungibleError):
                await self.sweep()
        finally:
            self._keep_up_later(pool)

    async def _rows_again(self, pool: Pool, error: Exception, deadline: float, sql: str, *args: object) -> list[Any]:
        """After an error: the rows at another attempt where that is safe, else our error."""
        tables_were_missing, again = False, pauses()
        while True:
            if is_rolled_back(error):
                await asyncio.sleep(next(again))
            elif isinstance(error, MISSING_TABLES) and not tables_were_missing:
                # Dropped while we were running: say so, or make them again.
                tables_were_missing, pool.ready = True, False
            else:
                self._raise_ours(error)
            try:
                if not pool.ready:
                    await self._tables.make_ready(pool, deadline)
                return await pool.fetch(deadline, sql, *args)
            except Exception as another:
                error = another

    async def _ours(self, work: Awaitable[Answer], *, grants: str = TO_RUN) -> Answer:
        try:
            return await work
        except Exception as error:
            self._raise_ours(error, grants=grants)

    def _raise_ours(self, error: Exception, *, grants: str = TO_RUN) -> NoReturn:
        grants = granted(grants, user=self._settings.arguments["user"])
        ours = our_error(error, home=self._settings.home, timeout_s=self._timeout_s, grants=grants)
        if ours is error:
            raise error
        raise ours from error
