"""The feed that tells every instance which sessions have ended, so that none goes by a snapshot of one."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

import msgspec

from fungible.stores.contract import Store

TOPIC: Final = "session-revocations"
QUIET_S: Final = 10.0
"""Without a request for that long an instance stops asking; the next request asks first."""


class Revocation(msgspec.Struct, frozen=True, array_like=True):
    """One ID that is dead from an instant on, in Unix seconds."""

    handle: str
    from_s: float
    forget_at: float


class _Follower:
    """What one event loop knows of the feed."""

    def __init__(self) -> None:
        self.cursor: str | None = None
        self.asked_at = float("-inf")
        self.used_at = float("-inf")
        self.asking: asyncio.Task[None] | None = None
        self.task: asyncio.Task[None] | None = None
        self.known: dict[str, Revocation] = {}


class Revocations:
    """Follows the feed in the background while there are requests, so that a request asks the store nothing.

    Args:
        store: Where the feed is.
        bound_s: What is known is never older than that many seconds; where the store does not answer, nobody is let in.
        keep_s: How long an entry matters: as long as a snapshot may be trusted.
    """

    def __init__(
        self,
        store: Store,
        *,
        bound_s: float,
        keep_s: float,
        now: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._bound_s = bound_s
        self._keep_s = keep_s
        self._now = now
        self._monotonic = monotonic
        self._followers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Follower] = WeakKeyDictionary()
        self._latest: tuple[weakref.ref[asyncio.AbstractEventLoop], _Follower] | None = None

    async def publish(self, handle: str, *, from_s: float) -> None:
        """Tells all instances that an ID is dead from an instant on."""
        keep_s = max(from_s - self._now(), 0) + self._keep_s
        item = msgspec.msgpack.encode(Revocation(handle, from_s, self._now() + keep_s))
        await self._store.append(TOPIC, item, ttl_s=keep_s)
        self._learn(self._follower(), item)

    async def is_revoked(self, handle: str) -> bool:
        """Whether the ID is dead, by what is known and no older than the bound.

        Raises:
            StoreUnavailableError: the feed could not be read for longer than the bound.
        """
        follower = self._follower()
        follower.used_at = came_at = self._monotonic()
        # The answer that others wait for already may have been asked for too early for us; the next one is not.
        for _ in range(2):
            if came_at - follower.asked_at > self._bound_s:
                await self._ask_together(follower)
        if follower.task is None or follower.task.done():
            follower.task = asyncio.create_task(self._follow(follower), name="fungible-session-revocations")
        found = follower.known.get(handle)
        return found is not None and found.from_s <= self._now()

    async def _follow(self, follower: _Follower) -> None:
        while self._monotonic() - follower.used_at < QUIET_S:
            await asyncio.sleep(self._bound_s / 3)
            try:
                await self._ask_together(follower)
            except Exception:  # noqa: S112 - the next request asks itself, and its caller is told
                continue

    def knows(self, handle: str) -> bool:
        """Whether the ID is known to be dead, now or soon. Asks nothing."""
        return handle in self._follower().known

    async def _ask_together(self, follower: _Follower) -> None:
        """Asks; who comes meanwhile shares the answer, or the failure: else each would wait for its own, in a row."""
        if follower.asking is None or follower.asking.done():
            follower.asking = asyncio.create_task(self._ask(follower), name="fungible-session-revocations-asked")
            # Seen to have failed, also where nobody waits any more.
            follower.asking.add_done_callback(lambda asked: asked.cancelled() or asked.exception())
        await asyncio.shield(follower.asking)

    async def _ask(self, follower: _Follower) -> None:
        # From before the question: what is appended while it is under way may be missing in the answer.
        asked_at = self._monotonic()
        page = await self._store.since(TOPIC, follower.cursor)
        for item in page.items:
            self._learn(follower, item)
        follower.cursor, follower.asked_at = page.cursor, asked_at
        now = self._now()
        for handle in [handle for handle, known in follower.known.items() if known.forget_at <= now]:
            del follower.known[handle]

    def _learn(self, follower: _Follower, item: bytes) -> None:
        revocation = msgspec.msgpack.decode(item, type=Revocation)
        known = follower.known.get(revocation.handle)
        if known is None or revocation.from_s < known.from_s:
            follower.known[revocation.handle] = revocation

    def _follower(self) -> _Follower:
        loop = asyncio.get_running_loop()
        if self._latest is not None and self._latest[0]() is loop:
            return self._latest[1]
        follower = self._followers.get(loop)
        if follower is None:
            follower = self._followers[loop] = _Follower()
        self._latest = (weakref.ref(loop), follower)
        return follower
