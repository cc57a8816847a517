"""A subject's sessions: listed, ended one by one, or all at once."""

import asyncio

import pytest
from contracts.backends import Backend
from contracts.clock import Clock

from fungible.sessions import Session
from fungible.stores.memory import MemoryStore
from sessions.visiting import NAME, Browser, WatchedStore, sessions_over


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


async def test_the_index_of_one_who_signs_in_often_and_never_out_does_not_only_grow() -> None:
    clock = Clock()
    store = WatchedStore(MemoryStore(now=clock))
    sessions = sessions_over(store, now=clock, idle_timeout_s=100, absolute_timeout_s=1_000_000)
    for _ in range(300):
        await Browser().sign_in(sessions, "ada")
    assert len(await sessions.sessions_of("ada")) == 300
    clock.time_s += 101
    for _ in range(150):
        await Browser().sign_in(sessions, "ada")
    store.calls.clear()
    # Those that are alive are all there, and of the others few.
    assert len(await sessions.sessions_of("ada")) == 150
    assert len(store.calls) <= 210
