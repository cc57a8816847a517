"""Records in PostgreSQL, or in what speaks its protocol and SQL."""

from fungible.stores.postgresql.store import PostgreSQLStore

__all__ = ["PostgreSQLStore"]
