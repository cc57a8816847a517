"""Whatever was computed from data read before an invalidation is never given to who asks after it."""

import asyncio

import msgspec
import pytest
from contracts.backends import Backend

from cache.working import Work, caches, until
from fungible.cache import Cache, NearCache
from fungible.stores.memory import MemoryStore

TAGGED = {"ttl_s": 60, "tags": ("products", "product:3")}


async def test_a_key_that_is_invalidated_is_computed_anew_on_all_instances(backend: Backend) -> None:
    work, [one, other] = Work(), caches(backend, 2)
    await one.get_or_compute("k", work, ttl_s=60)
    await one.get_or_compute("not this", work, ttl_s=60)
    await other.invalidate("k")
    assert await one.get_or_compute("k", work, ttl_s=60) == {"number": 3}
    assert await other.get_or_compute("k", work, ttl_s=60) == {"number": 3}
    assert await other.get_or_compute("not this", work, ttl_s=60) == {"number": 2}


@pytest.mark.parametrize("tag", ["products", "product:3"])
async def test_a_tag_ends_all_values_that_have_it_and_no_others(backend: Backend, tag: str) -> None:
    work, [one, other] = Work(), caches(backend, 2)
    await one.get_or_compute("a", work, **TAGGED)
    await one.get_or_compute("b", work, ttl_s=60, tags=("others",))
    await other.invalidate_tag("nobody has it")
    assert await other.get_or_compute("a", work, **TAGGED) == {"number": 1}
    await other.invalidate_tag(tag)
    assert await one.get_or_compute("a", work, **TAGGED) == {"number": 3}
    assert await other.get_or_compute("a", work, **TAGGED) == {"number": 3}
    assert await other.get_or_compute("b", work, ttl_s=60, tags=("others",)) == {"number": 2}


async def test_a_tag_that_is_lost_ends_its_values(backend: Backend) -> None:
    work, [cache] = Work(), caches(backend, 1)
    await cache.get_or_compute("a", work, **TAGGED)
    # As Memcached does when its memory is full: nobody has said that the value is bad, but nobody knows.
    await backend.opened[0].delete("cache:t:products")
    assert await cache.get_or_compute("a", work, **TAGGED) == {"number": 2}
    assert await cache.get_or_compute("a", work, **TAGGED) == {"number": 2}


@pytest.mark.parametrize("by", ["key", "tag"])
@pytest.mark.parametrize("is_there", [False, True], ids=["miss", "refresh"])
async def test_what_is_computed_while_it_is_invalidated_is_not_given_to_who_asks_after_that(
    backend: Backend, by: str, is_there: bool
) -> None:
    work, [one, other] = Work(), caches(backend, 2)
    policy = {**TAGGED, "stale_s": 60}
    if is_there:
        await one.get_or_compute("k", work, **policy)
        backend.advance(61)
    work.go.clear()
    work.begun.clear()
    before = asyncio.create_task(one.get_or_compute("k", work, **policy))
    await work.begun.wait()
    held = work.count
    # It has read its data by now, and they change.
    await (other.invalidate("k") if by == "key" else other.invalidate_tag("products"))
    late = [asyncio.create_task(cache.get_or_compute("k", work, **policy)) for cache in (one, other)]
    if by == "key":
        # They don't wait for what is of no use to them.
        await until(lambda: work.count == held + 1)
    work.go.set()
    # Who asked before may have either.
    assert (await before)["number"] in (1, held)
    assert await asyncio.gather(*late) == [{"number": held + 1}] * 2
    for cache in (one, other):
        assert await cache.get_or_compute("k", work, **policy) == {"number": held + 1}
    assert work.count == held + 1


async def test_with_a_near_cache_a_hit_asks_nothing_and_an_invalidation_is_seen_within_the_bound(
    backend: Backend,
) -> None:
    work, [one, other] = Work(), caches(backend, 2, near=NearCache(bound_s=0.2))
    for cache in (one, other):
        await cache.get_or_compute("k", work, **TAGGED)
        await cache.get_or_compute("k", work, **TAGGED)
    hits = other.counts.near_hits
    assert await other.get_or_compute("k", work, **TAGGED) == {"number": 1}
    assert other.counts.near_hits == hits + 1
    for end in (lambda: one.invalidate("k"), lambda: one.invalidate_tag("products")):
        number = work.count
        await end()
        assert await one.get_or_compute("k", work, **TAGGED) == {"number": number + 1}
        # Longer than the bound: from here on nothing old is given.
        await asyncio.sleep(0.25)
        assert await other.get_or_compute("k", work, **TAGGED) == {"number": number + 1}


async def test_a_value_read_before_it_was_dropped_is_not_kept_nearby_after_that(backend: Backend) -> None:
    work, [one, other] = Work(), caches(backend, 2, near=NearCache(bound_s=0.1))
    await one.get_or_compute("k", work, ttl_s=60)
    assert other._feed is not None
    await other._feed.known()
    get, store = other._store.get, other._store
    read, told = asyncio.Event(), asyncio.Event()

    async def slowly(key: str) -> object:
        found = await get(key)
        read.set()
        await told.wait()
        return found

    store.get = slowly  # type: ignore[method-assign]
    late = asyncio.create_task(other.get_or_compute("k", work, ttl_s=60))
    await read.wait()
    store.get = get  # type: ignore[method-assign]
    await one.invalidate("k")
    near = other._feed.latest()
    await until(lambda: near.learned > 0)
    told.set()
    assert await late == {"number": 1}
    assert await other.get_or_compute("k", work, ttl_s=60) == {"number": 2}


async def test_something_told_that_can_not_be_read_may_be_about_any_value_nearby() -> None:
    store, work = MemoryStore(), Work()
    cache = Cache(store, instances=1, beta=0, near=NearCache(bound_s=0.05))
    for _ in range(3):
        assert await cache.get_or_compute("k", work, **TAGGED) == {"number": 1}
    assert cache.counts.near_hits == 1
    # What a later release ends, in whatever way.
    await store.delete("cache:v:k")
    await store.append("cache:dropped", msgspec.msgpack.encode({"prefix": "k"}), ttl_s=60)
    await asyncio.sleep(0.06)
    assert await cache.get_or_compute("k", work, **TAGGED) == {"number": 2}
