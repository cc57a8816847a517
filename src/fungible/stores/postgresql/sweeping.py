"""Deletes what has expired, in small batches, by whichever instance comes to it.

Rows are found by an index, and then deleted or filed anew by their keys: one change of one table in a statement, which is
what every engine that speaks this protocol can do.
"""

from typing import Final, NamedTuple

# In a subquery the clock is read once, which lets the index be used.
DUE: Final = "SELECT {key} FROM {table} WHERE sweep_at <= (SELECT fungible_now()) ORDER BY sweep_at LIMIT $1"
# Rows in use are left for the next time.
DELETE: Final = """
WITH changed AS (
    DELETE FROM {table} WHERE {key} = ANY (ARRAY(
        SELECT {key} FROM {table}
        WHERE {key} = ANY ($1::text[]) AND {expires_at} <= fungible_now()
        FOR UPDATE SKIP LOCKED
    )) RETURNING 1
)
SELECT count(*) FROM changed
"""
FILE_ANEW: Final = """
WITH changed AS (
    UPDATE {table} SET sweep_at = {next_at} WHERE {key} = ANY (ARRAY(
        SELECT {key} FROM {table}
        WHERE {key} = ANY ($1::text[]) AND sweep_at <= fungible_now() AND {expires_at} > fungible_now()
        FOR UPDATE SKIP LOCKED
    )) RETURNING 1
)
SELECT count(*) FROM changed
"""
ITEMS_DUE: Final = (
    "SELECT topic, id FROM fungible_items WHERE expires_at <= (SELECT fungible_now()) ORDER BY expires_at LIMIT $1"
)
# Items are written once, and what has expired stays so.
ITEMS_GONE: Final = """
WITH changed AS (
    DELETE FROM fungible_items
    WHERE (topic, id) IN (SELECT topic, id FROM unnest($1::text[], $2::bigint[]) AS due (topic, id))
    RETURNING 1
)
SELECT count(*) FROM changed
"""


class Swept(NamedTuple):
    """A table with rows that are filed under the time when they are to be looked at again."""

    table: str
    key: str
    expires_at: str
    """Its column for the time after which a row may go."""
    next_at: str
    """When a row that is still live is to be looked at again."""

    @property
    def due(self) -> str:
        """Finds the keys of a batch of rows that are due."""
        return DUE.format(**self._asdict())

    @property
    def changes(self) -> tuple[str, str]:
        """Of these, deletes those that have expired, and files the others anew; each gives how many."""
        return DELETE.format(**self._asdict()), FILE_ANEW.format(**self._asdict())


TABLES: Final = (
    Swept("fungible_records", "key", "expires_at", "expires_at"),
    Swept("fungible_rates", "key", "tat", "tat + 60000000"),
    Swept("fungible_topics", "topic", "expires_at", "expires_at"),
)
