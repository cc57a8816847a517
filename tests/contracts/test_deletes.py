"""Deleting: at once, and for good while a tombstone stands."""

from collections.abc import Callable

import pytest

from contracts.backends import Backend
from fungible.stores import ABSENT, GoneError, Record, Store

Open = Callable[[], Store]


async def is_held(store: Store, key: str) -> bool:
    """Whether a tombstone keeps the key from being written; if not, it is written."""
    try:
        await store.put(key, {"a": b"new"}, ttl_s=6000)
    except GoneError:
        return True
    return False


async def test_what_was_deleted_is_gone_for_every_instance(open_store: Open) -> None:
    store, other = open_store(), open_store()
    await store.put("s", {"a": b"1"}, ttl_s=60)
    await other.delete("s")
    assert await store.get("s") is None
    assert await other.get("s") is None
    assert await store.touch("s", ttl_s=60) is None


async def test_deleting_what_is_not_there_is_no_error(open_store: Open) -> None:
    store = open_store()
    await store.delete("s")
    await store.delete("s", tombstone_s=60)
    await store.delete("s", tombstone_s=60)


async def test_without_a_tombstone_the_key_can_be_written_at_once(open_store: Open) -> None:
    store = open_store()
    await store.put("s", {"a": b"1"}, ttl_s=60)
    await store.delete("s")
    put = await store.put("s", {"b": b"2"}, ttl_s=60, expect=ABSENT)
    assert await store.get("s") == put


async def test_a_slow_writer_cannot_revive_a_deleted_record(open_store: Open) -> None:
    store, other = open_store(), open_store()
    held = await store.put("s", {"user": b"ada"}, ttl_s=60)
    await store.delete("s", tombstone_s=30)
    with pytest.raises(GoneError):
        await other.change(held, {"cart": b"1"})
    with pytest.raises(GoneError):
        await other.change(held, {"cart": b"1"}, ttl_s=600)
    assert await other.touch("s", ttl_s=600) is None
    assert await store.get("s") is None


async def test_a_tombstone_refuses_every_put(open_store: Open) -> None:
    store, other = open_store(), open_store()
    held = await store.put("s", {"a": b"1"}, ttl_s=60)
    await store.delete("s", tombstone_s=30)
    with pytest.raises(GoneError):
        await other.put("s", {"a": b"2"}, ttl_s=60)
    with pytest.raises(GoneError):
        await other.put("s", {"a": b"2"}, ttl_s=60, expect=ABSENT)
    with pytest.raises(GoneError):
        await other.put("s", {"a": b"2"}, ttl_s=60, expect=held)
    # Nor does knowing how a tombstone is kept help: no incarnation, no fields.
    with pytest.raises(GoneError):
        await other.change(Record("s", {}, held.expires_at), {"a": b"2"})
    assert await store.get("s") is None


async def test_a_tombstone_stands_on_a_key_that_was_never_written(open_store: Open, backend: Backend) -> None:
    store, other = open_store(), open_store()
    await store.delete("s", tombstone_s=30)
    assert await is_held(other, "s")
    assert await store.get("s") is None
    backend.advance(31)
    assert not await is_held(other, "s")


async def test_a_tombstone_ends_in_time(open_store: Open, backend: Backend) -> None:
    store = open_store()
    await store.put("s", {"a": b"1"}, ttl_s=6000)
    await store.delete("s", tombstone_s=30)
    backend.advance(20)
    assert await is_held(store, "s")
    backend.advance(11)
    assert await store.get("s") is None
    assert not await is_held(store, "s")
    assert await store.get("s") is not None


async def test_a_tombstone_outlives_what_the_record_had_left(open_store: Open, backend: Backend) -> None:
    store = open_store()
    held = await store.put("s", {"a": b"1"}, ttl_s=10)
    await store.delete("s", tombstone_s=600)
    backend.advance(300)
    assert await is_held(store, "s")
    with pytest.raises(GoneError):
        await store.change(held, {"a": b"2"}, ttl_s=60)


async def test_a_tombstone_is_never_shortened(open_store: Open, backend: Backend) -> None:
    store, other = open_store(), open_store()
    await store.delete("s", tombstone_s=600)
    await other.delete("s", tombstone_s=6)
    await other.delete("s")
    backend.advance(300)
    assert await is_held(store, "s")
    backend.advance(301)
    assert not await is_held(store, "s")


async def test_a_tombstone_can_be_made_longer(open_store: Open, backend: Backend) -> None:
    store, other = open_store(), open_store()
    await store.delete("s", tombstone_s=60)
    await other.delete("s", tombstone_s=600)
    backend.advance(300)
    assert await is_held(store, "s")


async def test_a_tombstone_of_an_earlier_life_says_nothing_of_a_later_one(open_store: Open, backend: Backend) -> None:
    store = open_store()
    await store.delete("s", tombstone_s=30)
    backend.advance(31)
    read = await store.put("s", {"a": b"1"}, ttl_s=600)
    assert (await store.change(read, {"a": b"2"})).fields == {"a": b"2"}
    # Short though it is, it is all that stands now.
    await store.delete("s", tombstone_s=5)
    assert await is_held(store, "s")
    backend.advance(6)
    assert not await is_held(store, "s")


async def test_a_tombstone_holds_its_own_key_only(open_store: Open) -> None:
    store = open_store()
    await store.delete("s", tombstone_s=60)
    for key in ("s ", "S", "s:", "s2", "ss"):
        assert not await is_held(store, key)
    assert await is_held(store, "s")
