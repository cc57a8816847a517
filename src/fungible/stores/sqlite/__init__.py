"""Records in one SQLite file, which the processes of one machine share."""

from fungible.stores.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
