"""Where a view waits until the test lets it go on."""

import asyncio
import socket


async def wait_at(port: str | None) -> None:
    """Tells the test that the view is here, and waits for its word; with no port, goes on at once."""
    if port is not None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
        await reader.read()
        writer.close()


def block_at(port: str | None) -> None:
    """The same for a view that blocks."""
    if port is not None:
        with socket.create_connection(("127.0.0.1", int(port))) as connection:
            connection.recv(1)
