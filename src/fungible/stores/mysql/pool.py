"""The connections of one event loop.

A connection whose call was cancelled, or was not answered in time, is closed: the next caller must never read what was
meant for another. asyncmy does this itself for calls cancelled while they read (since 0.2.13); here it holds for every
way out of a call that is not a whole answer. Its own pool is not used: it has no deadlines, and while the server is away
it tries to connect once for every call.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from fungible.stores.mysql.connecting import Connection
from fungible.stores.mysql.failures import LOST, code_of
from fungible.stores.sql_errors import MYSQL_WRONG_SERVER

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0
# Servers, proxies and firewalls forget connections that are silent for long; some without a word.
LONGEST_IDLE_S: Final = 300.0
GOODBYE_S: Final = 1.0

T = TypeVar("T")


class Pool:
    """At most `size` connections, opened when needed. Belongs to one event loop of one process."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], *, size: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.ready = False
        """Whether the tables were seen to be there."""
        self.sweep_at = 0.0
        """When the next sweep is due, by the event loop's clock."""
        self.migration: asyncio.Task[list[int]] | None = None
        self._connect = connect
        self._size = size
        self._open: set[Connection] = set()
        self._opening = 0
        self._idle: list[Connection] = []
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failure: Exception | None = None
        self._pause_s = FIRST_PAUSE_S
        self._retry_at = 0.0
        self._closed = False

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    @property
    def idle(self) -> int:
        """How many of them nobody uses."""
        return len(self._idle)

    async def run(self, deadline: float, work: Callable[[Connection], Awaitable[T]]) -> T:
        """What the work gives, on a connection of its own meanwhile.

        Args:
            deadline: By the event loop's clock.
        Raises:
            TimeoutError: the deadline passed, be it while waiting for a connection, opening one, or for the answer.
        """
        connection = (None if self._waiting else self._take_idle()) or await self._wait_for_one(deadline)
        # Ends the connection, and with it the wait: no task has to be cancelled.
        timer = self._loop.call_at(deadline, connection.expire)
        try:
            result = await work(connection)
        except BaseException as error:
            if connection.usable_after(error):
                self._give_back(connection)
            else:
                self._drop(connection)
            if code_of(error) in LOST | MYSQL_WRONG_SERVER:
                if connection.expired:
                    raise TimeoutError from error
                # What is wrong with this one is most likely wrong with the others: a restart, or a failover.
                self._drop_idle()
            raise
        finally:
            timer.cancel()
        self._give_back(connection)
        return result

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Runs something in the background, until it ends or the pool is closed."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def aclose(self) -> None:
        """Ends all connections, and the calls that are under way."""
        self._closed = True
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        idle, self._idle = self._idle, []
        try:
            async with asyncio.timeout(GOODBYE_S):
                await asyncio.gather(*(connection.quit() for connection in idle))
        except TimeoutError:
            pass
        finally:
            for connection in list(self._open):
                self._drop(connection)
        # Transports let go of their sockets in the loop's next round.
        await asyncio.sleep(0)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Looked at, in case that all who waited have gone.
            task.exception()

    def _take_idle(self) -> Connection | None:
        # The one used last is taken first: the others stay unused, and are closed.
        while self._idle:
            connection = self._idle.pop()
            if not connection.ended and self._loop.time() - connection.last_used < LONGEST_IDLE_S:
                return connection
            self._drop(connection)
        return None

    async def _wait_for_one(self, deadline: float) -> Connection:
        async with asyncio.timeout_at(deadline):
            if self._waiting:
                await self._turn(first_come=True)
            while True:
                connection = self._take_idle()
                if connection is not None:
                    return connection
                # When the server lets no more of them in, or has just gone, those that are open still serve.
                pausing = self._loop.time() < self._retry_at
                others = len(self._open) + self._opening
                if others < self._size and not (pausing and others):
                    connection = await self._open_one()
                    if connection is not None:
                        return connection
                # It had its turn already, for nothing: it is next again.
                await self._turn(first_come=False)

    async def _turn(self, *, first_come: bool) -> None:
        """Waits until a connection was given back, or may be opened."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        if first_come:
            self._waiting.append(waiter)
        else:
            self._waiting.appendleft(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            # It may have come up in the very moment when its wait was ended.
            if waiter.done() and not waiter.cancelled():
                self._wake_one()
            raise

    async def _open_one(self) -> Connection | None:
        """A new connection; None where the server refuses one, and others are open or about to be."""
        self._opening += 1
        try:
            if self._closed:
                raise ConnectionError("the store was closed")
            if self._failure is not None and self._loop.time() < self._retry_at:
                raise self._failure.with_traceback(None)
            connection = await self._connect()
        except Exception as error:
            if error is not self._failure:
                # Every instance pauses for its own time: they do not come back all at once.
                self._failure = error
                self._retry_at = self._loop.time() + self._pause_s * random.uniform(0.5, 1.0)
                self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            if self._open or self._opening > 1:
                return None
            raise
        else:
            self._failure, self._pause_s = None, FIRST_PAUSE_S
            self._open.add(connection)
            if self._closed:
                self._drop(connection)
            return connection
        finally:
            self._opening -= 1
            self._wake_one()

    def _give_back(self, connection: Connection) -> None:
        if connection.ended or self._closed:
            self._drop(connection)
            return
        connection.last_used = now = self._loop.time()
        self._idle.append(connection)
        if now - self._idle[0].last_used > LONGEST_IDLE_S:
            self._drop(self._idle.pop(0))
        self._wake_one()

    def _wake_one(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _drop(self, connection: Connection) -> None:
        self._open.discard(connection)
        connection.abort()
        self._wake_one()

    def _drop_idle(self) -> None:
        while self._idle:
            self._drop(self._idle.pop())
