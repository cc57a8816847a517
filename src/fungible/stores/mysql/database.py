"""The database as its instances share it: deadlines, repeated attempts, tables and sweeps, around the connections."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Concatenate, Final, ParamSpec, TypeVar

from fungible.stores.backoff import pauses
from fungible.stores.errors import NotMigratedError, StoreError, StoreUnavailableError
from fungible.stores.loops import PerLoop
from fungible.stores.migrations import load_migrations
from fungible.stores.mysql import migrating, sweeping
from fungible.stores.mysql.connecting import LONG_WAIT_S, Connection, Settings
from fungible.stores.mysql.failures import IS_READ_ONLY, LOST, MISSING_TABLES, NOTHING_DONE, code_of, granted, our_error
from fungible.stores.mysql.pool import Pool
from fungible.stores.mysql.server import SHARDS, VARIABLES, described, refuse_shards
from fungible.stores.mysql.statements import PACKAGE
from fungible.stores.sql_errors import MYSQL_ROLLED_BACK, MYSQL_WRONG_SERVER

SWEEP_EVERY_S: Final = 60.0
PAUSE_BETWEEN_BATCHES_S: Final = 0.05
MIGRATION_TRIES: Final = 20
LOCK_WAIT_TIMEOUT: Final = 1205

P = ParamSpec("P")
T = TypeVar("T")


class Database:
    """Runs work on a connection, within a deadline. The errors that leave it are ours."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._migrations = load_migrations(PACKAGE)
        self._pools = PerLoop(self._make_pool)

    async def read(
        self, work: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What the work gives on a connection. It changes nothing: it is run again if its connection was lost.

        Raises:
            StoreUnavailableError: no connection, or no answer, within `timeout_s`.
            NotMigratedError: the tables are not there.
        """
        return await self._run(lambda connection: work(connection, *args, **kwargs), repeatable=True)

    async def write(
        self, work: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What the work gives on a connection. It is run again only where it is known to have changed nothing.

        Raises:
            StoreUnavailableError: no connection, or no answer, within `timeout_s`.
            NotMigratedError: the tables are not there.
        """
        return await self._run(lambda connection: work(connection, *args, **kwargs), repeatable=False)

    async def ping(self) -> None:
        """Looks whether the server answers, takes writes, can be used, and has the tables."""
        deadline = asyncio.get_running_loop().time() + self.settings.timeout_s
        pool = self._pools.here()
        pool.ready = False
        try:
            await self._make_ready(pool, deadline)
            if not self.settings.reads_replicas:
                await self._attempts(pool, deadline, self._refuse_read_only, repeatable=True)
        except Exception as error:
            raise self._ours(error) from None

    async def migrate(self) -> list[int]:
        """Applies the migrations that are missing, and gives their numbers."""
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                connection = await self.settings.connect(wait_s=LONG_WAIT_S)
            try:
                await self._refuse(connection)
                return await self._migrated(connection)
            finally:
                connection.abort()
        except Exception as error:
            raise self._ours(error) from None

    async def applied(self) -> int:
        """The number of the last migration that was applied."""
        deadline = asyncio.get_running_loop().time() + self.settings.timeout_s
        try:
            return await self._attempts(self._pools.here(), deadline, migrating.version, repeatable=True)
        except Exception as error:
            raise self._ours(error) from None

    async def sweep(self) -> None:
        """Deletes what has expired, batch by batch."""
        batches = [*(partial(sweeping.sweep, swept=table) for table in sweeping.TABLES), sweeping.sweep_items]
        for batch in batches:
            more = True
            while more:
                more = await self.write(batch)
                await asyncio.sleep(PAUSE_BETWEEN_BATCHES_S if more else 0)

    async def aclose(self) -> None:
        """Closes the connections of this event loop."""
        pool = self._pools.taken_out()
        if pool is not None:
            await pool.aclose()

    async def _run(self, work: Callable[[Connection], Awaitable[T]], *, repeatable: bool) -> T:
        deadline = asyncio.get_running_loop().time() + self.settings.timeout_s
        pool = self._pools.here()
        was_ready = pool.ready
        try:
            if not was_ready:
                await self._make_ready(pool, deadline)
            result = await self._attempts(pool, deadline, work, repeatable=repeatable)
        except Exception as error:
            if code_of(error) in MISSING_TABLES:
                pool.ready = False
                if was_ready and self.settings.migrates:
                    return await self._run(work, repeatable=repeatable)
                found = await self.applied()
                raise self._not_migrated(found) from None
            # Without the driver's error: its message may quote what was written.
            raise self._ours(error) from None
        self._sweep_when_due(pool)
        return result

    def _make_pool(self) -> Pool:
        pool = Pool(partial(self.settings.connect, wait_s=self.settings.timeout_s), size=self.settings.pool_size)
        pool.sweep_at = asyncio.get_running_loop().time() + random.uniform(0.5, 1.5) * SWEEP_EVERY_S
        return pool

    async def _attempts(
        self, pool: Pool, deadline: float, work: Callable[[Connection], Awaitable[T]], *, repeatable: bool
    ) -> T:
        again, lost = pauses(), False
        while True:
            try:
                return await pool.run(deadline, work)
            except Exception as error:
                code = code_of(error)
                if code in LOST | MYSQL_WRONG_SERVER and (repeatable or code in NOTHING_DONE) and not lost:
                    lost = True
                elif code not in MYSQL_ROLLED_BACK:
                    raise
            async with asyncio.timeout_at(deadline):
                await asyncio.sleep(next(again))

    async def _migrated(self, connection: Connection) -> list[int]:
        """Applies what is missing; begins anew where another instance, at another node of the cluster, was in the way."""
        for pause_s, _ in zip(pauses(), range(MIGRATION_TRIES - 1), strict=False):
            try:
                return await migrating.migrate(connection, self._migrations, home=self.settings.home)
            except Exception as error:
                if code_of(error) not in MYSQL_ROLLED_BACK - {LOCK_WAIT_TIMEOUT}:
                    raise
            await asyncio.sleep(pause_s)
        return await migrating.migrate(connection, self._migrations, home=self.settings.home)

    async def _look(self, connection: Connection) -> int:
        """The number of the last migration that was applied, on a server that can be used."""
        await self._refuse(connection)
        return await migrating.version(connection)

    async def _refuse(self, connection: Connection) -> None:
        """Refuses a server on which statements of the store are known to fail, or to do something else.

        Raises:
            SettingError: it is one.
        """
        server, home = connection.server, self.settings.home
        server.refuse_too_old(home=home)
        if server.may_be_sharded:
            shards = await connection.run(SHARDS)
            refuse_shards(shards.rows, database=self.settings.arguments["database"], home=home)

    async def _refuse_read_only(self, connection: Connection) -> None:
        # Asked anew: a server may have been made the primary since, or have ceased to be.
        if described((await connection.run(VARIABLES)).rows).read_only:
            raise StoreUnavailableError(home=self.settings.home, reason=IS_READ_ONLY)

    async def _make_ready(self, pool: Pool, deadline: float) -> None:
        found = await self._attempts(pool, deadline, self._look, repeatable=True)
        if found < len(self._migrations):
            if not self.settings.migrates:
                raise self._not_migrated(found)
            # Goes on when the caller's time is over: another instance may be at it, and the next caller needs it too.
            migration = pool.migration
            if migration is None or migration.done():
                migration = pool.migration = pool.spawn(self.migrate())
            async with asyncio.timeout_at(deadline):
                await asyncio.shield(migration)
        pool.ready = True

    def _sweep_when_due(self, pool: Pool) -> None:
        now = asyncio.get_running_loop().time()
        if now >= pool.sweep_at:
            # Each instance at its own time.
            pool.sweep_at = now + random.uniform(0.5, 1.5) * SWEEP_EVERY_S
            pool.spawn(self._sweep_quietly())

    async def _sweep_quietly(self) -> None:
        try:
            await self.sweep()
        except StoreError:
            # Whoever uses the store is told the same; the sweep comes again.
            return

    def _not_migrated(self, found: int) -> NotMigratedError:
        return NotMigratedError(home=self.settings.home, found=found, wanted=len(self._migrations))

    def _ours(self, error: Exception) -> Exception:
        arguments = self.settings.arguments
        grants = granted(database=arguments["database"], user=arguments["user"])
        return our_error(error, home=self.settings.home, timeout_s=self.settings.timeout_s, grants=grants)
