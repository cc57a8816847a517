"""What asyncmy and the server raise, turned into our errors."""

from typing import Final

from asyncmy.errors import DataError, IntegrityError, InterfaceError, MySQLError, ProgrammingError

from fungible.stores.errors import StoreUnavailableError
from fungible.stores.sql_errors import MYSQL_WRONG_SERVER

# The connection has ended, or has lost its database (which was dropped and made anew).
LOST: Final = frozenset({0, 2006, 2013, 2055, 1046, 1053, 1152, 1158, 1159, 1160, 1161, 1927, 3169, 4031})
# Of these, the ones where nothing was sent, or nothing can have happened.
NEVER_SENT: Final = frozenset({0, 2006, 1046})
# Nothing has happened, and another connection may lead to a server where it will: tried once more.
NOTHING_DONE: Final = NEVER_SENT | MYSQL_WRONG_SERVER
MISSING_TABLES: Final = frozenset({1054, 1146})
PACKET_TOO_LARGE: Final = 1153
READ_ONLY: Final = frozenset({1290, 1792, 1836})
NOT_IN_CLUSTER: Final = 1047
# Access to a database, to a table, to a column.
DENIED: Final = frozenset({1044, 1142, 1143})
IS_READ_ONLY: Final = "it is read-only, as a replica is: name the primary, or a proxy that leads to it"
TO_RUN: Final = "SELECT, INSERT, UPDATE, DELETE"
TO_MIGRATE: Final = "CREATE, ALTER, INDEX"


def granted(*, database: str, user: str | None) -> str:
    """The statements that give a user what it lacks; the account's host is not known here."""
    where = f"ON `{database}`.* TO '{user or ''}'@'%'"
    return f"GRANT {TO_RUN} {where}; to make the tables, GRANT {TO_MIGRATE} {where} as well"


def code_of(error: BaseException) -> int:
    """The server's or the driver's number of an error; -1 where it has none."""
    if isinstance(error, InterfaceError):
        return 0
    if isinstance(error, MySQLError) and error.args and isinstance(error.args[0], int):
        return error.args[0]
    return -1


def is_whole_answer(error: BaseException) -> bool:
    """Whether an error is the server's answer to a statement, after which it waits for the next one."""
    # The driver's own errors have numbers from 2000 to 2999.
    code = code_of(error)
    return (1000 <= code < 2000 or code >= 3000) and code not in LOST | MYSQL_WRONG_SERVER


def our_error(error: Exception, *, home: str, timeout_s: float, grants: str) -> Exception:
    """Our error for one of the driver's; others stay as they are.

    Args:
        grants: What to run where the user lacks a right.
    """
    if isinstance(error, TimeoutError):
        return StoreUnavailableError(home=home, reason=f"no answer within {timeout_s:g} s")
    if isinstance(error, MySQLError | OSError | EOFError):
        return StoreUnavailableError(home=home, reason=_reason(error, grants))
    return error


def _reason(error: Exception, grants: str) -> str:
    code = code_of(error)
    if code in LOST:
        return f"the connection was lost ({code})"
    if code == PACKET_TOO_LARGE:
        return "the server takes no packet of this size: raise its max_allowed_packet to 16M or more"
    if code in DENIED:
        return f"{_message(error)} ({code}): {grants}"
    if code in READ_ONLY:
        return f"{IS_READ_ONLY} ({code})"
    if code == NOT_IN_CLUSTER:
        return f"this node is not part of its Galera cluster: {_message(error)} ({code})"
    if isinstance(error, ProgrammingError | DataError | IntegrityError):
        # Their messages quote the statement or its values: a session's key must not be found in logs.
        return f"the server refused the statement: error {code}"
    # The server's other messages name users and databases, never passwords.
    return f"{_message(error)} ({code})" if code > 0 else str(error) or type(error).__name__


def _message(error: Exception) -> str:
    return str(error.args[1] if len(error.args) > 1 else error)
