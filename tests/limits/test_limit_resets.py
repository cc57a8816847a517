"""Limits that can be given back, on every backend."""

import pytest
from contracts.backends import Backend
from limit_asking import Time, WatchedStore, limit_of

from fungible.core.errors import SettingError
from fungible.limits import Limiter
from fungible.limits.resets import SPARE_S
from fungible.stores.memory import MemoryStore

LIMIT = limit_of(2, resettable=True)


async def test_a_reset_gives_back_all_at_every_instance(backend: Backend) -> None:
    one, other = (Limiter(backend.open(), instances=1) for _ in range(2))
    for limiter in (one, other, one, other):
        last = await limiter.take(LIMIT, "ada")
    assert not last.allowed
    await one.reset(LIMIT, "ada")
    assert [(await limiter.take(LIMIT, "ada")).allowed for limiter in (other, one, other)] == [True, True, False]


async def test_a_reset_concerns_one_key_alone(backend: Backend) -> None:
    limiter = Limiter(backend.open(), instances=1)
    for key in ("ada", "grace"):
        while (await limiter.take(LIMIT, key)).allowed:
            pass
    await limiter.reset(LIMIT, "ada")
    assert (await limiter.take(LIMIT, "ada")).allowed
    assert not (await limiter.take(LIMIT, "grace")).allowed


async def test_the_count_before_a_reset_never_holds_again() -> None:
    clock = Time()
    limiter = Limiter(MemoryStore(now=clock), instances=1, monotonic=clock, now=clock)
    limit = limit_of(2, per_s=100, resettable=True)
    await limiter.take(limit)
    await limiter.reset(limit)
    # Used all the time, for much longer than the record of the reset lives at first.
    life_s, step_s, taken = 2 * (100 + SPARE_S), 49.0, 0
    for _ in range(round(3 * life_s / step_s)):
        while (await limiter.take(limit)).allowed:
            taken += 1
        clock.now_s += step_s
    # 2 at first, and what the rate gives: not two more from an older count.
    assert taken <= 2 + 3 * life_s / 50


async def test_a_limit_that_is_not_resettable_costs_one_call_and_cant_be_reset() -> None:
    store = WatchedStore()
    limiter = Limiter(store, instances=1)
    await limiter.take(limit_of(2))
    assert [verb for verb, _ in store.calls] == ["take"]
    with pytest.raises(SettingError, match="resettable=True"):
        await limiter.reset(limit_of(2))


async def test_who_is_over_a_resettable_limit_is_let_in_at_the_next_request_after_a_reset() -> None:
    # What an instance remembers of refusals must not outlive the reset.
    limiter = Limiter(MemoryStore(), instances=1)
    while (await limiter.take(LIMIT, "ada")).allowed:
        pass
    assert not (await limiter.take(LIMIT, "ada")).allowed
    await limiter.reset(LIMIT, "ada")
    assert (await limiter.take(LIMIT, "ada")).allowed
