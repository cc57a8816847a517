"""Deletes what has expired, in small batches, by whichever instance comes to it."""

from typing import Final, NamedTuple

from fungible.stores.mysql.connecting import Connection
from fungible.stores.mysql.statements import expanded

BATCH: Final = 500


class Swept(NamedTuple):
    """A table with rows that are filed under the time when they are to be looked at again."""

    table: str
    key: str
    expires_us: str
    """Its column for the time after which a row may go."""


TABLES: Final = (
    Swept("fungible_records", "record_key", "expires_us"),
    Swept("fungible_rates", "rate_key", "tat_us"),
    Swept("fungible_topics", "topic", "expires_us"),
)
# Read without locks, then taken by their keys in order, as all other statements do: to lock rows by way of the index
# would be to wait for others crosswise, a deadlock.
DUE: Final = "SELECT {key} FROM {table} WHERE sweep_us <= now_us() ORDER BY sweep_us LIMIT {batch}"
DELETE: Final = "DELETE FROM {table} WHERE {key} IN ({keys}) AND {expires_us} <= now_us()"
FILE_ANEW: Final = "UPDATE {table} SET sweep_us = {expires_us} WHERE {key} IN ({keys}) AND sweep_us <= now_us()"
# Items are written once: there is nothing to wait for crosswise.
ITEMS: Final = "DELETE FROM fungible_items WHERE expires_us <= now_us() ORDER BY expires_us LIMIT {batch}"


async def sweep(connection: Connection, swept: Swept) -> bool:
    """Deals with a batch of rows that are due; whether there may be more."""
    sql = DUE.format(key=swept.key, table=swept.table, batch=BATCH)
    due = (await connection.run(expanded(sql))).rows
    if due:
        keys = {f"key{index}": found[0] for index, found in enumerate(due)}
        places = ", ".join(f"%({name})s" for name in keys)
        for statement in (DELETE, FILE_ANEW):
            sql = statement.format(table=swept.table, key=swept.key, keys=places, expires_us=swept.expires_us)
            await connection.run(expanded(sql), keys)
    return len(due) == BATCH


async def sweep_items(connection: Connection) -> bool:
    """Deletes a batch of a feed's items; whether there may be more."""
    return (await connection.run(expanded(ITEMS.format(batch=BATCH)))).matched == BATCH
