"""One store object, used from several event loops, threads, and processes that were forked."""

import asyncio
import gc
import os
import signal
import threading
import traceback
from collections.abc import Awaitable, Callable

import pytest

from contracts.backends import SHARED, Backend
from fungible.stores import Rate, Store
from fungible.stores.following import Following

pytestmark = pytest.mark.parametrize("backend", SHARED, indirect=True)
HANGS_AFTER_S = 60
HOURLY = Rate(limit=1000, period_s=3600)


async def work(store: Store, name: str, times: int = 40) -> None:
    """Reads and writes records of its own, several at a time, and sees that each answer is to its question."""

    async def one(number: int) -> None:
        key = f"{name} {number}"
        put = await store.put(key, {"key": key.encode()}, ttl_s=600)
        assert await store.get(key) == put
        assert (await store.change(put, {"more": b"1"})).fields == {"key": key.encode(), "more": b"1"}

    await asyncio.gather(*(one(number) for number in range(times)))
    await store.take("shared", HOURLY, cost=1)


async def read(store: Store, name: str, times: int = 40) -> None:
    """Reads what `work` has left, several at a time."""

    async def one(number: int) -> None:
        record = await store.get(f"{name} {number}")
        assert record is not None
        assert record.fields == {"key": f"{name} {number}".encode(), "more": b"1"}

    await asyncio.gather(*(one(number) for number in range(times)))


def test_a_store_can_be_used_in_one_event_loop_after_another(backend: Backend) -> None:
    store = backend.make(timeout_s=10)

    async def session(name: str, *, close: bool) -> None:
        await work(store, name, times=5)
        if close:
            await store.aclose()

    # Who ends a loop need not have closed the store.
    for name, close in (("first", True), ("second", False), ("third", True)):
        asyncio.run(session(name, close=close))


async def test_a_store_can_be_closed_twice_and_used_again(backend: Backend) -> None:
    store = backend.open()
    await store.aclose()
    await work(store, "before")
    await store.aclose()
    await store.aclose()
    await work(store, "after")


def test_two_threads_with_an_event_loop_each_can_share_a_store(backend: Backend) -> None:
    store = backend.make(timeout_s=20)
    failures: list[BaseException] = []

    def thread(name: str) -> None:
        async def run() -> None:
            try:
                for turn in range(3):
                    await work(store, f"{name} {turn}")
            finally:
                await store.aclose()

        try:
            asyncio.run(run())
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=thread, args=(name,)) for name in ("left", "right")]
    for one in threads:
        one.start()
    for one in threads:
        one.join(HANGS_AFTER_S)
    assert not any(one.is_alive() for one in threads)
    assert failures == []

    async def taken() -> int:
        answer = await store.take("shared", HOURLY, cost=1)
        await store.aclose()
        return 1000 - answer.remaining

    assert asyncio.run(taken()) == 7


def fork_in_loop(loop: asyncio.AbstractEventLoop, run: Callable[[], Awaitable[None]]) -> int:
    """Forks, runs it in the child on the loop that both have now, and gives the child's process number."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        signal.alarm(HANGS_AFTER_S)
        loop.run_until_complete(run())
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("under_way", [False, True], ids=["idle", "with calls under way"])
def test_parent_and_children_that_go_on_with_one_loop_get_their_own_answers(backend: Backend, under_way: bool) -> None:
    store = backend.make(timeout_s=10)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(work(store, "start"))
    busy: list[asyncio.Task[None]] = []

    async def begin() -> None:
        busy.append(asyncio.create_task(read(store, "start")))
        await asyncio.sleep(0)

    if under_way:
        loop.run_until_complete(begin())

    async def child(name: str) -> None:
        await work(store, name)
        # The same calls stand in the child's copy of the loop, on sockets that are not its own: they end there, too.
        if busy:
            await asyncio.wait(busy)
        await store.aclose()

    children = [fork_in_loop(loop, lambda name=f"child {number}": child(name)) for number in range(2)]
    loop.run_until_complete(work(store, "parent, beside"))
    for task in busy:
        loop.run_until_complete(task)
    for pid in children:
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
    loop.run_until_complete(work(store, "parent, after"))
    loop.run_until_complete(store.aclose())
    loop.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_whatever_a_child_does_with_its_copy_of_a_store_the_parent_keeps_its_connection(backend: Backend) -> None:
    store = backend.make(timeout_s=10)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(work(store, "start"))
    before = backend.connections()

    async def closed_and_dropped() -> None:
        nonlocal store
        await store.aclose()
        store = backend.make(timeout_s=10)
        gc.collect()
        await work(store, "another store")

    _, status = os.waitpid(fork_in_loop(loop, closed_and_dropped), 0)
    assert os.waitstatus_to_exitcode(status) == 0
    loop.run_until_complete(work(store, "parent, after"))
    # The very same ones: nothing had to be opened anew.
    assert backend.connections() == before
    loop.run_until_complete(store.aclose())
    loop.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_feed_that_was_followed_before_a_fork_is_followed_in_both_processes(backend: Backend) -> None:
    store = backend.make(timeout_s=10)
    feed = Following[list[bytes]](store, "feed", bound_s=0.05, begin=list, learn=list.append, skip=list.clear)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(feed.known())

    async def told(item: bytes) -> None:
        await store.append("feed", item, ttl_s=600)
        while not {b"parent", b"child"} <= set(await feed.known()):  # noqa: ASYNC110 - followed, not told
            await asyncio.sleep(0.01)

    child = fork_in_loop(loop, lambda: told(b"child"))
    loop.run_until_complete(told(b"parent"))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    # First who follows: it would open a connection again, which nobody closes.
    following = asyncio.all_tasks(loop)
    for task in following:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*following, return_exceptions=True))
    loop.run_until_complete(store.aclose())
    loop.close()


def in_a_child(run: Callable[[], Awaitable[None]]) -> int:
    """Forks, runs it in the child on an event loop of the child's own, and gives the child's process number."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        signal.alarm(HANGS_AFTER_S)
        asyncio.run(run())  # type: ignore[arg-type]
        status = 0
    finally:
        # Nothing of the parent's is to be cleaned up here.
        os._exit(status)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
async def test_a_store_that_is_in_use_can_be_used_in_the_child_of_a_fork(backend: Backend) -> None:
    store = backend.open()
    await work(store, "parent, before")
    busy = asyncio.create_task(work(store, "parent, meanwhile"))
    await asyncio.sleep(0)
    children = [in_a_child(lambda name=f"child {number}": work(store, name)) for number in range(2)]
    await work(store, "parent, beside")
    await busy
    for child in children:
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
    await work(store, "parent, after")
    for name in ("parent, before", "parent, meanwhile", "parent, beside", "parent, after", "child 0", "child 1"):
        record = await store.get(f"{name} 39")
        assert record is not None
        assert record.fields == {"key": f"{name} 39".encode(), "more": b"1"}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_store_that_was_used_before_a_fork_can_be_used_in_both_processes(backend: Backend) -> None:
    store = backend.make(timeout_s=10)
    # As servers do that load the application first and fork their workers then.
    asyncio.run(work(store, "start"))
    children = [in_a_child(lambda name=f"worker {number}": work(store, name)) for number in range(3)]
    for child in children:
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0

    async def count() -> int:
        answer = await store.take("shared", HOURLY, cost=1)
        await store.aclose()
        return 1000 - answer.remaining

    assert asyncio.run(count()) == 5
