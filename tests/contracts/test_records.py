"""Records: get, put and touch, and what each promises one by one."""

from collections.abc import Callable

import pytest

from contracts.backends import Backend
from fungible.stores import ABSENT, REMOVED, ConflictError, GoneError, Record, Store

Open = Callable[[], Store]
SLACK_S = 5
"""How far apart two readings of a real clock may be in a test."""


async def test_a_record_is_read_as_it_was_put(open_store: Open, backend: Backend) -> None:
    store, other = open_store(), open_store()
    put = await store.put("s", {"user": b"ada", "cart": b"1"}, ttl_s=60)
    assert put.key == "s"
    assert put.fields == {"user": b"ada", "cart": b"1"}
    assert abs(backend.left_s(put.expires_at) - 60) < SLACK_S
    assert await store.get("s") == put
    assert await other.get("s") == put


async def test_what_was_never_put_is_not_there(open_store: Open) -> None:
    assert await open_store().get("nothing") is None


async def test_put_writes_the_whole_record(open_store: Open) -> None:
    store = open_store()
    await store.put("s", {"user": b"ada", "cart": b"1"}, ttl_s=60)
    await store.put("s", {"user": b"eve"}, ttl_s=60)
    record = await store.get("s")
    assert record is not None
    assert record.fields == {"user": b"eve"}


async def test_a_record_may_have_no_fields(open_store: Open) -> None:
    store = open_store()
    await store.put("s", {}, ttl_s=60)
    record = await store.get("s")
    assert record is not None
    assert record.fields == {}
    with pytest.raises(ConflictError):
        await store.put("s", {}, ttl_s=60, expect=ABSENT)
    filled = await store.change(record, {"a": b"1"})
    await store.change(filled, {"a": REMOVED})
    emptied = await store.get("s")
    assert emptied is not None
    assert emptied.fields == {}


async def test_the_caller_s_mapping_is_copied(open_store: Open) -> None:
    store = open_store()
    fields = {"a": b"1"}
    put = await store.put("s", fields, ttl_s=60)
    fields["a"] = b"2"
    assert put.fields == {"a": b"1"}
    record = await store.get("s")
    assert record is not None
    assert record.fields == {"a": b"1"}


async def test_put_sets_the_time_to_live_anew(open_store: Open, backend: Backend) -> None:
    store = open_store()
    await store.put("s", {"a": b"1"}, ttl_s=600)
    put = await store.put("s", {"a": b"1"}, ttl_s=60)
    assert abs(backend.left_s(put.expires_at) - 60) < SLACK_S
    backend.advance(90)
    assert await store.get("s") is None


async def test_an_expired_record_is_never_seen(open_store: Open, backend: Backend) -> None:
    store, other = open_store(), open_store()
    read = await store.put("s", {"a": b"1"}, ttl_s=60)
    backend.advance(30)
    assert await store.get("s") is not None
    backend.advance(40)
    assert await store.get("s") is None
    assert await other.get("s") is None
    assert await other.touch("s", ttl_s=60) is None
    with pytest.raises(GoneError):
        await other.change(read, {"a": b"2"})
    with pytest.raises(GoneError):
        await other.put("s", {"a": b"2"}, ttl_s=60, expect=read)
    await other.delete("s")
    assert await store.get("s") is None


async def test_absent_creates_where_nothing_stands(open_store: Open) -> None:
    store, other = open_store(), open_store()
    put = await store.put("s", {"by": b"us"}, ttl_s=60, expect=ABSENT)
    with pytest.raises(ConflictError) as conflict:
        await other.put("s", {"by": b"them"}, ttl_s=600, expect=ABSENT)
    assert conflict.value.current == put
    assert await store.get("s") == put


async def test_absent_creates_again_after_the_record_has_expired(open_store: Open, backend: Backend) -> None:
    store = open_store()
    first = await store.put("s", {"a": b"1"}, ttl_s=60, expect=ABSENT)
    backend.advance(61)
    second = await store.put("s", {"a": b"1"}, ttl_s=60, expect=ABSENT)
    assert second.incarnation != first.incarnation
    assert await store.get("s") == second


async def test_put_with_a_record_needs_all_its_fields_as_they_were(open_store: Open) -> None:
    store, other = open_store(), open_store()
    read = await store.put("s", {"a": b"1", "b": b"1"}, ttl_s=60)
    changed = await other.change(read, {"b": b"2"})
    with pytest.raises(ConflictError) as conflict:
        await store.put("s", {"a": b"9"}, ttl_s=60, expect=read)
    assert conflict.value.current == changed
    written = await store.put("s", {"a": b"9"}, ttl_s=60, expect=changed)
    assert await other.get("s") == written


async def test_put_with_a_record_is_refused_where_a_field_was_added(open_store: Open) -> None:
    store, other = open_store(), open_store()
    read = await store.put("s", {"a": b"1"}, ttl_s=60)
    await other.change(read, {"b": b"1"})
    with pytest.raises(ConflictError) as conflict:
        await store.put("s", {"a": b"2"}, ttl_s=60, expect=read)
    assert conflict.value.current.fields == {"a": b"1", "b": b"1"}


async def test_put_with_a_record_is_refused_where_it_was_deleted(open_store: Open) -> None:
    store, other = open_store(), open_store()
    read = await store.put("s", {"a": b"1"}, ttl_s=60)
    await other.delete("s")
    with pytest.raises(GoneError):
        await store.put("s", {"a": b"2"}, ttl_s=60, expect=read)
    await other.put("s", {"a": b"1"}, ttl_s=60)
    with pytest.raises(GoneError):
        await store.put("s", {"a": b"2"}, ttl_s=60, expect=read)


async def test_put_over_a_live_record_is_no_new_record(open_store: Open) -> None:
    store, other = open_store(), open_store()
    read = await store.put("s", {"a": b"1", "b": b"1"}, ttl_s=60)
    await other.put("s", {"a": b"1", "b": b"2"}, ttl_s=60)
    await store.change(read, {"a": b"3"})
    record = await other.get("s")
    assert record is not None
    assert record.fields == {"a": b"3", "b": b"2"}


async def test_a_refused_put_has_changed_nothing(open_store: Open, backend: Backend) -> None:
    store = open_store()
    put = await store.put("s", {"a": b"1"}, ttl_s=60)
    with pytest.raises(ConflictError):
        await store.put("s", {"a": b"2"}, ttl_s=600, expect=ABSENT)
    with pytest.raises(ConflictError):
        await store.put("s", {"a": b"2"}, ttl_s=600, expect=Record("s", {}, 0, put.incarnation))
    assert await store.get("s") == put
    backend.advance(61)
    assert await store.get("s") is None


async def test_touch_extends_a_life_and_never_shortens_it(open_store: Open, backend: Backend) -> None:
    store, other = open_store(), open_store()
    await store.put("s", {"a": b"1"}, ttl_s=60)
    until = await other.touch("s", ttl_s=600)
    assert abs(backend.left_s(until) - 600) < SLACK_S
    assert await store.touch("s", ttl_s=6) == until
    backend.advance(400)
    record = await store.get("s")
    assert record is not None
    assert record.fields == {"a": b"1"}
    backend.advance(201)
    assert await store.get("s") is None


async def test_touch_does_not_disturb_a_change(open_store: Open) -> None:
    store, other = open_store(), open_store()
    read = await store.put("s", {"a": b"1"}, ttl_s=60)
    await other.touch("s", ttl_s=600)
    assert (await store.change(read, {"a": b"2"})).fields == {"a": b"2"}
    await store.put("s", {"a": b"3"}, ttl_s=60)


async def test_touch_makes_no_record(open_store: Open) -> None:
    store = open_store()
    assert await store.touch("s", ttl_s=60) is None
    assert await store.get("s") is None
    await store.put("s", {"a": b"1"}, ttl_s=60, expect=ABSENT)
