"""Records in Memcached, which all instances share: fast, and forgetful."""

from fungible.stores.memcached.store import MemcachedStore

__all__ = ["MemcachedStore"]
