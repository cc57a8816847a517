"""The text in which fields are kept: what one UPDATE does to it is what a dict would do; keys are compared by bytes."""

import asyncio
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mysql_drills import opened, run

from fungible.stores import REMOVED, ConflictError, Record
from fungible.stores.contract import Changes, conflicting
from fungible.stores.mysql import layout

# Few, and like the text's own punctuation: so that names and values meet within one another's text.
NAMES = st.sampled_from(
    [
        "a",
        "A",
        "a ",
        ",",
        '"',
        '","a',
        '\\","a":"',
        "\\",
        "a\\",
        "\xe9",
        "e\u0301",
        "%s",
        "$.a",
        "\U0001f980",
        "x" * 512,
    ]
)
VALUES = st.one_of(st.sampled_from([b"", b"\x00", b"a", b"A", b'","a":"', b"i\xb7", b"I\xb7"]), st.binary(max_size=9))
FIELDS = st.dictionaries(NAMES, VALUES, max_size=6)
CHANGES = st.dictionaries(NAMES, VALUES | st.just(REMOVED), max_size=6)


@given(FIELDS)
def test_what_is_stored_comes_back(fields: dict[str, bytes]) -> None:
    assert layout.decoded(layout.encoded(fields)) == fields


@given(FIELDS, FIELDS, CHANGES)
def test_fields_stand_as_they_were_read_where_their_text_is_found(
    read: dict[str, bytes], standing: dict[str, bytes], changes: Changes
) -> None:
    """The same conditions and edits that the server evaluates, done by Python's own functions on bytes."""
    record, text = Record("k", read, 0), layout.encoded(standing)
    edit = layout.edit(record, changes, max_bytes=1 << 20)
    holds = True
    for index, name in enumerate(changes):
        found = edit.parameters[f"was{index}"] in text
        holds = holds and found == (name in read)
    assert holds is not conflicting(record, Record("k", standing, 0), changes)
    if holds:
        for index in range(len(changes)):
            if f"now{index}" in edit.parameters:
                text = text.replace(edit.parameters[f"was{index}"], edit.parameters[f"now{index}"])
        text += edit.parameters.get("added", b"")
        assert layout.decoded(text) == Record("k", standing, 0).changed(changes).fields


def test_the_server_edits_fields_as_a_dict_would(url: str) -> None:
    async def migrate() -> None:
        async with opened(url) as store:
            await store.ping()

    run(migrate())

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(FIELDS, CHANGES, CHANGES, FIELDS)
    def holds(first: dict[str, bytes], theirs: Changes, ours: Changes, whole: dict[str, bytes]) -> None:
        async def drill() -> None:
            async with opened(url) as store:
                read = await store.put("k", first, ttl_s=600)
                changed = await store.change(read, theirs)
                standing = await store.get("k")
                assert standing is not None
                assert standing.fields == changed.fields == read.changed(theirs).fields
                wanted = standing.fields
                with suppress(ConflictError):
                    await store.change(read, ours)
                    wanted = standing.changed(ours).fields
                assert (wanted == standing.fields) or not conflicting(read, standing, ours)
                standing = await store.get("k")
                assert standing is not None
                assert standing.fields == wanted
                assert (await store.put("k", whole, ttl_s=600, expect=standing)).fields == whole
                if whole != standing.fields:
                    with pytest.raises(ConflictError) as raised:
                        await store.put("k", {}, ttl_s=600, expect=standing)
                    assert raised.value.current.fields == whole

        asyncio.run(drill())

    holds()


@pytest.mark.parametrize("many", [layout.MOST_EDITS, layout.MOST_EDITS + 1, 3000])
def test_any_number_of_fields_can_be_changed_at_once(url: str, many: int) -> None:
    async def drill() -> None:
        async with opened(url) as store, opened(url) as other:
            read = await store.put("k", {f"f{number}": b"1" for number in range(many)}, ttl_s=600)
            await other.change(read, {"theirs": b"kept"})
            changes: Changes = {f"f{number}": b"2" if number % 2 else REMOVED for number in range(many)}
            await store.change(read, changes)
            standing = await store.get("k")
            assert standing is not None
            assert standing.fields == {**read.changed(changes).fields, "theirs": b"kept"}
            with pytest.raises(ConflictError):
                await store.change(read, changes)
            with pytest.raises(ConflictError):
                await store.put("k", {}, ttl_s=600, expect=read)
            assert (await store.put("k", {"a": b"1"}, ttl_s=600, expect=standing)).fields == {"a": b"1"}

    run(drill())


def test_keys_that_collations_take_for_equal_are_apart(url: str) -> None:
    # Case, trailing spaces, accents, composed and decomposed letters, ß, width, variation selectors, quotes.
    keys = ["a", "A", "a ", "a  ", " a", "\xe1", "a\u0301", "\xdf", "ss", "\uff41", "a\ufe00", "'", "\\", "\\'"]
    keys += ["%s", "%(key)s", "a" * 512]

    async def drill() -> None:
        async with opened(url) as store:
            for key in keys:
                await store.put(key, {"mine": key.encode()}, ttl_s=600)
                await store.append(key, key.encode(), ttl_s=600)
            for key in keys:
                record = await store.get(key)
                assert record is not None
                assert record.fields["mine"] == key.encode()
                assert (await store.since(key)).items == (key.encode(),)
            await store.delete("a")
            assert await store.get("a") is None
            assert await store.get("A") is not None
            assert await store.get("a ") is not None

    run(drill())


def test_a_change_that_changes_nothing_is_no_conflict(url: str) -> None:
    async def drill() -> None:
        async with opened(url) as store:
            read = await store.put("k", {"a": b"1"}, ttl_s=600)
            for _ in range(2):
                assert await store.change(read, {"a": b"1", "absent": REMOVED}) == read
                assert await store.change(read, {}) == read
                assert await store.touch("k", ttl_s=60) == read.expires_at

    run(drill())
