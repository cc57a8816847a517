"""Counts what limits are about, for all instances together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from fungible.core.errors import SettingError
from fungible.limits.decision import Decision
from fungible.limits.limit import Limit
from fungible.limits.outages import ASK_AGAIN_S, OnEvent, Outage
from fungible.limits.refusals import Refusals
from fungible.limits.resets import Resets
from fungible.stores.contract import Store, Taken
from fungible.stores.errors import StoreUnavailableError
from fungible.stores.memory import MemoryStore
from fungible.stores.postures import Deployment, require


def ignore(event: str, details: Mapping[str, Any]) -> None:
    """What is done with events where nobody asked for them: nothing."""


class Limiter:
    """Takes from limits: one round trip to the store each, and none for a key that is known to be over its limit.

    Args:
        store: Where it is counted, by its clock.
        instances: How many instances run; by default what the environment says in `FUNGIBLE_INSTANCES`, else 1.
        machines: On how many machines; by default `FUNGIBLE_MACHINES`, else as many as instances.
        on_event: Is told what happened, for metrics; see "Events".
    Raises:
        SettingError: the deployment can't be as declared.
    """

    def __init__(
        self,
        store: Store,
        *,
        instances: int | None = None,
        machines: int | None = None,
        on_event: OnEvent = ignore,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        deployment = Deployment.declared(instances=instances, machines=machines)
        require("rate-limit", store, deployment)
        self._store = store
        self._instances = deployment.instances
        self._on_event = on_event
        self._monotonic = monotonic
        self._resets = Resets(store, now=now)
        self._refusals = Refusals()
        self._outage = Outage(on_event=on_event, monotonic=monotonic)
        self._here = MemoryStore(now=now)

    async def take(self, limit: Limit, key: str = "", *, cost: int | None = None) -> Decision:
        """Takes from the limit of a key. What was refused has taken nothing; what was taken can't be given back.

        Args:
            limit: Which.
            key: Whose: any text; "" where there is one limit for all.
            cost: How much, instead of what the limit says.
        Raises:
            SettingError: the cost is below 1, or the key is no text.
        """
        cost = limit.cost if cost is None else cost
        if cost < 1:
            raise SettingError(f"{limit.name}: the cost {cost!r} must be 1 or more")
        decision = await self._taken(limit, limit.name_of(key), cost)
        if not decision.allowed:
            self._on_event("refused", {"limit": limit.name, "counted": decision.counted})
        return decision

    async def reset(self, limit: Limit, key: str = "") -> None:
        """Gives a key all that it has taken of a limit, at every instance from the next `take` on.

        Raises:
            SettingError: the limit is not `resettable`.
            StoreUnavailableError: it may have been reset or not.
        """
        if not limit.resettable:
            raise SettingError(f"the limit {limit.name!r} can't be reset: make it with resettable=True")
        await self._resets.reset(limit, limit.name_of(key))

    async def _taken(self, limit: Limit, name: str, cost: int) -> Decision:
        outage = self._outage
        if outage.holds():
            return await self._without(limit, name, cost)
        answers = outage.answers
        try:
            if limit.resettable:
                name = await self._resets.name(limit, name)
            asked_at_s = self._monotonic()
            known = self._refusals.find(name, cost, asked_at_s)
            if known is not None:
                return known
            taken = await self._store.take(name, limit.rate, cost=cost)
        except StoreUnavailableError as error:
            outage.failed(error, answers=answers)
            return await self._without(limit, name, cost)
        outage.answered()
        decision = _decision(taken)
        if not taken.allowed:
            self._refusals.add(name, cost, decision, asked_at_s=asked_at_s)
        return decision

    async def _without(self, limit: Limit, name: str, cost: int) -> Decision:
        """What the limit allows while nobody can count for all."""
        if limit.on_unavailable == "open":
            return Decision(True, limit.burst, 0.0, 0.0, "nowhere")
        if limit.on_unavailable == "closed":
            return Decision(False, 0, ASK_AGAIN_S, ASK_AGAIN_S, "nowhere")
        rate = limit.share(self._instances, limit.cost)
        taken = await self._here.take(name, rate, cost=cost)
        return Decision(taken.allowed, taken.remaining, taken.retry_after_s, taken.reset_after_s, "here")


def _decision(taken: Taken) -> Decision:
    return Decision(taken.allowed, taken.remaining, taken.retry_after_s, taken.reset_after_s)
