"""Held against an exact model of the algorithm, and against the library `limits`."""

import asyncio
from fractions import Fraction
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limit_asking import Time
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from fungible.limits import Limit, Limiter
from fungible.stores.memory import MemoryStore

STEPS = st.lists(st.tuples(st.integers(0, 30_000_000), st.integers(0, 2)), max_size=60)
"""Microseconds that pass, and who asks then."""


class Bucket:
    """The same in other words: a bucket of tokens that fills up, in exact arithmetic."""

    def __init__(self, limit: int, per_s: int, burst: int) -> None:
        self.size, self.per_token_us = burst, Fraction(per_s * 10**6, limit)
        self.tokens, self.at_us = Fraction(burst), 0

    def take(self, at_us: int, cost: int) -> tuple[bool, int, Fraction]:
        self.tokens = min(Fraction(self.size), self.tokens + (at_us - self.at_us) / self.per_token_us)
        self.at_us = at_us
        if cost <= self.tokens:
            self.tokens -= cost
            return True, int(self.tokens), Fraction(0)
        return False, int(self.tokens), (cost - self.tokens) * self.per_token_us / 10**6


def limiter_at(clock: Time) -> Limiter:
    return Limiter(MemoryStore(now=clock), instances=1, monotonic=clock, now=clock)


@settings(deadline=None)
@given(
    number=st.sampled_from([1, 2, 4, 5, 10, 100]),
    per_s=st.sampled_from([1, 10, 60, 3600]),
    burst=st.integers(1, 12),
    cost=st.integers(1, 3),
    steps=STEPS,
)
def test_every_sequence_is_that_of_a_bucket_of_tokens(
    number: int, per_s: int, burst: int, cost: int, steps: list[tuple[int, int]]
) -> None:
    clock, cost = Time(), min(cost, burst)
    limit = Limit("api", number, per_s=per_s, burst=burst, cost=cost, on_unavailable="closed")
    limiter, buckets = limiter_at(clock), [Bucket(number, per_s, burst) for _ in range(3)]

    async def run() -> None:
        at_us = 0
        for step_us, who in steps:
            at_us += step_us
            # Half a microsecond more: the nearest float must not be one too little.
            clock.now_s = (at_us + 0.5) / 1e6
            found = await limiter.take(limit, str(who))
            allowed, remaining, retry_s = buckets[who].take(at_us, cost)
            assert found.allowed == allowed
            assert found.retry_after_s == pytest.approx(float(retry_s), abs=1e-5)
            # Of a refusal that is remembered it is told what was left then.
            assert found.remaining == remaining if allowed else found.remaining <= remaining

    asyncio.run(run())


class MovingWindow:
    """The library `limits`: never more than so many in any window."""

    def __init__(self, number: int, per_s: int) -> None:
        self.item = RateLimitItemPerSecond(number, per_s)
        self.strategy = MovingWindowRateLimiter(MemoryStorage())

    def hit(self, now_s: float) -> bool:
        # Its storage has no clock to be given.
        with mock.patch("time.time", return_value=now_s):
            return self.strategy.hit(self.item, "ada")


@settings(deadline=None, max_examples=50)
@given(number=st.integers(1, 10), per_s=st.sampled_from([10, 60]), steps=STEPS)
def test_a_moving_window_holds_a_burst_as_we_do_and_no_window_has_more_than_burst_and_rate(
    number: int, per_s: int, steps: list[tuple[int, int]]
) -> None:
    clock = Time()
    limiter, oracle = limiter_at(clock), MovingWindow(number, per_s)
    limit = Limit("api", number, per_s=per_s, on_unavailable="closed")

    async def run() -> None:
        ours: list[float] = []
        began_s, theirs = clock.now_s, 0
        for step_us, _ in steps:
            clock.now_s += step_us / 1e6
            if (await limiter.take(limit)).allowed:
                ours.append(clock.now_s)
            theirs += oracle.hit(clock.now_s)
            if clock.now_s - began_s < per_s:
                # In the first window a moving window gives nothing back yet, and the rate does.
                assert theirs <= len(ours) <= theirs + (clock.now_s - began_s) * number / per_s
        for end_s in ours:
            within = sum(end_s - per_s < at_s <= end_s for at_s in ours)
            assert within <= 2 * number

    asyncio.run(run())


@pytest.mark.parametrize("number", [1, 10, 100])
def test_both_allow_exactly_the_limit_at_once(number: int) -> None:
    clock = Time()
    limiter, oracle = limiter_at(clock), MovingWindow(number, 60)
    limit = Limit("api", number, per_s=60, on_unavailable="closed")

    async def run() -> list[bool]:
        return [(await limiter.take(limit)).allowed for _ in range(4 * number)]

    assert asyncio.run(run()) == [oracle.hit(clock.now_s) for _ in range(4 * number)]


@settings(deadline=None, max_examples=50)
@given(number=st.integers(2, 20), per_s=st.sampled_from([10, 60]), steps=STEPS)
def test_with_half_as_burst_and_half_as_rate_no_window_ever_has_more_than_the_limit(
    number: int, per_s: int, steps: list[tuple[int, int]]
) -> None:
    # How the guide says to hold what a moving window holds. The library takes whatever we have allowed.
    clock = Time()
    limiter, oracle = limiter_at(clock), MovingWindow(number, per_s)
    limit = Limit("api", number // 2, per_s=per_s, burst=number // 2, on_unavailable="closed")

    async def run() -> None:
        for step_us, _ in steps:
            clock.now_s += step_us / 4e6
            if (await limiter.take(limit)).allowed:
                assert oracle.hit(clock.now_s)

    asyncio.run(run())
