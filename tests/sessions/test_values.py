"""What a session keeps: values come back as they were, changes inside of them are seen, and the rest is refused by name."""

import copy
import uuid
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from contracts.backends import Backend
from contracts.clock import Clock

from fungible.sessions import SessionReadOnlyError
from fungible.sessions.merging import same
from fungible.stores import InvalidRecordError
from fungible.stores.memory import MemoryStore
from sessions.visiting import Browser, WatchedStore, sessions_over

VALUES: dict[str, Any] = {
    "text": "Grüße \U0001f600 \x00 \n",
    "empty": "",
    "yes": True,
    "none": None,
    "int": -1,
    "big": 1 << 64,
    "bigger": -(10**60),
    "float": 1.0,
    "tiny": 5e-324,
    "bytes": b"\x00\xff",
    "aware": datetime(2026, 11, 21, 12, 0, 0, 123456, timezone(timedelta(hours=5, minutes=30))),
    "utc": datetime(2026, 1, 1, tzinfo=UTC),
    "naive": datetime(2026, 11, 21, 12, 0),
    "price": Decimal("9.990"),
    "id": uuid.UUID(int=7),
    "nested": {"list": [1, [2, {"three": Decimal("3")}]], "": {}, "big": 1 << 80},
    ".": "a dot",
    ".next": "not ours",
    "..": "two dots",
    "clé": 1,
}


@pytest.mark.parametrize("mode", ["stored", "snapshot", "sealed"])
async def test_values_come_back_as_they_were(mode: str) -> None:
    sessions = sessions_over(None if mode == "sealed" else MemoryStore(), mode=mode)
    visitor = Browser()
    await visitor.put(sessions, **copy.deepcopy(VALUES))
    for _ in range(2):
        seen = await visitor.see(sessions)
        assert same(seen, VALUES)
        assert {key: type(value) for key, value in seen.items()} == {key: type(value) for key, value in VALUES.items()}


async def test_and_on_every_kind_of_store(backend: Backend) -> None:
    visitor = Browser()
    await visitor.put(sessions_over(backend.open()), **copy.deepcopy(VALUES))
    assert same(await visitor.see(sessions_over(backend.open())), VALUES)


async def test_names_with_dots_are_the_applications_own(backend: Backend) -> None:
    sessions, visitor = sessions_over(backend.open()), Browser()
    await visitor.put(sessions, **{".": 1, ".next": 2, ".ended": 3, "..": 4})
    session = await visitor.load(sessions)
    session.increment(".ended")
    del session[".next"]
    await visitor.answer(sessions, session)
    assert await visitor.see(sessions) == {".": 1, ".ended": 4, "..": 4}


class Money:
    """A type that nobody can keep."""


@pytest.mark.parametrize("value", [{1, 2}, Money(), object(), 1j, print, range(3)])
async def test_what_can_not_be_kept_is_refused_by_name_and_nothing_is_written(value: Any) -> None:
    sessions, visitor = sessions_over(MemoryStore()), Browser()
    await visitor.put(sessions, wallet={"list": []})
    session = await visitor.load(sessions)
    words = r"wallet.*" + type(value).__name__
    with pytest.raises(TypeError, match=words):
        session["wallet"] = value
    session["other"] = 1
    session["wallet"]["list"].append(value)
    with pytest.raises(TypeError, match=words):
        await session.save()
    assert await visitor.see(sessions) == {"wallet": {"list": []}}


async def test_keys_of_mappings_that_are_no_strings_are_refused_by_name() -> None:
    sessions, visitor = sessions_over(MemoryStore()), Browser()
    session = await visitor.load(sessions)
    session["seats"] = {1: "a"}
    with pytest.raises(TypeError, match=r"seats.*1.*int"):
        await session.save()
    for key in (1, None, b"bytes"):
        with pytest.raises(TypeError, match=type(key).__name__):
            session[key] = 1  # type: ignore[index]


async def test_half_of_a_character_is_refused_by_name() -> None:
    session = await Browser().load(sessions_over(MemoryStore()))
    session["name"] = "\ud800"
    with pytest.raises((TypeError, ValueError), match="name"):
        await session.save()


@pytest.mark.parametrize("key", ["", "a\x00b", "a" * 600, "\n"])
async def test_keys_that_no_store_takes_are_refused_at_once(key: str) -> None:
    session = await Browser().load(sessions_over(MemoryStore()))
    with pytest.raises(InvalidRecordError):
        session[key] = 1
    assert key not in session


async def test_changes_inside_of_values_are_seen_and_only_they_are_written() -> None:
    store = WatchedStore()
    sessions, visitor = sessions_over(store), Browser()
    await visitor.put(sessions, cart={"items": [{"n": 1}]}, prices=[Decimal(1)], other=[1])
    for change in (
        lambda session: session["cart"]["items"][0].update(n=2),
        lambda session: session["cart"]["items"][0].update(n=True),
        lambda session: session["cart"]["items"].append({}),
        lambda session: session["prices"].append(Decimal(2)),
        lambda session: session["cart"].update(deep={"deeper": []}),
        lambda session: session["cart"]["deep"]["deeper"].append(None),
    ):
        session = await visitor.load(sessions)
        assert session["other"] == [1]
        change(session)
        after = copy.deepcopy(dict(session))
        store.calls.clear()
        await visitor.answer(sessions, session)
        assert store.calls == ["change"]
        assert same(await visitor.see(sessions), after)


async def test_a_session_that_was_only_looked_at_or_set_to_what_it_was_is_not_written() -> None:
    store = WatchedStore()
    sessions, visitor = sessions_over(store), Browser()
    await visitor.put(sessions, **copy.deepcopy(VALUES))
    store.calls.clear()
    session = await visitor.load(sessions)
    dict(session)
    session["nested"]["list"].append(1)
    session["nested"]["list"].pop()
    session["price"] = Decimal("9.990")
    session["text"] = VALUES["text"]
    session.increment("int", 0)
    assert await visitor.answer(sessions, session) is None
    assert store.calls == ["get"]


async def test_a_life_is_extended_at_most_once_in_a_tenth_of_the_idle_timeout() -> None:
    clock = Clock()
    store = WatchedStore(MemoryStore(now=clock))
    sessions, visitor = sessions_over(store, now=clock, idle_timeout_s=1000, absolute_timeout_s=3000), Browser()
    await visitor.put(sessions, a=1)
    store.calls.clear()
    for _ in range(400):
        clock.time_s += 5
        assert await visitor.see(sessions) == {"a": 1}
    assert 15 <= len(store.writes) <= 20
    # Used all the time, it ends at the absolute timeout all the same.
    for _ in range(400):
        clock.time_s += 5
        seen = await visitor.see(sessions)
    assert seen == {}


async def test_a_session_that_nobody_used_ends() -> None:
    clock = Clock()
    sessions = sessions_over(MemoryStore(now=clock), now=clock, idle_timeout_s=1000)
    visitor = Browser()
    await visitor.put(sessions, a=1)
    clock.time_s += 999
    assert await visitor.see(sessions) == {"a": 1}
    clock.time_s += 1001
    assert await visitor.see(sessions) == {}


async def test_it_is_a_mapping_like_any_other() -> None:
    sessions, visitor = sessions_over(MemoryStore()), Browser()
    await visitor.put(sessions, a=1, b=[2], c=3)
    session = await visitor.load(sessions)
    assert (len(session), list(session), "a" in session, "d" in session, 1 in session) == (
        3, ["a", "b", "c"], True, False, False,
    )  # fmt: skip
    assert session.pop("a") == 1
    assert session.pop("a", None) is None
    assert session.setdefault("b", []) == [2]
    assert session.setdefault("d", []) == []
    with pytest.raises(KeyError):
        session["a"]
    with pytest.raises(KeyError):
        del session["a"]
    session["a"] = 4
    assert dict(session) == {"b": [2], "c": 3, "d": [], "a": 4} or dict(session) == {"a": 4, "b": [2], "c": 3, "d": []}
    assert "secret" not in repr(session)
    await visitor.answer(sessions, session)
    assert await visitor.see(sessions) == {"a": 4, "b": [2], "c": 3, "d": []}


async def test_adding_to_what_is_no_number_is_refused() -> None:
    session = await Browser().load(sessions_over(MemoryStore()))
    session.update(text="1", yes=True, nested={"list": []})
    for place in ("text", "yes", "nested", ("nested", "list")):
        with pytest.raises(TypeError, match="no number"):
            session.increment(place)
    assert session.increment("new") == 1
    assert session.increment(("new2", "deep", "er"), 2.5) == 2.5


async def test_clearing_begins_another_session_with_another_id(backend: Backend) -> None:
    sessions, visitor = sessions_over(backend.open()), Browser()
    await visitor.sign_in(sessions, "ada")
    old = Browser(visitor.cookie)
    session = await visitor.load(sessions)
    session.clear()
    session["fresh"] = 1
    await visitor.answer(sessions, session)
    assert visitor.cookie not in (None, old.cookie)
    assert await visitor.see(sessions) == {"fresh": 1}
    assert (await visitor.load(sessions)).subject is None
    assert await old.see(sessions) == {}
    session = await visitor.load(sessions)
    session.clear()
    await visitor.answer(sessions, session)
    assert visitor.cookie is None


async def test_every_way_of_changing_a_read_only_session_is_refused() -> None:
    session = await Browser().load(sessions_over(MemoryStore()))
    session.read_only = "in a test"
    with pytest.raises(SessionReadOnlyError, match="in a test"):
        session["a"] = 1
    with pytest.raises(SessionReadOnlyError):
        session.subject = "ada"
    for change in (session.clear, session.popitem, lambda: session.increment("n"), lambda: session.update(a=1)):
        with pytest.raises((SessionReadOnlyError, KeyError)):
            change()
    for ending in (session.end, session.end_all, session.rotate, session.save):
        with pytest.raises(SessionReadOnlyError):
            await ending()
