"""The one place that imports asyncpg, which has no types of its own."""

from asyncio import BaseTransport
from collections.abc import Mapping
from typing import Any, Protocol

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
from asyncpg import exceptions as pg  # pyright: ignore[reportMissingTypeStubs]

__all__ = ["Connection", "open_connection", "pg", "transport_of"]


class Connection(Protocol):
    """What is used of a connection."""

    async def fetch(self, query: str, *args: object) -> list[Any]:
        """The rows of a statement."""
        ...

    async def execute(self, query: str, *args: object) -> str:
        """Runs a statement."""
        ...

    def transaction(self) -> Any:
        """A context in which statements are one transaction."""
        ...

    def is_closed(self) -> bool:
        """Whether it has ended, on either side."""
        ...

    def terminate(self) -> None:
        """Ends it at once; whoever waits for an answer gets an error."""
        ...


def transport_of(connection: Connection) -> BaseTransport:
    """What a connection talks over; asyncpg shows it to nobody."""
    inside: Any = connection
    transport: BaseTransport = inside._transport
    return transport


async def open_connection(arguments: Mapping[str, Any]) -> Connection:
    """A new connection. There is no deadline but the caller's.

    Args:
        arguments: For `asyncpg.connect`.
    """
    driver: Any = asyncpg
    connection: Connection = await driver.connect(**arguments, timeout=None)
    return connection
