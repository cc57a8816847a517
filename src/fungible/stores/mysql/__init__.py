"""Records in MariaDB (10.6 and later) or MySQL (8.0 and later), which all instances share."""

from fungible.stores.mysql.store import MySQLStore

__all__ = ["MySQLStore"]
