"""Small HTTP servers on this machine that answer what they are told to, and as slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

DRIP_S = 0.02


class HTTPServer:
    """Answers every request with what it is given.

    Args:
        answer: Gives the bytes of an answer.
        whole: How many of its bytes are sent at once; the others follow one by one, each after `DRIP_S`. None: all.
    """

    def __init__(self, answer: Callable[[], bytes], *, whole: int | None = None) -> None:
        self.answer = answer
        self.asked = 0
        self.port = 0
        self._whole = whole
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> HTTPServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        with suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            data = self.answer()
            at_once = len(data) if self._whole is None else self._whole
            writer.write(data[:at_once])
            for place in range(at_once, len(data)):
                await writer.drain()
                await asyncio.sleep(DRIP_S)
                writer.write(data[place : place + 1])
            await writer.drain()
        writer.close()

    @property
    def url(self) -> str:
        """Its address, with something secret in the query."""
        return f"http://127.0.0.1:{self.port}/jwks.json?secret=1"


def http(body: bytes, status: str = "200 OK", *, extra: str = "") -> bytes:
    """An answer."""
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n{extra}\r\n".encode() + body
