"""A process that works on one request and is killed in the middle of it: at each moment there is, one after the other.

A moment is a suspension of one of the request's tasks, and whatever else counts itself by `Moments.step`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from typing import Any

PATIENCE_S = 60


class Moments:
    """Counts moments from `begin` on, and kills this process at the one with that number."""

    def __init__(self, last: int) -> None:
        self._left = last
        self._begun = False

    def begin(self) -> None:
        """Now everything is ready, and the request comes."""
        self._begun = True

    def step(self) -> None:
        """One more moment."""
        self._left -= self._begun
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)


class Stepped(Coroutine[Any, Any, Any]):
    """A coroutine whose suspensions are moments."""

    def __init__(self, inner: Coroutine[Any, Any, Any], moments: Moments) -> None:
        self._inner, self._moments = inner, moments

    def send(self, value: Any) -> Any:
        given = self._inner.send(value)
        self._moments.step()
        return given

    def throw(self, *error: Any) -> Any:
        given = self._inner.throw(*error)
        self._moments.step()
        return given

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise NotImplementedError("it is run by a task alone")


Work = Callable[[Moments], Awaitable[object]]


def killed_at_each_moment(work: Work) -> Iterator[int]:
    """Does the work in a process of its own that is killed at the first moment, the second, and so on.

    Gives the number of each, when that process is dead. The last one outlives its work.
    """
    number = 1
    while _is_killed(work, number):
        yield number
        number += 1
    yield number


def _is_killed(work: Work, number: int) -> bool:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(PATIENCE_S)
            asyncio.run(_watched(work, Moments(number)))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the process that was to be killed has failed: see above"
    return False


async def _watched(work: Work, moments: Moments) -> None:
    def task(loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> asyncio.Task[Any]:
        return asyncio.Task(Stepped(coroutine, moments), loop=loop, **more)

    asyncio.get_running_loop().set_task_factory(task)
    await asyncio.create_task(_awaited(work(moments)))


async def _awaited(work: Awaitable[object]) -> None:
    await work
