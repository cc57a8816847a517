"""A feed, followed in the background while there is use for it, so that a request asks the store nothing."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable
from typing import Final, Generic, TypeVar
from weakref import WeakKeyDictionary

from fungible.core.leases import elapsed_s
from fungible.core.log import RepeatedWarning
from fungible.stores.contract import Store

LOGGER: Final = logging.getLogger("fungible.stores")
T = TypeVar("T")

QUIET_S: Final = 10.0
"""Without a use for that long an instance stops asking; the next use asks first."""


class _Follower(Generic[T]):
    """What one event loop knows of the feed."""

    def __init__(self, known: T) -> None:
        self.known = known
        self.cursor: str | None = None
        self.asked_at = float("-inf")
        self.used_at = float("-inf")
        self.asking: asyncio.Task[None] | None = None
        self.task: asyncio.Task[None] | None = None


class Following(Generic[T]):
    """What is known of a feed, and never older than a bound.

    Args:
        store: Where the feed is.
        topic: Its name.
        bound_s: What is known is never older than that many seconds. Where the store does not answer, nothing is known.
        begin: Makes what is known before the first item: a dict, or an object of the caller's. One an event loop.
        learn: Takes an item into what is known. Items may come twice. It may raise whatever it likes for one that it
            can't read, as a later release may have written it: such an item is passed over, logged, and told to `skip`.
        skip: Is told that an item could not be read: from now on what is known must not be taken for all there is.
        tidy: Forgets what no longer matters; called after each answer of the store.
    """

    def __init__(
        self,
        store: Store,
        topic: str,
        *,
        bound_s: float,
        begin: Callable[[], T],
        learn: Callable[[T, bytes], None],
        skip: Callable[[T], None],
        tidy: Callable[[T], None] | None = None,
        monotonic: Callable[[], float] = elapsed_s,
    ) -> None:
        self._store = store
        self._topic = topic
        self._bound_s = bound_s
        self._begin = begin
        self._learn = learn
        self._skip = skip
        self._unread = RepeatedWarning(LOGGER, monotonic=monotonic)
        self._tidy = tidy
        self._monotonic = monotonic
        self._followers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Follower[T]] = WeakKeyDictionary()
        self._latest: tuple[weakref.ref[asyncio.AbstractEventLoop], _Follower[T]] | None = None

    def latest(self) -> T:
        """What is known here, however old. Asks nothing."""
        return self._here().known

    def fresh(self) -> T | None:
        """What is known here, if it is followed and no older than the bound; else None. Asks nothing."""
        follower = self._here()
        now = self._monotonic()
        if now - follower.asked_at > self._bound_s or follower.task is None or follower.task.done():
            return None
        follower.used_at = now
        return follower.known

    async def known(self) -> T:
        """What is known, no older than the bound.

        Raises:
            StoreUnavailableError: the feed could not be read for longer than the bound.
        """
        follower = self._here()
        follower.used_at = came_at = self._monotonic()
        # The answer that others wait for already may have been asked for too early for us; the next one is not.
        for _ in range(2):
            if came_at - follower.asked_at > self._bound_s:
                await self._ask_together(follower)
        if follower.task is None or follower.task.done():
            follower.task = asyncio.create_task(self._follow(follower), name=f"fungible-follows-{self._topic}")
        return follower.known

    async def _follow(self, follower: _Follower[T]) -> None:
        while self._monotonic() - follower.used_at < QUIET_S:
            await asyncio.sleep(self._bound_s / 3)
            try:
                await self._ask_together(follower)
            except Exception:  # noqa: S112 - the next request asks itself, and its caller is told
                continue

    async def _ask_together(self, follower: _Follower[T]) -> None:
        """Asks; who comes meanwhile shares the answer, or the failure: else each would wait for its own, in a row."""
        if follower.asking is None or follower.asking.done():
            follower.asking = asyncio.create_task(self._ask(follower), name=f"fungible-asks-{self._topic}")
            # Seen to have failed, also where nobody waits any more.
            follower.asking.add_done_callback(lambda asked: asked.cancelled() or asked.exception())
        await asyncio.shield(follower.asking)

    async def _ask(self, follower: _Follower[T]) -> None:
        # From before the question: what is appended while it is under way may be missing in the answer.
        asked_at = self._monotonic()
        page = await self._store.since(self._topic, follower.cursor)
        for item in page.items:
            try:
                self._learn(follower.known, item)
            except Exception as error:
                # By itself: what stands behind it in the feed must be learnt all the same, on each instance.
                self._skip(follower.known)
                self._unread.warn(
                    self._topic,
                    f"an item of the feed {self._topic!r} at {self._store.home} can't be read by this release, and may "
                    f"be about anything: {error!r}. Most likely a later release runs beside this one",
                )
        follower.cursor, follower.asked_at = page.cursor, asked_at
        if self._tidy is not None:
            self._tidy(follower.known)

    def _here(self) -> _Follower[T]:
        loop = asyncio.get_running_loop()
        if self._latest is not None and self._latest[0]() is loop:
            return self._latest[1]
        follower = self._followers.get(loop)
        if follower is None:
            follower = self._followers[loop] = _Follower(self._begin())
        self._latest = (weakref.ref(loop), follower)
        return follower
