"""Opens a store by its URL."""

import importlib
from typing import Any, Final

from fungible.core.errors import MissingExtraError, SettingError
from fungible.core.urls import parse_home_url
from fungible.stores.contract import Store

# Scheme: module and class, and the extra that brings the driver's module. A class has
# `from_url(url: HomeURL, *, timeout_s: float) -> Store`, which opens no connection.
BACKENDS: Final[dict[str, tuple[str, str, str]]] = {
    "memory": ("fungible.stores.memory", "MemoryStore", ""),
    "sqlite": ("fungible.stores.sqlite", "SQLiteStore", ""),
    "postgresql": ("fungible.stores.postgresql", "PostgreSQLStore", "postgresql"),
    "mysql": ("fungible.stores.mysql", "MySQLStore", "mysql"),
    "redis": ("fungible.stores.redis", "RedisStore", "redis"),
    "rediss": ("fungible.stores.redis", "RedisStore", "redis"),
    "redis+unix": ("fungible.stores.redis", "RedisStore", "redis"),
    "redis+sentinel": ("fungible.stores.redis", "RedisStore", "redis"),
    "redis+cluster": ("fungible.stores.redis", "RedisStore", "redis"),
    "memcached": ("fungible.stores.memcached", "MemcachedStore", ""),
    "memcached+unix": ("fungible.stores.memcached", "MemcachedStore", ""),
}
ALIASES: Final = {
    "postgres": "postgresql",
    "mariadb": "mysql",
    # As redis-py and valkey-py have it.
    "unix": "redis+unix",
    "valkey": "redis",
    "valkeys": "rediss",
    **{f"valkey+{form}": f"redis+{form}" for form in ("unix", "sentinel", "cluster")},
}


def open_store(url: str, *, timeout_s: float = 2.0) -> Store:
    """The store at a URL. Opens no connection: the first use does, and `ping` tries it.

    Args:
        url: `memory:`, `sqlite:///path`, `postgresql://user:password@host/database`, `mysql://…`, `redis://host:6379/0`,
            `rediss://…`, `redis+unix:///run/redis.sock`, `redis+sentinel://host,host/name`, `redis+cluster://host,host`,
            `memcached://host` or `memcached+unix:///run/memcached.sock`; `valkey` may stand for `redis`.
        timeout_s: Deadline of every operation, in seconds; `?timeout_s=` in the URL goes before.
    Raises:
        SettingError: the URL can't be read, or has a scheme or an option that does not exist.
        MissingExtraError: the backend's driver is not installed.
    """
    parsed = parse_home_url(url)
    scheme = ALIASES.get(parsed.scheme, parsed.scheme)
    if scheme not in BACKENDS:
        raise SettingError(f"no store has the scheme {parsed.scheme!r}; there are: {', '.join(BACKENDS)}")
    module, name, extra = BACKENDS[scheme]
    try:
        backend: Any = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if not extra or missing == "fungible":
            raise
        raise MissingExtraError(needed_by=f"{scheme}:", extra=extra, module=missing) from error
    parsed = parsed._replace(scheme=scheme)
    store: Store = backend.from_url(parsed, timeout_s=parsed.seconds("timeout_s", timeout_s))
    return store
