"""The bridge: coroutines for callers without an event loop."""

import asyncio
import contextvars
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fungible.core.bridge import Bridge, BridgeError, run

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def add(one: int, other: int) -> int:
    await asyncio.sleep(0)
    return one + other


def test_the_result_of_a_coroutine_is_given_to_a_caller_without_an_event_loop() -> None:
    assert run(add(1, 2)) == 3


def test_an_exception_of_a_coroutine_is_raised_in_the_caller() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise KeyError("missing")

    with pytest.raises(KeyError, match="missing"):
        run(fail())


def test_an_exit_raised_in_a_coroutine_is_the_callers_and_the_loop_goes_on() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        run(leave())
    assert run(add(1, 1)) == 2


def test_all_threads_share_one_event_loop() -> None:
    async def which() -> int:
        return id(asyncio.get_running_loop())

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: run(which()), range(64)))) == 1


def test_the_results_of_many_threads_reach_those_who_asked() -> None:
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda number: run(add(number, number)), range(2000))) == [2 * n for n in range(2000)]


def test_a_coroutine_sees_the_callers_context() -> None:
    async def read() -> str:
        return VARIABLE.get()

    token = VARIABLE.set("mine")
    assert run(read()) == "mine"
    VARIABLE.reset(token)


def test_a_call_from_inside_an_event_loop_is_refused_instead_of_stopping_it() -> None:
    async def call() -> None:
        run(add(1, 2))

    with pytest.raises(BridgeError, match="await the asynchronous method"):
        asyncio.run(call())


def test_a_loop_that_serves_only_the_caller_may_be_blocked() -> None:
    async def call() -> int:
        return run(add(1, 2), in_loop="block")

    assert asyncio.run(call()) == 3


def test_a_call_from_inside_the_bridge_itself_is_refused_whatever_the_caller_allows() -> None:
    async def call() -> int:
        return run(add(1, 2), in_loop="block")

    with pytest.raises(BridgeError):
        run(call())


def test_a_coroutine_that_takes_too_long_is_cancelled() -> None:
    cancelled = threading.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(TimeoutError):
        run(hang(), timeout_s=0.01)
    assert cancelled.wait(10)


def test_closing_gives_up_what_runs_and_the_next_call_starts_anew() -> None:
    bridge = Bridge()
    begun = threading.Event()

    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(bridge.run, hang())
        assert begun.wait(10)
        bridge.close()
        with pytest.raises(BridgeError, match="given up"):
            waiting.result(10)
    assert bridge.run(add(2, 2)) == 4
    bridge.close()


def test_closing_what_never_ran_does_nothing() -> None:
    Bridge().close()


FORK = """
import asyncio, os, sys, warnings
from fungible.core.bridge import run

# From Python 3.12 on: forking beside threads may go wrong. That it does not is what is tested.
warnings.simplefilter("ignore", DeprecationWarning)

async def pid():
    await asyncio.sleep(0)
    return os.getpid(), id(asyncio.get_running_loop())

before = run(pid())
for _ in range(3):
    child = os.fork()
    if not child:
        mine = run(pid())
        os._exit(0 if mine[0] == os.getpid() and mine[1] != before[1] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert run(pid()) == before
"""

IDLE = """
import asyncio
from fungible.core.bridge import run

async def begin():
    asyncio.get_running_loop().call_later(3600, print)
    asyncio.create_task(asyncio.sleep(3600))

run(begin())
"""

INTERRUPTED = """
import asyncio, os, signal
from fungible.core.bridge import run

async def hang():
    os.kill(os.getpid(), signal.SIGINT)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        print("cancelled", flush=True)
        raise

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
try:
    run(hang())
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""

GREEN = """
from gevent import monkey
monkey.patch_all()
from fungible.core.bridge import run

async def nothing():
    pass

run(nothing())
"""


def python(script: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_has_a_thread_of_its_own_and_leaves_its_parents_alone() -> None:
    ended = python(FORK)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_thread_neither_keeps_a_process_alive_nor_leaves_a_warning() -> None:
    ended = python(IDLE)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_an_interrupt_reaches_the_caller_and_cancels_the_coroutine() -> None:
    ended = python(INTERRUPTED)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sorted(ended.stdout.split()) == ["cancelled", "interrupted"]


def test_greenlets_in_place_of_threads_are_refused_with_a_way_out() -> None:
    pytest.importorskip("gevent", reason="gevent is not installed")
    ended = python(GREEN)
    assert ended.returncode == 1
    assert "use threads" in ended.stderr
