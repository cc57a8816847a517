"""Values that are computed anew before they end: in the background, once, while the former one is given."""

import asyncio
from collections.abc import Awaitable, Callable

from contracts.backends import Backend
from hypothesis import given
from hypothesis import strategies as st

from cache.working import Work, caches, until
from fungible.cache import Cache, NearCache
from fungible.cache.entries import Meta
from fungible.cache.near import OVERHEAD_BYTES, Near
from fungible.cache.policy import is_early
from fungible.stores.memory import MemoryStore


async def first_other(ask: Callable[[], Awaitable[int]]) -> None:
    """Asks until the first value is followed by the next."""
    async with asyncio.timeout(30):
        while await ask() == 1:  # noqa: ASYNC110 - what is waited for is in a store
            await asyncio.sleep(0.005)


async def test_a_stale_value_is_given_while_one_instance_computes_the_next(backend: Backend) -> None:
    work, instances = Work(), caches(backend, 3)
    await instances[0].get_or_compute("k", work, ttl_s=60, stale_s=60)
    backend.advance(61)
    work.go.clear()
    for _ in range(5):
        asked = [cache.get_or_compute("k", work, ttl_s=60, stale_s=60) for cache in instances]
        assert await asyncio.gather(*asked) == [{"number": 1}] * 3
    await until(lambda: work.count == 2)
    work.go.set()

    async def newest() -> int:
        return (await instances[2].get_or_compute("k", work, ttl_s=60, stale_s=60))["number"]

    await first_other(newest)
    assert work.count == 2
    assert await newest() == 2


async def test_a_stale_value_stays_where_the_next_can_not_be_computed(backend: Backend) -> None:
    work, [cache] = Work(), caches(backend, 1)
    work.fails = {2, 3, 4}
    await cache.get_or_compute("k", work, ttl_s=60, stale_s=60)
    backend.advance(61)
    for _ in range(5):
        assert await cache.get_or_compute("k", work, ttl_s=60, stale_s=60) == {"number": 1}
    await until(lambda: cache.counts.failed == 1)
    # The next attempt has to wait a moment.
    for _ in range(5):
        assert await cache.get_or_compute("k", work, ttl_s=60, stale_s=60) == {"number": 1}
        await asyncio.sleep(0.01)
    backend.advance(2)
    assert await cache.get_or_compute("k", work, ttl_s=60, stale_s=60) == {"number": 1}
    await until(lambda: cache.counts.failed == 2)


async def test_a_value_is_given_no_longer_than_its_stale_time(backend: Backend) -> None:
    work, [cache] = Work(), caches(backend, 1)
    await cache.get_or_compute("k", work, ttl_s=60, stale_s=30)
    backend.advance(91)
    assert await cache.get_or_compute("k", work, ttl_s=60, stale_s=30) == {"number": 2}


async def test_a_value_that_takes_long_is_computed_anew_before_it_ends() -> None:
    clock = [1000.0]
    store = MemoryStore(now=lambda: clock[0])
    # All computations take 0.2 s at least; by the draw of `random` one begins early with certainty.
    cache = Cache(store, instances=1, beta=100, now=lambda: clock[0])
    count = 0

    async def slow() -> int:
        nonlocal count
        count += 1
        await asyncio.sleep(0.2)
        return count

    assert await cache.get_or_compute("k", slow, ttl_s=10) == 1
    clock[0] += 4
    assert await cache.get_or_compute("k", slow, ttl_s=10) == 1
    assert cache.counts.refreshed == 0, "never before half of its time"
    clock[0] += 5.999
    async with asyncio.timeout(30):
        while cache.counts.refreshed == 0:
            assert await cache.get_or_compute("k", slow, ttl_s=10) == 1
            await asyncio.sleep(0)
    await first_other(lambda: cache.get_or_compute("k", slow, ttl_s=10))
    assert count == 2


def test_early_refresh_follows_the_published_rule() -> None:
    meta = Meta(life_s=100, took_s=2.0)
    # -2 * ln(1 - 0.5) = 1.386...
    assert is_early(1.38, meta, 1.0, lambda: 0.5)
    assert not is_early(1.39, meta, 1.0, lambda: 0.5)
    assert is_early(2.77, meta, 2.0, lambda: 0.5)
    assert not is_early(0.1, meta, 0.0, lambda: 0.999)
    assert not is_early(51.0, meta, 100.0, lambda: 0.999)


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 900), st.sampled_from(["", "x", "y"])), max_size=60)
)
def test_a_near_cache_never_exceeds_its_size_and_forgets_what_it_is_told(steps: list[tuple[str, int, str]]) -> None:
    near = Near(4 * OVERHEAD_BYTES)
    for name, size, tag in steps:
        near.keep(name, b"v" * size, Meta(), fresh_until=10, now=0, tags=[tag] if tag else [])
        assert near.size_bytes <= 4 * OVERHEAD_BYTES
    for tag in "xy":
        tagged = [name for name in "abcdefgh" if (entry := near.get(name, 0)) and tag in entry.tags]
        near.drop(tag)
        assert not any(near.get(name, 0) for name in tagged)
    for name in "abcdefgh":
        near.drop(name)
    assert (near.size_bytes, near._by_tag) == (0, {})


def test_a_near_cache_keeps_what_was_used_last() -> None:
    near = Near(2 * OVERHEAD_BYTES + 10)
    for name in "ab":
        near.keep(name, b"", Meta(), fresh_until=10, now=0, tags=())
    assert near.get("a", 0) is not None
    near.keep("c", b"", Meta(), fresh_until=10, now=0, tags=())
    assert [near.get(name, 0) is not None for name in "abc"] == [True, False, True]
    assert near.get("a", 10) is None


async def test_the_near_cache_gives_way_to_what_is_computed_anew() -> None:
    clock = [1000.0]
    cache = Cache(MemoryStore(now=lambda: clock[0]), instances=1, near=NearCache(), beta=100, now=lambda: clock[0])
    count = 0

    async def slow() -> int:
        nonlocal count
        count += 1
        await asyncio.sleep(0.05)
        return count

    for _ in range(3):
        assert await cache.get_or_compute("k", slow, ttl_s=10) == 1
    assert cache.counts.near_hits == 1
    clock[0] += 9.999
    await first_other(lambda: cache.get_or_compute("k", slow, ttl_s=10))
    assert count == 2
