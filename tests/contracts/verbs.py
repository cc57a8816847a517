"""All the verbs of a store, to be tried one after another."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from fungible.stores import (
    Rate,
    Record,
    Store,
)

HOURLY = Rate(limit=1000, period_s=3600)


def every_verb(store: Store) -> dict[str, Callable[[], Awaitable[Any]]]:
    record = Record("s", {"a": b"1"}, time.time() + 60, bytes(8))
    return {
        "get": lambda: store.get("s"),
        "put": lambda: store.put("s", {"a": b"1"}, ttl_s=60),
        "change": lambda: store.change(record, {"a": b"2"}),
        "delete": lambda: store.delete("s"),
        "touch": lambda: store.touch("s", ttl_s=60),
        "take": lambda: store.take("s", HOURLY),
        "append": lambda: store.append("s", b"1", ttl_s=60),
        "since": lambda: store.since("s"),
        "ping": lambda: store.ping(),
    }
