"""What a limiter allows, on every backend."""

import asyncio
from collections.abc import Callable

import pytest
from contracts.backends import Backend
from limit_asking import Events, Time, WatchedStore, limit_of

from fungible.core.errors import SettingError
from fungible.limits import Limiter
from fungible.stores.memory import MemoryStore


def limiter_at(backend: Backend, monotonic: Callable[[], float] | None = None) -> Limiter:
    """Another instance's."""
    return Limiter(backend.open(), instances=1, **({"monotonic": monotonic} if monotonic else {}))


async def test_all_instances_together_allow_the_burst_and_no_more(backend: Backend) -> None:
    limit, limiters = limit_of(5), [limiter_at(backend) for _ in range(3)]
    answers = [await limiters[turn % 3].take(limit, "ada") for turn in range(9)]
    assert [answer.allowed for answer in answers] == [True] * 5 + [False] * 4
    assert [answer.remaining for answer in answers[:5]] == [4, 3, 2, 1, 0]
    assert {answer.counted for answer in answers} == {"everywhere"}


async def test_each_key_and_each_limit_has_its_own_count(backend: Backend) -> None:
    limiter, one, other = limiter_at(backend), limit_of(1), limit_of(1, name="other")
    assert (await limiter.take(one, "ada")).allowed
    assert (await limiter.take(one, "grace")).allowed
    assert (await limiter.take(other, "ada")).allowed
    assert not (await limiter.take(one, "ada")).allowed


async def test_it_comes_back_by_the_clock_of_the_store(backend: Backend) -> None:
    clock = Time()
    limiter, limit = limiter_at(backend, clock), limit_of(2, per_s=200)
    for _ in range(2):
        assert (await limiter.take(limit)).allowed
    refused = await limiter.take(limit)
    assert not refused.allowed
    assert 80 < refused.retry_after_s <= 100
    clock.now_s += 101
    backend.advance(101)
    assert (await limiter.take(limit)).allowed
    assert not (await limiter.take(limit)).allowed


@pytest.mark.parametrize("key", ["", "ä\u202e", "x" * 5000, "a\nb\0c", "\ud800", "#", "a b:c"])
async def test_any_text_can_be_a_key(backend: Backend, key: str) -> None:
    limiter, limit = limiter_at(backend), limit_of(1)
    assert (await limiter.take(limit, key)).allowed
    assert not (await limiter.take(limit, key)).allowed
    assert (await limiter.take(limit, f"{key}.")).allowed


async def test_a_cost_may_differ_from_call_to_call() -> None:
    limiter, limit = Limiter(MemoryStore(), instances=1), limit_of(10, cost=2)
    assert (await limiter.take(limit)).remaining == 8
    assert (await limiter.take(limit, cost=5)).remaining == 3
    assert not (await limiter.take(limit, cost=4)).allowed
    assert (await limiter.take(limit, cost=3)).remaining == 0
    assert (await limiter.take(limit, "other", cost=11)).retry_after_s == float("inf")


async def test_one_call_asks_the_store_once() -> None:
    store = WatchedStore()
    limiter, limit = Limiter(store, instances=1), limit_of(5)
    for _ in range(5):
        await limiter.take(limit, "ada")
    assert [verb for verb, _ in store.calls] == ["take"] * 5


async def test_who_is_over_the_limit_costs_the_store_nothing_until_they_may_come_back() -> None:
    clock = Time()
    store = WatchedStore(MemoryStore(now=clock))
    limiter, limit = Limiter(store, instances=1, monotonic=clock, now=clock), limit_of(2, per_s=200)
    answers = [await limiter.take(limit) for _ in range(50)]
    assert [answer.allowed for answer in answers] == [True, True] + [False] * 48
    assert len(store.calls) == 3
    clock.now_s += 40
    later = await limiter.take(limit)
    assert (later.allowed, later.retry_after_s, later.reset_after_s) == (False, 60, 160)
    assert len(store.calls) == 3
    clock.now_s += 60
    assert (await limiter.take(limit)).allowed
    assert len(store.calls) == 4


async def test_a_refusal_says_nothing_of_a_smaller_cost() -> None:
    limiter, limit = Limiter(MemoryStore(), instances=1), limit_of(5)
    await limiter.take(limit, cost=3)
    assert not (await limiter.take(limit, cost=3)).allowed
    assert (await limiter.take(limit, cost=2)).allowed


async def test_a_call_that_is_cancelled_disturbs_no_other() -> None:
    limiter, limit = Limiter(MemoryStore(), instances=1), limit_of(3)
    tasks = [asyncio.create_task(limiter.take(limit)) for _ in range(2)]
    tasks[0].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert (await limiter.take(limit)).remaining in (0, 1)


async def test_new_settings_begin_a_new_count() -> None:
    store = MemoryStore()
    limiter = Limiter(store, instances=1)
    for _ in range(1000):
        await limiter.take(limit_of(1000))
    assert (await limiter.take(limit_of(10, per_s=1))).allowed


async def test_refusals_are_told() -> None:
    events = Events()
    limiter, limit = Limiter(MemoryStore(), instances=1, on_event=events), limit_of(1)
    await limiter.take(limit)
    await limiter.take(limit)
    assert events.seen == [("refused", {"limit": "api", "counted": "everywhere"})]


@pytest.mark.parametrize("cost", [0, -1])
async def test_a_cost_below_one_is_refused(cost: int) -> None:
    with pytest.raises(SettingError, match="must be 1 or more"):
        await Limiter(MemoryStore(), instances=1).take(limit_of(), cost=cost)


async def test_a_key_that_is_no_text_is_refused() -> None:
    with pytest.raises(SettingError, match="given the key 7"):
        await Limiter(MemoryStore(), instances=1).take(limit_of(), 7)  # type: ignore[arg-type]
