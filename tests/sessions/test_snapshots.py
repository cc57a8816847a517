"""Snapshots: a read asks the store nothing, and what was revoked is nowhere trusted for longer than the bound."""

import asyncio
from typing import Any

import msgspec
import pytest
from contracts.backends import Backend
from contracts.clock import Clock

from fungible.sessions.revocations import TOLD_AGAIN_AFTER_S, TOPIC, Revocations
from fungible.stores import Store, StoreUnavailableError
from fungible.stores.memory import MemoryStore
from sessions.visiting import Browser, Events, WatchedStore, nothing_happens, sessions_over


class Fleet:
    """Two instances over one store, with a clock for all of them."""

    def __init__(self, store: Store | None = None, **settings: Any) -> None:
        self.clock = Clock()
        self.store = WatchedStore(store or MemoryStore(now=self.clock))
        self.events = Events()
        self.one, self.other = (
            sessions_over(
                self.store, mode="snapshot", now=now, on_event=self.events, **{"revocation_bound_s": 1000, **settings}
            )
            for now in [self.clock] * 2
        )
        self.visitor = Browser()

    async def begin(self) -> None:
        """The visitor has a session and a fresh copy of it; both instances know the feed."""
        await self.visitor.sign_in(self.one, "ada")
        for instance in (self.one, self.other, self.one):
            await self.visitor.see(instance)
        self.store.calls.clear()

    async def away(self, verb: str, number: int, done: bool) -> None:
        raise StoreUnavailableError(home="memory:", reason="away")


async def test_a_read_within_the_freshness_costs_no_store_call() -> None:
    fleet = Fleet()
    await fleet.begin()
    for _ in range(5):
        fleet.clock.time_s += 10
        assert await fleet.visitor.see(fleet.one) == {"user": "ada"}
        assert await fleet.visitor.see(fleet.other) == {"user": "ada"}
    assert fleet.store.calls == []
    fleet.clock.time_s += 11
    assert await fleet.visitor.see(fleet.one) == {"user": "ada"}
    # For what it saw, and for what stood when it was answered.
    assert fleet.store.calls == ["get", "get"]
    # The answer has brought a fresh copy.
    assert await fleet.visitor.see(fleet.other) == {"user": "ada"}
    assert fleet.store.calls == ["get", "get"]


async def test_after_a_write_the_next_read_asks_the_store() -> None:
    fleet = Fleet()
    await fleet.begin()
    await fleet.visitor.put(fleet.one, n=1)
    assert fleet.store.calls == ["change"]
    assert await fleet.visitor.see(fleet.other) == {"user": "ada", "n": 1}
    assert fleet.store.calls == ["change", "get", "get"]


async def test_writes_from_old_copies_are_merged_with_what_stands() -> None:
    fleet = Fleet()
    await fleet.begin()
    tablet = Browser(fleet.visitor.cookie)
    await fleet.visitor.put(fleet.one, list=["a"], note="x")
    await tablet.put(fleet.other, list=["b"])
    assert await fleet.visitor.see(fleet.one) == {"user": "ada", "list": ["a", "b"], "note": "x"}


async def test_an_ended_session_is_trusted_nowhere_longer_than_the_bound(backend: Backend) -> None:
    sessions = [sessions_over(backend.open(), mode="snapshot", revocation_bound_s=0.05) for _ in range(2)]
    visitor = Browser()
    await visitor.sign_in(sessions[0], "ada")
    await visitor.see(sessions[0])
    replayed = Browser(visitor.cookie)
    assert await replayed.see(sessions[1]) == {"user": "ada"}
    await visitor.sign_out(sessions[0])
    assert await replayed.see(sessions[0]) == {}
    # Not asserted: how long. It ends, although the copy is good for a minute.
    async with asyncio.timeout(30):
        while await replayed.see(sessions[1]):  # noqa: ASYNC110 - what is waited for is in another instance
            await asyncio.sleep(0.005)
    assert await replayed.see(sessions[1]) == {}


async def test_a_rotated_id_is_dead_after_its_grace_whatever_copy_it_comes_with() -> None:
    fleet = Fleet()
    await fleet.begin()
    old = Browser(fleet.visitor.cookie)
    session = await fleet.visitor.load(fleet.one)
    await session.rotate()
    await fleet.visitor.answer(fleet.one, session)
    fleet.clock.time_s += 9
    assert await old.see(fleet.one) == {"user": "ada"}
    fleet.clock.time_s += 2
    assert await old.see(fleet.one) == {}
    assert await fleet.visitor.see(fleet.one) == {"user": "ada"}


async def test_a_slow_read_does_not_bring_back_the_cookie_from_before_a_rotation_or_a_sign_out() -> None:
    for what in ("rotate", "end"):
        fleet = Fleet()
        await fleet.begin()
        await fleet.visitor.put(fleet.one, n=1)
        slow = await fleet.visitor.load(fleet.one)
        session = await fleet.visitor.load(fleet.one)
        await getattr(session, what)()
        await fleet.visitor.answer(fleet.one, session)
        assert await fleet.visitor.answer(fleet.one, slow) is None


@pytest.mark.parametrize("after_s", [0, 0.5, 5, 9, 11, 125, 299])
@pytest.mark.parametrize("what", ["rotate", "sign_in", "end", "end_all"])
async def test_nor_at_another_instance_which_can_not_know_yet(what: str, after_s: float) -> None:
    # Nothing is told to the other instance but what it asks for itself.
    fleet = Fleet(rotation_grace_s=10)
    await fleet.begin()
    await fleet.visitor.put(fleet.one, n=1)
    tab = Browser(fleet.visitor.cookie)
    slow = await tab.load(fleet.other)
    session = await fleet.visitor.load(fleet.one)
    await (session.rotate(subject="bob") if what == "sign_in" else getattr(session, what)())
    await fleet.visitor.answer(fleet.one, session)
    fleet.clock.time_s += after_s
    assert await tab.answer(fleet.other, slow) is None


@pytest.mark.parametrize("after_s", [0, 30, 59, 61, 125, 184, 400])
async def test_what_was_read_before_an_end_is_not_trusted_after_it_however_late_the_answer_is(after_s: float) -> None:
    fleet = Fleet(revocation_bound_s=1e-9)
    await fleet.begin()
    await fleet.visitor.put(fleet.one, n=1)
    tab = Browser(fleet.visitor.cookie)
    slow = await tab.load(fleet.other)
    assert await fleet.one.end_all("ada") == 1
    fleet.clock.time_s += after_s
    await tab.answer(fleet.other, slow)
    for _ in range(7):
        for instance in (fleet.one, fleet.other):
            assert (await Browser(tab.cookie).load(instance)).subject is None
        fleet.clock.time_s += 30


async def test_a_copy_is_trusted_from_when_the_store_was_asked_and_not_from_the_answer() -> None:
    fleet = Fleet(revocation_bound_s=1e-9)
    await fleet.begin()
    await fleet.visitor.put(fleet.one, n=1)

    async def slow(verb: str, number: int, done: bool) -> None:
        # The store's last answer comes late.
        if verb == "get" and number == 1 and done:
            fleet.clock.time_s += 50

    fleet.store.calls.clear()
    session = await fleet.visitor.load(fleet.one)
    fleet.store.meets = slow
    fleet.store.calls[:] = ["get"]
    await fleet.visitor.answer(fleet.one, session)
    fleet.store.meets = nothing_happens
    fleet.clock.time_s += 11
    fleet.store.calls.clear()
    await fleet.visitor.load(fleet.one)
    assert "get" in fleet.store.calls


async def test_a_slow_read_hides_no_write_that_was_answered_before_it() -> None:
    fleet = Fleet()
    await fleet.begin()
    await fleet.visitor.put(fleet.one, n=1)
    tab = Browser(fleet.visitor.cookie)
    slow = await tab.load(fleet.other)
    await fleet.visitor.put(fleet.one, n=2)
    await tab.answer(fleet.other, slow)
    # The browser keeps the cookie of the last answer.
    fleet.visitor.cookie = tab.cookie
    for instance in (fleet.one, fleet.other):
        assert await fleet.visitor.see(instance) == {"user": "ada", "n": 2}


async def test_a_read_is_answered_although_the_store_can_not_be_asked_for_a_copy() -> None:
    fleet = Fleet()
    await fleet.begin()
    await fleet.visitor.put(fleet.one, n=1)
    session = await fleet.visitor.load(fleet.one)
    fleet.store.meets = fleet.away
    assert await fleet.visitor.answer(fleet.one, session) is None
    # But what was written is told to the browser, or nothing is: its copy would hide it.
    fleet.store.meets = nothing_happens
    session = await fleet.visitor.load(fleet.one)
    session["n"] = 2
    await session.save()
    fleet.store.meets = fleet.away
    with pytest.raises(StoreUnavailableError):
        await fleet.visitor.answer(fleet.one, session)


async def test_where_the_feed_is_away_for_longer_than_the_bound_nobody_is_trusted() -> None:
    fleet = Fleet(revocation_bound_s=1e-6)
    await fleet.begin()
    fleet.store.meets = fleet.away
    with pytest.raises(StoreUnavailableError):
        await fleet.visitor.load(fleet.one)
    fleet.store.meets = nothing_happens
    assert await fleet.visitor.see(fleet.one) == {"user": "ada"}


async def test_within_the_bound_reads_go_on_while_the_store_is_away() -> None:
    fleet = Fleet()
    await fleet.begin()
    fleet.store.meets = fleet.away
    assert await fleet.visitor.see(fleet.one) == {"user": "ada"}
    with pytest.raises(StoreUnavailableError):
        await fleet.visitor.put(fleet.one, n=1)


@pytest.mark.parametrize("item", [b"\xc1", b"", msgspec.msgpack.encode({"subject": "ada"})])
async def test_after_a_revocation_that_can_not_be_read_the_store_is_asked_for_as_long_as_copies_from_before_are_good(
    item: bytes,
) -> None:
    fleet = Fleet(revocation_bound_s=0.001)
    await fleet.begin()
    await fleet.store.append(TOPIC, item, ttl_s=86_400)
    # Ended in whatever way the later release has: no item that can be read tells of it.
    ended = Browser()
    session = await ended.sign_in(fleet.one, "bob")
    await ended.see(fleet.one)
    assert session.state.handle is not None
    await asyncio.sleep(0.002)
    fleet.store.calls.clear()
    # Alive: let in, by what the store says, and not by the copy.
    assert await fleet.visitor.see(fleet.one) == {"user": "ada"}
    assert "get" in fleet.store.calls
    await fleet.store.store.delete(f"session:{session.state.handle}", tombstone_s=60)
    assert await ended.see(fleet.one) == {}
    # A copy that was taken before is good no more: copies are trusted again.
    fleet.clock.time_s += 60 + 61 + TOLD_AGAIN_AFTER_S
    for _ in range(2):
        fleet.store.calls.clear()
        assert await fleet.visitor.see(fleet.one) == {"user": "ada"}
    assert "get" not in fleet.store.calls


async def test_requests_that_wait_for_the_feed_wait_together_and_not_in_a_row() -> None:
    store = WatchedStore()
    moment, asked, gate = 0.0, asyncio.Event(), asyncio.Event()

    async def silent(verb: str, number: int, done: bool) -> None:
        asked.set()
        await gate.wait()
        raise StoreUnavailableError(home="memory:", reason="silent")

    store.meets = silent
    revocations = Revocations(store, bound_s=1, keep_s=60, now=lambda: moment, monotonic=lambda: moment)
    waiting = [asyncio.create_task(revocations.is_revoked("a")) for _ in range(50)]
    await asked.wait()
    gate.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * 50
    assert store.calls == ["since"]


async def test_an_answer_that_was_asked_for_too_early_is_not_enough() -> None:
    store, moment = WatchedStore(), 0.0
    revocations = Revocations(store, bound_s=1, keep_s=60, now=lambda: 0, monotonic=lambda: moment)
    read, waits = asyncio.Event(), asyncio.Event()

    async def slow(verb: str, number: int, done: bool) -> None:
        if number == 0 and done:
            read.set()
            await waits.wait()

    store.meets = slow
    first = asyncio.create_task(revocations.is_revoked("a"))
    await read.wait()
    await Revocations(store.store, bound_s=1, keep_s=60, now=lambda: 0).publish("a", from_s=0)
    moment = 5.0
    second = asyncio.create_task(revocations.is_revoked("a"))
    await asyncio.sleep(0)
    waits.set()
    assert await first is False
    assert await second is True


async def test_a_session_that_is_too_large_for_a_copy_is_read_from_the_store() -> None:
    fleet = Fleet()
    await fleet.begin()
    await fleet.visitor.put(fleet.one, large="x" * 5000)
    for _ in range(2):
        fleet.store.calls.clear()
        assert len((await fleet.visitor.see(fleet.one))["large"]) == 5000
        assert fleet.store.calls == ["get"]
        assert len(fleet.visitor.cookie or "") < 4000
    assert "snapshot_too_large" in fleet.events.seen


@pytest.mark.parametrize(("ahead_s", "calls"), [(30, []), (-30, []), (-70, ["get"] * 2), (300, ["get"] * 2)])
async def test_copies_from_instances_whose_clocks_are_apart(ahead_s: float, calls: list[str]) -> None:
    fleet = Fleet()
    skewed = sessions_over(
        fleet.store, mode="snapshot", now=lambda: fleet.clock() + ahead_s, revocation_bound_s=1000, freshness_s=60
    )
    await fleet.visitor.sign_in(skewed, "ada")
    await fleet.visitor.see(skewed)
    # An instance that knows the feed already.
    another = Browser()
    await another.put(fleet.one, a=1)
    for _ in range(2):
        await another.see(fleet.one)
    fleet.store.calls.clear()
    assert await fleet.visitor.see(fleet.one) == {"user": "ada"}
    assert fleet.store.calls == calls


async def test_a_copy_is_not_trusted_beyond_the_sessions_own_end() -> None:
    fleet = Fleet(idle_timeout_s=20, absolute_timeout_s=20)
    await fleet.begin()
    fleet.clock.time_s += 21
    assert await fleet.visitor.see(fleet.one) == {}


async def test_a_copy_can_not_be_read_by_who_carries_it() -> None:
    fleet = Fleet()
    await fleet.visitor.put(fleet.one, card="4111 1111")
    await fleet.visitor.see(fleet.one)
    assert "4111" not in (fleet.visitor.cookie or "")
