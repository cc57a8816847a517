"""Computed values and responses that all instances share."""

from fungible.cache.cache import Cache
from fungible.cache.functions import AsyncCached, SyncCached, cached
from fungible.cache.middleware import CacheMiddleware
from fungible.cache.near import NearCache
from fungible.cache.policy import Counts

__all__ = ["AsyncCached", "Cache", "CacheMiddleware", "Counts", "NearCache", "SyncCached", "cached"]
