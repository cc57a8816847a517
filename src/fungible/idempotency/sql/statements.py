"""The statements, by dialect, and their parameters in the form that each driver wants."""

from __future__ import annotations

import functools
import importlib.resources
import re
from typing import Final, Literal, NamedTuple

from fungible.core.errors import SettingError

Dialect = Literal["postgresql", "mysql", "sqlite"]
Style = Literal["named", "numbered", "format"]

ALIASES: Final[dict[str, Dialect]] = {
    "postgresql": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
    "sqlite": "sqlite",
}
PARAMETER: Final = re.compile(r":([a-z_][a-z0-9_]*)\b")
STATEMENT: Final = re.compile(r";[ \t]*$", re.MULTILINE)
COMMENT: Final = re.compile(r"^--.*\n", re.MULTILINE)

_VALUES: Final = "(record_key, caller, fingerprint, expires_ms) VALUES (:key, :caller, :fingerprint, :expires_ms)"
INSERT: Final[dict[Dialect, str]] = {
    "mysql": f"INSERT IGNORE INTO fungible_idempotency {_VALUES}",
    "sqlite": f"INSERT INTO fungible_idempotency {_VALUES} ON CONFLICT (record_key) DO NOTHING",
}
_SELECT: Final = (
    "SELECT fingerprint, status, headers, body, expires_ms FROM fungible_idempotency WHERE record_key = :key"
)
SELECT: Final[dict[Dialect, str]] = {
    "postgresql": _SELECT,
    # Not from the transaction's snapshot, which may be older than the row.
    "mysql": f"{_SELECT} LOCK IN SHARE MODE",
    "sqlite": _SELECT,
}
DELETE: Final = "DELETE FROM fungible_idempotency WHERE record_key = :key AND expires_ms <= :now_ms"
DELETE_PART: Final = "DELETE FROM fungible_idempotency WHERE record_key = :key"
INSERT_PART: Final = (
    "INSERT INTO fungible_idempotency (record_key, caller, fingerprint, status, body, expires_ms) "
    "VALUES (:key, :caller, :fingerprint, :left, :body, :expires_ms)"
)
"""A part of a long body: its status says how many follow."""
COUNT: Final = "SELECT COUNT(*) FROM fungible_idempotency WHERE caller = :caller AND expires_ms > :now_ms"
_FINISH: Final = (
    "UPDATE fungible_idempotency SET status = :status, headers = :headers, body = :body, expires_ms = :expires_ms "
    "WHERE record_key = :key AND fingerprint = :fingerprint AND status IS NULL"
)
FINISH: Final[dict[Dialect, str]] = {"postgresql": f"{_FINISH} RETURNING 1", "mysql": _FINISH, "sqlite": _FINISH}
_EXPIRED: Final = (
    "SELECT record_key FROM fungible_idempotency WHERE expires_ms <= :now_ms ORDER BY expires_ms LIMIT :most"
)
EXPIRED: Final[dict[Dialect, str]] = {
    # A key that is being claimed again is left to who claims it.
    "postgresql": f"{_EXPIRED} FOR UPDATE SKIP LOCKED",
    "mysql": _EXPIRED,
    "sqlite": _EXPIRED,
}
# By their keys: a range of an index would be locked, and with it what others insert there.
SWEEP: Final = "DELETE FROM fungible_idempotency WHERE record_key IN ({keys}) AND expires_ms <= :now_ms"
SAVEPOINT: Final = "SAVEPOINT fungible_effect"
UNDO: Final = "ROLLBACK TO SAVEPOINT fungible_effect"
RELEASE: Final = "RELEASE SAVEPOINT fungible_effect"
# How long a statement waits for another transaction's row: whole seconds, one at least.
MYSQL_WAIT: Final = "SET @fungible_wait = @@innodb_lock_wait_timeout, innodb_lock_wait_timeout = {seconds}"
MYSQL_WAIT_AS_BEFORE: Final = "SET innodb_lock_wait_timeout = @fungible_wait"
SQLITE_WAIT: Final = "PRAGMA busy_timeout"
SQLITE_SET_WAIT: Final = "PRAGMA busy_timeout = {milliseconds}"
CREATE_LOCK: Final = "SELECT pg_advisory_xact_lock(7310593858020254331)"
"""Two instances that make the table at once would meet in PostgreSQL's catalogue."""


class Statement(NamedTuple):
    """A statement, with parameters as `:name`, and their values."""

    sql: str
    values: dict[str, object]


def dialect_of(name: str) -> Dialect:
    """The dialect of that name.

    Raises:
        SettingError: there is none.
    """
    if name not in ALIASES:
        raise SettingError(f"no SQL for {name!r}; there is for: {', '.join(ALIASES)}")
    return ALIASES[name]


def create_table_sql(dialect: str) -> str:
    """The statements that make the table `fungible_idempotency`, for the application's own migrations.

    Args:
        dialect: `postgresql`, `mysql`, `mariadb` or `sqlite`.
    Raises:
        SettingError: there is no such dialect.
    """
    return _text(f"create_{dialect_of(dialect)}.sql")


def create_statements(dialect: Dialect) -> list[Statement]:
    """The same, one by one."""
    found = [part.strip() for part in STATEMENT.split(create_table_sql(dialect)) if part.strip()]
    if dialect == "postgresql":
        found.insert(0, CREATE_LOCK)
    return [Statement(sql, {}) for sql in found]


def claim_sql() -> str:
    """The claim for PostgreSQL."""
    return _text("claim_postgresql.sql")


@functools.cache
def _text(name: str) -> str:
    text = importlib.resources.files("fungible.idempotency.sql").joinpath(name).read_text(encoding="utf-8")
    return COMMENT.sub("", text).strip()


@functools.cache
def compiled(sql: str, style: Style) -> tuple[str, tuple[str, ...]]:
    """A statement as a driver reads it, and its parameters' names in the order in which they are given."""
    names: list[str] = []

    def placed(found: re.Match[str]) -> str:
        if style == "format":
            names.append(found[1])
            return "%s"
        if found[1] not in names:
            names.append(found[1])
        return f"${names.index(found[1]) + 1}"

    return (sql, ()) if style == "named" else (PARAMETER.sub(placed, sql), tuple(names))
