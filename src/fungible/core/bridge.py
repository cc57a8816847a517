"""Runs coroutines for callers that have no event loop: on one loop, in one thread of this process."""

from __future__ import annotations

import asyncio
import atexit
import sys
import threading
from asyncio import AbstractEventLoop, Task
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, Literal, TypeVar

from fungible.core.errors import FungibleError, SettingError
from fungible.core.forks import tell_children

PATIENCE_S: Final = 30.0
CLOSES_WITHIN_S: Final = 5.0
SLICE_S: Final = 0.25
T = TypeVar("T")


class BridgeError(FungibleError, RuntimeError):
    """A coroutine can't be run from here, or was given up because the process ends."""

    code = "bridge"


class _Call:
    """One coroutine, and the caller who waits for it."""

    __slots__ = ("done", "error", "result", "task")

    def __init__(self) -> None:
        # A bare lock is the cheapest thing that a thread can wait for: released when the coroutine has ended.
        self.done = threading.Lock()
        self.done.acquire()
        self.task: Task[None] | None = None
        self.result: Any = None
        self.error: BaseException | None = None


class Bridge:
    """One event loop in a daemon thread. It starts with the first call, and anew in a process that was forked.

    All threads of a process share it, and so the one connection that a store has for each event loop.
    """

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._loop: AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._waiting: set[_Call] = set()
        self._inherited: list[AbstractEventLoop] = []
        self._registered = False

    def run(
        self,
        coroutine: Coroutine[Any, Any, T],
        *,
        timeout_s: float = PATIENCE_S,
        in_loop: Literal["refuse", "block"] = "refuse",
    ) -> T:
        """Runs a coroutine to its end, and gives what it returns or raises what it raises.

        An exception that reaches the waiting thread meanwhile, such as KeyboardInterrupt, cancels the coroutine.

        Args:
            coroutine: What to run. Variables of the caller's context are seen in it.
            timeout_s: It is cancelled after that many seconds: more than the deadlines of stores add up to.
            in_loop: What to do where an event loop runs in the calling thread: `refuse`, because all that loop serves
                would have to wait, or `block`, where it serves nothing but the caller.
        Raises:
            BridgeError: called where an event loop runs; or the process ends.
            TimeoutError: the time is over.
        """
        loop = self._loop or self._start(coroutine)
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            if in_loop == "refuse" or running is loop:
                coroutine.close()
                raise BridgeError("an event loop runs in this thread: await the asynchronous method instead")
        call = _Call()
        self._waiting.add(call)
        try:
            _hand_over(loop, call, coroutine, timeout_s)
            if call.error is None:
                result: T = call.result
                return result
            if isinstance(call.error, asyncio.CancelledError):
                raise BridgeError("it was given up, because this process ends") from None
            raise call.error
        finally:
            self._waiting.discard(call)
            # Otherwise the error, its traceback, this frame and the call would hold each other.
            del call

    def close(self) -> None:
        """Cancels what runs, and ends the thread; the next call starts another one."""
        with self._starting:
            loop, thread, self._loop = self._loop, self._thread, None
            if loop is None or thread is None:
                return
            loop.call_soon_threadsafe(loop.stop)
            thread.join(CLOSES_WITHIN_S)
            for call in list(self._waiting):
                # Those that had not begun.
                if call.done.locked():
                    call.error = call.error or asyncio.CancelledError()
                    call.done.release()

    def _start(self, coroutine: Coroutine[Any, Any, Any]) -> AbstractEventLoop:
        with self._starting:
            if self._loop is not None:
                return self._loop
            try:
                _refuse_green_threads()
                if not self._registered:
                    self._register()
                runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
                loop = runner.get_loop()
                thread = threading.Thread(target=_serve, args=(runner, loop), name="fungible-bridge", daemon=True)
                thread.start()
            except BaseException:
                coroutine.close()
                raise
            self._loop, self._thread = loop, thread
            return loop

    def _register(self) -> None:
        self._registered = True
        atexit.register(self.close)
        tell_children(self)

    def forked(self) -> None:
        """In the child of a fork the thread is the parent's. Who held the lock there is not here to release it."""
        self._starting = threading.Lock()
        if self._loop is not None:
            # Never let go of: what it would close and unregister at its end is shared with the parent.
            self._inherited.append(self._loop)
        self._loop = self._thread = None
        self._waiting = set()


def _serve(runner: asyncio.Runner, loop: AbstractEventLoop) -> None:
    with runner:
        loop.run_forever()


def _hand_over(loop: AbstractEventLoop, call: _Call, coroutine: Coroutine[Any, Any, Any], timeout_s: float) -> None:
    """Gives a coroutine to the loop, and waits until it has ended."""
    try:
        loop.call_soon_threadsafe(_begin, loop, call, coroutine)
    except RuntimeError:
        coroutine.close()
        raise BridgeError("the event loop was closed, because this process ends") from None
    finished = False
    try:
        finished = _acquired(call.done, timeout_s)
    finally:
        if not finished:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_cancel, call)
    if not finished:
        raise TimeoutError(f"no result within {timeout_s:g} s")


def _acquired(done: threading.Lock, timeout_s: float) -> bool:
    """Waits for a lock, in slices: a signal that comes just before a wait begins is noticed only when the wait is over."""
    left_s = timeout_s
    while left_s > 0:
        slice_s = min(left_s, SLICE_S)
        if done.acquire(timeout=slice_s):
            return True
        left_s -= slice_s
    return False


def _begin(loop: AbstractEventLoop, call: _Call, coroutine: Coroutine[Any, Any, Any]) -> None:
    call.task = loop.create_task(_settle(call, coroutine))


async def _settle(call: _Call, coroutine: Coroutine[Any, Any, Any]) -> None:
    try:
        call.result = await coroutine
    except BaseException as error:
        # KeyboardInterrupt and SystemExit too: they are the caller's, and would end the loop for all others.
        call.error = error
    call.done.release()


def _cancel(call: _Call) -> None:
    if call.task is not None:
        call.task.cancel()


def _refuse_green_threads() -> None:
    """Where threads are greenlets of one thread, the event loop would stop them all."""
    monkey: Any = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        raise SettingError("threads are replaced by gevent's greenlets here: use threads, as gunicorn --threads does")


_SHARED: Final = Bridge()
run: Final = _SHARED.run
"""`Bridge.run` on the one bridge of this process: that there is one for all is what it is for."""
