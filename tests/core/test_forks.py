"""What a child of a fork has of its parent's sockets and event loops."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable

import pytest

from fungible.core import forks

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    # From Python 3.12 on: forking beside threads may go wrong. That it does not is what is tested.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]
HANGS_AFTER_S = 60


def in_a_child(run: Callable[[], object]) -> int:
    """Forks, and gives the child's process number; it ends with 0 if what it ran was true."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        signal.alarm(HANGS_AFTER_S)
        status = 0 if run() else 2
    finally:
        os._exit(status)


def ended_well(child: int) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class Told:
    times = 0

    def forked(self) -> None:
        self.times += 1


def test_each_child_is_told_once_and_the_parent_never() -> None:
    told = Told()
    forks.tell_children(told)
    assert ended_well(in_a_child(lambda: told.times == 1))
    assert ended_well(in_a_child(lambda: told.times == 1))
    assert told.times == 0


class Talk(asyncio.Protocol):
    """A connection that lets go of its socket in a child."""

    def __init__(self) -> None:
        self.received = b""
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.loop = asyncio.get_running_loop()
        forks.tell_children(self)

    def forked(self) -> None:
        forks.let_go(self.transport, self.loop, self.transport.abort)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


def test_a_child_ends_its_copy_of_a_connection_and_the_peer_and_the_parent_see_nothing_of_it() -> None:
    ours, theirs = socket.socketpair()
    loop = asyncio.new_event_loop()
    _, talk = loop.run_until_complete(loop.create_connection(Talk, sock=ours))
    assert isinstance(talk, Talk)

    async def heard(words: bytes) -> None:
        while talk.received != words:  # noqa: ASYNC110 - only a protocol is told
            await asyncio.sleep(0.001)

    async def ended() -> bool:
        while not talk.lost:  # noqa: ASYNC110 - only a protocol is told
            await asyncio.sleep(0.001)
        return talk.received == b""

    child = in_a_child(lambda: loop.run_until_complete(ended()))
    assert ended_well(child)
    theirs.sendall(b"one")
    loop.run_until_complete(heard(b"one"))
    child = in_a_child(lambda: loop.run_until_complete(asyncio.sleep(0.01, True)))
    theirs.sendall(b"two")
    loop.run_until_complete(heard(b"onetwo"))
    assert ended_well(child)
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
    talk.transport.abort()  # type: ignore[attr-defined]
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    theirs.close()


async def woken(times: int) -> bool:
    """Sleeps without a timer until another thread wakes the loop, again and again."""
    loop = asyncio.get_running_loop()
    for _ in range(times):
        future = loop.create_future()
        threading.Timer(0.001, loop.call_soon_threadsafe, [future.set_result, None]).start()
        await future
    return True


def test_a_loop_that_was_forked_has_threads_and_wakes_of_its_own_in_each_process() -> None:
    loop = asyncio.new_event_loop()

    async def use() -> bool:
        return await loop.run_in_executor(None, lambda: True)

    loop.run_until_complete(use())

    async def renewed() -> bool:
        forks.renew(loop)
        forks.renew(loop)
        return await woken(100) and await use()

    children = [in_a_child(lambda: loop.run_until_complete(renewed())) for _ in range(2)]
    loop.run_until_complete(woken(100))
    assert loop.run_until_complete(use())
    assert [ended_well(child) for child in children] == [True, True]
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def test_a_signal_wakes_the_loop_of_the_process_that_it_was_sent_to() -> None:
    loop = asyncio.new_event_loop()
    came: list[asyncio.Future[None]] = []
    loop.add_signal_handler(signal.SIGUSR1, lambda: came[0].set_result(None))

    async def signalled() -> bool:
        forks.renew(loop)
        came[:] = [loop.create_future()]
        threading.Timer(0.01, os.kill, [os.getpid(), signal.SIGUSR1]).start()
        await came[0]
        return True

    try:
        # From Python 3.12 on a child hears of signals only after it has asked for them again.
        def child() -> bool:
            loop.remove_signal_handler(signal.SIGUSR1)
            loop.add_signal_handler(signal.SIGUSR1, lambda: came[0].set_result(None))
            return loop.run_until_complete(signalled())

        assert ended_well(in_a_child(child))
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)
        loop.close()
