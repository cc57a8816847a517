"""One computation for any number of concurrent misses, whoever computes and whatever becomes of it."""

import asyncio
from itertools import cycle

import pytest
from contracts.backends import Backend

from cache.working import CountingStore, Work, WorkError, caches, until
from fungible.cache import Cache
from fungible.cache.circuit import Circuit
from fungible.cache.entries import Meta, lease_of, name_of
from fungible.cache.leases import Claim, Leases
from fungible.stores.memory import MemoryStore


async def test_a_hundred_misses_on_four_instances_cost_one_computation(backend: Backend) -> None:
    work, instances = Work(held=True), caches(backend, 4)
    asked = [
        asyncio.create_task(cache.get_or_compute("k", work, ttl_s=60))
        for cache, _ in zip(cycle(instances), range(100), strict=False)
    ]
    await work.begun.wait()
    # All of them wait, and no other instance computes.
    await until(lambda: sum(cache.counts.misses for cache in instances) == 100)
    work.go.set()
    assert await asyncio.gather(*asked) == [{"number": 1}] * 100
    assert work.count == 1
    assert [await cache.get_or_compute("k", work, ttl_s=60) for cache in instances] == [{"number": 1}] * 4


async def test_a_value_is_gone_when_its_time_is_over(backend: Backend) -> None:
    work, [one, other] = Work(), caches(backend, 2)
    assert await one.get_or_compute("k", work, ttl_s=60) == {"number": 1}
    backend.advance(59)
    assert await other.get_or_compute("k", work, ttl_s=60) == {"number": 1}
    backend.advance(2)
    assert await other.get_or_compute("k", work, ttl_s=60) == {"number": 2}
    assert await one.get_or_compute("k", work, ttl_s=60) == {"number": 2}


async def test_none_is_a_value(backend: Backend) -> None:
    [cache] = caches(backend, 1)
    count = 0

    async def nothing() -> None:
        nonlocal count
        count += 1

    assert [await cache.get_or_compute("k", nothing, ttl_s=60) for _ in range(3)] == [None] * 3
    assert count == 1


async def test_a_holder_that_gives_no_sign_is_waited_for_until_its_lease_ends(backend: Backend) -> None:
    work, [cache] = Work(), caches(backend, 1, lease_s=5)
    killed = Leases(backend.open(), Circuit(), lease_s=5, now=backend.now)
    # Its process is killed now: nothing extends this lease.
    assert isinstance(await killed.take(name_of("cache:v", "k"), None), Claim)
    asked = asyncio.create_task(cache.get_or_compute("k", work, ttl_s=60))
    await until(lambda: cache.counts.misses == 1)
    # Time to compute in spite of the lease, if it were let.
    await asyncio.sleep(0.05)
    assert work.count == 0
    backend.advance(6)
    assert await asked == {"number": 1}
    assert work.count == 1


async def test_a_lease_is_not_taken_by_who_has_read_before_another_has_computed(backend: Backend) -> None:
    leases, meta = Leases(backend.open(), Circuit(), lease_s=5, now=backend.now), Meta(life_s=60, grace_s=5)
    first = await leases.take("k", None)
    assert isinstance(first, Claim)
    assert await first.store(meta, b"1")
    read = await backend.opened[0].get("k")
    second = await leases.take("k", read)
    assert isinstance(second, Claim)
    assert await second.store(meta, b"2")
    # Nobody has the lease, as when it was read; but this is another value.
    late = await leases.take("k", read)
    assert not isinstance(late, Claim)
    assert late is not None
    assert late.fields["v"] == b"2"


async def extended(backend: Backend, *, by_s: float) -> None:
    """Waits until a lease holds for so long from now."""
    async with asyncio.timeout(30):
        while True:
            record = await backend.opened[0].get(name_of("cache:v", "k"))
            assert record is not None, "the lease has ended"
            lease = lease_of(record, backend.now())
            assert lease is not None, "the lease has ended"
            if record.expires_at - lease.before_s - backend.now() >= by_s:
                return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("backend", ["memory", "sqlite", "memcached"], indirect=True)
async def test_a_computation_longer_than_its_lease_stays_the_only_one(backend: Backend) -> None:
    work, [one, other] = Work(held=True), caches(backend, 2, lease_s=0.9)
    asked = asyncio.create_task(one.get_or_compute("k", work, ttl_s=60))
    await work.begun.wait()
    waits = asyncio.create_task(other.get_or_compute("k", work, ttl_s=60))

    # These clocks stand still but for this: four leases pass, each of them extended in time.
    for _ in range(5):
        backend.advance(0.8)
        await extended(backend, by_s=0.8)
    work.go.set()
    assert await asyncio.gather(asked, waits) == [{"number": 1}] * 2
    assert work.count == 1


@pytest.mark.parametrize("backend", ["memory", "sqlite", "memcached"], indirect=True)
async def test_a_refresh_longer_than_what_is_left_of_the_value_stays_the_only_one(backend: Backend) -> None:
    work, [one, other] = Work(), caches(backend, 2, lease_s=0.9)
    await one.get_or_compute("k", work, ttl_s=10, stale_s=1)
    backend.advance(10.5)
    work.go.clear()
    # Stale: the next value is begun in the background, and takes longer than this one may be used.
    assert await one.get_or_compute("k", work, ttl_s=10, stale_s=1) == {"number": 1}
    await until(lambda: work.count == 2)
    for _ in range(6):
        backend.advance(0.5)
        await extended(backend, by_s=0.8)
    waits = asyncio.create_task(other.get_or_compute("k", work, ttl_s=10, stale_s=1))
    await until(lambda: other.counts.misses == 1)
    work.go.set()
    assert await waits == {"number": 2}
    assert work.count == 2


async def test_an_error_goes_to_its_caller_and_one_of_those_who_wait_tries_next(backend: Backend) -> None:
    work, [one, other] = Work(held=True), caches(backend, 2)
    work.fails = {1}
    first = asyncio.create_task(one.get_or_compute("k", work, ttl_s=60))
    await work.begun.wait()
    others = [
        asyncio.create_task(cache.get_or_compute("k", work, ttl_s=60)) for cache in (one, other) for _ in range(20)
    ]
    await until(lambda: one.counts.misses + other.counts.misses == 41)
    work.go.set()
    with pytest.raises(WorkError, match="number 1"):
        await first
    assert await asyncio.gather(*others) == [{"number": 2}] * 40
    assert work.count == 2


async def test_whoever_has_waited_for_two_failures_gets_the_error() -> None:
    work, cache = Work(held=True), Cache(MemoryStore(), instances=1)
    work.fails = set(range(1, 100))
    asked = [asyncio.create_task(cache.get_or_compute("k", work, ttl_s=60)) for _ in range(50)]
    await until(lambda: cache.counts.misses == 50)
    work.go.set()
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(result) for result in results} == {WorkError}
    assert work.count == 2


async def test_a_caller_who_is_cancelled_takes_nobody_along(backend: Backend) -> None:
    work, [one, other] = Work(held=True), caches(backend, 2)
    first = asyncio.create_task(one.get_or_compute("k", work, ttl_s=60))
    await work.begun.wait()
    others = [asyncio.create_task(cache.get_or_compute("k", work, ttl_s=60)) for cache in (one, other)]
    await until(lambda: one.counts.misses + other.counts.misses == 3)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    work.go.set()
    assert await asyncio.gather(*others) == [{"number": 1}] * 2
    assert work.count == 1


async def test_a_computation_that_cancels_itself_hangs_nobody() -> None:
    cache, count = Cache(MemoryStore(), instances=1), 0

    async def cancels() -> str:
        nonlocal count
        count += 1
        if count == 1:
            raise asyncio.CancelledError
        return "value"

    first = asyncio.create_task(cache.get_or_compute("k", cancels, ttl_s=60))
    second = asyncio.create_task(cache.get_or_compute("k", cancels, ttl_s=60))
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1] == "value"


async def test_each_caller_has_a_value_of_its_own() -> None:
    cache, work = Cache(MemoryStore(), instances=1), Work()
    [one, other] = await asyncio.gather(*(cache.get_or_compute("k", work, ttl_s=60) for _ in range(2)))
    one["number"] = "changed"
    assert other == {"number": 1}
    assert await cache.get_or_compute("k", work, ttl_s=60) == {"number": 1}


async def test_what_computes_a_value_may_ask_for_it_and_does_not_wait_for_itself() -> None:
    cache, depth = Cache(MemoryStore(), instances=1), 0

    async def deeper() -> int:
        nonlocal depth
        depth += 1
        return depth if depth == 2 else await cache.get_or_compute("k", deeper, ttl_s=60)

    async with asyncio.timeout(10):
        assert await cache.get_or_compute("k", deeper, ttl_s=60) == 2


async def test_a_hit_is_one_command_and_one_more_for_each_tag() -> None:
    store, work = CountingStore(), Work()
    cache = Cache(store, instances=1)  # type: ignore[arg-type]
    await cache.get_or_compute("k", work, ttl_s=60)
    await cache.get_or_compute("t", work, ttl_s=60, tags=("a", "b"))
    store.calls.clear()
    await cache.get_or_compute("k", work, ttl_s=60)
    assert store.calls == ["get"]
    await cache.get_or_compute("t", work, ttl_s=60, tags=("a", "b"))
    assert store.calls == ["get"] * 4


async def test_a_value_that_the_store_does_not_take_is_given_and_nobody_waits_for_the_next(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    [cache, other] = caches(backend, 2)
    large = b"x" * (backend.opened[0].guarantees.max_record_bytes + 1)

    async def compute() -> bytes:
        return large

    for each in (cache, cache, other):
        assert await each.get_or_compute("k", compute, ttl_s=60) == large
    assert cache.counts.too_large == 1
    assert sum("not cached" in record.message for record in caplog.records) == 1
