"""The way to the master among servers that Sentinel watches."""

import asyncio
from collections.abc import Awaitable
from functools import partial
from time import monotonic
from typing import Final

from hiredis import ReplyError

from fungible.stores.errors import StoreUnavailableError
from fungible.stores.redis.connection import Command, Connection, Reply, UnsentError
from fungible.stores.redis.dialing import dial, first_of
from fungible.stores.redis.failures import reason_of
from fungible.stores.redis.link import Link
from fungible.stores.redis.settings import Address, Settings

ASK_AGAIN_S: Final = 1.0
"""In a failover that is ordered, the old master takes writes for ten seconds more; they are lost."""


class Sentinel:
    """Sends commands to the server that the sentinels name as master, which they are asked again while it is used.

    Source: Redis' "Sentinel client spec": ask before each connection, and check the server's role.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._link = Link(self._dial, home=settings.home, timeout_s=settings.timeout_s)
        self._sentinels = [
            Link(
                partial(dial, address, settings, login=settings.sentinel_login),
                home=settings.home,
                timeout_s=settings.timeout_s,
                patience_s=0,
            )
            for address in settings.addresses
        ]
        self._master: Address | None = None
        self._asked_at = monotonic()
        self._asking: asyncio.Task[None] | None = None

    def call(self, key: str, command: Command, *, repeatable: bool) -> Awaitable[Reply]:
        """The reply to a command. Error replies are values."""
        now = monotonic()
        if now - self._asked_at > ASK_AGAIN_S and self._asking is None:
            self._asked_at = now
            self._asking = asyncio.create_task(self._look_for_another())
        return self._link.request(command, now + self._settings.timeout_s, repeatable=repeatable)

    async def reach(self) -> None:
        """Nothing: any command reaches the one server."""

    async def aclose(self) -> None:
        """Closes all connections."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        for link in (self._link, *self._sentinels):
            await link.aclose()

    async def _dial(self) -> Connection:
        self._master = await first_of(self._ask(sentinel) for sentinel in self._sentinels)
        return await dial(self._master, self._settings, database=self._settings.database, role="master")

    async def _look_for_another(self) -> None:
        try:
            answers = await asyncio.gather(*(self._ask_calmly(sentinel) for sentinel in self._sentinels))
            named = {answer for answer in answers if answer is not None}
            # Sentinels agree within seconds. Until then, one of them that is late must not lead us back and forth.
            if named and self._master not in named:
                self._link.replace("the sentinels name another master")
        finally:
            self._asking = None

    async def _ask_calmly(self, sentinel: Link) -> Address | None:
        try:
            return await self._ask(sentinel)
        except StoreUnavailableError:
            return None

    async def _ask(self, sentinel: Link) -> Address:
        home, service = self._settings.home, self._settings.service
        deadline = monotonic() + self._settings.timeout_s
        question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
        reply = await sentinel.request(question, deadline, repeatable=True)
        if isinstance(reply, ReplyError):
            raise UnsentError(home=home, reason=f"the sentinel does not answer: {reason_of(reply)}")
        if reply is None:
            raise UnsentError(home=home, reason=f"the sentinels know no master named {service!r}")
        host, port = reply
        return host.decode(), int(port)
