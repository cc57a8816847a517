"""What asyncpg and the server raise, turned into our errors."""

import ssl
from typing import Final

from fungible.core.errors import SettingError
from fungible.stores.errors import StoreUnavailableError
from fungible.stores.postgresql.driver import pg

# Rolled back by the server, and nothing of it has happened: the same statement may be sent again.
ROLLED_BACK: Final = (pg.SerializationError, pg.DeadlockDetectedError)
MISSING_TABLES: Final = (pg.UndefinedTableError, pg.UndefinedColumnError, pg.UndefinedFunctionError)
# The server that this connection leads to is the wrong one, and stays so.
WRONG_SERVER: Final = (pg.ReadOnlySQLTransactionError,)
# What a pooler in transaction mode makes of statements that have a name, and of settings at the start.
POOLED: Final = (pg.InvalidSQLStatementNameError, pg.DuplicatePreparedStatementError, pg.ProtocolViolationError)
DRIVER: Final = (pg.PostgresError, pg.InterfaceError, pg.InternalClientError, OSError, EOFError)


def our_error(error: Exception, *, home: str, timeout_s: float) -> Exception:
    """Our error for one of the driver's; others stay as they are.

    The messages of the server name users and databases, never passwords.
    """
    if isinstance(error, pg.ClientConfigurationError):
        return SettingError(f"{home}: {_message(error)}")
    if isinstance(error, TimeoutError | pg.QueryCanceledError):
        more = f": {error}" if isinstance(error, TimeoutError) and str(error) else ""
        return StoreUnavailableError(home=home, reason=f"no answer within {timeout_s:g} s{more}")
    if not isinstance(error, DRIVER):
        return error
    return StoreUnavailableError(home=home, reason=_reason(error))


def _reason(error: Exception) -> str:
    if isinstance(error, pg.ReadOnlySQLTransactionError):
        return "it is a read-only standby: name the primary, or all of them with target_session_attrs=read-write"
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
