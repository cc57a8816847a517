"""Three-way merge: what one side alone changed is never lost, whatever the other side did."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fungible.core.codec import decode, encode
from fungible.sessions.merging import MISSING, merge, same

SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=True, width=16) | st.text(max_size=3)
KEYS = st.sampled_from("abcd")
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)
MAPPINGS = st.dictionaries(KEYS, VALUES, max_size=4)


def places(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every value in nested mappings that is no mapping itself, by its path; an empty mapping counts as a value."""
    if isinstance(value, dict) and value:
        found: dict[tuple[str, ...], Any] = {}
        for key, inner in value.items():
            found |= places(inner, (*path, key))
        return found
    return {path: value}


def at(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return MISSING
        value = value[key]
    return value


@given(VALUES, VALUES)
def test_merging_with_an_unchanged_side_gives_the_other_side(base: Any, changed: Any) -> None:
    assert same(merge(base, changed, copy.deepcopy(base)).value, changed)
    assert same(merge(base, copy.deepcopy(base), changed).value, changed)


@given(MAPPINGS, MAPPINGS, MAPPINGS)
def test_a_field_that_only_one_side_changed_has_that_sides_value(base: Any, mine: Any, theirs: Any) -> None:
    merged = merge(base, mine, theirs).value
    for key in {*base, *mine, *theirs}:
        before, left, right = (side.get(key, MISSING) for side in (base, mine, theirs))
        if same(right, before):
            assert same(merged.get(key, MISSING), left)
        elif same(left, before):
            assert same(merged.get(key, MISSING), right)


@given(MAPPINGS, MAPPINGS, MAPPINGS)
def test_also_deep_inside_of_mappings_that_both_have_changed(base: Any, mine: Any, theirs: Any) -> None:
    # The mappings around a place must be mappings on all sides, else the place was changed with what is around it.
    merged = merge({"x": base}, {"x": mine}, {"x": theirs}).value["x"]
    for path in {*places(base), *places(mine), *places(theirs)}:
        around = [at(side, path[:-1]) for side in (base, mine, theirs)]
        if not path or not all(isinstance(each, dict) for each in around):
            continue
        before, left, right = (at(side, path) for side in (base, mine, theirs))
        if same(right, before) and not isinstance(before, dict):
            assert same(at(merged, path), left)
        elif same(left, before) and not isinstance(before, dict):
            assert same(at(merged, path), right)


@given(st.lists(VALUES, max_size=3), st.lists(VALUES, min_size=1, max_size=3), st.lists(VALUES, min_size=1, max_size=3))
def test_lists_that_both_appended_to_keep_both_additions_theirs_first(base: Any, mine: Any, theirs: Any) -> None:
    assert same(merge(base, base + mine, base + theirs).value, base + theirs + mine)


@given(st.integers(), st.integers(), st.integers())
def test_a_counter_gets_both_differences(base: int, mine: int, theirs: int) -> None:
    merged = merge(base, base + mine, base + theirs, path=("n",), counters={("n",)}).value
    assert merged == base + mine + theirs


def test_a_counter_that_did_not_exist_counts_from_nothing_even_inside_equal_mappings() -> None:
    merged = merge(MISSING, {"visits": 1}, {"visits": 1}, path=("stats",), counters={("stats", "visits")})
    assert merged.value == {"visits": 2}


@given(VALUES, VALUES, VALUES)
def test_the_outcome_can_be_kept_and_reads_back_the_same(base: Any, mine: Any, theirs: Any) -> None:
    merged = merge(base, mine, theirs).value
    assert same(decode(encode(merged)), merged)


@given(VALUES, VALUES, VALUES)
def test_merging_changes_none_of_its_arguments(base: Any, mine: Any, theirs: Any) -> None:
    before = copy.deepcopy((base, mine, theirs))
    merge(base, mine, theirs)
    assert same((base, mine, theirs), before)


@given(MAPPINGS, MAPPINGS, MAPPINGS)
def test_the_same_fields_are_left_whichever_side_was_first_where_nothing_is_overwritten(
    base: Any, mine: Any, theirs: Any
) -> None:
    one, other = merge(base, mine, theirs), merge(base, theirs, mine)
    if not one.overwritten and not other.overwritten:
        assert one.value.keys() == other.value.keys()


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "merged", "overwritten"),
    [
        (1, True, 1, True, ()),
        (1, 1.0, 1, 1.0, ()),
        ("a", "b", "c", "b", (("k",),)),
        ("a", "b", "b", "b", ()),
        (MISSING, ["a"], ["b"], ["b", "a"], ()),
        (MISSING, ["a"], ["a"], ["a"], ()),
        (["a"], ["a", "x"], ["a", "x"], ["a", "x", "x"], ()),
        (["a", "b"], ["a"], ["a", "b", "c"], ["a", "c"], ()),
        (["a", "b"], ["a", "b", "c"], ["B"], ["B", "c"], ()),
        (["a"], MISSING, ["a", "b"], ["b"], ()),
        (["a"], ["a", "b"], MISSING, ["b"], ()),
        (["a"], ["b"], ["c"], ["b"], (("k",),)),
        ({"a": 1}, {}, {"a": 2}, {}, (("k", "a"),)),
        ({"a": 1}, MISSING, {"a": 2}, MISSING, (("k",),)),
        ({}, [1], {"a": 1}, [1], (("k",),)),
    ],
)
def test_what_becomes_of_two_changes(base: Any, mine: Any, theirs: Any, merged: Any, overwritten: Any) -> None:
    found = merge(base, mine, theirs, path=("k",))
    assert same(found.value, merged)
    assert found.overwritten == overwritten
