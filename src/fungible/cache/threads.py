"""The cache for callers that block: they wait in their own thread, and compute in it too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from fungible.cache.policy import Policy
from fungible.core.bridge import run
from fungible.core.errors import FungibleError

if TYPE_CHECKING:
    from fungible.cache.cache import Cache

WAITS_S: Final = 3600.0
"""How long a thread waits for another's computation. What is stuck is given up by its lease long before."""


class ComputationGivenUpError(FungibleError):
    """The thread that computed a value was interrupted: whoever waits for it computes it next."""

    code = "computation_given_up"


class _Order:
    """A computation that a thread is asked for: threads have connections and locals of their own, which it may need."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.placed: asyncio.Future[None] = loop.create_future()
        self.filled: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
        self.asking: asyncio.Task[Any] | None = None

    async def compute(self) -> Any:
        """Places the order, and gives what the thread has made."""
        if not self.placed.done():
            self.placed.set_result(None)
        value, error = await asyncio.shield(self.filled)
        if error is not None:
            raise error
        return value

    def fill(self, value: Any, error: BaseException | None) -> None:
        """What the thread has made, or why it has not."""
        if not self.filled.done():
            self.filled.set_result((value, error))

    async def result(self, value: Any, error: BaseException | None) -> Any:
        """The value as it is kept, or the error."""
        self.fill(value, error)
        assert self.asking is not None
        return await self.asking


class Threads:
    """Asks a cache from threads without an event loop."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def value(self, key: str, compute: Callable[[], Any], policy: Policy) -> Any:
        """The value, which this thread computes if it is the first that needs it.

        Raises:
            BridgeError: an event loop runs in this thread, which would have to wait.
        """
        found = run(self._begin(key, compute, policy), timeout_s=WAITS_S)
        if not isinstance(found, _Order):
            return found[0]
        try:
            value = compute()
        except Exception as error:
            return run(found.result(None, error), timeout_s=WAITS_S)
        except BaseException:
            # Not another's to have: it interrupts this thread.
            run(self._give_up(found))
            raise
        return run(found.result(value, None), timeout_s=WAITS_S)

    def invalidate(self, key: str) -> None:
        """Ends the value under a key."""
        run(self._cache.invalidate(key))

    async def _begin(self, key: str, compute: Callable[[], Any], policy: Policy) -> tuple[Any] | _Order:
        order = _Order()

        async def refresh() -> Any:
            # In the background nobody's thread is there to do it.
            return await asyncio.to_thread(compute)

        order.asking = asyncio.create_task(self._cache.value(key, order.compute, policy, refresh=refresh))
        try:
            await asyncio.wait({order.asking, order.placed}, return_when=asyncio.FIRST_COMPLETED)
        except BaseException as error:
            order.fill(None, ComputationGivenUpError(f"the thread that asked was interrupted: {error!r}"))
            order.asking.cancel()
            raise
        return (order.asking.result(),) if order.asking.done() else order

    async def _give_up(self, order: _Order) -> None:
        order.fill(None, ComputationGivenUpError("the thread that computed this value was interrupted"))
        if order.asking is not None:
            await asyncio.wait({order.asking})
            if not order.asking.cancelled():
                order.asking.exception()
