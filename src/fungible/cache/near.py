"""Values kept in the process beside the store, so that a hit asks nothing; a feed tells each instance what to drop."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct

from fungible.cache.entries import Meta
from fungible.core.errors import SettingError

KEPT_AT_MOST_S: Final = 60.0
"""A value is asked for anew after that, however long it is fresh: so long the feed has to remember what to drop."""
FEED_S: Final = 2 * KEPT_AT_MOST_S
OVERHEAD_BYTES: Final = 400
"""What an entry takes beside its key and its bytes, roughly."""


class NearCache(Struct, frozen=True, kw_only=True):
    """Settings of a near-cache.

    Raises:
        SettingError: a number is not above 0.
    """

    max_bytes: int = 32 << 20
    """What all its values in one process take at most; those not used for longest go first."""
    bound_s: float = 1.0
    """An invalidation is seen by every instance within that many seconds."""

    def __post_init__(self) -> None:
        if self.max_bytes < 1 or not 0 < self.bound_s < KEPT_AT_MOST_S:
            raise SettingError(
                f"a near-cache needs max_bytes of 1 or more and a bound_s above 0 and below {KEPT_AT_MOST_S:g}: {self}"
            )


class Dropped(Struct, frozen=True, array_like=True):
    """An item of the feed: the name of a value's record, or that of a tag's."""

    name: str


class NearEntry(Struct, frozen=True):
    """One value, until when it may be used, and what drops it beside its own name."""

    value: bytes
    meta: Meta
    until: float
    fresh_until: float
    tags: tuple[str, ...]
    size_bytes: int


class Near:
    """The values of one event loop, those used last at the end."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, NearEntry] = OrderedDict()
        self._by_tag: dict[str, set[str]] = {}
        self.size_bytes = 0
        self.learned = 0
        """How much was told so far: a value that was read before something was told may not be kept after it."""

    def get(self, name: str, now: float) -> NearEntry | None:
        """The value, if it may still be used."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        if entry.until <= now:
            self.forget(name)
            return None
        self._entries.move_to_end(name)
        return entry

    def keep(self, name: str, value: bytes, meta: Meta, *, fresh_until: float, now: float, tags: Iterable[str]) -> None:
        """Keeps a value; for as long as it is fresh, and no longer than the feed remembers."""
        self.forget(name)
        size_bytes = len(name) + len(value) + OVERHEAD_BYTES
        until = min(fresh_until, now + KEPT_AT_MOST_S)
        if until <= now or size_bytes > self._max_bytes:
            return
        entry = NearEntry(value, meta, until, fresh_until, tuple(tags), size_bytes)
        self._entries[name] = entry
        self.size_bytes += size_bytes
        for tag in entry.tags:
            self._by_tag.setdefault(tag, set()).add(name)
        while self.size_bytes > self._max_bytes:
            self.forget(next(iter(self._entries)))

    def drop(self, name: str) -> None:
        """Forgets a value, or all with a tag."""
        self.learned += 1
        self.forget(name)
        for tagged in self._by_tag.pop(name, ()):
            self.forget(tagged)

    def forget(self, name: str) -> None:
        """Forgets a value here; what was told about it does not count."""
        entry = self._entries.pop(name, None)
        if entry is None:
            return
        self.size_bytes -= entry.size_bytes
        for tag in entry.tags:
            tagged = self._by_tag.get(tag)
            if tagged is not None:
                tagged.discard(name)
                if not tagged:
                    del self._by_tag[tag]

    def forget_all(self) -> None:
        """Something was told, and nobody knows about what: nothing may be served against it."""
        self.learned += 1
        self._entries.clear()
        self._by_tag.clear()
        self.size_bytes = 0


_decode: Final = msgspec.msgpack.Decoder(Dropped).decode
_encode: Final = msgspec.msgpack.Encoder().encode


def dropped(name: str) -> bytes:
    """An item of the feed."""
    return _encode(Dropped(name))


def learn(near: Near, item: bytes) -> None:
    """Takes an item of the feed into what is known.

    Raises:
        msgspec.DecodeError: a later release has written it.
    """
    near.drop(_decode(item).name)
