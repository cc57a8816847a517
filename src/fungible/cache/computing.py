"""One computation from the taking of its lease to the storing of its value."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final

from fungible.cache.entries import Kind, Meta, lease_of
from fungible.cache.flights import Flight, Here, Outcome
from fungible.cache.leases import PASS_S, Claim, Leases
from fungible.cache.policy import NOTHING, Counts, Look, Policy, judged
from fungible.cache.tags import Tags
from fungible.stores.errors import RecordTooLargeError, StoreUnavailableError

LOGGER: Final = logging.getLogger("fungible.cache")
FIRST_PAUSE_S: Final = 0.01
LONGEST_PAUSE_S: Final = 0.5
GROWTH: Final = 1.6
NEWER_S: Final = 0.05
Compute = Callable[[], Awaitable[Any]]

under_way: ContextVar[frozenset[tuple[int, str]]] = ContextVar("fungible_cache_under_way", default=frozenset())
"""The computations that this task is part of: cache and name of each. One of them must not wait for itself."""


class Computing:
    """Computes values for one cache."""

    def __init__(self, leases: Leases, tags: Tags, counts: Counts) -> None:
        self._leases = leases
        self._tags = tags
        self.counts = counts
        self._said_too_large = False

    async def read(self, here: Here, name: str, policy: Policy) -> Look:
        """What the store has for the name.

        Raises:
            StoreUnavailableError: it does not answer.
        """
        as_of, leases = here.turn(), self._leases
        if policy.tags:
            record, versions = await leases.ask(self._tags.read_with(name, policy.tags))
            return judged(Look(as_of, record, versions), policy.codec, leases.now())
        try:
            record = await leases.backend.get(name)
        except StoreUnavailableError as error:
            leases.circuit.failed(error)
            raise
        if leases.circuit.has_failed:
            leases.circuit.answered()
        return judged(Look(as_of, record, ()), policy.codec, leases.now())

    async def fly(
        self, here: Here, name: str, flight: Flight, compute: Compute, policy: Policy, look: Look, *, background: bool
    ) -> None:
        """Computes, or waits for another instance that does, and tells all who wait.

        Args:
            look: What was found before.
            background: Whether nobody waits: then what another instance computes is left to it.
        """
        outcome: Outcome | None = None
        try:
            outcome = await self._led(here, name, flight, compute, policy, look, background)
        except Exception as error:
            outcome = Outcome(here.turn(), error=error)
        finally:
            if here.flights.get(name) is flight:
                del here.flights[name]
            if outcome is None:
                # This event loop ends, and all who wait with it.
                flight.ended.cancel()
            elif not flight.ended.done():
                flight.ended.set_result(outcome)
            if background and outcome is not None and outcome.error is not None:
                LOGGER.warning("a value could not be computed anew, the former one stays: %r", outcome.error)

    async def _led(
        self, here: Here, name: str, flight: Flight, compute: Compute, policy: Policy, look: Look, background: bool
    ) -> Outcome:
        claim: Claim | None = None
        if not look.away:
            as_of = here.turn()
            try:
                got = await self._claimed(here, name, policy, look, background)
                if isinstance(got, Look) and got.value is not NOTHING:
                    return Outcome(got.as_of, data=got.data)
                if isinstance(got, Claim):
                    claim = got
                    if policy.tags:
                        life_s = self._life_s(policy)
                        flight.versions = await self._leases.ask(self._tags.ensure(policy.tags, life_s=life_s))
                        # A value and its tags' versions are not read at one instant: seen now, it may be good after all.
                        seen = judged(Look(as_of, got.record, flight.versions), policy.codec, self._leases.now())
                        if seen.value is not NOTHING and not background:
                            await got.free()
                            return Outcome(as_of, data=seen.data)
            except StoreUnavailableError:
                claim = None
        if claim is None and background:
            return Outcome(here.turn())
        place = here.permits.place() if claim is None and self._leases.circuit.has_failed else None
        try:
            if place is not None:
                await flight.wait_for(place)
            flight.began, flight.claim = here.turn(), claim
            return await self._computed(flight, name, compute, policy)
        finally:
            if place is not None:
                here.permits.give_back(place)

    async def _claimed(
        self, here: Here, name: str, policy: Policy, look: Look, background: bool
    ) -> Claim | Look | None:
        """The lease, or a value that is there meanwhile; None where to compute without a lease, or, in the background, not.

        Raises:
            StoreUnavailableError: the store is away.
        """
        now, pause_s = self._leases.now, FIRST_PAUSE_S
        if background and look.record is None:
            # The value came from nearby. Perhaps another instance has computed the next one already.
            left_s = look.left_s
            look = await self.read(here, name, policy)
            if look.value is NOTHING or look.left_s > left_s + NEWER_S:
                return None
        while True:
            if look.value is not NOTHING and not background:
                return look
            if look.passes:
                return None
            if look.record is None or lease_of(look.record, now()) is None:
                got = await self._leases.take(name, look.record)
                if isinstance(got, Claim) or background:
                    return got if isinstance(got, Claim) else None
                # The tags' versions are as old as they were: at worst a value is taken for one that is not good.
                look = judged(Look(look.as_of, got, look.versions), policy.codec, now())
                if got is not None and lease_of(got, now()) is None:
                    continue
            elif background:
                return None
            if look.value is NOTHING and not look.passes:
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(pause_s * GROWTH, LONGEST_PAUSE_S)
                look = await self.read(here, name, policy)

    async def _computed(self, flight: Flight, name: str, compute: Compute, policy: Policy) -> Outcome:
        claim, as_of = flight.claim, flight.began or 0
        if claim is not None:
            claim.hold()
        under_way.set(under_way.get() | {(id(self), name)})
        self.counts.computed += 1
        started = time.monotonic()
        stored = False
        try:
            try:
                value = await compute()
            except asyncio.CancelledError as error:
                if _is_cancelled():
                    raise
                # Something that it waited for was cancelled, and not this task.
                return self._failed(as_of, error)
            except Exception as error:
                return self._failed(as_of, error)
            took_s = time.monotonic() - started
            try:
                data = policy.codec.encode(value)
            except TypeError as error:
                return self._failed(as_of, error)
            if claim is not None:
                stored = True
                await self._store(claim, flight, policy, data, took_s)
            return Outcome(as_of, data=data)
        finally:
            if claim is not None and not stored:
                await claim.free(failed=True)

    def _failed(self, as_of: int, error: BaseException) -> Outcome:
        self.counts.failed += 1
        return Outcome(as_of, error=error)

    async def _store(self, claim: Claim, flight: Flight, policy: Policy, data: bytes, took_s: float) -> None:
        meta = Meta(
            life_s=self._life_s(policy),
            stale_s=policy.stale_s,
            grace_s=self._leases.lease_s,
            took_s=took_s,
            tags=flight.versions,
        )
        try:
            if not await claim.store(meta, data):
                self.counts.discarded += 1
        except RecordTooLargeError as error:
            self.counts.too_large += 1
            if not self._said_too_large:
                self._said_too_large = True
                LOGGER.warning("a value is not cached (this is said once, see Cache.counts.too_large): %s", error)
            try:
                await claim.store(Meta(Kind.PASS, life_s=PASS_S), b"")
            except StoreUnavailableError:
                return
        except StoreUnavailableError:
            # Whoever waits elsewhere finds it out by itself; our caller has the value.
            return

    def _life_s(self, policy: Policy) -> float:
        return policy.ttl_s + policy.stale_s + self._leases.lease_s


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
