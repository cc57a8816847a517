"""Feeds: an item with what was appended last, and further ones with what it has no room for any more."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from typing import Final

from fungible.stores.contract import Page
from fungible.stores.errors import InvalidRecordError, RecordTooLargeError
from fungible.stores.memcached.updating import Items, Write
from fungible.stores.memcached.values import (
    FEED,
    SEGMENT,
    KeptFeed,
    KeptItem,
    KeptSegment,
    decoded,
    encoded,
    exptime,
    name_of,
)

CURSOR: Final = re.compile(r"([0-9a-f]{16}):([0-9]{1,19})")


class Feeds:
    """The feeds of one store.

    To append is one compare-and-set of the newest item. Where that is full, what it holds is written as a segment, under a
    name that nobody else has, and then the compare-and-set puts that name in its place: who reads finds each item in one
    of the two.
    """

    def __init__(self, items: Items, *, now: Callable[[], float]) -> None:
        self._items = items
        self._now = now

    async def append(self, topic: str, item: bytes, *, ttl_s: float) -> None:
        """Adds an item."""
        drawn = os.urandom(8).hex()
        found = KeptFeed(topic, drawn, 0, [])
        moved: tuple[str, KeptSegment] | None = None

        def append(value: bytes | None) -> Write:
            nonlocal found
            now = self._now()
            feed = decoded(value, topic, KeptFeed) or KeptFeed(topic, drawn, 0, [])
            items = [kept for kept in feed.items if kept.expires_at > now]
            older = [segment for segment in feed.older if segment.expires_at > now]
            found = KeptFeed(topic, feed.epoch, feed.last, items, older)
            # Another instance may have moved the same meanwhile: then ours is not needed.
            if moved is not None and moved[0] == feed.epoch and items and items[0].number <= moved[1].last:
                items = [kept for kept in items if kept.number > moved[1].last]
                older = [*older, moved[1]]
            items = [*items, KeptItem(feed.last + 1, now + ttl_s, item)]
            longest = max(kept.expires_at for kept in (*items, *older))
            return Write(encoded(KeptFeed(topic, feed.epoch, feed.last + 1, items, older)), exptime(longest, now))

        while True:
            try:
                await self._items.update(topic, name_of(FEED, topic), append)
                return
            except RecordTooLargeError:
                # What is refused without the others, too, is too large by itself.
                if not found.items or (moved is not None and moved[1].last == found.last):
                    raise
                moved = (found.epoch, await self._moved(found))

    async def since(self, topic: str, cursor: str | None) -> Page:
        """The live items after the cursor."""
        seen = CURSOR.fullmatch(cursor or f"{'0' * 16}:0")
        if seen is None:
            raise InvalidRecordError(f"this is no cursor of this store: {cursor!r}")
        feed = decoded(await self._items.read(name_of(FEED, topic)), topic, KeptFeed)
        if feed is None:
            return Page((), seen[0])
        # A feed that was lost, or has expired, begins anew: then whatever it has was not seen yet.
        number, now = int(seen[2]) if feed.epoch == seen[1] else 0, self._now()
        unseen = [segment for segment in feed.older if segment.last > number and segment.expires_at > now]
        items: list[bytes] = []
        for kept in (*await asyncio.gather(*map(self._segment, unseen)), feed.items):
            for each in kept:
                # Two instances that have moved the same at once have both kept it.
                if each.number > number:
                    number = each.number
                    if each.expires_at > now:
                        items.append(each.item)
        return Page(tuple(items), f"{feed.epoch}:{feed.last}")

    async def _moved(self, feed: KeptFeed) -> KeptSegment:
        """A segment with what the feed's newest item holds."""
        name, expires_at = os.urandom(16).hex(), max(kept.expires_at for kept in feed.items)
        value = encoded(KeptFeed(name, feed.epoch, feed.last, feed.items))
        await self._items.update(name, name_of(SEGMENT, name), lambda _: Write(value, exptime(expires_at, self._now())))
        return KeptSegment(name, feed.last, expires_at)

    async def _segment(self, segment: KeptSegment) -> list[KeptItem]:
        kept = decoded(await self._items.read(name_of(SEGMENT, segment.name)), segment.name, KeptFeed)
        return [] if kept is None else kept.items
