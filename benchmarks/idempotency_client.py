"""Clients that retry: a request with a key as bytes, and what came back.

A client of its own, because many requests must leave in the same instant, a retry must be byte by byte the same, and a
connection that ends in the middle of an answer is what is looked for.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import uuid4

ANSWERS_WITHIN_S: Final = 30.0
VARYING: Final = frozenset({"date", "server", "connection"})
"""What the server adds, not the application."""


@dataclass(frozen=True)
class Request:
    """One operation. Sent again, it is its retry."""

    path: str = "/orders"
    key: str = ""
    effect: str = ""
    body: bytes = b'{"item":"tea","count":2}'
    user: str = "ada"

    @classmethod
    def new(cls, path: str = "/orders") -> "Request":
        """With a key and an effect that nobody else has."""
        return cls(path, str(uuid4()), uuid4().hex)

    def but(self, **other: Any) -> "Request":
        """The same but for something."""
        return replace(self, **other)

    @property
    def raw(self) -> bytes:
        lines = [
            # The same for each instance, as behind a proxy.
            *(f"POST {self.path} HTTP/1.1", "Host: shop.example", f"Authorization: Bearer {self.user}"),
            *(f"Idempotency-Key: {self.key}", f"X-Effect: {self.effect}", "Content-Type: application/json"),
            *(f"Content-Length: {len(self.body)}", "Connection: close"),
        ]
        return "\r\n".join((*lines, "", "")).encode() + self.body


@dataclass(frozen=True)
class Answer:
    """What came back. Status 0: the connection ended before that."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str) -> list[str]:
        """The values of all lines with that name, in order."""
        return [value for each, value in self.headers if each == name]

    @property
    def order(self) -> str:
        """What tells one run of a handler from another; empty where there is none."""
        return self._member("order")

    @property
    def outcome_unknown(self) -> bool:
        """Whether it says that no retry will ever do: of ours alone."""
        return self._member("code") == "idempotency_outcome_unknown"

    def _member(self, name: str) -> str:
        try:
            return str(json.loads(self.body).get(name, ""))
        except (ValueError, AttributeError):
            return ""

    @property
    def marked(self) -> bool:
        """Whether something says that this is a replay."""
        return self.header("idempotent-replayed") == ["true"] or self.header("x-idempotency-status") == ["hit"]


LOST: Final = Answer(0)


class Sent:
    """A request that is under way."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def answer(self) -> Answer:
        """Its answer: the whole of it, or LOST.

        Raises:
            TimeoutError: none comes.
        """
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                return _parsed(await self._reader.read(-1))
        except (ConnectionError, EOFError, ValueError, IndexError):
            return LOST
        finally:
            self._writer.close()

    def give_up(self) -> None:
        """As a client that has gone away."""
        self._writer.transport.abort()


async def send(port: int, request: Request) -> Sent:
    """Sends a request, without waiting for its answer. Where nobody listens, the answer is LOST."""
    return (await at_once([(port, request)]))[0]


async def at_once(asked: Sequence[tuple[int, Request]]) -> list[Sent]:
    """Sends all requests in the same instant, over connections that are open by then."""
    connections = await asyncio.gather(*(_connected(port) for port, _ in asked))
    for (_, writer), (_, request) in zip(connections, asked, strict=True):
        writer.write(request.raw)
    return [Sent(*connection) for connection in connections]


async def ask(port: int, request: Request) -> Answer:
    """Sends a request and awaits its answer."""
    return await (await send(port, request)).answer()


async def get(port: int, path: str) -> Any:
    """What a control route says.

    Raises:
        RuntimeError: it is not answered with 200.
    """
    reader, writer = await _connected(port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n".encode())
    answer = await Sent(reader, writer).answer()
    if answer.status != 200:
        raise RuntimeError(f"{path.partition('?')[0]} is answered with {answer.status}: {answer.body[:200]!r}")
    return json.loads(answer.body)


async def _connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


def _parsed(data: bytes) -> Answer:
    """An answer that is known to be whole.

    Raises:
        EOFError: it is not.
    """
    head, found, rest = data.partition(b"\r\n\r\n")
    if not found:
        raise EOFError
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
    named = dict(pairs)
    if named.get("transfer-encoding") == "chunked":
        rest = _joined(rest)
    elif len(rest) != int(named.get("content-length", 0)):
        raise EOFError
    return Answer(int(first.split()[1]), tuple(pair for pair in pairs if pair[0] not in VARYING), rest)


def _joined(data: bytes) -> bytes:
    body, at = b"", 0
    while True:
        end = data.index(b"\r\n", at)
        size = int(data[at:end], 16)
        if not size:
            return body
        if len(data) < end + 4 + size:
            raise EOFError
        body += data[end + 2 : end + 2 + size]
        at = end + 4 + size
