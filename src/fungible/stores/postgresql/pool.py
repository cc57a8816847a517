"""The connections of one event loop.

asyncpg's own pool starts a task for every connection that is given back and wraps each one that is taken; this one
takes from a list and appends to it, which makes a call a third cheaper.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from fungible.core.forks import let_go, tell_children
from fungible.stores.postgresql.driver import Connection, pg, transport_of
from fungible.stores.postgresql.failures import WRONG_SERVER

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0
CLOCK_STEP_S: Final = 0.001
"""Timers of an event loop may run early by less than this."""


class Pool:
    """At most `size` connections, opened when needed. Belongs to one event loop of one process."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], *, size: int, timeout_s: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.ready = False
        """Whether the tables were seen to be there."""
        self.checking: asyncio.Task[None] | None = None
        """Looks whether they are, or makes them."""
        self._connect = connect
        self._size = size
        self._timeout_s = timeout_s
        self._open: set[Connection] = set()
        self._idle: list[Connection] = []
        self._opening = 0
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._least_idle = 0
        self._failure: Exception | None = None
        self._pause_s = FIRST_PAUSE_S
        self._retry_at = 0.0
        self._closed = False
        tell_children(self)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    @property
    def idle(self) -> int:
        """How many of them nobody uses."""
        return len(self._idle)

    async def fetch(self, deadline: float, sql: str, *args: object) -> list[Any]:
        """The rows of one statement, which is a transaction of its own.

        Args:
            deadline: By the event loop's clock.
        Raises:
            TimeoutError: the deadline passed, be it while waiting for a connection, opening one, or for the answer.
        """
        connection = self._take_idle() or await self._wait_for_one(deadline)
        # Ends the connection, and with it the wait. Were the call cancelled instead, asyncpg would open a second
        # connection to ask for the statement's end: at a server that does not answer, one more thing that hangs.
        timer = self.loop.call_at(deadline, connection.terminate)
        try:
            rows = await connection.fetch(sql, *args)
        except asyncio.CancelledError:
            self._mend_later(connection)
            raise
        except BaseException as error:
            self._give_back_after(connection, error)
            if connection.is_closed() and self.loop.time() + CLOCK_STEP_S >= deadline:
                raise TimeoutError from error
            raise
        finally:
            timer.cancel()
        self._give_back(connection)
        return rows

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs something in the background, until it ends or the pool is closed."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def spawn_later(self, delay_s: float, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs one thing in the background after a while, unless the pool is closed before.

        A timer until then, and no task that sleeps: an event loop may be dropped without a word to us, and Python
        complains of tasks that are dropped with it.
        """
        if not self._closed:
            self._timer = self.loop.call_later(delay_s, lambda: self.spawn(make()))

    def close_unused(self) -> None:
        """Closes the connections that nobody has needed since this was last called; one of them stays."""
        count = max(0, min(self._least_idle, len(self._idle) - 1))
        unused, self._idle[:count] = self._idle[:count], []
        self._least_idle = len(self._idle)
        for connection in unused:
            self._drop(connection)

    def forked(self) -> None:
        """In the child of a fork: the sockets are the parent's."""
        for connection in self._open:
            let_go(transport_of(connection), self.loop, connection.terminate)

    async def aclose(self) -> None:
        """Ends all connections, and the calls that are under way."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        self._idle.clear()
        for connection in list(self._open):
            self._drop(connection)
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(_closed_error())
        await asyncio.gather(*tasks, return_exceptions=True)
        # Transports let go of their sockets in the loop's next round.
        await asyncio.sleep(0)

    def _take_idle(self) -> Connection | None:
        # The one used last is taken first: the others stay unused, and can be closed.
        while self._idle:
            connection = self._idle.pop()
            self._least_idle = min(self._least_idle, len(self._idle))
            if not connection.is_closed():
                return connection
            self._drop(connection)
        return None

    async def _wait_for_one(self, deadline: float) -> Connection:
        try:
            async with asyncio.timeout_at(deadline):
                while True:
                    # While this one tried to open one, others may have been given back, and nobody else waited.
                    if idle := self._take_idle():
                        return idle
                    connection = await (self._open_one() if self._may_open() else self._next_given_back())
                    if connection is not None and not connection.is_closed():
                        return connection
                    if connection is not None:
                        self._drop(connection)
        except BaseException as error:
            # The place that was ours, or the failure that we met, is the next one's to find.
            self._offer_place()
            if isinstance(error, TimeoutError) and len(self._open) == self._size:
                raise TimeoutError(f"all {self._size} connections of its pool were busy") from error
            raise

    def _may_open(self) -> bool:
        # When the server lets no more of them in, those that are open still serve.
        if self._open and self.loop.time() < self._retry_at:
            return False
        return len(self._open) + self._opening < self._size

    async def _open_one(self) -> Connection | None:
        if self._failure is not None and self.loop.time() < self._retry_at:
            raise self._failure.with_traceback(None)
        self._opening += 1
        try:
            connection = await self._connect()
        except Exception as error:
            # Each pause is drawn: instances that lost the server together do not all come back in one moment.
            self._failure = error
            self._retry_at = self.loop.time() + self._pause_s * random.uniform(0.5, 1.0)
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            if self._open:
                return None
            raise
        finally:
            self._opening -= 1
        self._failure, self._pause_s, self._retry_at = None, FIRST_PAUSE_S, 0.0
        self._open.add(connection)
        if self._closed:
            self._drop(connection)
            raise _closed_error()
        return connection

    async def _next_given_back(self) -> Connection | None:
        waiter: asyncio.Future[Connection | None] = self.loop.create_future()
        self._waiting.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            # It may have been given one in the very moment when its wait was ended.
            given = waiter.result() if waiter.done() and not waiter.cancelled() else None
            if given is not None:
                self._give_back(given)
            raise

    def _give_back(self, connection: Connection) -> None:
        if self._closed or connection.is_closed():
            self._drop(connection)
        elif not self._wake_one(connection):
            self._idle.append(connection)

    def _give_back_after(self, connection: Connection, error: BaseException) -> None:
        # An error of the server's is an answer; after any other there is no telling what comes next on the line.
        if not isinstance(error, pg.PostgresError) or isinstance(error, WRONG_SERVER):
            connection.terminate()
        self._give_back(connection)

    def _wake_one(self, given: Connection | None) -> bool:
        """Gives a connection, or the word that one may be opened, to whoever has waited longest."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(given)
                return True
        return False

    def _offer_place(self) -> None:
        if self._may_open():
            self._wake_one(None)

    def _drop(self, connection: Connection) -> None:
        self._open.discard(connection)
        connection.terminate()
        self._offer_place()

    def _mend_later(self, connection: Connection) -> None:
        if self._closed or connection.is_closed():
            self._drop(connection)
        else:
            self.spawn(self._mend(connection))

    async def _mend(self, connection: Connection) -> None:
        """Gives back a connection whose call was cancelled, once it has answered again."""
        timer = self.loop.call_later(self._timeout_s, connection.terminate)
        answered = False
        try:
            # asyncpg has asked the server to end the statement, and waits for that before it sends this one. A request
            # that reaches the server late ends this statement, not somebody's.
            with suppress(Exception):
                await connection.execute("SELECT 1")
                answered = True
        finally:
            timer.cancel()
            if not answered:
                connection.terminate()
            self._give_back(connection)


def _closed_error() -> Exception:
    return pg.InterfaceError("the store was closed")
