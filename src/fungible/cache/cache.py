"""Computed values that all instances share: each is computed once, however many ask for it at once and wherever."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from fungible.cache.circuit import Circuit
from fungible.cache.computing import Compute, Computing, under_way
from fungible.cache.entries import check_prefix, lease_of, name_of
from fungible.cache.flights import Flight, Here, Outcome
from fungible.cache.functions import Decorator, Key, Tagging, decorator
from fungible.cache.leases import Leases
from fungible.cache.near import FEED_S, Near, NearCache, dropped, learn
from fungible.cache.policy import NOTHING, Counts, Look, Policy, is_early
from fungible.cache.tags import Tags
from fungible.cache.values import UnreadableError, codec_for
from fungible.core.errors import SettingError
from fungible.core.functions import function_name
from fungible.stores.contract import Store
from fungible.stores.errors import StoreUnavailableError
from fungible.stores.following import Following
from fungible.stores.loops import PerLoop
from fungible.stores.postures import Deployment, Home, require

LOCAL: Final = "<locals>"
"""In the names of functions that are made by others."""
FAILURES: Final = 2
"""Whoever has waited for so many computations that failed gets the error, and tries no more."""


class Cache:
    """Values under keys, in a store that all instances share.

    However many miss a value at once, on however many instances, one of them computes it. An instance that is killed
    meanwhile holds the others up for `lease_s` seconds; one whose computation raises does not, and another caller tries
    next. Where the store is away values are computed, and nobody is told but the log.

    Ages go by the instances' clocks: keep these in step (NTP).

    Args:
        store: Where values are kept.
        prefix: What the names of its records begin with. Caches with one prefix in one store are one cache.
        lease_s: How long a computation is waited for whose instance gives no sign of life, in seconds.
        beta: How early values are computed anew before they expire, on average in durations of a computation; 0 for
            never. See `is_early`.
        near: A cache in the process before the store. All instances must have one, or none.
        max_computing: How many computations run at once on one event loop while the store is away; others wait.
        instances: How many instances run; by default what the environment says in `FUNGIBLE_INSTANCES`, else 1.
        machines: On how many machines; by default `FUNGIBLE_MACHINES`, else as many as instances.
        now: The clock, in Unix seconds.
    Raises:
        SettingError: a setting can't be taken.
    """

    def __init__(
        self,
        store: Store,
        *,
        prefix: str = "cache",
        lease_s: float = 10.0,
        beta: float = 1.0,
        near: NearCache | None = None,
        max_computing: int = 16,
        instances: int | None = None,
        machines: int | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        check_prefix(prefix)
        if not 0 < lease_s <= 3600:
            raise SettingError(f"lease_s={lease_s!r} must be above 0 s and at most an hour")
        if not 0 <= beta <= 100:
            raise SettingError(f"beta={beta!r} must be from 0 to 100")
        if max_computing < 1:
            raise SettingError(f"max_computing={max_computing!r} must be 1 or more")
        require("cache", store, Deployment.declared(instances=instances, machines=machines))
        self.counts = Counts()
        self._store = store
        self._local_names: set[str] = set()
        self._values = f"{prefix}:v"
        self._beta = beta
        self._now = now
        self._circuit = Circuit()
        self._tags = Tags(store, prefix, now=now)
        self._computing = Computing(Leases(store, self._circuit, lease_s=lease_s, now=now), self._tags, self.counts)
        self._here = PerLoop(lambda: Here(max_computing))
        self._topic = f"{prefix}:dropped"
        self._feed: Following[Near] | None = None
        if near is not None:
            max_bytes = near.max_bytes
            self._feed = Following(
                store,
                self._topic,
                bound_s=near.bound_s,
                begin=lambda: Near(max_bytes),
                learn=learn,
                skip=Near.forget_all,
            )

    def homes(self) -> Sequence[Home]:
        """Where this cache keeps values, for `fungible doctor`."""
        return (Home(kind="cache", home=self._store.home, guarantees=self._store.guarantees, seat="Cache"),)

    def cached(
        self,
        *,
        ttl_s: float,
        key: Key = None,
        name: str | None = None,
        tags: Tagging = (),
        stale_s: float = 0.0,
        type: Any = None,
    ) -> Decorator:
        """Decorates a function, asynchronous or not, whose values are kept; see `fungible.cache.cached`."""
        return decorator(self, ttl_s=ttl_s, key=key, name=name, tags=tags, stale_s=stale_s, kind=type)

    def named(self, function: Callable[..., Any], name: str | None) -> str:
        """What a function is called in this cache's keys.

        Raises:
            SettingError: it would share the values of another one.
        """
        if name is not None:
            if not name or "(" in name:
                raise SettingError(f"name={name!r} must be a text without brackets")
            return name
        found = function_name(function)
        if LOCAL in found:
            if found in self._local_names:
                # Made twice by what stands around it, most likely for other things.
                raise SettingError(
                    f"two functions of this cache are called {found}, and would share their values: give each a name=, "
                    "or both the same one if that is what you want"
                )
            self._local_names.add(found)
        return found

    async def get_or_compute(
        self,
        key: str,
        compute: Callable[[], Awaitable[Any]],
        *,
        ttl_s: float,
        tags: Sequence[str] = (),
        stale_s: float = 0.0,
        type: Any = None,
    ) -> Any:
        """The value under a key, computed if it is not there.

        Args:
            compute: Runs in a task of its own: it goes on where its caller is cancelled. What it raises reaches its
                caller, and one of those who wait tries next.
            ttl_s: How long a value is fresh, in seconds.
            tags: What `invalidate_tag` ends it by. Give the same ones for a key each time.
            stale_s: For so many seconds more it is given, while one instance computes the next in the background.
            type: The values' type, where it is none of JSON's, bytes, datetime, Decimal and UUID, as with `cached`.
        Raises:
            SettingError: a time is not above 0, or the type can't be kept.
            TypeError: the computed value can't be kept.
        """
        return await self.value(key, compute, Policy(ttl_s, stale_s, tuple(tags), codec_for(type)))

    async def value(self, key: str, compute: Compute, policy: Policy, *, refresh: Compute | None = None) -> Any:
        """The same with a policy that was made before.

        Args:
            refresh: Computes the next value in the background; by default `compute`.
        """
        name = name_of(self._values, key)
        here = self._here.here()
        near: Near | None = None
        learned = 0
        if self._feed is not None:
            near = self._feed.fresh() or await self._followed()
            if near is not None:
                look = self._nearby(near, name, policy)
                if look is not None:
                    return self._given(here, name, refresh or compute, policy, look)
                learned = near.learned
        look = await self._look(here, name, policy, arrived := here.turn())
        if look.value is NOTHING:
            return await self._missed(here, name, compute, policy, look, arrived)
        if near is not None and look.meta is not None and near.learned == learned:
            # Had anything been told meanwhile, it might have been about this value as it was read before.
            fresh_until = self._now() + look.left_s
            names = map(self._tags.name, policy.tags)
            near.keep(name, look.data, look.meta, fresh_until=fresh_until, now=self._now(), tags=names)
        return self._given(here, name, refresh or compute, policy, look)

    async def invalidate(self, key: str) -> None:
        """Ends the value under a key for all instances, and what is being computed for it now is not stored.

        A key is what `get_or_compute` was given, or what a decorated function's `key_of` gives; by hand, values of
        functions are best ended by a tag.

        With near-caches, within their bound.

        Raises:
            StoreUnavailableError: the store is away: the value may still be there.
        """
        await self._drop(name_of(self._values, key), self._store.delete)

    async def invalidate_tag(self, tag: str) -> None:
        """Ends all values with a tag for all instances, and what is being computed now.

        With near-caches, within their bound.

        Raises:
            StoreUnavailableError: the store is away: the values may still be there.
        """
        await self._drop(self._tags.name(tag), self._store.delete)

    async def _drop(self, name: str, delete: Callable[[str], Awaitable[None]]) -> None:
        await delete(name)
        if self._feed is not None:
            # Only now: who reads what was there before, and keeps it, must be told after that.
            await self._store.append(self._topic, dropped(name), ttl_s=FEED_S)
            self._feed.latest().drop(name)

    async def _followed(self) -> Near | None:
        """What is nearby, once it is known to be no older than the bound; None where the store is away."""
        assert self._feed is not None
        if self._circuit.is_open():
            return None
        try:
            near = await self._feed.known()
        except StoreUnavailableError as error:
            self._circuit.failed(error)
            return None
        self._circuit.answered()
        return near

    def _nearby(self, near: Near, name: str, policy: Policy) -> Look | None:
        entry = near.get(name, self._now())
        if entry is None or entry.tags != tuple(map(self._tags.name, policy.tags)):
            return None
        look = Look(0, None, entry.meta.tags)
        try:
            look.value = policy.codec.decode(entry.value)
        except UnreadableError:
            return None
        look.data, look.meta, look.left_s = entry.value, entry.meta, entry.fresh_until - self._now()
        self.counts.near_hits += 1
        return look

    async def _look(self, here: Here, name: str, policy: Policy, as_of: int) -> Look:
        """What the store has, or that it is away."""
        if not self._circuit.is_open():
            try:
                return await self._computing.read(here, name, policy)
            except StoreUnavailableError:
                # The circuit has been told, and the log.
                pass
        self.counts.away += 1
        return Look(as_of, None, (), away=True)

    def _given(self, here: Here, name: str, compute: Compute, policy: Policy, look: Look) -> Any:
        """The value that was found; the next one is begun in the background where it is time."""
        meta = look.meta
        if look.left_s <= 0:
            self.counts.stale_hits += 1
            self._refresh(here, name, compute, policy, look)
        else:
            self.counts.hits += 1
            if meta is not None and is_early(look.left_s, meta, self._beta, random.random):
                self._refresh(here, name, compute, policy, look)
        return look.value

    def _refresh(self, here: Here, name: str, compute: Compute, policy: Policy, look: Look) -> None:
        if name in here.flights or (look.record is not None and lease_of(look.record, self._now()) is not None):
            return
        self.counts.refreshed += 1
        if self._feed is not None:
            # The next reader looks for the new one in the store.
            self._feed.latest().forget(name)
        self._launch(here, name, compute, policy, look, background=True)

    def _launch(
        self, here: Here, name: str, compute: Compute, policy: Policy, look: Look, *, background: bool = False
    ) -> Flight:
        flight = here.flights[name] = Flight(asyncio.get_running_loop().create_future())
        work = self._computing.fly(here, name, flight, compute, policy, look, background=background)
        here.start(work, "fungible-cache-computes")
        return flight

    async def _missed(self, here: Here, name: str, compute: Compute, policy: Policy, look: Look, arrived: int) -> Any:
        """Waits for a computation, one's own or another's."""
        self.counts.misses += 1
        parts = under_way.get()
        if (id(self._computing), name) in parts:
            # What computes this value asks for it: it can't wait for itself.
            return policy.codec.decode(policy.codec.encode(await compute()))
        failures = 0
        while True:
            flight = here.flights.get(name)
            leads = flight is None or not flight.serves(arrived, look.record, look.versions, away=look.away)
            joined_late = False
            if flight is None or leads:
                flight = self._launch(here, name, compute, policy, look)
            else:
                joined_late = flight.began is not None
            outcome = await self._ended(flight, hurry=bool(parts))
            if outcome.data is not None and (leads or joined_late or outcome.as_of >= arrived):
                try:
                    return policy.codec.decode(outcome.data)
                except UnreadableError:
                    # Under one key, by another function with another type.
                    return policy.codec.decode(policy.codec.encode(await compute()))
            if outcome.error is not None:
                failures += 1
                if leads or failures == FAILURES:
                    raise outcome.error
            look = await self._look(here, name, policy, here.turn())
            if look.value is not NOTHING:
                return look.value

    async def _ended(self, flight: Flight, *, hurry: bool) -> Outcome:
        """How a computation ended. It goes on where this caller is cancelled."""
        if hurry:
            # This caller is part of a computation, which may have the place that the other waits for.
            flight.hurry()
        return await asyncio.shield(flight.ended)
