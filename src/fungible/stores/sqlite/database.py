"""The file: opening it, its tables, and what can be wrong with it in words."""

import os
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fungible.stores.errors import NotMigratedError, StoreUnavailableError
from fungible.stores.migrations import Migration

LOCKED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
REASONS: Final = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "its file can't be written: this user needs write permission for the file and its folder",
    sqlite3.SQLITE_NOTADB: "the file is no SQLite database",
    sqlite3.SQLITE_CORRUPT: "the database is damaged: restore it from a backup, or remove it",
    sqlite3.SQLITE_IOERR: "the disk has failed to read or write",
}
KEEP_LOG_BYTES: Final = 16 << 20
"""The write-ahead log is cut back to this size once all of it is in the database."""


def is_locked(error: sqlite3.Error) -> bool:
    """Whether another process stands in the way, so that the same may be tried again."""
    return _code(error) in LOCKED


def unavailable(error: sqlite3.Error | OSError, path: str, home: str) -> StoreUnavailableError:
    """The error for callers, with what was found."""
    reason = REASONS.get(_code(error)) or _reason_of_path(Path(path)) or str(error)
    name = getattr(error, "sqlite_errorname", None)
    return StoreUnavailableError(home=home, reason=f"{reason} ({name})" if name else reason)


def _code(error: Exception) -> int:
    # The lower byte is the kind; what is above tells places in SQLite's code apart.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _reason_of_path(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a folder; a file was expected"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    wanted = [path] if path.exists() else [path.parent]
    return next((f"this user may not write to {found}" for found in wanted if not os.access(found, os.W_OK)), "")


def connect(path: str, *, full: bool) -> sqlite3.Connection:
    """Opens the file, and makes it where there is none.

    Args:
        path: Absolute.
        full: Every commit waits for the disk. Otherwise a commit waits for nothing but the operating system.
    Raises:
        sqlite3.Error: it can't be opened, or is locked now.
    """
    # No waiting for locks in here: the caller does, and has other work meanwhile.
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        mode: str = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise sqlite3.OperationalError(
                f"the place can't hold a write-ahead log (journal mode {mode!r}): use a disk of this machine"
            )
        connection.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
        # macOS calls a write done that its disk only holds in a cache, unless asked for more.
        connection.execute(f"PRAGMA fullfsync = {int(full)}")
        connection.execute(f"PRAGMA journal_size_limit = {KEEP_LOG_BYTES}")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None]:
    """Writes that happen all or not at all. Takes the lock first: what is read inside stands until the end."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full disk may have rolled it back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration], *, home: str) -> list[int]:
    """Brings the tables to this release, and gives the numbers of the migrations that it ran.

    Raises:
        NotMigratedError: the tables are of a later release.
    """
    wanted = len(migrations)
    if _version(connection, home, wanted) == wanted:
        return []
    with transaction(connection):
        # Read again under the lock: another process may have been first.
        todo = migrations[_version(connection, home, wanted) :]
        for migration in todo:
            for statement in migration.statements:
                connection.execute(statement)
        connection.execute(
            "CREATE TABLE IF NOT EXISTS fungible_versions (part TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL)"
        )
        connection.execute("INSERT OR REPLACE INTO fungible_versions VALUES ('stores', ?)", (wanted,))
    return [migration.number for migration in todo]


def _version(connection: sqlite3.Connection, home: str, wanted: int) -> int:
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'fungible_versions'").fetchone()
    if known is None:
        return 0
    row = connection.execute("SELECT version FROM fungible_versions WHERE part = 'stores'").fetchone()
    found: int = 0 if row is None else row[0]
    if found > wanted:
        raise NotMigratedError(home=home, found=found, wanted=wanted)
    return found


def sync_log(path: str) -> None:
    """Sees the write-ahead log to the disk: what was committed before can't be lost by a power cut.

    The log alone will do: SQLite itself waits for the disk where it moves what the log holds into the database.
    """
    # Not the database's own file: closing any handle of that would let go of SQLite's locks on it.
    for name in (f"{path}-wal", os.path.dirname(path)):
        try:
            handle = os.open(name, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
