"""Stores that take no more: whoever signs out is out, as long as anything can still be deleted."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest
from contracts.backends import Backend
from servers import RedisServer

from fungible.sessions import Sessions
from fungible.sessions.revocations import TOPIC
from fungible.stores import RecordTooLargeError, StoreUnavailableError
from fungible.stores.memory import MemoryStore
from sessions.visiting import Browser, Events, WatchedStore, nothing_happens, sessions_over

BOTH = pytest.mark.parametrize("mode", ["stored", "snapshot"])


@contextmanager
def full(server: RedisServer) -> Iterator[None]:
    """Redis with its memory used up: with the policy `noeviction` it takes no writes that need any."""
    assert server.ask(b"CONFIG SET maxmemory 1\r\n") == b"+OK\r\n"
    try:
        yield
    finally:
        assert server.ask(b"CONFIG SET maxmemory 0\r\n") == b"+OK\r\n"


@BOTH
@pytest.mark.parametrize("backend", ["redis"], indirect=True)
async def test_who_signs_out_of_a_full_redis_is_out(
    backend: Backend, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    events = Events()
    sessions = sessions_over(backend.open(), mode=mode, on_event=events)
    browsers = [Browser() for _ in range(4)]
    for browser in browsers:
        await browser.sign_in(sessions, "ada")
        await browser.see(sessions)
    first, *others = (Browser(browser.cookie) for browser in browsers)
    await sessions.sessions_of("ada")
    with full(backend.server):
        with pytest.raises(StoreUnavailableError, match="maxmemory"):
            await browsers[1].put(sessions, n=1)
        await browsers[0].sign_out(sessions)
        assert await first.see(sessions) == {}
        assert await sessions.end_all("ada") >= 3
        assert [await other.see(sessions) for other in others] == [{}] * 3
    assert await sessions.sessions_of("ada") == []
    # Where copies are trusted, the other instances could not be told.
    assert ("revocation_untold" in events.seen) is ("freshness_s" in caplog.text) is (mode == "snapshot")
    # And there is no harm in what could not be taken out of the index.
    await browsers[0].sign_in(sessions, "ada")
    assert len(await sessions.sessions_of("ada")) == 1


@BOTH
async def test_nor_does_anybody_stay_because_the_feed_takes_no_more(mode: str) -> None:
    store = WatchedStore()
    sessions = sessions_over(store, mode=mode)
    visitor = Browser()
    await visitor.sign_in(sessions, "ada")
    await visitor.see(sessions)
    replayed = Browser(visitor.cookie)

    async def refuse(verb: str, number: int, done: bool) -> None:
        if verb == "append":
            raise RecordTooLargeError(key=TOPIC, size_bytes=2, max_bytes=1)

    store.meets = refuse
    await visitor.sign_out(sessions)
    assert await replayed.see(sessions) == {}
    assert await sessions.sessions_of("ada") == []


@pytest.mark.parametrize("refused", ["append", "change", "delete"])
@BOTH
async def test_an_end_needs_nothing_but_the_deletion(mode: str, refused: str) -> None:
    store = WatchedStore()
    sessions = sessions_over(store, mode=mode)
    visitor = Browser()
    await visitor.sign_in(sessions, "ada")
    await visitor.see(sessions)
    replayed = Browser(visitor.cookie)
    deletions = 0

    async def refuse(verb: str, number: int, done: bool) -> None:
        nonlocal deletions
        deletions += verb == "delete" and not done
        # The first deletion is with a tombstone, which takes room.
        if verb == refused and not done and (verb != "delete" or deletions == 1):
            raise StoreUnavailableError(home="memory:", reason="full")

    store.meets = refuse
    await visitor.sign_out(sessions)
    assert await replayed.see(sessions) == {}


async def test_an_end_says_so_where_the_deletion_fails() -> None:
    store = WatchedStore()
    sessions = sessions_over(store)
    visitor = Browser()
    await visitor.sign_in(sessions, "ada")

    async def refuse(verb: str, number: int, done: bool) -> None:
        if verb == "delete":
            raise StoreUnavailableError(home="memory:", reason="away")

    store.meets = refuse
    with pytest.raises(StoreUnavailableError):
        await visitor.sign_out(sessions)


async def test_an_end_that_took_long_is_told_for_as_long_as_copies_of_just_before_are_trusted() -> None:
    clock_s = 1_000_000.0
    store = WatchedStore(MemoryStore(now=lambda: clock_s))
    one, two = (
        sessions_over(store, mode="snapshot", now=lambda: clock_s, revocation_bound_s=1e-9, tombstone_s=10_000)
        for _ in range(2)
    )
    visitor = Browser()
    await visitor.sign_in(one, "ada")
    copied = Browser(visitor.cookie)

    async def a_long_pause(verb: str, number: int, done: bool) -> None:
        nonlocal clock_s
        if verb == "change":
            raise StoreUnavailableError(home="memory:", reason="there is no room for a mark")
        if verb == "delete" and not done:
            store.meets = nothing_happens
            # While this process was stopped, after it had told the others and before it deleted.
            clock_s += 120
            replayed = Browser(copied.cookie)
            await replayed.see(two)
            copied.cookie = replayed.cookie

    store.meets = a_long_pause
    await visitor.sign_out(one)
    for _ in range(8):
        assert await Browser(copied.cookie).see(two) == {}
        clock_s += 20


@pytest.mark.parametrize("backend", ["memcached"], indirect=True)
async def test_who_signs_out_of_a_memcached_whose_feed_is_full_is_out(backend: Backend) -> None:
    sessions: list[Sessions] = [
        sessions_over(backend.open(), mode="snapshot", revocation_bound_s=1e-9) for _ in range(2)
    ]
    visitor = Browser()
    await visitor.sign_in(sessions[0], "ada")
    await visitor.see(sessions[0])
    replayed = Browser(visitor.cookie)
    assert await replayed.see(sessions[1]) == {"user": "ada"}
    store = backend.open()
    for _ in range(3):
        await store.append(TOPIC, a_revocation(900_000, time.time), ttl_s=60)
    await visitor.sign_out(sessions[0])
    assert await replayed.see(sessions[0]) == {}
    assert await replayed.see(sessions[1]) == {}


def a_revocation(size_bytes: int, now: Callable[[], float]) -> bytes:
    """An item of the feed that takes much room."""
    return msgspec.msgpack.encode(["x" * size_bytes, now(), now() + 60])
