"""A pool for each event loop that uses a store."""

import asyncio
import os
from collections.abc import Callable

from fungible.stores.postgresql.pool import Pool


class Pools:
    """The pools of one store."""

    def __init__(self, make: Callable[[], Pool]) -> None:
        self._make = make
        self._pools: dict[asyncio.AbstractEventLoop, Pool] = {}
        self._used_last: Pool | None = None
        self._pid = os.getpid()
        self._left_behind: list[object] = []

    def current(self) -> Pool:
        """The pool of the running event loop."""
        pool = self._used_last
        if pool is not None and pool.loop is asyncio.get_running_loop() and self._pid == os.getpid():
            return pool
        return self._find()

    async def aclose(self) -> None:
        """Closes the pool of the running event loop; the next use makes a new one."""
        if self._pid != os.getpid():
            return
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        self._used_last = None
        if pool is not None:
            await pool.aclose()

    def _find(self) -> Pool:
        if self._pid != os.getpid():
            # After a fork they are our parent's connections. Even to close one would write to its socket and take it
            # out of its selector, which is shared too: so they are kept as they are, for good.
            self._left_behind += [self._pools, self._used_last]
            self._pools, self._used_last, self._pid = {}, None, os.getpid()
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            # What belongs to a loop that was closed can't be closed any more but by letting go of it. In place, since
            # another thread may be here for its loop.
            for other in list(self._pools):
                if other.is_closed():
                    self._pools.pop(other, None)
            pool = self._pools[loop] = self._make()
        self._used_last = pool
        return pool
