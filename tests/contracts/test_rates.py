"""Rates: exactly what the generic cell rate algorithm allows, for all instances together."""

import asyncio
import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.backends import RACED, Backend
from contracts.clock import Clock
from contracts.processes import Processes
from fungible.stores import InvalidRecordError, Rate, Store
from fungible.stores.memory import MemoryStore

Open = Callable[[], Store]
SLACK_S = 5
HOURLY = Rate(limit=10, period_s=3600)
"""So slow that nothing comes back while a test runs."""


async def takes(store: Store, key: str, rate: Rate, costs: list[int]) -> list[tuple[bool, int]]:
    answers = [await store.take(key, rate, cost=cost) for cost in costs]
    return [(answer.allowed, answer.remaining) for answer in answers]


async def test_the_burst_can_be_taken_at_once_and_no_more(open_store: Open) -> None:
    store, other = open_store(), open_store()
    assert await takes(store, "r", HOURLY, [1, 1, 1]) == [(True, 9), (True, 8), (True, 7)]
    assert await takes(other, "r", HOURLY, [5]) == [(True, 2)]
    assert await takes(store, "r", HOURLY, [3, 2, 1]) == [(False, 2), (True, 0), (False, 0)]


async def test_a_burst_may_be_smaller_or_larger_than_the_limit(open_store: Open) -> None:
    store = open_store()
    small, large = Rate(limit=10, period_s=3600, burst=2), Rate(limit=2, period_s=3600, burst=5)
    assert await takes(store, "small", small, [1, 1, 1]) == [(True, 1), (True, 0), (False, 0)]
    assert await takes(store, "large", large, [4, 1, 1]) == [(True, 1), (True, 0), (False, 0)]


async def test_what_was_refused_has_taken_nothing(open_store: Open) -> None:
    store = open_store()
    await store.take("r", HOURLY, cost=8)
    for _ in range(5):
        refused = await store.take("r", HOURLY, cost=3)
        assert (refused.allowed, refused.remaining) == (False, 2)
    assert (await store.take("r", HOURLY, cost=2)).allowed


async def test_more_than_the_burst_is_never_allowed(open_store: Open, backend: Backend) -> None:
    store = open_store()
    never = await store.take("r", HOURLY, cost=11)
    assert (never.allowed, never.remaining, never.retry_after_s) == (False, 10, math.inf)
    backend.advance(36_000)
    assert not (await store.take("r", HOURLY, cost=11)).allowed
    assert (await store.take("r", HOURLY, cost=10)).allowed


async def test_it_says_when_to_come_back(open_store: Open) -> None:
    store = open_store()
    first = await store.take("r", HOURLY, cost=10)
    assert first.retry_after_s == 0
    assert abs(first.reset_after_s - 3600) < SLACK_S
    refused = await store.take("r", HOURLY, cost=2)
    # One comes back every 360 s.
    assert abs(refused.retry_after_s - 720) < SLACK_S
    assert abs(refused.reset_after_s - 3600) < SLACK_S


async def test_time_gives_back_what_was_taken_up_to_the_burst(open_store: Open, backend: Backend) -> None:
    store = open_store()
    assert await takes(store, "r", HOURLY, [10, 1]) == [(True, 0), (False, 0)]
    backend.advance(350)
    assert await takes(store, "r", HOURLY, [1]) == [(False, 0)]
    backend.advance(20)
    assert await takes(store, "r", HOURLY, [1, 1]) == [(True, 0), (False, 0)]
    backend.advance(1000)
    assert await takes(store, "r", HOURLY, [1]) == [(True, 1)]
    backend.advance(360_000)
    assert await takes(store, "r", HOURLY, [1]) == [(True, 9)]


async def test_a_cost_below_one_is_refused(open_store: Open) -> None:
    store = open_store()
    for cost in (0, -1):
        with pytest.raises(InvalidRecordError):
            await store.take("r", HOURLY, cost=cost)
    assert (await store.take("r", HOURLY)).remaining == 9


async def test_a_rate_may_be_very_fast_or_very_slow(open_store: Open) -> None:
    store = open_store()
    fast, slow = Rate(limit=1_000_000, period_s=1), Rate(limit=1, period_s=86_400 * 365 * 5)
    assert (await store.take("fast", fast, cost=1_000_000)).allowed
    assert (await store.take("slow", slow)).allowed
    refused = await store.take("slow", slow)
    assert not refused.allowed
    assert abs(refused.retry_after_s - slow.period_s) < SLACK_S


CENTURY_S = 100 * 365.25 * 86_400
MOST = 999_999_999_999_999
EXTREMES = {
    "one in a century": Rate(limit=1, period_s=CENTURY_S),
    "one in a century on average, two at once": Rate(limit=1, period_s=CENTURY_S / 2, burst=2),
    "a burst of a century": Rate(limit=1, period_s=1, burst=int(CENTURY_S)),
    "as many as there are in a microsecond": Rate(limit=MOST, period_s=1e-6),
    "as many as there are in ten years": Rate(limit=MOST, period_s=3.15e8),
    "as many as there are at once": Rate(limit=1, period_s=1e-9, burst=MOST),
    "one in a nanosecond": Rate(limit=1, period_s=1e-9),
}


@pytest.mark.parametrize("rate", EXTREMES.values(), ids=EXTREMES)
async def test_a_rate_at_the_end_of_the_range_is_counted_exactly(open_store: Open, rate: Rate) -> None:
    store, other = open_store(), open_store()
    burst = rate.burst or rate.limit
    slack = math.ceil(SLACK_S * 1e6 / rate.interval_us)
    for cost in (burst + 1, 10**30, 10**400):
        never = await store.take("r", rate, cost=cost)
        assert (never.allowed, never.remaining, never.retry_after_s) == (False, burst, math.inf)
    half = await store.take("r", rate, cost=burst - burst // 2)
    assert half.allowed
    assert 0 <= half.remaining - burst // 2 <= slack
    if burst > 1:
        rest = await other.take("r", rate, cost=burst // 2)
        assert rest.allowed
        assert rest.remaining <= slack
    whole_s = rate.tolerance_us / 1e6
    refused = await other.take("r", rate, cost=burst)
    # Those that are there again at once leave nothing to be refused.
    if whole_s > SLACK_S:
        assert not refused.allowed
        assert abs(refused.retry_after_s - whole_s) < SLACK_S
        assert abs(refused.reset_after_s - whole_s) < SLACK_S


@pytest.mark.parametrize(
    ("limit", "period_s", "burst"),
    [
        (0, 1, 0),
        (MOST + 1, 1, 1),
        (10**400, 1, 1),
        (1, 1, MOST + 1),
        (1, 1, 10**400),
        (1, 0, 0),
        (1, math.nan, 0),
        (1, math.inf, 0),
        (1, CENTURY_S * 1.01, 0),
        (1, CENTURY_S / 2, 3),
        (1, 1, -1),
        (MOST, 1e300, 1),
    ],
)
def test_there_is_no_rate_outside_the_range(limit: int, period_s: float, burst: int) -> None:
    with pytest.raises(InvalidRecordError, match="100 years"):
        Rate(limit=limit, period_s=period_s, burst=burst)


async def test_rates_records_and_feeds_of_one_name_are_apart(open_store: Open) -> None:
    store = open_store()
    await store.put("s", {"a": b"1"}, ttl_s=60)
    await store.append("s", b"item", ttl_s=60)
    assert (await store.take("s", HOURLY)).remaining == 9
    await store.delete("s", tombstone_s=60)
    assert (await store.take("s", HOURLY)).remaining == 8
    assert (await store.since("s")).items == (b"item",)
    assert (await store.take("S", HOURLY)).remaining == 9


async def test_many_tasks_of_several_instances_together_get_the_burst(open_store: Open) -> None:
    stores = [open_store() for _ in range(3)]
    answers = await asyncio.gather(*(stores[index % 3].take("r", HOURLY) for index in range(60)))
    assert sum(answer.allowed for answer in answers) == 10


@pytest.mark.parametrize("backend", RACED, indirect=True)
@pytest.mark.parametrize(("limit", "cost"), [(100, 1), (50, 7)])
async def test_several_processes_together_get_the_burst(
    backend: Backend, processes: Processes, limit: int, cost: int
) -> None:
    got = await processes.race(backend.urls, "take", key="r", limit=limit, cost=cost, tasks=60)
    assert sum(got) == limit // cost * cost


class Answer(NamedTuple):
    allowed: bool
    remaining: int
    retry_after_s: float
    reset_after_s: float


class Bucket:
    """The same algorithm in other words: a bucket of tokens that fills up, in exact arithmetic."""

    def __init__(self, limit: int, period_s: int, burst: int) -> None:
        self.size = burst or limit
        self.token_s = Fraction(period_s, limit)
        self.tokens = Fraction(self.size)
        self.at_s = Fraction(0)

    def take(self, at_s: Fraction, cost: int) -> Answer:
        self.tokens = min(Fraction(self.size), self.tokens + (at_s - self.at_s) / self.token_s)
        self.at_s = at_s
        allowed = cost <= self.tokens
        retry_s = math.inf if cost > self.size else float((cost - self.tokens) * self.token_s)
        if allowed:
            self.tokens -= cost
        reset_s = float((self.size - self.tokens) * self.token_s)
        return Answer(allowed, math.floor(self.tokens), 0 if allowed else retry_s, reset_s)


@settings(deadline=None)
@given(
    limit=st.sampled_from([1, 2, 4, 5, 10, 100]),
    period_s=st.sampled_from([1, 10, 60, 3600]),
    burst=st.integers(0, 20),
    # Steps of microseconds are exact in the store, too.
    steps=st.lists(st.tuples(st.integers(0, 20_000_000), st.integers(1, 25)), max_size=40),
)
def test_every_sequence_is_that_of_a_bucket_of_tokens(
    limit: int, period_s: int, burst: int, steps: list[tuple[int, int]]
) -> None:
    clock = Clock()
    clock.time_s = at_us = 0
    store, bucket = MemoryStore(now=clock), Bucket(limit, period_s, burst)
    rate = Rate(limit=limit, period_s=period_s, burst=burst)

    async def run() -> None:
        nonlocal at_us
        for step_us, cost in steps:
            at_us += step_us
            # Half a microsecond more: the nearest float must not be one too little.
            clock.time_s = (at_us + 0.5) / 1e6
            taken = await store.take("r", rate, cost=cost)
            wanted = bucket.take(Fraction(at_us, 10**6), cost)
            assert (taken.allowed, taken.remaining) == wanted[:2]
            assert taken.retry_after_s == pytest.approx(wanted.retry_after_s, abs=1e-6)
            assert taken.reset_after_s == pytest.approx(wanted.reset_after_s, abs=1e-6)

    asyncio.run(run())
