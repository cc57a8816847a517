"""How a check is stopped: signals come to the main thread, the work is done in others, and what it waits for is ended."""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")
_SLICE_S = 0.1
_END_S = 2.0
"""How long threads may take to end once nothing is left that they could wait for."""


class SecondInterrupt(KeyboardInterrupt):
    """Another Ctrl-C while the first one is dealt with: the end is to come at once."""


class TimeIsUpError(Exception):
    """Work was not done in the time that it had."""


@contextlib.contextmanager
def uninterrupted() -> Generator[list[int]]:
    """Ending what was started is not to be cut short by a second Ctrl-C, nor by a terminal that goes away.

    Gives the signals that come meanwhile, in a list that grows.
    """
    came: list[int] = []
    before: dict[int, Any] = {}
    with contextlib.suppress(ValueError):  # not in the main thread, which alone gets signals
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            handler = signal.getsignal(number)
            if handler != signal.SIG_IGN:
                signal.signal(number, lambda number, _: came.append(number))
                before[number] = handler
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Endings:
    """What ends all that was started; once it was asked for, what is added is ended at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._endings: list[Callable[[], None]] = []
        self._closed = False

    def add(self, ending: Callable[[], None]) -> None:
        """Takes on one more, which may be called from any thread."""
        with self._lock:
            closed = self._closed
            if not closed:
                self._endings.append(ending)
        if closed:
            ending()

    @property
    def closed(self) -> bool:
        """Whether the end was asked for: what is seen from then on proves nothing."""
        return self._closed

    def close(self) -> None:
        """Ends all of it, the latest first. Idempotent."""
        with self._lock:
            self._closed = True
            endings, self._endings = self._endings, []
        for ending in reversed(endings):
            ending()


class Threads:
    """Runs work in at most `most` threads, and waits for all of it at the end of a `with` block.

    Python notices a signal between two steps of the main thread, or where the signal breaks off a wait. One that comes
    just before a wait begins does neither, and is noticed when the wait is over: that may be a request that hangs. Here
    the main thread waits in slices instead. Where it is interrupted, or the work not done `until` then (by the monotonic
    clock; `TimeIsUpError`), `stop` is called, which is to end all that the work may wait for. What goes on all the same,
    such as a request to an instance that is not ours, ends with this process.
    """

    def __init__(self, most: int, *, stop: Callable[[], None] = lambda: None, until: float = math.inf) -> None:
        self._stop = stop
        self._until = until
        self._room = threading.Semaphore(most)
        self._begun: list[Future[Any]] = []

    def submit(self, work: Callable[_P, _T], *args: _P.args, **options: _P.kwargs) -> Future[_T]:
        """Begins work, or has it wait for its turn."""
        future: Future[_T] = Future()
        self._begun.append(future)
        # A daemon: an executor's threads would be waited for when the process ends.
        threading.Thread(target=self._carry_out, args=(future, partial(work, *args, **options)), daemon=True).start()
        return future

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, Exception):
            self._end()
            return
        try:
            while wait(self._begun, _SLICE_S).not_done:
                if time.monotonic() > self._until:
                    raise TimeIsUpError
        except BaseException:
            self._end()
            raise

    def _carry_out(self, future: Future[_T], work: Callable[[], _T]) -> None:
        with self._room:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = work()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

    def _end(self) -> None:
        with uninterrupted() as came:
            running = [future for future in self._begun if not future.cancel()]
            self._stop()
            until = time.monotonic() + _END_S
            while not came and time.monotonic() < until and wait(running, _SLICE_S).not_done:
                pass
        if came:
            raise SecondInterrupt
