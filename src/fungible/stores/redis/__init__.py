"""Records in Redis: alone, watched by Sentinel, or as a Cluster."""

from fungible.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
