"""What a store talks through, by its URL: one server, whom Sentinel names, or a Cluster."""

from collections.abc import Awaitable
from functools import partial
from time import monotonic
from typing import Protocol

from fungible.stores.redis.cluster import Cluster
from fungible.stores.redis.connection import Command, Reply
from fungible.stores.redis.dialing import dial
from fungible.stores.redis.link import Link
from fungible.stores.redis.sentinel import Sentinel
from fungible.stores.redis.settings import Settings


class Client(Protocol):
    """Sends commands, in one event loop."""

    def call(self, key: str, command: Command, *, repeatable: bool) -> Awaitable[Reply]:
        """The reply to a command that is about a key. Error replies are values.

        Args:
            repeatable: Whether it may be sent a second time where the first was lost with its connection.
        Raises:
            StoreUnavailableError: there was no reply within the deadline.
        """
        ...

    async def reach(self) -> None:
        """Makes sure that all servers that have keys answer."""
        ...

    async def aclose(self) -> None:
        """Closes all connections."""
        ...


class Single:
    """One server has all keys."""

    def __init__(self, link: Link, *, timeout_s: float) -> None:
        self._link = link
        self._timeout_s = timeout_s

    def call(self, key: str, command: Command, *, repeatable: bool) -> Awaitable[Reply]:
        """The reply to a command."""
        return self._link.request(command, monotonic() + self._timeout_s, repeatable=repeatable)

    async def reach(self) -> None:
        """Nothing: any command reaches the one server."""

    async def aclose(self) -> None:
        """Closes the connection."""
        await self._link.aclose()


def open_client(settings: Settings) -> Client:
    """The client for a URL, in the event loop that runs. Opens no connection."""
    if settings.scheme == "redis+cluster":
        return Cluster(settings)
    if settings.scheme == "redis+sentinel":
        return Sentinel(settings)
    find = partial(dial, settings.addresses[0], settings, database=settings.database)
    link = Link(find, home=settings.home, timeout_s=settings.timeout_s)
    return Single(link, timeout_s=settings.timeout_s)
