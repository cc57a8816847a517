"""The tables: which version of them is there, and how the rest is made."""

import asyncio
from typing import Final, NamedTuple

from fungible.core.errors import SettingError
from fungible.stores.backoff import pauses
from fungible.stores.errors import NotMigratedError, StoreUnavailableError
from fungible.stores.migrations import Migration, load_migrations
from fungible.stores.postgresql.connecting import Settings
from fungible.stores.postgresql.driver import Connection, pg
from fungible.stores.postgresql.failures import (
    DENIED,
    MADE_BY_ANOTHER,
    MISSING_TABLES,
    TO_MIGRATE,
    TO_RUN,
    granted,
    is_rolled_back,
)
from fungible.stores.postgresql.pool import Pool
from fungible.stores.postgresql.statements import PACKAGE, Statements

LOCK: Final = int.from_bytes(b"fungible")
"""Of all advisory locks of the database, the one under which tables are made."""
# Held to the end of the transaction, so it holds through a pooler too. It is a courtesy: of engines that speak this
# protocol some give it to everybody. What decides is the key of fungible_migrations.
TAKE_LOCK: Final = "SELECT pg_advisory_xact_lock($1)"
TRIES: Final = 20
"""Of a migration that another instance is making at the same time."""
OLDEST: Final = 13
FIRST_USE_WITHIN_S: Final = 60.0


class Found(NamedTuple):
    """What a database says of itself."""

    version: int
    """The number of the last migration that was applied, 0 for none."""
    read_only: bool


class Tables:
    """What a store needs to have in its database. Newer tables will do: a release takes nothing from older ones."""

    def __init__(self, settings: Settings, statements: Statements) -> None:
        self._settings = settings
        self._statements = statements
        self._migrations = load_migrations(PACKAGE)

    async def applied(self, pool: Pool) -> int:
        """The number of the last migration that was applied, 0 for none."""
        return (await self._ping(pool)).version

    async def check(self, pool: Pool) -> None:
        """Raises an error unless the tables are there, on a server that takes writes."""
        found = await self._ping(pool)
        self._refuse_older(found.version)
        if found.read_only and not self._settings.reads_replicas:
            raise pg.ReadOnlySQLTransactionError

    async def make_ready(self, pool: Pool, deadline: float) -> None:
        """Sees once for each pool that the tables are there; with `?migrate=auto` makes them.

        Raises:
            NotMigratedError: they are not.
        """
        if pool.checking is None or pool.checking.done():
            # A task: whoever asks first may be cancelled, and the others still wait.
            pool.checking = pool.spawn(self._make_ready(pool))
            pool.checking.add_done_callback(_noted)
        done, _ = await asyncio.wait({pool.checking}, timeout=max(0.0, deadline - pool.loop.time()))
        if not done:
            raise TimeoutError
        if pool.checking.cancelled():
            raise pg.InterfaceError("the store was closed")
        pool.checking.result()

    async def migrate(self, *, within_s: float | None = None) -> list[int]:
        """Applies what is missing, each migration in a transaction. Safe when several instances do so at once.

        Args:
            within_s: How long it may take; the connection is ended then.
        Returns:
            The numbers of those that this call has applied.
        """
        async with asyncio.timeout(self._settings.timeout_s):
            connection = await self._settings.connect(session=False)
        timer = asyncio.get_running_loop().call_later(within_s, connection.terminate) if within_s else None
        try:
            return [step.number for step in self._migrations if await self._apply_once(connection, step)]
        finally:
            if timer is not None:
                timer.cancel()
            connection.terminate()

    async def _make_ready(self, pool: Pool) -> None:
        found = await self._ping(pool)
        if self._settings.migrates and found.version < len(self._migrations):
            await self._migrate_first()
        else:
            self._refuse_older(found.version)
        pool.ready = True

    def _refuse_older(self, version: int) -> None:
        if version < len(self._migrations):
            raise NotMigratedError(home=self._settings.home, found=version, wanted=len(self._migrations))

    async def _migrate_first(self) -> None:
        """Makes the tables at the first use."""
        try:
            await self.migrate(within_s=FIRST_USE_WITHIN_S)
        except DENIED as error:
            grants = granted(TO_MIGRATE, user=self._settings.arguments["user"])
            reason = f"{error} ({getattr(error, 'sqlstate', None)}): {grants}"
            raise StoreUnavailableError(home=self._settings.home, reason=reason) from error

    async def _ping(self, pool: Pool) -> Found:
        """What is there, on a server that can be used.

        Raises:
            SettingError: statements of the store are known to fail on it.
        """
        deadline = pool.loop.time() + self._settings.timeout_s
        try:
            [[version, read_only, server, citus]] = await pool.fetch(deadline, self._statements.ping)
        except MISSING_TABLES:
            # Or not to be seen: to whom a schema is closed, what is in it does not exist.
            for (schema,) in await pool.fetch(deadline, self._statements.hidden):
                grants = granted(TO_RUN, user=self._settings.arguments["user"], schema=schema)
                reason = f"its tables are in the schema {schema}, which is closed to the user: {grants}"
                raise StoreUnavailableError(home=self._settings.home, reason=reason) from None
            return Found(0, read_only=False)
        self._refuse_too_old(server)
        if citus:
            for (table,) in await pool.fetch(deadline, self._statements.distributed):
                raise SettingError(
                    f"{table} at {self._settings.home} is a distributed or reference table of Citus, whose statements may "
                    f"not read the clock as the store's do: SELECT undistribute_table('{table}'), or name another database"
                )
        return Found(version, read_only=read_only)

    def _refuse_too_old(self, server: int) -> None:
        if server < OLDEST * 10_000:
            raise SettingError(
                f"the server at {self._settings.home} is too old, {server // 10_000}: use PostgreSQL {OLDEST} or newer"
            )

    async def _apply_once(self, connection: Connection, step: Migration) -> bool:
        """Applies one, unless another instance has; whether it was this call that did."""
        failure: Exception | None = None
        for pause_s, _ in zip(pauses(), range(TRIES), strict=False):
            try:
                return await self._apply(connection, step)
            except MADE_BY_ANOTHER as error:
                failure = error
            except pg.PostgresError as error:
                if not is_rolled_back(error):
                    raise
                failure = error
            await asyncio.sleep(pause_s)
        assert failure is not None
        raise failure

    async def _apply(self, connection: Connection, step: Migration) -> bool:
        async with connection.transaction():
            await connection.execute(TAKE_LOCK, LOCK)
            if step.number == 1:
                await self._prepare(connection)
            if await connection.fetch("SELECT FROM fungible_migrations WHERE number = $1", step.number):
                return False
            for statement in step.statements:
                await connection.execute(statement)
            await connection.execute(
                "INSERT INTO fungible_migrations (number, name) VALUES ($1, $2)", step.number, step.name
            )
        return True

    async def _prepare(self, connection: Connection) -> None:
        [[encoding, server]] = await connection.fetch(
            "SELECT current_setting('server_encoding'), current_setting('server_version_num')::integer"
        )
        self._refuse_too_old(server)
        if encoding != "UTF8":
            raise SettingError(
                f"the database at {self._settings.home} has the encoding {encoding}: keys are UTF-8; create another "
                "with ENCODING 'UTF8' TEMPLATE template0"
            )
        await connection.execute(self._statements.create_versions)


def _noted(checking: asyncio.Task[None]) -> None:
    """Keeps asyncio from complaining of an error that nobody waits for any more: the next to come asks again."""
    if not checking.cancelled():
        checking.exception()
