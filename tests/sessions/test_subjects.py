"""A subject's sessions: listed, ended one by one, or all at once."""

import asyncio
from typing import Any

import msgspec
import pytest
from contracts.backends import Backend
from contracts.clock import Clock

from fungible.sessions import Session
from fungible.stores.memory import MemoryStore
from sessions.visiting import NAME, Browser, Events, WatchedStore, sessions_over


async def test_the_devices_of_a_subject_are_listed_with_the_one_that_asks(backend: Backend) -> None:
    sessions = sessions_over(backend.open())
    laptop, phone, stranger = Browser(), Browser(), Browser()
    await laptop.sign_in(sessions, "ada")
    await laptop.put(sessions, device="laptop")
    await phone.sign_in(sessions, "ada")
    await stranger.sign_in(sessions, "bob")
    found = await (await laptop.load(sessions)).others()
    assert [(info.values.get("device"), info.current) for info in found] in (
        [(None, False), ("laptop", True)],
        [("laptop", True), (None, False)],
    )
    assert all(info.created_at <= info.expires_at for info in found)
    [other] = [info for info in found if not info.current]
    # What names it is no cookie.
    assert dict(await sessions.load(f"{NAME}={other.handle}")) == {}
    await sessions.end_by_handle(other.handle)
    assert await phone.see(sessions) == {}
    assert await laptop.see(sessions) == {"user": "ada", "device": "laptop"}
    assert await stranger.see(sessions) == {"user": "bob"}


async def test_signing_out_everywhere_can_leave_the_session_that_asks(backend: Backend) -> None:
    sessions = sessions_over(backend.open())
    browsers = [Browser() for _ in range(4)]
    for browser in browsers:
        await browser.sign_in(sessions, "ada")
    first = await browsers[0].load(sessions)
    assert await first.end_all(keep_this=True) == 3
    assert await browsers[0].answer(sessions, first) is None
    assert [await browser.see(sessions) for browser in browsers] == [{"user": "ada"}, {}, {}, {}]
    first = await browsers[0].load(sessions)
    assert await first.end_all() == 1
    await browsers[0].answer(sessions, first)
    assert browsers[0].cookie is None


async def test_ending_anothers_sessions_leaves_ones_own() -> None:
    sessions, admin, user = sessions_over(MemoryStore()), Browser(), Browser()
    await admin.sign_in(sessions, "root")
    await user.sign_in(sessions, "ada")
    session = await admin.load(sessions)
    assert await session.end_all("ada") == 1
    await admin.answer(sessions, session)
    assert await admin.see(sessions) == {"user": "root"}
    assert await user.see(sessions) == {}


async def test_without_a_subject_there_is_only_the_session_itself() -> None:
    sessions, visitor = sessions_over(MemoryStore()), Browser()
    await visitor.put(sessions, n=1)
    session = await visitor.load(sessions)
    assert await session.others() == []
    assert await session.end_all() == 1
    await visitor.answer(sessions, session)
    assert visitor.cookie is None


@pytest.mark.parametrize("subject", ["", "é\n\x00", "x" * 5000, "a b:c/d", "\U0001f600"])
async def test_a_subject_may_be_any_text(subject: str) -> None:
    sessions, visitor = sessions_over(MemoryStore()), Browser()
    session = await visitor.load(sessions)
    await session.rotate(subject=subject)
    await visitor.answer(sessions, session)
    assert (await visitor.load(sessions)).subject == subject
    assert len(await sessions.sessions_of(subject)) == 1
    assert await sessions.end_all(subject) == 1


async def test_what_has_ended_by_itself_is_not_listed_and_leaves_the_index() -> None:
    clock = Clock()
    store = WatchedStore(MemoryStore(now=clock))
    sessions = sessions_over(store, now=clock, idle_timeout_s=100, absolute_timeout_s=200)
    for _ in range(3):
        await Browser().sign_in(sessions, "ada")
    clock.time_s += 101
    assert await sessions.sessions_of("ada") == []
    clock.time_s += 100
    visitor = Browser()
    await visitor.sign_in(sessions, "ada")
    store.calls.clear()
    assert len(await sessions.sessions_of("ada")) == 1
    # The index, and the one that is left.
    assert store.calls == ["get", "get"]


async def test_sign_ins_of_one_subject_at_once_are_all_in_the_index(backend: Backend) -> None:
    sessions = [sessions_over(backend.open()) for _ in range(2)]
    browsers = [Browser() for _ in range(20)]

    async def sign_in(number: int) -> Session:
        return await browsers[number].sign_in(sessions[number % 2], "ada")

    await asyncio.gather(*map(sign_in, range(20)))
    assert len(await sessions[0].sessions_of("ada")) == 20
    assert await sessions[1].end_all("ada") == 20
    assert [await browser.see(sessions[0]) for browser in browsers] == [{}] * 20


@pytest.mark.parametrize("mode", ["stored", "snapshot"])
async def test_of_too_many_sessions_of_one_subject_the_oldest_is_ended_and_that_is_told(
    mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock, events = Clock(), Events()
    store = WatchedStore(MemoryStore(now=clock))
    sessions = sessions_over(store, mode=mode, now=clock, max_sessions=3, on_event=events, revocation_bound_s=1e-9)
    browsers = [Browser() for _ in range(5)]
    for browser in browsers:
        clock.time_s += 1
        await browser.sign_in(sessions, "ada")
        await browser.see(sessions)
    assert [await browser.see(sessions) for browser in browsers] == [{}] * 2 + [{"user": "ada"}] * 3
    assert len(await sessions.sessions_of("ada")) == 3
    assert events.seen.count("oldest_ended") == 2
    assert "max_sessions" in caplog.text
    # A new ID is no further session.
    session = await browsers[2].load(sessions)
    await session.rotate()
    await browsers[2].answer(sessions, session)
    assert [await browser.see(sessions) for browser in browsers[2:]] == [{"user": "ada"}] * 3
    assert await sessions.end_all("ada") == 3


async def test_those_that_have_ended_by_themselves_make_room_first() -> None:
    clock, events = Clock(), Events()
    store = MemoryStore(now=clock)
    sessions = sessions_over(
        store, now=clock, max_sessions=3, idle_timeout_s=100, absolute_timeout_s=1000, on_event=events
    )
    await Browser().sign_in(sessions, "ada")
    await Browser().sign_in(sessions, "ada")
    clock.time_s += 60
    kept = Browser()
    await kept.sign_in(sessions, "ada")
    clock.time_s += 60
    for _ in range(2):
        await Browser().sign_in(sessions, "ada")
    assert await kept.see(sessions) == {"user": "ada"}
    assert "oldest_ended" not in events.seen


async def test_what_a_sign_in_costs_does_not_grow_with_how_often_one_signs_in() -> None:
    clock = Clock()
    store = WatchedStore(MemoryStore(now=clock))
    sessions = sessions_over(store, now=clock)
    costs: list[int] = []
    for _ in range(300):
        store.calls.clear()
        await Browser().sign_in(sessions, "ada")
        costs.append(len(store.calls))
    assert max(costs[150:]) == min(costs[150:]) < 20
    [index] = [record for key, record in store.store._records.items() if key.startswith("subject:")]
    assert len(index.fields) == 100
    assert len(await sessions.sessions_of("ada")) == 100


async def test_an_index_that_is_larger_than_the_limit_shrinks_by_a_few_with_each_sign_in() -> None:
    store = MemoryStore()
    many = sessions_over(store, max_sessions=60)
    for _ in range(60):
        await Browser().sign_in(many, "ada")
    few = sessions_over(store, max_sessions=5)
    sizes: list[int] = []
    for _ in range(12):
        await Browser().sign_in(few, "ada")
        sizes.append(len(await few.sessions_of("ada")))
    assert sizes == [53, 46, 39, 32, 25, 18, 11, 5, 5, 5, 5, 5]


async def test_a_subject_that_is_no_text_is_refused_where_it_is_given() -> None:
    sessions, visitor = sessions_over(MemoryStore()), Browser()
    session = await visitor.load(sessions)
    wrong: Any = 5
    with pytest.raises(TypeError, match="a string, not 'int'"):
        await session.rotate(subject=wrong)
    with pytest.raises(TypeError, match="a string, not 'int'"):
        session.subject = wrong
    for ask in (session.end_all, sessions.end_all, sessions.sessions_of):
        with pytest.raises(TypeError, match="a string, not 'int'"):
            await ask(wrong)
    with pytest.raises(UnicodeEncodeError):
        session.subject = "\ud800"
    assert session.subject is None
    assert await visitor.answer(sessions, session) is None


@pytest.mark.parametrize("kept", [[1.5, 5], [1.5, {"a": 1}], ["x", "ada"], "x", 7, [], None])
@pytest.mark.parametrize("mode", ["stored", "snapshot"])
async def test_a_record_that_holds_an_unreadable_subject_signs_nobody_in_and_fails_no_request(
    mode: str, kept: object
) -> None:
    store = MemoryStore()
    sessions, visitor = sessions_over(store, mode=mode), Browser()
    await visitor.put(sessions, cart=1)
    handle = (await visitor.load(sessions)).state.handle
    record = await store.get(f"session:{handle}")
    assert record is not None
    await store.change(record, {".": b"\xc1" if kept is None else msgspec.msgpack.encode(kept)})
    session = await visitor.load(sessions)
    assert (session.subject, dict(session)) == (None, {})
    await visitor.put(sessions, cart=2)
    assert await visitor.see(sessions) == {"cart": 2}
    await visitor.sign_in(sessions, "ada")
    assert (await visitor.load(sessions)).subject == "ada"
    await visitor.sign_out(sessions)
    assert await visitor.see(sessions) == {}
