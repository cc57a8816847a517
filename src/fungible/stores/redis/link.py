"""The way to one server: a connection, made anew whenever it was lost."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from hiredis import ReplyError

from fungible.stores.errors import StoreUnavailableError
from fungible.stores.redis.connection import Command, Connection, Reply, UnsentError, pack
from fungible.stores.redis.dialing import RefusedError
from fungible.stores.redis.failures import code_of, reason_of

FIRST_WAIT_S: Final = 0.02
LONGEST_WAIT_S: Final = 1.0
SETTLED_S: Final = 1.0
"""A connection younger than this that meets a replica is not replaced: another one would meet it again."""
DEMOTED: Final = frozenset({"READONLY", "MASTERDOWN"})


class Outage:
    """How long a server has been away, and when it is tried again: ever later, and at different times by each of us.

    In its first `patience_s` seconds callers wait for it, so that a restart is a short delay and no error. Later they
    fail at once, but for the one that tries.
    """

    def __init__(self, *, patience_s: float, draw: Callable[[], float] = random.random) -> None:
        self.reason = ""
        self.refused = False
        self._patience_s = patience_s
        self._draw = draw
        self._failures = 0
        self._began = self._failed_at = self._not_before = float("-inf")

    def failed(self, now: float, reason: str, *, refused: bool = False) -> None:
        """An attempt has failed."""
        # Nobody has tried for long: what was known then says nothing about now.
        if now - self._failed_at > self._patience_s + 2 * LONGEST_WAIT_S:
            self.over()
        if not self._failures:
            self._began = now
        longest = min(FIRST_WAIT_S * 2**self._failures, LONGEST_WAIT_S)
        self._failures = min(self._failures + 1, 10)
        self._failed_at, self._not_before = now, now + longest * (0.5 + self._draw() / 2)
        self.reason, self.refused = reason, refused

    def over(self) -> None:
        """It is there again."""
        self._failures, self._not_before = 0, float("-inf")
        self.reason, self.refused = "", False

    def wait_s(self, now: float) -> float:
        """How long until the next attempt."""
        return max(0.0, self._not_before - now)

    def hopeless(self, now: float) -> bool:
        """Whether callers should not wait for it."""
        if not self._failures or now - self._failed_at > self._patience_s + 2 * LONGEST_WAIT_S:
            return False
        return self.refused or now - self._began >= self._patience_s


class Link:
    """Sends commands to one server, over one connection."""

    def __init__(
        self,
        dial: Callable[[], Awaitable[Connection]],
        *,
        home: str,
        timeout_s: float,
        patience_s: float | None = None,
    ) -> None:
        """Opens nothing yet.

        Args:
            dial: Makes a connection, or raises `UnsentError`.
            patience_s: How long callers wait for a server that is away; by default as long as for anything.
        """
        self._dial = dial
        self._home = home
        self._timeout_s = timeout_s
        self._outage = Outage(patience_s=timeout_s if patience_s is None else patience_s)
        self._connection: Connection | None = None
        self._replaced: list[Connection] = []
        self._attempt: asyncio.Task[None] | None = None
        self._closed = False

    async def request(self, command: Command, deadline: float, *, repeatable: bool, asking: bool = False) -> Reply:
        """The reply to a command. Error replies are values.

        Args:
            deadline: By `time.monotonic`.
            repeatable: Whether it may be sent a second time where the first was lost with its connection.
            asking: The server is to answer although the key is only on its way to it (Redis Cluster).
        Raises:
            UnsentError: the server could not be reached.
            StoreUnavailableError: the connection ended before the reply, or the deadline passed.
        """
        packed = pack(command)
        connection = self._connection
        if connection is not None and connection.usable and not asking:
            try:
                reply = await connection.send(packed, deadline)
            except StoreUnavailableError:
                if not repeatable or monotonic() > deadline:
                    raise
            else:
                if type(reply) is ReplyError:
                    self._look_at(connection, reply)
                return reply
        return await self._request_patiently(packed, deadline, asking=asking)

    @property
    def idle(self) -> bool:
        """Whether it has no connection."""
        return self._connection is None and all(connection.lost is not None for connection in self._replaced)

    def replace(self, reason: str) -> None:
        """Lets the next command go over a new connection. The old one ends when nobody waits for a reply there."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._replaced = [other for other in self._replaced if other.lost is None]
            self._replaced.append(connection)
            connection.finish(reason)

    def retire(self) -> None:
        """Takes no more requests. Those under way get their replies."""
        self._closed = True
        if self._attempt is not None:
            self._attempt.cancel()
        self.replace("the server is no longer used")

    async def aclose(self) -> None:
        """Closes the connections."""
        self._closed = True
        if self._attempt is not None:
            self._attempt.cancel()
            await asyncio.wait([self._attempt])
        for connection in (*self._replaced, self._connection):
            if connection is not None:
                await connection.aclose()

    async def _request_patiently(self, packed: bytes, deadline: float, *, asking: bool) -> Reply:
        connection = None
        try:
            async with asyncio.timeout(max(0.0, deadline - monotonic())):
                connection = await self._connected()
                # The server gets its whole time, whatever is left of ours: else one impatient
                # caller would end the connection for all others.
                full = monotonic() + self._timeout_s
                # No await until both are sent: nothing gets between the two.
                asked = connection.send(pack(("ASKING",)), full) if asking else None
                reply = await connection.send(packed, full)
                if asked is not None and type(await asked) is ReplyError:
                    reply = await asked
        except TimeoutError:
            kind = UnsentError if connection is None else StoreUnavailableError
            reason = self._outage.reason if self._connection is None else ""
            raise self._lost(reason or f"no reply within {self._timeout_s:g} s", kind) from None
        if type(reply) is ReplyError:
            self._look_at(connection, reply)
        return reply

    async def _connected(self) -> Connection:
        """A usable connection. Waits as long as it takes, but not for a server that has been away for long."""
        while not self._closed:
            connection = self._connection
            if connection is not None and connection.lost is None:
                if connection.usable:
                    return connection
                await connection.until_usable()
                continue
            now = monotonic()
            if self._outage.hopeless(now) and (self._attempt is not None or self._outage.wait_s(now)):
                raise self._lost(self._outage.reason)
            if self._attempt is None:
                self._connection = None
                self._attempt = asyncio.create_task(self._connect())
            attempt = self._attempt
            # Not `await attempt`: a caller that is cancelled must not end it for all.
            await asyncio.wait([attempt])
            if not attempt.cancelled():
                attempt.result()
            if self._connection is None and self._outage.hopeless(monotonic()):
                raise self._lost(self._outage.reason)
        raise self._lost("the store was closed")

    async def _connect(self) -> None:
        """One attempt, for all who wait."""
        try:
            await asyncio.sleep(self._outage.wait_s(monotonic()))
            async with asyncio.timeout(self._timeout_s):
                self._connection = await self._dial()
        except TimeoutError:
            self._outage.failed(monotonic(), f"no connection within {self._timeout_s:g} s")
        except StoreUnavailableError as error:
            self._outage.failed(monotonic(), error.reason, refused=isinstance(error, RefusedError))
        else:
            self._outage.over()
        finally:
            self._attempt = None

    def _look_at(self, connection: Connection, error: ReplyError) -> None:
        """After a failover the server may have become a replica: the next command goes to who is master now."""
        if (
            connection is self._connection
            and code_of(error) in DEMOTED
            and monotonic() - connection.made_at > SETTLED_S
        ):
            self.replace(reason_of(error))

    def _lost(self, reason: str, kind: type[StoreUnavailableError] = UnsentError) -> StoreUnavailableError:
        return kind(home=self._home, reason=reason)
