"""The application's connection, whichever driver it is of. No driver is imported unless the application has."""

from __future__ import annotations

import inspect
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, ClassVar, Final, NamedTuple, TypeVar, cast

from fungible.idempotency.errors import TransactionError
from fungible.idempotency.sql.statements import RELEASE, SAVEPOINT, UNDO, Dialect, Statement, compiled, dialect_of
from fungible.stores.sql_errors import MYSQL_ROLLED_BACK, MYSQL_WRONG_SERVER, POSTGRESQL_ROLLED_BACK

LOCKED_STATES: Final = POSTGRESQL_ROLLED_BACK | {"55P03"}
"""SQLSTATEs: serialization failure, deadlock, lock not available."""
LOCK_WAIT_TIMEOUT: Final = 1205
LOCKED_ERRORS: Final = MYSQL_ROLLED_BACK | {3572}
"""MySQL: lock wait timeout, deadlock and the like, NOWAIT."""
AWAY_ERRORS: Final = MYSQL_WRONG_SERVER | {1040, 1053, 1927, 2002, 2003, 2006, 2013, 2055}
AWAY_STATES: Final = ("08", "57P", "25P03")
"""Classes and SQLSTATEs: no connection, shut down, idle in a transaction for too long."""
AWAY_NAMES: Final = frozenset({"InterfaceError", "PostgresConnectionError", "ConnectionDoesNotExistError"})


T = TypeVar("T")


class Result(NamedTuple):
    """What a statement gave."""

    rows: Sequence[Sequence[Any]] = ()
    affected: int = 0


Given = Result | Awaitable[Result]


class Adapter(ABC):
    """One connection, and how statements are run on it."""

    needs: ClassVar[str] = "begin one first"

    def __init__(self, connection: Any, dialect: Dialect) -> None:
        self.connection = connection
        self.dialect: Dialect = dialect

    @abstractmethod
    def run(self, statement: Statement) -> Given:
        """Runs a statement: at once, or once awaited."""

    @abstractmethod
    def in_transaction(self) -> bool:
        """Whether what is written now waits for a commit."""

    def check(self) -> Awaitable[None] | None:
        """Refuses a connection whose writes would stand at once: at once, or once awaited.

        Raises:
            TransactionError: it has no transaction.
        """
        if not self.in_transaction():
            raise TransactionError(f"the connection has no transaction that key and effect could share: {self.needs}")

    def broken(self) -> bool:
        """Whether the connection is lost, as far as its driver knows."""
        return False

    async def savepoint(self) -> None:
        """Marks where the effect begins."""
        await finished(self.run(Statement(SAVEPOINT, {})))

    async def undo(self) -> None:
        """Undoes the effect, and not the key's row."""
        await finished(self.run(Statement(UNDO, {})))

    async def release(self) -> None:
        """The effect stands, if the transaction does."""
        await finished(self.run(Statement(RELEASE, {})))


class SQLiteAdapter(Adapter):
    """`sqlite3.Connection`."""

    needs = "execute BEGIN first, or leave isolation_level and autocommit as they are"

    def run(self, statement: Statement) -> Result:
        """Runs a statement, in this thread: at once, as nothing in it waits."""
        cursor = cast(sqlite3.Connection, self.connection).execute(statement.sql, statement.values)
        return Result(cursor.fetchall() if cursor.description else (), cursor.rowcount)

    def in_transaction(self) -> bool:
        """Whether one has begun, or does with the first write."""
        connection = cast(sqlite3.Connection, self.connection)
        # From Python 3.12 on this decides, unless it is neither True nor False, and then isolation_level does.
        autocommit: object = getattr(connection, "autocommit", None)
        if isinstance(autocommit, bool):
            return connection.in_transaction or not autocommit
        return connection.in_transaction or connection.isolation_level is not None


class AsyncpgAdapter(Adapter):
    """`asyncpg.Connection`, also as a pool lends it."""

    needs = "use `async with connection.transaction():`"

    async def run(self, statement: Statement) -> Result:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Runs a statement."""
        sql, names = compiled(statement.sql, "numbered")
        rows = await self.connection.fetch(sql, *(statement.values[name] for name in names))
        return Result(rows, len(rows))

    def in_transaction(self) -> bool:
        """Whether one has begun."""
        return self.connection.is_in_transaction()

    def broken(self) -> bool:
        """Whether the driver knows that it is lost."""
        return self.connection.is_closed()


class AsyncmyAdapter(Adapter):
    """`asyncmy.Connection`."""

    needs = "use `await connection.begin()`"

    async def run(self, statement: Statement) -> Result:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Runs a statement."""
        sql, names = compiled(statement.sql, "format")
        async with self.connection.cursor() as cursor:
            await cursor.execute(sql, tuple(statement.values[name] for name in names) or None)
            rows = await cursor.fetchall() if cursor.description else ()
            return Result(rows, cursor.rowcount)

    def in_transaction(self) -> bool:
        """Whether one has begun."""
        return bool(self.connection.get_transaction_status()) or not self.connection.get_autocommit()

    def broken(self) -> bool:
        """Whether the driver knows that it is lost."""
        return not self.connection.connected


class SQLAlchemyAdapter(Adapter):
    """SQLAlchemy's `Connection` and `AsyncConnection`."""

    needs = (
        "use `engine.begin()` of an engine without AUTOCOMMIT, for instance "
        "`engine.execution_options(isolation_level='READ COMMITTED').begin()`"
    )

    def run(self, statement: Statement) -> Given:
        """Runs a statement: at once on a `Connection` and a `Session`."""
        from sqlalchemy import text

        found = self.connection.execute(text(statement.sql), statement.values)
        return _awaited(found) if inspect.isawaitable(found) else _result(found)

    def in_transaction(self) -> bool:
        """Whether one begins with the first statement, as it does but for autocommit."""
        return begins(self.connection)

    def broken(self) -> bool:
        """Whether it is closed, or was lost."""
        return bool(self.connection.closed or self.connection.invalidated)


class SessionAdapter(SQLAlchemyAdapter):
    """SQLAlchemy's `Session` and `AsyncSession`: what is waiting to be flushed belongs to the effect, too."""

    needs = (
        "use `async with sessions.begin() as session:` and an engine without AUTOCOMMIT, for instance "
        "`async_sessionmaker(engine.execution_options(isolation_level='READ COMMITTED'))`"
    )
    _nested: Any = None
    _own: Any = None

    def check(self) -> Awaitable[None] | None:
        """Refuses a session whose connection commits each statement: which one that is only the session knows."""
        found = self.connection.connection()
        if inspect.isawaitable(found):
            return self._check_later(found)
        self._own = found
        return super().check()

    async def _check_later(self, coming: Awaitable[Any]) -> None:
        self._own = await coming
        super().check()

    def in_transaction(self) -> bool:
        """Whether one has begun on the connection that `check` has found."""
        return begins(self._own)

    def broken(self) -> bool:
        """Not known: a session gets another connection by itself."""
        return False

    async def savepoint(self) -> None:
        """Marks where the effect begins."""
        self._nested = await finished(self.connection.begin_nested())

    async def undo(self) -> None:
        """Undoes the effect, and forgets what was not written yet."""
        await finished(self._nested.rollback())

    async def release(self) -> None:
        """Writes what was not written yet."""
        await finished(self._nested.commit())


def begins(connection: Any) -> bool:
    """Whether a transaction begins with the first statement on a connection of SQLAlchemy's.

    AUTOCOMMIT may be an option of the engine, of a copy of it or of the connection, which all say so here; or be set at
    the driver, as `connect_args` do.
    """
    connection = getattr(connection, "sync_connection", None) or connection
    level = connection.get_execution_options().get("isolation_level")
    if (level or getattr(connection.dialect, "_on_connect_isolation_level", None)) == "AUTOCOMMIT":
        return False
    pooled = connection.connection
    return has_begun(pooled.driver_connection) or not commits_each(pooled.dbapi_connection)


def has_begun(driver: Any) -> bool:
    """Whether a driver's connection is in a transaction, where it can tell: an event of the engine's may have begun one."""
    told = getattr(driver, "in_transaction", None) or getattr(driver, "get_transaction_status", None)
    return bool(told() if callable(told) else told)


def commits_each(driver: Any) -> bool:
    """Whether a connection of the DBAPI commits each statement, where it can tell."""
    autocommit: object = getattr(driver, "autocommit", None)
    if isinstance(autocommit, bool):
        return autocommit
    asked = getattr(driver, "get_autocommit", None)
    if asked is not None:
        return bool(asked())
    return getattr(driver, "isolation_level", "") is None


async def _awaited(found: Awaitable[Any]) -> Result:
    return _result(await found)


def _result(found: Any) -> Result:
    return Result(found.fetchall(), 0) if found.returns_rows else Result((), found.rowcount)


async def finished(found: Any) -> Any:
    """What it gives, once it is there."""
    return await found if inspect.isawaitable(found) else found


def refuse_awaited(found: Awaitable[T] | T) -> T:
    """What a connection that is not awaited has given.

    Raises:
        TransactionError: it is one that is awaited.
    """
    if inspect.isawaitable(found):
        cast(Any, found).close()
        raise TransactionError("this connection is awaited: use `async with`")
    return found


def adapter_of(connection: Any) -> Adapter:
    """How statements are run on a connection of the application.

    Raises:
        TransactionError: it is of no driver that is known here.
    """
    for kind in type(connection).__mro__:
        made = KINDS.get((kind.__module__.partition(".")[0], kind.__name__))
        if made is not None:
            return made(connection)
    raise TransactionError(
        f"no way is known to write into a {type(connection).__module__}.{type(connection).__qualname__}: give a "
        "connection of asyncpg, asyncmy or sqlite3, or SQLAlchemy's (Async)Connection or (Async)Session"
    )


KINDS: Final[dict[tuple[str, str], Callable[[Any], Adapter]]] = {
    ("sqlite3", "Connection"): lambda given: SQLiteAdapter(given, "sqlite"),
    ("asyncpg", "Connection"): lambda given: AsyncpgAdapter(given, "postgresql"),
    ("asyncpg", "PoolConnectionProxy"): lambda given: AsyncpgAdapter(given, "postgresql"),
    ("asyncmy", "Connection"): lambda given: AsyncmyAdapter(given, "mysql"),
    ("sqlalchemy", "Connection"): lambda given: SQLAlchemyAdapter(given, dialect_of(given.dialect.name)),
    ("sqlalchemy", "AsyncConnection"): lambda given: SQLAlchemyAdapter(given, dialect_of(given.dialect.name)),
    ("sqlalchemy", "Session"): lambda given: SessionAdapter(given, dialect_of(given.get_bind().dialect.name)),
    ("sqlalchemy", "AsyncSession"): lambda given: SessionAdapter(given, dialect_of(given.get_bind().dialect.name)),
}


def _causes(error: BaseException) -> Iterator[Any]:
    """An error and what it stands for: SQLAlchemy wraps that of the driver."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        seen.append(following)
        yield following
        following = getattr(following, "orig", None) or following.__cause__


def _state(error: Any) -> str:
    return str(getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or "")


def _number(error: Any) -> int:
    number = error.args[0] if error.args else None
    return number if type(number) is int and "mysql" in _modules(error) else 0


def _modules(error: Any) -> str:
    return " ".join(kind.__module__.replace("asyncmy", "mysql") for kind in type(error).__mro__)


def is_locked(error: BaseException) -> bool:
    """Whether another transaction stands in the way, so that the same may be tried again later."""
    return any(
        getattr(each, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        or _state(each) in LOCKED_STATES
        or _number(each) in LOCKED_ERRORS
        for each in _causes(error)
    )


def is_rolled_back(error: BaseException) -> bool:
    """Whether the database has undone the whole transaction for others' sake, so that it may be begun anew at once."""
    return is_outdated(error) or any(
        _state(each) in POSTGRESQL_ROLLED_BACK or _number(each) in MYSQL_ROLLED_BACK - {LOCK_WAIT_TIMEOUT}
        for each in _causes(error)
    )


def is_outdated(error: BaseException) -> bool:
    """Whether a transaction of SQLite has read what is old by now, so that it can never write."""
    return any(getattr(each, "sqlite_errorcode", 0) == sqlite3.SQLITE_BUSY_SNAPSHOT for each in _causes(error))


def is_away(error: BaseException) -> bool:
    """Whether the database can't be reached, or has ended the connection."""
    return any(
        isinstance(each, OSError)
        or getattr(each, "connection_invalidated", False)
        or _state(each).startswith(AWAY_STATES)
        or _number(each) in AWAY_ERRORS
        or any(kind.__name__ in AWAY_NAMES for kind in type(each).__mro__)
        for each in _causes(error)
    )
