"""A ring that is read from elsewhere in the background, so that neither issuing nor verifying ever waits for it."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from fungible.core import bridge
from fungible.core.errors import FungibleError, SettingError
from fungible.core.leases import elapsed_s
from fungible.stores.errors import StoreUnavailableError
from fungible.tokens.key import Key
from fungible.tokens.keys import KeySet, VerifyingKeys, key_set

log = logging.getLogger("fungible.tokens")

LEAST_GAP_S: Final = 10.0
"""Seconds between two readings at the least, where the usual time between two is longer."""
NOTHING: Final = key_set((), 0.0, until=-math.inf)


class ReloadedKeys(VerifyingKeys):
    """What the rings in a store and at a URL have in common.

    What is known is never older than `bound_s`. A task reads it again every `reload_s` for as long as its event loop
    runs; where that fails for `bound_s`, nothing is signed or verified, until it succeeds. A thread without an event
    loop reads by itself when what is known is too old.
    """

    def __init__(
        self,
        *,
        reload_s: float,
        bound_s: float,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = elapsed_s,
    ) -> None:
        if not 0 < reload_s < bound_s:
            raise SettingError(f"reload_s={reload_s!r} must be above 0 s and below bound_s={bound_s!r}")
        self._all: Sequence[Key] = ()
        self._now = now
        self._set = NOTHING
        self._reload_s = reload_s
        self._bound_s = bound_s
        self._monotonic = monotonic
        self._asked_at = -math.inf
        self._task: asyncio.Task[None] | None = None
        self._wanted: asyncio.Event | None = None
        self._pid = os.getpid()

    @abstractmethod
    async def _fetch(self) -> Sequence[Key]:
        """The keys as they are now, elsewhere."""

    def missed(self, kid: str) -> None:
        """A token names a key that is not known: the keys are read again, a few times a minute at most."""
        self._hurry()

    async def load(self) -> None:
        """Reads the keys, unless they are known, and goes on to read them as long as this event loop runs.

        Raises:
            StoreUnavailableError: they can't be read.
            SettingError: they can be read, and not be used.
        """
        if self._monotonic() - self._asked_at > self._reload_s:
            await self._read()
        self._follow_here()

    async def aclose(self) -> None:
        """Ends the reading. What is known serves on until it is too old."""
        task, self._task = self._task, None
        if task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait([task])

    async def _read(self) -> None:
        # From before the question: what changes while it is under way may be missing in the answer.
        asked_at = self._monotonic()
        self._learn(await self._fetch(), asked_at)

    def _learn(self, keys: Sequence[Key], asked_at: float) -> None:
        if asked_at < self._asked_at:
            return
        # A key that stays is the same object, so that what was prepared for it stays good.
        former = {(key.kid, key.activates_at, key.expires_at): key for key in self._all}
        self._all = tuple(former.get((key.kid, key.activates_at, key.expires_at), key) for key in keys)
        self._asked_at = asked_at
        self._set = self._made(self._now())

    def _made(self, now: float) -> KeySet:
        left_s = self._bound_s - (self._monotonic() - self._asked_at)
        return key_set(self._all, now, until=now + left_s)

    def _look(self, now: float) -> KeySet:
        if self._monotonic() - self._asked_at >= self._bound_s:
            self._too_old()
        self._set = self._made(now)
        return self._set

    def _too_old(self) -> None:
        """Reads where this thread may wait for it; else sees to it that it is read, and refuses for the moment."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            bridge.run(self.load())
            return
        self._follow_here()
        self._hurry()
        never = math.isinf(self._asked_at)
        raise StoreUnavailableError(
            home=self.home,
            reason="its keys are not read yet: `await keys.load()` when the application starts"
            if never
            else f"its keys could not be read for {self._monotonic() - self._asked_at:.0f} s",
        )

    def _follow_here(self) -> None:
        """Sees to it that one task reads, on an event loop that runs."""
        loop = asyncio.get_running_loop()
        task = self._own_task()
        if task is None or task.done() or not task.get_loop().is_running():
            self._wanted = asyncio.Event()
            self._pid = os.getpid()
            self._task = loop.create_task(self._follow(self._wanted), name="fungible-reads-keys")

    def _own_task(self) -> asyncio.Task[None] | None:
        """The task that reads; not that of the process that this one was forked from."""
        return self._task if self._pid == os.getpid() else None

    def _hurry(self) -> None:
        """Has the keys read soon, from whatever thread."""
        task, wanted = self._own_task(), self._wanted
        if task is not None and wanted is not None and not wanted.is_set():
            # A loop that was closed reads no more: whoever needs the keys next starts another task.
            with suppress(RuntimeError):
                task.get_loop().call_soon_threadsafe(wanted.set)

    async def _follow(self, wanted: asyncio.Event) -> None:
        while True:
            # Not by wait_for, which in Python 3.11 may lose a cancellation that comes with the event.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._reload_s):
                    await wanted.wait()
            wanted.clear()
            try:
                await self._read()
            except FungibleError as error:
                log.warning("the keys at %s could not be read: %s", self.home, error)
            except Exception:
                log.exception("the keys at %s could not be read", self.home)
            # So often at most, however often it is asked for: anybody can send tokens that name unknown keys.
            await asyncio.sleep(min(self._reload_s / 2, LEAST_GAP_S))
