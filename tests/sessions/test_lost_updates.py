"""What two requests wrote to one session: on every kind of store the same, and nothing that one side wrote is lost."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from contracts.backends import Backend
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fungible.sessions import SessionConflict
from fungible.sessions.merging import MISSING, merge, same
from fungible.stores.memory import MemoryStore
from sessions.visiting import Browser, sessions_over

SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xy"), inner), max_leaves=5
)
STATES = st.dictionaries(st.sampled_from(["k", "l", ".m"]), VALUES, max_size=3)


async def two_writers(store: Any, before: Any, first: Callable[[Any], Any], second: Callable[[Any], Any]) -> Any:
    """Both have read `before`; the first one writes, then the second one. What then is there."""
    sessions, visitor = sessions_over(store), Browser()
    await visitor.put(sessions, **before)
    one, other = await visitor.load(sessions), await visitor.load(sessions)
    first(one)
    second(other)
    await sessions.write(one)
    await sessions.write(other)
    return await visitor.see(sessions)


def become(state: dict[str, Any]) -> Callable[[Any], None]:
    """A request that makes the session this."""

    def change(session: Any) -> None:
        for key in [*session]:
            if key not in state:
                del session[key]
        session.update(state)

    return change


def test_any_two_changes_are_merged_alike_on_every_kind_of_store(backend: Backend) -> None:
    examples = 60 if backend.name in ("memory", "sqlite") else 12

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(STATES, STATES, STATES)
    def merged_alike(before: Any, mine: Any, theirs: Any) -> None:
        async def run() -> Any:
            try:
                return await two_writers(backend.open(), {"first": 1, **before}, become(theirs), become(mine))
            finally:
                await backend.close()

        expected = merge(before, mine, theirs).value
        found = asyncio.run(run())
        assert same({key: expected[key] for key in sorted(expected)}, {key: found[key] for key in sorted(found)})

    # "first" is what makes the session; both requests remove it, and agree.
    merged_alike()


async def test_lists_mappings_and_counters_inside_of_values_keep_both_additions(backend: Backend) -> None:
    def first(session: Any) -> None:
        session["cart"]["items"].append("a")
        session["cart"]["note"] = "gift"
        session.increment("n")
        session.increment(("stats", "views"), 2)
        session["one"] = 1

    def second(session: Any) -> None:
        session["cart"]["items"].append("b")
        session.increment("n")
        session.increment(("stats", "views"), 3)
        session["other"] = 2

    seen = await two_writers(backend.open(), {"cart": {"items": []}, "n": 5}, first, second)
    assert seen == {
        "cart": {"items": ["a", "b"], "note": "gift"},
        "n": 7,
        "stats": {"views": 5},
        "one": 1,
        "other": 2,
    }


async def test_a_value_that_was_only_looked_at_is_not_written_back_after_a_merge() -> None:
    sessions, visitor = sessions_over(MemoryStore()), Browser()
    await visitor.put(sessions, cart=["book"], n=0)
    slow = await visitor.load(sessions)
    assert slow["cart"] == ["book"]
    other = await visitor.load(sessions)
    other["cart"].append("pen")
    other.increment("n")
    await sessions.write(other)
    slow.increment("n")
    await slow.save()
    # As after a response that was streamed, or a second save.
    await slow.save()
    assert await visitor.see(sessions) == {"cart": ["book", "pen"], "n": 2}
    assert slow["cart"] == ["book", "pen"]


async def test_nor_after_a_merge_with_a_rotation() -> None:
    sessions, visitor = sessions_over(MemoryStore()), Browser()
    await visitor.put(sessions, cart=["book"])
    rotating = await visitor.load(sessions)
    assert rotating["cart"] == ["book"]
    other = await visitor.load(sessions)
    other["cart"].append("pen")
    await sessions.write(other)
    await rotating.rotate()
    await visitor.answer(sessions, rotating)
    await rotating.save()
    assert await visitor.see(sessions) == {"cart": ["book", "pen"]}


async def test_what_the_application_still_holds_goes_on_counting_after_a_merge() -> None:
    sessions, visitor = sessions_over(MemoryStore()), Browser()
    await visitor.put(sessions, cart={"items": ["book"], "by": {"a": 1}})
    slow, other = await visitor.load(sessions), await visitor.load(sessions)
    items, by = slow["cart"]["items"], slow["cart"]["by"]
    items.append("pen")
    other["cart"]["items"].append("ink")
    other["cart"]["by"]["b"] = 2
    await sessions.write(other)
    await slow.save()
    assert items == ["book", "ink", "pen"]
    items.append("paper")
    by["c"] = 3
    await slow.save()
    assert await visitor.see(sessions) == {
        "cart": {"items": ["book", "ink", "pen", "paper"], "by": {"a": 1, "b": 2, "c": 3}}
    }


async def test_a_conflict_is_raised_where_it_was_asked_for_and_nothing_is_written() -> None:
    sessions, visitor = sessions_over(MemoryStore(), conflicts="raise"), Browser()
    await visitor.put(sessions, theme="dark", a=0, b=0)
    slow, other = await visitor.load(sessions), await visitor.load(sessions)
    other["theme"] = "light"
    await sessions.write(other)
    slow["theme"], slow["a"] = "blue", 1
    with pytest.raises(SessionConflict, match="theme") as raised:
        await slow.save()
    assert raised.value.places == ("theme",)
    assert await visitor.see(sessions) == {"theme": "light", "a": 0, "b": 0}
    # What can be merged is no conflict.
    slow, other = await visitor.load(sessions), await visitor.load(sessions)
    other["a"], slow["b"] = 1, 1
    await sessions.write(other)
    await sessions.write(slow)
    assert await visitor.see(sessions) == {"theme": "light", "a": 1, "b": 1}


async def test_a_removed_value_stays_removed_and_a_removal_does_not_lose_others() -> None:
    def first(session: Any) -> None:
        del session["a"]

    def second(session: Any) -> None:
        session["b"] = 2

    assert await two_writers(MemoryStore(), {"a": 1, "b": 1}, first, second) == {"b": 2}
    assert await two_writers(MemoryStore(), {"a": 1, "b": 1}, second, first) == {"b": 2}


async def test_a_number_that_was_set_as_a_whole_is_no_sum_any_more() -> None:
    def reset_and_add(session: Any) -> None:
        session["n"] = 0
        session.increment("n")

    def add(session: Any) -> None:
        session.increment("n", 10)

    assert await two_writers(MemoryStore(), {"n": 5}, add, reset_and_add) == {"n": 1}


def test_there_is_nothing_missing_where_both_removed_it() -> None:
    assert merge({"a": 1}, {}, {}).value == {}
    assert merge({"a": 1}, MISSING, MISSING).value is MISSING
