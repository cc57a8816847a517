"""Writing a record, on a connection: one statement where nobody was in the way."""

import os
from typing import Any, Final

from fungible.stores.contract import Changes, Fields, Record, check_fields, conflicting
from fungible.stores.errors import ConflictError, GoneError
from fungible.stores.mysql import layout
from fungible.stores.mysql.connecting import Connection, row
from fungible.stores.mysql.statements import expanded, load_statements

INCARNATION_BYTES: Final = 8
TOMBSTONE: Final = bytes(INCARNATION_BYTES)
FROM_NOW: Final = expanded("now_us() + %(ttl_us)s")
EXTENDED: Final = expanded("GREATEST(expires_us, now_us() + %(ttl_us)s)")


async def put_any(connection: Connection, key: str, fields: Fields, ttl_s: float) -> Record:
    """Writes the whole record, whatever stands.

    Raises:
        GoneError: the key has a tombstone.
    """
    parameters = _parameters(key, fields, ttl_s, _drawn())
    sql = load_statements().put_any
    if connection.server.is_mariadb:
        # Both in the one answer, which MySQL has no way to give.
        incarnation, expires_us = (await connection.run(f"{sql} RETURNING incarnation, expires_us", parameters)).rows[0]
    else:
        incarnation, expires_us = (await connection.run(sql, parameters)).number, None
    if not incarnation:
        raise GoneError(key=key)
    if expires_us is None:
        parameters["incarnation"] = incarnation
        expires_us = (await connection.run(load_statements().expiry, parameters)).rows[0][0]
    return Record(key, fields, expires_us / 1e6, incarnation.to_bytes(INCARNATION_BYTES))


async def put_absent(connection: Connection, key: str, fields: Fields, ttl_s: float) -> Record:
    """Writes the whole record where none stands.

    Raises:
        ConflictError: one stands.
        GoneError: the key has a tombstone.
    """
    incarnation = _drawn()
    parameters = _parameters(key, fields, ttl_s, incarnation)
    while True:
        expires_us = (await connection.run(load_statements().put_absent, parameters)).number
        if expires_us:
            return Record(key, fields, expires_us / 1e6, incarnation.to_bytes(INCARNATION_BYTES))
        found = row(await connection.run(load_statements().current, {"key": key.encode()}))
        if found is not None:
            current = record_of(key, found)
            raise GoneError(key=key) if current.incarnation == TOMBSTONE else ConflictError(current=current)


async def put_expected(connection: Connection, expected: Record, fields: Fields, ttl_s: float) -> Record:
    """Writes the whole record where it stands as it was read.

    Raises:
        ConflictError: it has changed.
        GoneError: it was deleted, or has expired.
    """
    edit = layout.replacement(expected.fields, fields) if len(expected.fields) <= layout.MOST_EDITS else None
    while True:
        written = await _write(connection, expected, edit, FROM_NOW, ttl_s)
        if not written:
            current = await _standing(connection, expected)
            if current.fields != expected.fields:
                raise ConflictError(current=current)
            written = await _write(connection, expected, layout.swap(current.fields, fields), FROM_NOW, ttl_s)
        if written:
            return Record(expected.key, fields, written / 1e6, expected.incarnation)


async def change(
    connection: Connection, record: Record, changes: Changes, ttl_s: float | None, max_bytes: int
) -> Record:
    """Sets and removes fields where those named stand as they were read.

    Raises:
        ConflictError: one has changed.
        GoneError: the record was deleted, or has expired.
        RecordTooLargeError: with what others have added meanwhile it would be too large.
    """
    expires_us = "expires_us" if ttl_s is None else EXTENDED
    edit = layout.edit(record, changes, max_bytes=max_bytes) if len(changes) <= layout.MOST_EDITS else None
    while True:
        written = await _write(connection, record, edit, expires_us, ttl_s)
        if not written:
            current = await _standing(connection, record)
            if conflicting(record, current, changes):
                raise ConflictError(current=current)
            # Too many to be edited in place, or too large to know; or changed, and back, between the two statements.
            fields = current.changed(changes).fields
            check_fields(record.key, fields, max_bytes=max_bytes)
            written = await _write(connection, record, layout.swap(current.fields, fields), expires_us, ttl_s)
        if written:
            return record.changed(changes, expires_at=written / 1e6)


async def append(connection: Connection, topic: str, item: bytes, ttl_s: float) -> None:
    """Adds an item to a feed."""
    parameters: dict[str, bytes | int] = {"topic": topic.encode(), "ttl_us": in_us(ttl_s), "item": item}
    async with connection.transaction():
        parameters["number"] = (await connection.run(load_statements().number, parameters)).number
        await connection.run(load_statements().append, parameters)


def record_of(key: str, found: tuple[Any, ...]) -> Record:
    """The record in a row: incarnation, time of expiry, fields."""
    incarnation, expires_us, fields = found
    return Record(key, layout.decoded(fields), expires_us / 1e6, incarnation.to_bytes(INCARNATION_BYTES))


def in_us(duration_s: float) -> int:
    """Microseconds: at least one."""
    return max(1, round(duration_s * 1e6))


async def _write(
    connection: Connection, record: Record, edit: layout.Edit | None, expires_us: str, ttl_s: float | None
) -> int:
    """Makes an edit, and gives when the record expires; 0 where it does not stand so."""
    if len(record.incarnation) != INCARNATION_BYTES or record.incarnation == TOMBSTONE:
        raise GoneError(key=record.key)
    if edit is None:
        return 0
    sql = load_statements().write.format(fields=edit.fields, expires_us=expires_us, guards=edit.guards)
    parameters: dict[str, bytes | int] = {
        **edit.parameters,
        "key": record.key.encode(),
        "incarnation": int.from_bytes(record.incarnation),
    }
    if ttl_s is not None:
        parameters["ttl_us"] = in_us(ttl_s)
    answer = await connection.run(sql, parameters)
    return answer.number if answer.matched else 0


async def _standing(connection: Connection, record: Record) -> Record:
    """The record as it stands now."""
    found = row(await connection.run(load_statements().get, {"key": record.key.encode()}))
    current = None if found is None else record_of(record.key, found)
    if current is None or current.incarnation != record.incarnation:
        raise GoneError(key=record.key)
    return current


def _parameters(key: str, fields: Fields, ttl_s: float, incarnation: int) -> dict[str, bytes | int]:
    encoded = layout.encoded(fields)
    return {"key": key.encode(), "incarnation": incarnation, "ttl_us": in_us(ttl_s), "fields": encoded}


def _drawn() -> int:
    # 63 bits and never 0, which is a tombstone's.
    return int.from_bytes(os.urandom(INCARNATION_BYTES)) >> 1 or 1
