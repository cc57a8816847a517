"""The store is killed or silent: values are computed, a few at a time, no error is seen, and all is well when it returns."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from servers import RedisServer

from cache.working import CountingStore, Work, until
from fungible.cache import Cache, NearCache
from fungible.cache.circuit import Circuit
from fungible.stores import StoreUnavailableError, open_store

DEADLINE_S = 0.3
RETURNS_WITHIN_S = 30
HURTS = pytest.mark.parametrize("hurt", ["kill", "pause"])


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[RedisServer]:
    redis_server.reset()
    yield redis_server
    redis_server.revive()


@asynccontextmanager
async def cache_at(redis: RedisServer, **settings: object) -> AsyncIterator[Cache]:
    store = open_store(redis.url, timeout_s=DEADLINE_S)
    yield Cache(store, instances=1, **settings)  # type: ignore[arg-type]
    await store.aclose()


@HURTS
@pytest.mark.parametrize("near", [None, NearCache(bound_s=0.1)], ids=["store", "near"])
async def test_values_are_computed_without_an_error_and_cached_again_when_it_is_back(
    redis: RedisServer, hurt: str, near: NearCache | None
) -> None:
    work = Work()
    async with cache_at(redis, near=near) as cache:
        assert await cache.get_or_compute("k", work, ttl_s=600, tags=("t",)) == {"number": 1}
        getattr(redis, hurt)()
        for key in ("k", "other"):
            for _ in range(20):
                assert (await cache.get_or_compute(key, work, ttl_s=600, tags=("t",)))["number"] >= 1
        with pytest.raises(StoreUnavailableError):
            await cache.invalidate("k")
        redis.revive()

        async def hits() -> int:
            before = cache.counts.hits
            await cache.get_or_compute("back", work, ttl_s=600, tags=("t",))
            return cache.counts.hits - before

        async with asyncio.timeout(RETURNS_WITHIN_S):
            while not await hits():  # noqa: ASYNC110 - reconnects wait a while
                await asyncio.sleep(0.05)


@HURTS
async def test_a_store_that_goes_away_in_the_middle_is_noticed_by_nobody(redis: RedisServer, hurt: str) -> None:
    work = Work(held=True)
    async with cache_at(redis) as cache, cache_at(redis) as other:
        asked = [
            asyncio.create_task(each.get_or_compute("k", work, ttl_s=60)) for each in (cache, other) for _ in range(20)
        ]
        await work.begun.wait()
        await until(lambda: cache.counts.misses + other.counts.misses == 40)
        getattr(redis, hurt)()
        # The other instance, which waits for this one, finds out that it has to compute by itself.
        await until(lambda: work.count == 2)
        work.go.set()
        values = await asyncio.gather(*asked)
        assert {value["number"] for value in values} == {1, 2}


async def test_no_more_computations_run_at_once_than_are_allowed_and_none_is_left_out() -> None:
    store = CountingStore()
    store.is_away = True
    cache = Cache(store, instances=1, max_computing=3)  # type: ignore[arg-type]
    running = most = 0

    async def compute() -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running -= 1
        return running

    async with asyncio.timeout(30):
        await asyncio.gather(*(cache.get_or_compute(f"k{number}", compute, ttl_s=60) for number in range(50)))
    assert most == 3
    # All asked at the same time; since then it has been left alone.
    assert len(store.calls) <= 50
    before = len(store.calls)
    for number in range(50):
        await cache.get_or_compute(f"k{number}", compute, ttl_s=60)
    assert len(store.calls) - before <= 5


async def test_computations_within_computations_do_not_wait_for_each_others_places() -> None:
    store = CountingStore()
    store.is_away = True
    cache = Cache(store, instances=1, max_computing=2)  # type: ignore[arg-type]
    both = asyncio.Barrier(2)

    async def inner() -> str:
        return "inner"

    async def outer() -> str:
        # Both places are taken now.
        await both.wait()
        return "outer of " + await cache.get_or_compute("inner", inner, ttl_s=60)

    async with asyncio.timeout(30):
        first = [asyncio.create_task(cache.get_or_compute(key, outer, ttl_s=60)) for key in ("a", "b")]
        await until(lambda: both.n_waiting == 0 or all(task.done() for task in first))
        last = asyncio.create_task(cache.get_or_compute("inner", inner, ttl_s=60))
        assert await asyncio.gather(*first, last) == ["outer of inner", "outer of inner", "inner"]


async def test_a_caller_waits_for_one_deadline_at_most() -> None:
    store, work = CountingStore(), Work()
    cache = Cache(store, instances=1)  # type: ignore[arg-type]
    store.is_away = True
    for number in range(10):
        before = len(store.calls)
        await cache.get_or_compute(f"k{number}", work, ttl_s=60)
        assert len(store.calls) - before <= 1


def test_a_circuit_lets_one_ask_after_its_pause() -> None:
    time = [0.0]
    circuit = Circuit(pause_s=1, monotonic=lambda: time[0], uniform=lambda low, high: (low + high) / 2)
    assert not circuit.is_open()
    circuit.failed(StoreUnavailableError(home="redis:", reason="away"))
    assert [circuit.is_open(), circuit.is_open()] == [True, True]
    time[0] = 1.1
    assert [circuit.is_open(), circuit.is_open()] == [False, True]
    circuit.answered()
    assert not circuit.is_open()
