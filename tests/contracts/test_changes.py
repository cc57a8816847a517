"""Changes: per field, wholly or not at all, and only of the record that was read."""

from collections.abc import Callable

import pytest

from contracts.backends import Backend
from fungible.stores import REMOVED, ConflictError, GoneError, Record, RecordTooLargeError, Store

Open = Callable[[], Store]
SLACK_S = 5
"""How far apart two readings of a real clock may be in a test."""


async def test_change_sets_and_removes_fields(open_store: Open) -> None:
    store, other = open_store(), open_store()
    read = await store.put("s", {"a": b"1", "b": b"1", "c": b"1"}, ttl_s=60)
    changed = await store.change(read, {"a": b"2", "b": REMOVED, "d": b"new"})
    assert changed.fields == {"a": b"2", "c": b"1", "d": b"new"}
    assert changed.expires_at == read.expires_at
    assert await other.get("s") == changed


async def test_changes_of_different_fields_never_disturb_each_other(open_store: Open) -> None:
    store, other = open_store(), open_store()
    ours = await store.put("s", {"a": b"1", "b": b"1"}, ttl_s=60)
    theirs = await other.get("s")
    assert theirs is not None
    for turn in (b"2", b"3", b"4"):
        ours = await store.change(ours, {"a": turn, f"ours {turn.decode()}": turn})
        theirs = await other.change(theirs, {"b": turn})
        # What each gets back is what it read and did, not what others did meanwhile.
        assert ours.fields["b"] == b"1"
        assert theirs.fields["a"] == b"1"
    record = await store.get("s")
    assert record is not None
    assert record.fields == {"a": b"4", "b": b"4", "ours 2": b"2", "ours 3": b"3", "ours 4": b"4"}


async def test_a_change_of_a_field_that_has_changed_gets_what_stands(open_store: Open) -> None:
    store, other = open_store(), open_store()
    read = await store.put("s", {"a": b"1", "b": b"1"}, ttl_s=60)
    await other.change(read, {"a": b"theirs", "c": b"theirs"})
    with pytest.raises(ConflictError) as conflict:
        await store.change(read, {"a": b"ours"})
    assert conflict.value.current.fields == {"a": b"theirs", "b": b"1", "c": b"theirs"}
    await store.change(conflict.value.current, {"a": b"ours"})
    record = await other.get("s")
    assert record is not None
    assert record.fields == {"a": b"ours", "b": b"1", "c": b"theirs"}


async def test_a_change_is_made_wholly_or_not_at_all(open_store: Open, backend: Backend) -> None:
    store, other = open_store(), open_store()
    read = await store.put("s", {"a": b"1", "b": b"1", "c": b"1"}, ttl_s=60)
    stands = await other.change(read, {"b": b"2"})
    with pytest.raises(ConflictError):
        await store.change(read, {"a": b"9", "b": b"9", "c": REMOVED, "d": b"9"}, ttl_s=600)
    assert await store.get("s") == stands
    backend.advance(61)
    assert await store.get("s") is None


async def test_a_change_to_what_already_stands_is_a_conflict_if_it_was_not_read(open_store: Open) -> None:
    store, other = open_store(), open_store()
    read = await store.put("s", {"a": b"1"}, ttl_s=60)
    await other.change(read, {"a": b"2"})
    with pytest.raises(ConflictError):
        await store.change(read, {"a": b"2"})


async def test_a_field_named_with_its_value_is_a_guard(open_store: Open) -> None:
    store, other = open_store(), open_store()
    read = await store.put("s", {"a": b"1", "b": b"1"}, ttl_s=60)
    guarded = await store.change(read, {"a": b"1", "b": b"2"})
    await other.change(guarded, {"a": b"5"})
    with pytest.raises(ConflictError):
        await store.change(guarded, {"a": b"1", "b": b"3"})
    record = await store.get("s")
    assert record is not None
    assert record.fields == {"a": b"5", "b": b"2"}


async def test_removing_a_field_that_was_not_there_guards_that_it_is_not(open_store: Open) -> None:
    store, other = open_store(), open_store()
    read = await store.put("s", {"a": b"1"}, ttl_s=60)
    guarded = await store.change(read, {"lock": REMOVED, "a": b"2"})
    assert guarded.fields == {"a": b"2"}
    await other.change(guarded, {"lock": b""})
    with pytest.raises(ConflictError) as conflict:
        await store.change(guarded, {"lock": REMOVED, "a": b"3"})
    assert conflict.value.current.fields == {"a": b"2", "lock": b""}


async def test_a_field_that_was_removed_meanwhile_is_a_conflict(open_store: Open) -> None:
    store, other = open_store(), open_store()
    read = await store.put("s", {"a": b"1", "b": b"1"}, ttl_s=60)
    await other.change(read, {"a": REMOVED})
    for change in (b"2", b"1", REMOVED):
        with pytest.raises(ConflictError):
            await store.change(read, {"a": change})


async def test_a_field_that_was_added_meanwhile_is_a_conflict(open_store: Open) -> None:
    store, other = open_store(), open_store()
    read = await store.put("s", {"a": b"1"}, ttl_s=60)
    await other.change(read, {"b": b"theirs"})
    with pytest.raises(ConflictError) as conflict:
        await store.change(read, {"b": b"ours"})
    assert conflict.value.current.fields["b"] == b"theirs"


async def test_an_empty_value_is_not_an_absent_field(open_store: Open) -> None:
    store = open_store()
    read = await store.put("s", {"a": b""}, ttl_s=60)
    with pytest.raises(ConflictError):
        await store.change(Record("s", {}, read.expires_at, read.incarnation), {"a": b"1"})
    changed = await store.change(read, {"a": b"1", "b": b""})
    assert await store.get("s") == changed
    assert changed.fields == {"a": b"1", "b": b""}


async def test_a_change_of_nothing_still_tells_that_the_record_is_gone(open_store: Open) -> None:
    store = open_store()
    read = await store.put("s", {"a": b"1"}, ttl_s=60)
    assert await store.change(read, {}) == read
    await store.delete("s")
    with pytest.raises(GoneError):
        await store.change(read, {})


async def test_a_record_that_was_deleted_is_gone_even_if_an_equal_one_has_its_key(open_store: Open) -> None:
    store, other = open_store(), open_store()
    read = await store.put("s", {"a": b"1"}, ttl_s=60)
    await other.delete("s")
    with pytest.raises(GoneError):
        await store.change(read, {"a": b"2"})
    again = await other.put("s", {"a": b"1"}, ttl_s=60)
    with pytest.raises(GoneError):
        await store.change(read, {"a": b"2"})
    assert await store.get("s") == again


async def test_a_record_that_expired_is_gone_even_if_an_equal_one_has_its_key(
    open_store: Open, backend: Backend
) -> None:
    store = open_store()
    read = await store.put("s", {"a": b"1"}, ttl_s=60)
    backend.advance(61)
    again = await store.put("s", {"a": b"1"}, ttl_s=60)
    with pytest.raises(GoneError):
        await store.change(read, {"a": b"2"})
    assert await store.get("s") == again


async def test_change_extends_a_life_and_never_shortens_it(open_store: Open, backend: Backend) -> None:
    store = open_store()
    read = await store.put("s", {"a": b"1"}, ttl_s=60)
    longer = await store.change(read, {"a": b"2"}, ttl_s=600)
    assert abs(backend.left_s(longer.expires_at) - 600) < SLACK_S
    shorter = await store.change(longer, {"a": b"3"}, ttl_s=6)
    assert shorter.expires_at == longer.expires_at
    assert (await store.change(shorter, {"a": b"4"})).expires_at == longer.expires_at
    backend.advance(400)
    record = await store.get("s")
    assert record is not None
    assert record.fields == {"a": b"4"}


async def test_change_does_not_shorten_a_life_that_was_extended_since_the_record_was_read(
    open_store: Open, backend: Backend
) -> None:
    store, other = open_store(), open_store()
    read = await store.put("s", {"a": b"1", "b": b"1"}, ttl_s=60)
    await other.touch("s", ttl_s=600)
    await store.change(read, {"a": b"2"})
    await store.change(read, {"b": b"2"}, ttl_s=90)
    backend.advance(400)
    assert await store.get("s") is not None


async def test_a_record_that_others_have_filled_can_not_be_filled_further(open_store: Open) -> None:
    store, other = open_store(), open_store()
    half = bytes(store.guarantees.max_record_bytes // 2)
    read = await store.put("s", {}, ttl_s=60)
    await other.change(read, {"theirs": half})
    # A store may look at what was read or at what stands: either both are there then, or the first alone.
    try:
        await store.change(read, {"ours": half})
        wanted = {"theirs": half, "ours": half}
    except RecordTooLargeError:
        wanted = {"theirs": half}
    stands = await store.get("s")
    assert stands is not None
    assert stands.fields == wanted
    with pytest.raises(RecordTooLargeError):
        await store.change(stands, {"more": half})
