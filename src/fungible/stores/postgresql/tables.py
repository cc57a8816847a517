"""The tables: which version of them is there, and how the rest is made."""

import asyncio
from typing import Final

from fungible.core.errors import SettingError
from fungible.stores.errors import NotMigratedError
from fungible.stores.migrations import Migration, load_migrations
from fungible.stores.postgresql.connecting import Settings
from fungible.stores.postgresql.driver import Connection, pg
from fungible.stores.postgresql.failures import MISSING_TABLES
from fungible.stores.postgresql.pool import Pool
from fungible.stores.postgresql.statements import PACKAGE, Statements

LOCK: Final = int.from_bytes(b"fungible")
"""Of all advisory locks of the database, the one under which tables are made."""
FIRST_USE_WITHIN_S: Final = 60.0


class Tables:
    """What a store needs to have in its database. Newer tables will do: a release takes nothing from older ones."""

    def __init__(self, settings: Settings, statements: Statements) -> None:
        self._settings = settings
        self._statements = statements
        self._migrations = load_migrations(PACKAGE)

    async def applied(self, pool: Pool) -> int:
        """The number of the last migration that was applied, 0 for none."""
        version, _ = await self._ping(pool)
        return version

    async def check(self, pool: Pool) -> None:
        """Raises an error unless the tables are there, on a server that takes writes."""
        version, read_only = await self._ping(pool)
        self._refuse_older(version)
        if read_only:
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
            return [step.number for step in self._migrations if await self._apply(connection, step)]
        finally:
            if timer is not None:
                timer.cancel()
            connection.terminate()

    async def _make_ready(self, pool: Pool) -> None:
        version, _ = await self._ping(pool)
        if self._settings.migrates and version < len(self._migrations):
            await self.migrate(within_s=FIRST_USE_WITHIN_S)
        else:
            self._refuse_older(version)
        pool.ready = True

    def _refuse_older(self, version: int) -> None:
        if version < len(self._migrations):
            raise NotMigratedError(home=self._settings.home, found=version, wanted=len(self._migrations))

    async def _ping(self, pool: Pool) -> tuple[int, bool]:
        try:
            [[version, read_only]] = await pool.fetch(
                pool.loop.time() + self._settings.timeout_s, self._statements.ping
            )
        except MISSING_TABLES:
            return 0, False
        return version, read_only == "on"

    async def _apply(self, connection: Connection, step: Migration) -> bool:
        async with connection.transaction():
            # Held to the end of the transaction, so it holds through a pooler too.
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
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
        [[encoding]] = await connection.fetch("SELECT current_setting('server_encoding')")
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
