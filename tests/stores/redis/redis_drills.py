"""What the tests of this folder share: a store, a way to talk to a server beside it, and a tap on the line between."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import hiredis
from servers import RedisServer

from fungible.stores import Store, open_store
from fungible.stores.redis.connection import Connection
from fungible.stores.redis.link import Link

PATIENCE_S = 60
NOT_YET = object()


@asynccontextmanager
async def opened(url: str, *, timeout_s: float = 10) -> AsyncIterator[Store]:
    """A store, closed at the end."""
    # Longer than the default: other work on the machine must not fail a rule that is not about deadlines.
    store = open_store(url, timeout_s=timeout_s)
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield store
    finally:
        await store.aclose()


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that nothing tells us about."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@contextmanager
def talking(server: RedisServer) -> Iterator[Callable[..., Any]]:
    """A connection of our own: call it with a command's words."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as line:
        reader = hiredis.Reader(notEnoughData=NOT_YET)

        def say(*words: str | bytes | int) -> Any:
            line.sendall(hiredis.pack_command(words))
            while (reply := reader.gets()) is NOT_YET:
                received = line.recv(65_536)
                assert received, "it closed the connection"
                reader.feed(received)
            return reply

        yield say


def link_of(store: Store) -> Link:
    """The way to its server that a store has on this event loop."""
    return store._clients.here()._link  # type: ignore[attr-defined]


def connection_of(store: Store) -> Connection | None:
    """The connection that it has there."""
    return link_of(store)._connection


def say(server: RedisServer, *words: str | bytes | int) -> Any:
    """The server's reply to one command."""
    with talking(server) as ask:
        return ask(*words)


def clients(server: RedisServer) -> list[str]:
    """The connections of ours that it has, as its CLIENT LIST shows them."""
    return [line for line in say(server, "CLIENT", "LIST").decode().splitlines() if " name=fungible " in line]


@contextmanager
def counting(server: RedisServer) -> Iterator[Counter[str]]:
    """Counts the commands that it carries out meanwhile; those that scripts run are counted, too."""
    counted: Counter[str] = Counter()
    say(server, "CONFIG", "RESETSTAT")
    yield counted
    for line in say(server, "INFO", "commandstats").decode().splitlines():
        name, _, rest = line.partition(":")
        if name.startswith("cmdstat_") and not name.startswith("cmdstat_config"):
            counted[name.removeprefix("cmdstat_").upper()] = int(rest.partition(",")[0].removeprefix("calls="))


class Tap:
    """A proxy in front of a server: breaks replies into pieces, holds them, cuts the line."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.piece_bytes = 65_536
        """How much of a reply is sent at once."""
        self.heard = bytearray()
        """All that was asked."""
        self.pause_s = 0.0
        """Between two pieces."""
        self.cut_on = b""
        """Whoever asks for this is cut off."""
        self.passing = asyncio.Event()
        """Replies wait for it."""
        self.passing.set()
        self.arrived = asyncio.Event()
        """Set when a reply has come from the server."""
        self.accepted = 0
        self._lines: set[asyncio.StreamWriter] = set()
        self._to_clients: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def __aenter__(self) -> "Tap":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1")
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def lines_to_clients(self) -> list[asyncio.StreamWriter]:
        """To say something that no server has said."""
        return list(self._to_clients)

    def cut(self) -> None:
        """Ends all connections: replies that are held are lost."""
        for line in self._lines:
            line.transport.abort()
        self._lines.clear()
        self._to_clients.clear()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.create_task(self._relay(reader, writer))
        self._tasks.add(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._lines.add(writer)
        self._to_clients.add(writer)
        back = None
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.server.port)
            self._lines.add(back)
            await asyncio.gather(self._ask(reader, back), self._answer(there, writer))
        except ConnectionError:
            pass
        finally:
            self._to_clients.discard(writer)
            for line in (writer, back):
                if line is not None:
                    self._lines.discard(line)
                    line.transport.abort()

    async def _ask(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        while asked := await reader.read(65_536):
            self.heard += asked
            back.write(asked)
            if self.cut_on and self.cut_on in asked:
                break
        back.transport.abort()

    async def _answer(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while answer := await there.read(65_536):
            self.arrived.set()
            await self.passing.wait()
            piece_bytes = self.piece_bytes
            for start in range(0, len(answer), piece_bytes):
                writer.write(answer[start : start + piece_bytes])
                # So that pieces arrive apart: the kernel joins what is written in one go.
                await asyncio.sleep(self.pause_s)
        writer.transport.abort()


@asynccontextmanager
async def impostor(answer: Callable[[bytes], bytes], *, hangs_up: bool = False) -> AsyncIterator[str]:
    """Listens where a server is expected, and says what `answer` makes of what it hears.

    Its address is `host:port`.
    """
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while heard := await reader.read(10_000):
                writer.write(answer(heard))
                if hangs_up:
                    break
        except ConnectionError:
            pass
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1")
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Sockets are closed in the next turn of the loop.
        await asyncio.sleep(0)
