"""What the numbers and states of SQL servers' errors mean, whichever driver has brought them."""

from typing import Final

POSTGRESQL_ROLLED_BACK: Final = frozenset({"40001", "40P01"})
"""SQLSTATEs after which nothing of the transaction has happened, at a statement or at COMMIT: it could not be put in an
order with others (serialization failure), or was the victim of a deadlock."""

MYSQL_ROLLED_BACK: Final = frozenset({1213, 1205, 1020, 3101, 8002, 8005, 8022, 8028, 9007})
"""The same of MySQL: a deadlock, which Galera also says of a transaction that another node was first with, at any
statement and at COMMIT; a row's lock that was not had in time; a row that has changed since the transaction's snapshot;
Group Replication's refusal at COMMIT; and what TiDB has of the kind (its table of error codes)."""

MYSQL_WRONG_SERVER: Final = frozenset({1047, 1290, 1792, 1836})
"""The server takes no writes, or has left its cluster (Galera: 1047), and has done nothing: another may."""
