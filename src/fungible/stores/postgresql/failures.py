"""What asyncpg and the server raise, turned into our errors."""

import ssl
from typing import Final

from fungible.core.errors import SettingError
from fungible.stores.errors import StoreUnavailableError
from fungible.stores.postgresql.driver import pg
from fungible.stores.sql_errors import POSTGRESQL_ROLLED_BACK

MISSING_TABLES: Final = (pg.UndefinedTableError, pg.UndefinedColumnError, pg.UndefinedFunctionError)
# Where the user may use none of the schemas in its search_path, none is selected.
DENIED: Final = (pg.InsufficientPrivilegeError, pg.InvalidSchemaNameError)
# The server that this connection leads to is the wrong one, and stays so.
WRONG_SERVER: Final = (pg.ReadOnlySQLTransactionError,)
# What a pooler in transaction mode makes of statements that have a name, and of settings at the start.
POOLED: Final = (pg.InvalidSQLStatementNameError, pg.DuplicatePreparedStatementError, pg.ProtocolViolationError)
DRIVER: Final = (pg.PostgresError, pg.InterfaceError, pg.InternalClientError, OSError, EOFError)
# What making a thing says where another instance is making it, or has, and no lock has kept the two apart.
MADE_BY_ANOTHER: Final = (
    *(pg.UniqueViolationError, pg.DuplicateTableError, pg.DuplicateFunctionError, pg.DuplicateObjectError),
)
TO_RUN: Final = (
    "GRANT USAGE ON SCHEMA {schema} TO {user}; GRANT SELECT ON fungible_migrations TO {user}; GRANT SELECT, INSERT, UPDATE, "
    "DELETE ON fungible_records, fungible_rates, fungible_topics, fungible_items TO {user}"
)
TO_MIGRATE: Final = "to make the tables, GRANT USAGE, CREATE ON SCHEMA {schema} TO {user}"


def granted(grants: str, *, user: str | None, schema: str = "public") -> str:
    """The statements that give a user what it lacks: `TO_RUN` or `TO_MIGRATE`."""
    return grants.format(schema=schema, user=f'"{user}"' if user else "the user")


def is_rolled_back(error: Exception) -> bool:
    """Whether the server has undone it for others' sake: nothing of it has happened, and it may be sent again."""
    return isinstance(error, pg.PostgresError) and getattr(error, "sqlstate", None) in POSTGRESQL_ROLLED_BACK


def our_error(error: Exception, *, home: str, timeout_s: float, grants: str) -> Exception:
    """Our error for one of the driver's; others stay as they are.

    The messages of the server name users and databases, never passwords.

    Args:
        grants: What to run where the user lacks a right.
    """
    if isinstance(error, pg.ClientConfigurationError):
        return SettingError(f"{home}: {_message(error)}")
    if isinstance(error, TimeoutError | pg.QueryCanceledError):
        more = f": {error}" if isinstance(error, TimeoutError) and str(error) else ""
        return StoreUnavailableError(home=home, reason=f"no answer within {timeout_s:g} s{more}")
    if not isinstance(error, DRIVER):
        return error
    return StoreUnavailableError(home=home, reason=_reason(error, grants))


def _reason(error: Exception, grants: str) -> str:
    if isinstance(error, pg.ReadOnlySQLTransactionError):
        return "it is a read-only standby: name the primary, or all of them with target_session_attrs=read-write"
    if isinstance(error, DENIED):
        return f"{_message(error)} ({getattr(error, 'sqlstate', None)}): {grants}"
    if isinstance(error, POOLED):
        return f"{_message(error)}: behind a pooler such as PgBouncer use ?statement_cache=0"
    if isinstance(error, pg.ConnectionDoesNotExistError | pg.InterfaceError | pg.InternalClientError):
        return f"the connection was lost: {_message(error.__cause__ or error)}"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ssl.SSLError):
        return f"no TLS connection: {error.reason or error}"
    if isinstance(error, pg.PostgresError):
        return f"{_message(error)} ({getattr(error, 'sqlstate', None)})"
    return _message(error)


def _message(error: BaseException) -> str:
    # The first line: details and hints, which follow, may hold keys.
    return str(error).partition("\n")[0] or type(error).__name__
