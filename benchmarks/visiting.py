"""Browsers, as far as sessions see them: a cookie jar, and connections that stay open.

A client of its own, because many requests must leave in the same instant: a request is one write to a connection that
is already open, and nothing is awaited between two of them.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.contestants.routes import USER

_PAST = ("expires=thu, 01 jan 1970", "expires=thu, 01-jan-1970")


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    body: bytes
    cookies: tuple[str, ...]
    """The values of `Set-Cookie`."""
    last: bool = False
    """The connection is closed after it."""

    def good(self) -> "Answer":
        """Itself.

        Raises:
            RuntimeError: it has another status than 200.
        """
        if self.status != 200:
            raise RuntimeError(f"an answer with status {self.status}: {self.body[:200]!r}")
        return self


class Connection:
    """One connection to a process, which carries one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def send(self, method: str, path: str, cookie: str = "") -> None:
        """Writes a request, without waiting."""
        self._writer.write(request(method, path, cookie))

    async def answer(self) -> Answer:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in head[1:] if line)]
        named = dict(headers)
        body = await self._body(named)
        cookies = tuple(value for name, value in headers if name == "set-cookie")
        return Answer(int(head[0].split()[1]), body, cookies, named.get("connection", "").lower() == "close")

    def close(self) -> None:
        self._writer.close()

    async def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return await self._reader.readexactly(int(headers.get("content-length", 0)))
        body = b""
        while size := int(await self._reader.readline(), 16):
            body += await self._reader.readexactly(size)
            await self._reader.readline()
        await self._reader.readline()
        return body


def request(method: str, path: str, cookie: str = "") -> bytes:
    """A request's bytes."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"Cookie: {cookie}"] if cookie else []
    lines += ["Content-Length: 0"] if method == "POST" else []
    return "\r\n".join((*lines, "", "")).encode()


class Connections:
    """Those that are open, to be used again."""

    def __init__(self) -> None:
        self._idle: defaultdict[int, list[Connection]] = defaultdict(list)

    async def take(self, port: int) -> Connection:
        return self._idle[port].pop() if self._idle[port] else await Connection.open(port)

    def give_back(self, port: int, connection: Connection, answer: Answer) -> None:
        # After an error of the application uvicorn closes the connection without having said so.
        if answer.last or answer.status >= 500:
            connection.close()
        else:
            self._idle[port].append(connection)

    async def ask(self, port: int, method: str, path: str, cookie: str = "") -> Answer:
        """Sends a request and awaits its answer."""
        connection = await self.take(port)
        connection.send(method, path, cookie)
        answer = await connection.answer()
        self.give_back(port, connection, answer)
        return answer

    def close(self) -> None:
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()


@dataclass
class Visitor:
    """One browser."""

    connections: Connections
    jar: dict[str, str] = field(default_factory=dict)

    @property
    def cookie(self) -> str:
        """What it sends as `Cookie`."""
        return "; ".join(f"{name}={value}" for name, value in self.jar.items())

    def keep(self, answer: Answer) -> Answer:
        """Stores and removes cookies as the answer says."""
        for line in answer.cookies:
            pair, *attributes = (part.strip() for part in line.split(";"))
            name, _, value = pair.partition("=")
            said = [attribute.lower() for attribute in attributes]
            if "max-age=0" in said or any(attribute.startswith(_PAST) for attribute in said):
                self.jar.pop(name, None)
            else:
                self.jar[name] = value
        return answer

    async def ask(self, port: int, method: str, path: str) -> Answer:
        """Sends a request with its cookies, and keeps those of the answer."""
        return self.keep(await self.connections.ask(port, method, path, self.cookie))

    async def ask_at_once(self, asked: list[tuple[int, str, str]]) -> list[Answer]:
        """Sends all requests (port, method, path) in the same instant, with the cookies that it has before them.

        Cookies of the answers are kept in the order in which the answers arrive.
        """
        connections = [await self.connections.take(port) for port, _, _ in asked]
        cookie = self.cookie
        for connection, (_, method, path) in zip(connections, asked, strict=True):
            connection.send(method, path, cookie)

        async def kept(connection: Connection, port: int) -> Answer:
            answer = self.keep(await connection.answer())
            self.connections.give_back(port, connection, answer)
            return answer

        return await asyncio.gather(
            *(kept(connection, port) for connection, (port, _, _) in zip(connections, asked, strict=True))
        )


async def signed_in(port: int, connections: Connections, cookie: str) -> bool:
    """Whether that cookie is ada's."""
    return (await connections.ask(port, "GET", "/me", cookie)).body.decode() == USER


def sign_in(port: int, count: int) -> list[str]:
    """The cookies of so many visitors, who have signed in and then looked at a page.

    The look is for sessions that keep a copy in the cookie: the answer to a read brings it.
    """

    async def cookies() -> list[str]:
        connections = Connections()
        visitors = [Visitor(connections) for _ in range(count)]
        for visitor in visitors:
            (await visitor.ask(port, "POST", "/login")).good()
            (await visitor.ask(port, "GET", "/me")).good()
        connections.close()
        return [visitor.cookie for visitor in visitors]

    return asyncio.run(cookies())


def check_fit(port: int, last_words: Callable[[], str]) -> None:
    """Tries whether a visitor can sign in.

    Raises:
        RuntimeError: not; with what the application has printed last.
    """

    async def tried() -> tuple[int, bool]:
        connections = Connections()
        visitor = Visitor(connections)
        login = await visitor.ask(port, "POST", "/login")
        found = await signed_in(port, connections, visitor.cookie)
        connections.close()
        return login.status, found

    status, found = asyncio.run(tried())
    if not found:
        raise RuntimeError(f"signing in is answered with {status}: {last_words()}")
