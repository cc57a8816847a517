"""What is at the other end of a connection, by its own variables, and whether the store can be kept there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from fungible.core.errors import SettingError

# SHOW names what is there, and makes no error of what is not: each of these is unknown to some server.
VARIABLES: Final = """
SHOW SESSION VARIABLES WHERE Variable_name IN (
    'version', 'read_only', 'innodb_read_only', 'wsrep_on', 'transaction_isolation', 'tx_isolation'
)
"""
SHARDS: Final = "SHOW VITESS_SHARDS"
# Strict: what does not fit is an error, never cut to fit. The rest of a server's own mode is not taken over: it can change
# in which order assignments are made, for one thing. Notes (that a table exists) would each cost a round trip. And since
# a statement that waits for a lock does not end with its connection, it must give up by itself when we do.
SESSION: Final = """
SET SESSION
    sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION',
    time_zone = '+00:00', sql_notes = 0, innodb_lock_wait_timeout = {wait_s}, lock_wait_timeout = {wait_s},
    {isolation} = 'READ-COMMITTED'
"""
# A node of a Galera cluster answers from what it has applied, which is behind what other nodes have acknowledged. So it is
# told to wait, before it reads (1) and before an UPDATE or DELETE (2), which would find no row and change none. An INSERT
# need not wait: what it writes beside a row not yet seen is refused when it is committed, and done again.
IN_STEP: Final = ", wsrep_sync_wait = @@wsrep_sync_wait | 3"
OLDEST_MARIADB: Final = (10, 6)
OLDEST_MYSQL: Final = (8, 0)
NUMBERS: Final = re.compile(r"(?:5\.5\.5-)?(\d+)\.(\d+)")


class Server(NamedTuple):
    """A server, as it describes itself."""

    version: str = ""
    read_only: bool = False
    is_galera: bool = False
    isolation: str = "transaction_isolation"
    """Its name for the variable that holds the isolation level."""

    @property
    def is_mariadb(self) -> bool:
        """Whether it understands RETURNING, as MySQL does not."""
        return "mariadb" in self.version.lower()

    @property
    def may_be_sharded(self) -> bool:
        """Whether it stands for many servers, of which each has a part of the rows."""
        return "vitess" in self.version.lower()

    def session(self, *, wait_s: int) -> str:
        """The statement that makes a session's settings; in it a statement waits for a lock for so many seconds."""
        return SESSION.format(wait_s=wait_s, isolation=self.isolation) + (IN_STEP if self.is_galera else "")

    def refuse_too_old(self, *, home: str) -> None:
        """Refuses a server that lacks what the statements need.

        Raises:
            SettingError: it does.
        """
        numbers = NUMBERS.match(self.version)
        # TiDB says which MySQL it resembles, and that may be an older one.
        if numbers is None or "tidb" in self.version.lower():
            return
        oldest = OLDEST_MARIADB if self.is_mariadb else OLDEST_MYSQL
        if (int(numbers[1]), int(numbers[2])) < oldest:
            raise SettingError(
                f"the server at {home} is too old, {self.version}: use MariaDB 10.6, MySQL 8.0, or a newer one"
            )


def described(rows: Iterable[Sequence[Any]]) -> Server:
    """The server whose answer to `VARIABLES` this is."""
    values = {str(name).lower(): str(value) for name, value in rows}
    return Server(
        version=values.get("version", ""),
        # MariaDB 12 has other words than ON.
        read_only=any(values.get(name, "OFF").upper() != "OFF" for name in ("read_only", "innodb_read_only")),
        is_galera=values.get("wsrep_on", "OFF").upper() == "ON",
        isolation="tx_isolation" if "transaction_isolation" not in values else "transaction_isolation",
    )


def refuse_shards(rows: Sequence[Sequence[Any]], *, database: str, home: str) -> None:
    """Refuses a keyspace of Vitess whose rows are spread over several shards.

    Args:
        rows: The answer to `SHARDS`: `keyspace/shard` each.
    Raises:
        SettingError: there are several.
    """
    keyspace = database.partition("@")[0].partition(":")[0]
    shards = [name for (name, *_) in rows if str(name).partition("/")[0] == keyspace]
    if len(shards) > 1:
        raise SettingError(
            f"the keyspace at {home} is sharded: there the server does not compare, add and answer in one statement, on "
            "which the store relies; name an unsharded keyspace, or another database"
        )
