"""Brings the tables to this release's version; any number of instances may start at once."""

from typing import Final

from fungible.stores.errors import StoreUnavailableError
from fungible.stores.migrations import Migration
from fungible.stores.mysql.connecting import LONG_WAIT_S, Connection, row
from fungible.stores.mysql.failures import MISSING_TABLES, code_of
from fungible.stores.mysql.statements import expanded

# Locks of this kind are the server's, not the database's: each database has its own by name. They are a courtesy: two
# nodes of a cluster each give their own. What decides is the key of fungible_migrations.
LOCK: Final = "SELECT GET_LOCK(CONCAT('fungible-', LEFT(SHA2(DATABASE(), 256), 40)), %(wait_s)s)"
CREATE: Final = """
CREATE TABLE IF NOT EXISTS fungible_migrations (
    number INT NOT NULL PRIMARY KEY,
    name VARBINARY(100) NOT NULL,
    applied_us BIGINT NOT NULL
) ENGINE = InnoDB
"""
DUPLICATE_KEY: Final = 1062
FOUND: Final = "SELECT COALESCE(MAX(number), 0) FROM fungible_migrations"
RECORD: Final = expanded(
    "INSERT INTO fungible_migrations (number, name, applied_us) VALUES (%(number)s, %(name)s, now_us())"
)


async def version(connection: Connection) -> int:
    """The number of the last migration that was applied; 0 where none was."""
    try:
        found = row(await connection.run(FOUND))
    except Exception as error:
        if code_of(error) in MISSING_TABLES:
            return 0
        raise
    return 0 if found is None else int(found[0])


async def migrate(connection: Connection, migrations: tuple[Migration, ...], *, home: str) -> list[int]:
    """Applies the migrations that are missing, and gives their numbers.

    The server can't take back a CREATE or an ALTER: a migration that was cut off is run again from its start, so each of
    its statements may be repeated; at another node of a cluster, at the same time. The lock ends with the
    connection, which the caller closes.
    """
    locked = row(await connection.run(LOCK, {"wait_s": LONG_WAIT_S}))
    if locked is None or locked[0] != 1:
        raise StoreUnavailableError(home=home, reason=f"another instance has been migrating for {LONG_WAIT_S} s")
    await connection.run(CREATE)
    found = await version(connection)
    missing = [migration for migration in migrations if migration.number > found]
    return [migration.number for migration in missing if await _apply(connection, migration)]


async def _apply(connection: Connection, migration: Migration) -> bool:
    """Applies one; whether it was this call that did."""
    for statement in migration.statements:
        await connection.run(statement)
    try:
        await connection.run(RECORD, {"number": migration.number, "name": migration.name.encode()})
    except Exception as error:
        if code_of(error) == DUPLICATE_KEY:
            return False
        raise
    return True
