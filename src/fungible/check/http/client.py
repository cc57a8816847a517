"""One request on one connection, read within bounds: whatever a server sends, an `Answer` comes back.

Each request has a connection of its own, so that the choice of the instance is the schedule's alone. A request can be
sent but for its last byte, and that byte be released later: two requests then start at the same moment.
"""

import contextlib
import http.client
import io
import selectors
import socket
import ssl
import time
import zlib
from dataclasses import dataclass
from typing import Any, cast

from fungible.check.model import Answer

MAX_BODY_BYTES = 8 * 1024 * 1024
STREAM_SECONDS = 2.0
"""How long an event stream, which has no end, is listened to."""
_CONNECT_SECONDS = 5.0
_MAX_INTERIM = 20
_OURS = frozenset({"connection", "content-length", "expect", "transfer-encoding"})
"""Headers that say how this message is framed: what a recording had there would be wrong here."""


def to_bytes(text: str) -> bytes:
    """Text as UTF-8; a lone surrogate, which JSON may hold, stops nothing."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class Address:
    """Where an instance listens."""

    host: str
    port: int
    tls: bool = False

    @property
    def url(self) -> str:
        """The origin, for people: `http://127.0.0.1:8001`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


@dataclass(frozen=True)
class Request:
    """A request as it goes over the wire; `target` is path and query, already encoded."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    def wire(self) -> bytes:
        """The bytes of an HTTP/1.1 message that closes its connection (RFC 9112)."""
        headers = [f"{name}: {value}" for name, value in self.headers if name.lower() not in _OURS]
        lines = [f"{self.method} {self.target} HTTP/1.1", *headers]
        if self.body or self.method not in {"GET", "HEAD", "OPTIONS", "TRACE", "DELETE"}:
            lines.append(f"Content-Length: {len(self.body)}")
        lines.append("Connection: close")
        return to_bytes("\r\n".join(lines)) + b"\r\n\r\n" + self.body


class _DeadlineReader(io.RawIOBase):
    """A socket as a file whose reads all end at one moment: a server that drips bytes can't hold us."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self.deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._sock.recv_into(buffer)


class _Source:
    """What `http.client.HTTPResponse` wants of a socket."""

    def __init__(self, reader: _DeadlineReader) -> None:
        self._reader = reader

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._reader, 65536)


class Connection:
    """One request under way: `open`, `release`, `receive`, in that order."""

    def __init__(self, address: Address, request: Request, *, timeout_s: float = 30.0) -> None:
        self._address = address
        self._request = request
        self._began = time.monotonic()
        self._timeout_s = timeout_s
        self._sock: socket.socket | None = None
        self._tail = b""
        self._failed: str | None = None

    @property
    def local_port(self) -> int:
        """Our end's port, 0 where there is no connection."""
        if self._sock is None:
            return 0
        with contextlib.suppress(OSError):
            return int(self._sock.getsockname()[1])
        return 0

    def connect(self) -> None:
        """Connects, and sends nothing yet."""
        self._failed = None
        try:
            self._sock = self._connected()
        except (OSError, ValueError, OverflowError) as error:  # the latter two: a host or port that can't be one
            self._failed = _connect_words(error, min(_CONNECT_SECONDS, self._timeout_s))

    def open(self) -> None:
        """Sends all but the last byte; connects first where that was not done."""
        wire = self._request.wire()
        if self._sock is None and self._failed is None:
            self.connect()
        if self._sock is None:
            return
        with contextlib.suppress(OSError):
            # A server may answer and close before it has read a large body: the answer is still to be read.
            if self._sent(self._sock, wire[:-1]):
                self._tail = wire[-1:]

    def _connected(self) -> socket.socket:
        within = min(_CONNECT_SECONDS, self._timeout_s)
        sock = socket.create_connection((self._address.host, self._address.port), timeout=within)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._address.tls:
                return ssl.create_default_context().wrap_socket(sock, server_hostname=self._address.host)
            return sock
        except BaseException:
            sock.close()
            raise

    def _sent(self, sock: socket.socket, data: bytes) -> bool:
        """Sends all of it; False where the server answered before it had taken everything."""
        sock.settimeout(self._timeout_s)
        if self._address.tls:  # what arrives there may belong to TLS itself, so it tells nothing
            sock.sendall(data)
            return True
        view = memoryview(data)
        with selectors.DefaultSelector() as selector:
            selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
            while view:
                ready = selector.select(max(0.0, self._began + self._timeout_s - time.monotonic()))
                if not ready or ready[0][1] & selectors.EVENT_READ:
                    return False
                view = view[sock.send(view[:65536]) :]
        return True

    def release(self) -> None:
        """Sends the last byte: only now can the server act."""
        if self._sock is not None and self._tail:
            with contextlib.suppress(OSError):
                self._sock.sendall(self._tail)

    def receive(self) -> Answer:
        """Reads the answer, at most `MAX_BODY_BYTES` of it, and closes the connection. Never raises."""
        if self._sock is None or self._failed is not None:
            return Answer(error=self._failed or "no connection", seconds=self._elapsed())
        try:
            return self._read(self._sock)
        finally:
            self.close()

    def close(self) -> None:
        """Ends the connection, whatever state it is in."""
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.close()
            self._sock = None

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _read(self, sock: socket.socket) -> Answer:
        reader = _DeadlineReader(sock, self._began + self._timeout_s)
        response = http.client.HTTPResponse(cast(Any, _Source(reader)), method=self._request.method)
        try:
            _begin(response)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Answer(error=_answer_words(error, self._timeout_s), seconds=self._elapsed())
        headers = tuple((name, _plain(value)) for name, value in response.getheaders())
        stream = (response.getheader("content-type") or "").partition(";")[0].strip().lower() == "text/event-stream"
        if stream:
            reader.deadline = min(reader.deadline, time.monotonic() + STREAM_SECONDS)
        body, truncated, error = _read_body(response, None if stream else self._timeout_s)
        with contextlib.suppress(Exception):
            response.close()
        return Answer(
            status=response.status,
            headers=headers,
            body=_decoded(body, response.getheader("content-encoding") or ""),
            truncated=truncated,
            error=error,
            seconds=self._elapsed(),
        )


def _plain(value: str) -> str:
    """A header value as UTF-8 text where it is UTF-8: http.client reads headers as Latin-1."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return value


def _begin(response: http.client.HTTPResponse) -> None:
    """Reads the head of the answer; interim ones such as 103 Early Hints are passed over (RFC 9110 section 15.2)."""
    response.begin()
    for _ in range(_MAX_INTERIM):
        if response.status // 100 != 1 or response.status == http.HTTPStatus.SWITCHING_PROTOCOLS:
            return
        cast(Any, response).headers = None  # else begin() holds itself for done
        response.begin()


def _read_body(response: http.client.HTTPResponse, timeout_s: float | None) -> tuple[bytes, bool, str | None]:
    """The body, whether more was to come, and what went wrong; a `timeout_s` of None: it may be cut at any time."""
    parts: list[bytes] = []
    left = MAX_BODY_BYTES
    declared = response.length  # counted here: not every release of http.client counts in read1()
    try:
        while left and declared != 0:
            # read1: what has arrived is kept, whatever goes wrong with what was to follow.
            part = response.read1(min(65536, left if declared is None else min(left, declared)))
            if not part:
                return b"".join(parts), False, "the connection closed before the body was whole" if declared else None
            parts.append(part)
            left -= len(part)
            declared = None if declared is None else declared - len(part)
    except TimeoutError:
        return b"".join(parts), True, None if timeout_s is None else f"the body had not ended after {timeout_s:g} s"
    except http.client.IncompleteRead:
        return b"".join(parts), False, "the connection closed before the body was whole"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return b"".join(parts), False, f"the body broke off: {error or type(error).__name__}"
    return b"".join(parts), declared != 0, None


def _decoded(body: bytes, encoding: str) -> bytes:
    """The body without its `Content-Encoding` where that is gzip or deflate and true; else as it came."""
    bits = {"gzip": 31, "x-gzip": 31, "deflate": 15}.get(encoding.strip().lower())
    if bits is None:
        return body
    try:
        return zlib.decompressobj(bits).decompress(body, MAX_BODY_BYTES)
    except zlib.error:
        return body


def _connect_words(error: Exception, within_s: float) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, TimeoutError):
        return f"no connection within {within_s:g} s"
    return f"no connection: {error}"


def _answer_words(error: Exception, timeout_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(error, http.client.RemoteDisconnected | ConnectionResetError | BrokenPipeError):
        return "closed the connection without an answer"
    if isinstance(error, http.client.HTTPException | ValueError):
        # The bounds of http.client say which they are; other messages repeat what was sent, which may vary.
        bound = type(error) in {http.client.HTTPException, http.client.LineTooLong}
        return f"not an HTTP answer ({error if bound else type(error).__name__})"
    return f"the connection broke: {error}"


def send(address: Address, request: Request, *, timeout_s: float = 30.0) -> Answer:
    """Sends one request and reads its answer. Never raises: what went wrong is in `Answer.error`."""
    connection = Connection(address, request, timeout_s=timeout_s)
    connection.open()
    connection.release()
    return connection.receive()
