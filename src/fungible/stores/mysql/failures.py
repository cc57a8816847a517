"""What asyncmy and the server raise, turned into our errors."""

from typing import Final

from asyncmy.errors import DataError, IntegrityError, InterfaceError, MySQLError, ProgrammingError

from fungible.stores.errors import StoreUnavailableError

# Rolled back, nothing of it has happened: it may be sent again. A deadlock, a row's lock not had in time, and a row that
# has changed since the transaction's snapshot.
ROLLED_BACK: Final = frozenset({1213, 1205, 1020})
# The connection has ended, or has lost its database (which was dropped and made anew).
LOST: Final = frozenset({0, 2006, 2013, 2055, 1046, 1053, 1152, 1158, 1159, 1160, 1161, 1927, 3169, 4031})
# Of these, the ones where nothing was sent, or nothing can have happened.
NEVER_SENT: Final = frozenset({0, 2006, 1046})
# The server takes no writes, or has left its cluster, and stays so: another connection may lead to the right one.
WRONG_SERVER: Final = frozenset({1047, 1290, 1792, 1836})
MISSING_TABLES: Final = frozenset({1054, 1146})
PACKET_TOO_LARGE: Final = 1153


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
    return (1000 <= code < 2000 or code >= 3000) and code not in LOST | WRONG_SERVER


def our_error(error: Exception, *, home: str, timeout_s: float) -> Exception:
    """Our error for one of the driver's; others stay as they are."""
    if isinstance(error, TimeoutError):
        return StoreUnavailableError(home=home, reason=f"no answer within {timeout_s:g} s")
    if isinstance(error, MySQLError | OSError | EOFError):
        return StoreUnavailableError(home=home, reason=_reason(error))
    return error


def _reason(error: Exception) -> str:
    code = code_of(error)
    if code in LOST:
        return f"the connection was lost ({code})"
    if code == PACKET_TOO_LARGE:
        return "the server takes no packet of this size: raise its max_allowed_packet to 16M or more"
    if isinstance(error, ProgrammingError | DataError | IntegrityError):
        # Their messages quote the statement or its values: a session's key must not be found in logs.
        return f"the server refused the statement: error {code}"
    # The server's other messages name users and databases, never passwords.
    message = error.args[1] if code > 0 and len(error.args) > 1 else error
    return f"{message} ({code})" if code > 0 else str(message) or type(error).__name__
