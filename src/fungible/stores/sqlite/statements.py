"""The verbs as SQL. Each function is one step inside a transaction, or one SELECT that needs none."""

import os
import sqlite3
from typing import Any, Final

import msgspec

from fungible.stores.contract import (
    ABSENT,
    Changes,
    Expect,
    Fields,
    Page,
    Rate,
    Record,
    Taken,
    check_fields,
    conflicting,
    gcra,
)
from fungible.stores.errors import ConflictError, GoneError

SWEPT_AT_ONCE: Final = 32
"""Expired rows removed at once from each table: few, because somebody may be waiting."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(dict[str, bytes])


def get(connection: sqlite3.Connection, now: float, *, key: str) -> Record | None:
    """The live record."""
    return _live(key, _row(connection, key), now)


def put(
    connection: sqlite3.Connection, now: float, *, key: str, fields: Fields, ttl_s: float, expect: Expect | Record
) -> Record:
    """Writes the whole record, if `expect` holds."""
    row = _row(connection, key)
    if row is not None and row[1] is None and row[2] > now:
        raise GoneError(key=key)
    current = _live(key, row, now)
    if expect is ABSENT and current is not None:
        raise ConflictError(current=current)
    if isinstance(expect, Record):
        if current is None or current.incarnation != expect.incarnation:
            raise GoneError(key=key)
        if current.fields != expect.fields:
            raise ConflictError(current=current)
    incarnation = os.urandom(8) if current is None else current.incarnation
    record = Record(key, dict(fields), now + ttl_s, incarnation)
    _write(connection, record)
    return record


def change(
    connection: sqlite3.Connection,
    now: float,
    *,
    record: Record,
    changes: Changes,
    ttl_s: float | None,
    max_bytes: int,
) -> Record:
    """Sets and removes fields, if they are as they were read."""
    current = _live(record.key, _row(connection, record.key), now)
    if current is None or current.incarnation != record.incarnation:
        raise GoneError(key=record.key)
    if conflicting(record, current, changes):
        raise ConflictError(current=current)
    expires_at = current.expires_at if ttl_s is None else max(current.expires_at, now + ttl_s)
    changed = current.changed(changes, expires_at=expires_at)
    # Only here is it known what the others have made of it meanwhile.
    check_fields(record.key, changed.fields, max_bytes=max_bytes)
    _write(connection, changed)
    return record.changed(changes, expires_at=expires_at)


def delete(connection: sqlite3.Connection, now: float, *, key: str, tombstone_s: float) -> None:
    """Deletes the record, and holds its key."""
    if not tombstone_s:
        connection.execute("DELETE FROM fungible_records WHERE key = ? AND fields IS NOT NULL", (key,))
        return
    connection.execute(
        """
        INSERT INTO fungible_records (key, incarnation, fields, expires_at) VALUES (:key, x'', NULL, :until)
        ON CONFLICT (key) DO UPDATE SET
          incarnation = x'', fields = NULL,
          expires_at = CASE WHEN fields IS NULL THEN max(expires_at, :until) ELSE :until END
        """,
        {"key": key, "until": now + tombstone_s},
    )


def touch(connection: sqlite3.Connection, now: float, *, key: str, ttl_s: float) -> float | None:
    """Extends the record's life."""
    until = now + ttl_s
    found = connection.execute(
        "SELECT expires_at FROM fungible_records WHERE key = ? AND fields IS NOT NULL AND expires_at > ?", (key, now)
    ).fetchone()
    if found is None or found[0] >= until:
        return None if found is None else found[0]
    connection.execute("UPDATE fungible_records SET expires_at = ? WHERE key = ?", (until, key))
    return until


def take(connection: sqlite3.Connection, now: float, *, key: str, rate: Rate, cost: int) -> Taken:
    """Takes from a rate."""
    row = connection.execute("SELECT tat_us FROM fungible_rates WHERE key = ?", (key,)).fetchone()
    tat_us, taken = gcra(0 if row is None else row[0], int(now * 1e6), rate, cost)
    if taken.allowed:
        connection.execute("INSERT OR REPLACE INTO fungible_rates (key, tat_us) VALUES (?, ?)", (key, tat_us))
    return taken


def append(connection: sqlite3.Connection, now: float, *, topic: str, item: bytes, ttl_s: float) -> None:
    """Adds an item to a feed."""
    connection.execute(
        "INSERT INTO fungible_items (topic, expires_at, item) VALUES (?, ?, ?)", (topic, now + ttl_s, item)
    )


def since(connection: sqlite3.Connection, now: float, *, topic: str, seen: int) -> Page:
    """The live items after the one with the id `seen`."""
    # Expired ones come without their bytes: the cursor must pass them, too.
    rows = connection.execute(
        """
        SELECT id, CASE WHEN expires_at > ? THEN item END FROM fungible_items
        WHERE topic = ? AND id > ? ORDER BY id
        """,
        (now, topic, seen),
    ).fetchall()
    items = tuple(item for _, item in rows if item is not None)
    return Page(items, str(rows[-1][0] if rows else seen))


def sweep(connection: sqlite3.Connection, now: float) -> bool:
    """Removes a few expired rows of each table; whether there may be more."""
    removed = [
        connection.execute(
            "DELETE FROM fungible_records WHERE rowid IN"
            " (SELECT rowid FROM fungible_records WHERE expires_at <= ? LIMIT ?)",
            (now, SWEPT_AT_ONCE),
        ),
        connection.execute(
            "DELETE FROM fungible_rates WHERE key IN (SELECT key FROM fungible_rates WHERE tat_us <= ? LIMIT ?)",
            (int(now * 1e6), SWEPT_AT_ONCE),
        ),
        connection.execute(
            "DELETE FROM fungible_items WHERE id IN (SELECT id FROM fungible_items WHERE expires_at <= ? LIMIT ?)",
            (now, SWEPT_AT_ONCE),
        ),
    ]
    return any(cursor.rowcount == SWEPT_AT_ONCE for cursor in removed)


def _row(connection: sqlite3.Connection, key: str) -> Any:
    return connection.execute(
        "SELECT incarnation, fields, expires_at FROM fungible_records WHERE key = ?", (key,)
    ).fetchone()


def _live(key: str, row: Any, now: float) -> Record | None:
    if row is None or row[1] is None or row[2] <= now:
        return None
    return Record(key, _decoder.decode(row[1]), row[2], row[0])


def _write(connection: sqlite3.Connection, record: Record) -> None:
    connection.execute(
        """
        INSERT INTO fungible_records (key, incarnation, fields, expires_at) VALUES (?, ?, ?, ?)
        ON CONFLICT (key) DO UPDATE SET
          incarnation = excluded.incarnation, fields = excluded.fields, expires_at = excluded.expires_at
        """,
        (record.key, record.incarnation, _encoder.encode(record.fields), record.expires_at),
    )
