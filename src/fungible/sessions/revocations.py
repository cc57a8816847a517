"""The feed that tells every instance which sessions have ended, so that none goes by a snapshot of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from fungible.core.leases import elapsed_s
from fungible.stores.contract import Store
from fungible.stores.following import Following

TOPIC: Final = "session-revocations"
TOLD_AGAIN_AFTER_S: Final = 10.0
"""What took longer to take effect is told once more then, as it must be known for as long as copies of just before are
trusted."""


class Revocation(msgspec.Struct, frozen=True, array_like=True):
    """One ID that is dead from an instant on, in Unix seconds.

    A later release may add members at the end, which are passed over here, or write items of another form: these make
    this release ask the store for each session, for as long as a copy that was taken before may be trusted.
    """

    handle: str
    from_s: float
    forget_at: float


class Revocations:
    """Which IDs are dead, as the feed tells.

    Args:
        store: Where the feed is.
        bound_s: What is known is never older than that many seconds; where the store does not answer, nobody is let in.
        keep_s: How long an entry matters from when it takes effect: as long as a copy of just before may be trusted.
    """

    def __init__(
        self,
        store: Store,
        *,
        bound_s: float,
        keep_s: float,
        now: Callable[[], float],
        monotonic: Callable[[], float] = elapsed_s,
    ) -> None:
        self._store = store
        self._keep_s = keep_s + TOLD_AGAIN_AFTER_S
        self._now = now
        self._blind_until = 0.0
        self._feed: Following[dict[str, Revocation]] = Following(
            store,
            TOPIC,
            bound_s=bound_s,
            begin=dict,
            learn=_learn,
            skip=self._go_blind,
            tidy=self._forget,
            monotonic=monotonic,
        )

    async def publish(self, handle: str, *, from_s: float) -> None:
        """Tells all instances that an ID is dead from an instant on."""
        keep_s = max(from_s - self._now(), 0) + self._keep_s
        item = msgspec.msgpack.encode(Revocation(handle, from_s, self._now() + keep_s))
        # Here it is known in any case: a store that is full may still delete.
        _learn(self._feed.latest(), item)
        await self._store.append(TOPIC, item, ttl_s=keep_s)

    async def is_revoked(self, handle: str) -> bool:
        """Whether the ID is dead, now or soon, by what is known and no older than the bound; or may be: the store has to say.

        Soon: what a rotated ID still shows for a while is the store's to say, so that it is known to be a rotated one.

        Raises:
            StoreUnavailableError: the feed could not be read for longer than the bound.
        """
        found = handle in await self._feed.known()
        return found or self._is_blind()

    def says(self, handle: str) -> bool | None:
        """The same without asking the store; None where that has to be asked."""
        known = self._feed.fresh()
        if known is None or (self._blind_until and self._is_blind()):
            return None
        return handle in known

    def knows(self, handle: str) -> bool:
        """Whether the ID is known to be dead, now or soon. Asks nothing."""
        return handle in self._feed.latest()

    def _go_blind(self, _known: object) -> None:
        """An item could not be read: it may be about any session of which a copy was taken before now."""
        self._blind_until = self._now() + self._keep_s

    def _is_blind(self) -> bool:
        return self._now() < self._blind_until

    def _forget(self, known: dict[str, Revocation]) -> None:
        now = self._now()
        for handle in [handle for handle, revocation in known.items() if revocation.forget_at <= now]:
            del known[handle]


def _learn(known: dict[str, Revocation], item: bytes) -> None:
    revocation = msgspec.msgpack.decode(item, type=Revocation)
    standing = known.get(revocation.handle)
    if standing is not None:
        # Told twice: dead from the first instant, and known for as long as either says.
        from_s = min(revocation.from_s, standing.from_s)
        revocation = Revocation(revocation.handle, from_s, max(revocation.forget_at, standing.forget_at))
    known[revocation.handle] = revocation
