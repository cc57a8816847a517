"""Servers that are silent, dead or restarted: an honest error, and service again by itself."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from contracts.backends import ONE_SERVER, SERVED, Backend, RedisBackend
from contracts.verbs import HOURLY, every_verb
from fungible.stores import (
    ConflictError,
    GoneError,
    Lack,
    Store,
    StoreUnavailableError,
    Survives,
)

DEADLINE_S = 0.3
NOT_HUNG_S = 20
"""Far more than a few deadlines, on a machine that is busy with other tests, too."""
RETURNS_WITHIN_S = 30

on_one_server = pytest.mark.parametrize("backend", ONE_SERVER, indirect=True)


@pytest.fixture(autouse=True)
def revived(backend: Backend) -> Iterator[None]:
    """Whatever a test has done to the server, the next one finds it running."""
    yield
    backend.server.revive()


async def outcome(verb: Callable[[], Awaitable[Any]]) -> str:
    """`unavailable` if that is the error, `answered` if there was none; anything else is raised."""
    async with asyncio.timeout(NOT_HUNG_S):
        try:
            await verb()
        except StoreUnavailableError:
            return "unavailable"
    return "answered"


async def returns(store: Store) -> None:
    """Waits until the store answers again."""
    async with asyncio.timeout(RETURNS_WITHIN_S):
        while True:
            if await outcome(store.ping) == "answered":
                return
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("backend", SERVED, indirect=True)
async def test_a_silent_server_is_unavailable_within_a_few_deadlines(backend: Backend) -> None:
    store = backend.open(timeout_s=DEADLINE_S)
    patient = backend.open()
    put = await patient.put("kept", {"a": b"1"}, ttl_s=600)
    assert await store.get("kept") == put
    backend.server.pause()
    outcomes = await asyncio.gather(*(outcome(verb) for verb in every_verb(store).values()))
    # One by one, too: the first may have found out for all others.
    outcomes += [await outcome(verb) for verb in every_verb(store).values()]
    assert set(outcomes) == {"unavailable"}
    await asyncio.to_thread(backend.server.resume)
    await returns(store)
    assert await store.get("kept") == put
    # Late answers, of which there are many now, are nobody's.
    for number in range(50):
        assert (await store.put("n", {"n": b"%d" % number}, ttl_s=60)).fields == {"n": b"%d" % number}
        record = await store.get("n")
        assert record is not None
        assert record.fields == {"n": b"%d" % number}
        assert await store.get("nothing") is None


@pytest.mark.parametrize("backend", SERVED, indirect=True)
async def test_a_silent_server_is_unavailable_to_a_store_that_was_never_used(backend: Backend) -> None:
    await backend.open().ping()
    store = backend.open(timeout_s=DEADLINE_S)
    backend.server.pause()
    outcomes = await asyncio.gather(*(outcome(verb) for verb in every_verb(store).values()))
    assert set(outcomes) == {"unavailable"}
    await asyncio.to_thread(backend.server.resume)
    await returns(store)


async def use(store: Store, key: str, backend: Backend, stop: asyncio.Event) -> int:
    """Counts in one record until told to stop, and knows what it must hold: what was acknowledged, or one more."""
    known = changes = 0
    while not stop.is_set():
        possible = {known}
        try:
            record = await store.get(key)
            if record is None:
                # Before the first write; or the server forgets what it held when it is killed, and says so.
                assert known == 0 or not backend.persistent
                known = 0
                record = await store.put(key, {"n": b"0", "key": key.encode()}, ttl_s=600)
            assert record.fields["key"] == key.encode(), "another's record"
            found = int(record.fields["n"])
            assert found in possible or not backend.persistent
            possible = {found, found + 1}
            await store.change(record, {"n": b"%d" % (found + 1)})
            known, changes = found + 1, changes + 1
        except StoreUnavailableError:
            # The last write may have happened or not: as the contract says, read again.
            known = await settled(store, key, possible, backend)
        except (GoneError, ConflictError):
            # Only one that has forgotten everything can say so: nobody else writes this key.
            assert not backend.persistent
            known = 0
    return changes


async def settled(store: Store, key: str, possible: set[int], backend: Backend) -> int:
    async with asyncio.timeout(RETURNS_WITHIN_S):
        while True:
            try:
                record = await store.get(key)
            except StoreUnavailableError:
                await asyncio.sleep(0.005)
                continue
            if record is None:
                assert 0 in possible or not backend.persistent
                return 0
            found = int(record.fields["n"])
            assert found in possible or not backend.persistent
            return found


@on_one_server
async def test_a_server_killed_and_started_under_load_gives_no_wrong_answer(backend: Backend) -> None:
    store = backend.open(timeout_s=0.5)
    await returns(store)
    stop = asyncio.Event()
    tasks = [asyncio.create_task(use(store, f"s{number}", backend, stop)) for number in range(6)]
    for _ in range(2):
        # Some use before each kill, so that it meets commands under way.
        await asyncio.sleep(0.2)
        await asyncio.to_thread(backend.server.kill)
        while await outcome(store.ping) == "answered":
            pass
        await asyncio.to_thread(backend.server.start)
        await returns(store)
    # And some after the last.
    await asyncio.sleep(0.2)
    stop.set()
    assert all(changes > 0 for changes in await asyncio.gather(*tasks))
    # The same store object serves on, every verb of it.
    patient = backend.open()
    await patient.delete("s")
    for name, verb in every_verb(patient).items():
        if name != "change":
            assert await outcome(verb) == "answered"


@on_one_server
async def test_a_restart_between_two_calls_leaves_what_the_guarantees_say(backend: Backend) -> None:
    store = backend.open(timeout_s=5)
    # Who does not promise to remember may do so: it depends on how the server is set up.
    promised = store.guarantees.survives is not Survives.NOTHING and Lack.RESTART not in store.guarantees.lacks
    assert backend.persistent or not promised
    await store.put("s", {"a": b"1"}, ttl_s=600)
    for _ in range(2):
        await asyncio.to_thread(backend.server.kill)
        await asyncio.to_thread(backend.server.start)
        await returns(store)
        record = await store.get("s")
        assert (record is not None) == backend.persistent
        await store.put("s", {"a": b"1"}, ttl_s=600)


@pytest.mark.parametrize("backend", ["redis", "redis+sentinel", "redis+cluster"], indirect=True)
async def test_scripts_that_the_server_has_forgotten_are_sent_again(backend: RedisBackend) -> None:
    store = backend.open()
    record = await store.put("s", {"a": b"0"}, ttl_s=600)
    for turn in range(3):
        backend.forget_scripts()
        record = await store.change(record, {"a": b"%d" % turn})
        verbs = every_verb(store)
        for name in ("get", "touch", "take", "append", "since", "ping"):
            backend.forget_scripts()
            await verbs[name]()
    # All at once, where one call finds out for many.
    backend.forget_scripts()
    taken = await asyncio.gather(*(store.take("r", HOURLY) for _ in range(50)))
    assert sorted(answer.remaining for answer in taken) == list(range(950, 1000))


@pytest.mark.parametrize("backend", ["redis+sentinel", "redis+cluster"], indirect=True)
async def test_a_master_that_dies_is_followed_by_its_replica(backend: RedisBackend) -> None:
    store = backend.open(timeout_s=1)
    # On every master of a cluster.
    records = {f"s{number}": await store.put(f"s{number}", {"a": b"1"}, ttl_s=600) for number in range(12)}
    victim = backend.masters()[0]
    victim.kill()
    async with asyncio.timeout(RETURNS_WITHIN_S):
        for key, put in records.items():
            while True:
                try:
                    # What had not reached the replica is lost, as its guarantees say; nothing else is ever answered.
                    assert await store.get(key) in (None, put)
                    await store.put(key, {"a": b"2"}, ttl_s=600)
                    break
                except StoreUnavailableError:
                    await asyncio.sleep(0.02)
    for key in records:
        record = await store.get(key)
        assert record is not None
        assert record.fields == {"a": b"2"}
