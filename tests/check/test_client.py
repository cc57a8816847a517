import gzip
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fungible.check.http import client
from fungible.check.http.client import MAX_BODY_BYTES, Address, Connection, Request, send
from fungible.check.model import Answer

Script = Callable[[socket.socket], None]


class Server:
    """Does to each connection what the test says, and no more HTTP than that."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = Address("127.0.0.1", self._listener.getsockname()[1])
        self.sent = 0
        self.requests: list[bytes] = []
        self._over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                threading.Thread(target=self._one, args=(sock,), daemon=True).start()

    def _one(self, sock: socket.socket) -> None:
        with sock, suppress(OSError):
            self._script(sock)

    def head(self, sock: socket.socket) -> bytes:
        """Reads up to the end of the headers."""
        read = b""
        while b"\r\n\r\n" not in read:
            part = sock.recv(65536)
            if not part:
                break
            read += part
        self.requests.append(read)
        return read

    def push(self, sock: socket.socket, data: bytes) -> None:
        sock.sendall(data)
        self.sent += len(data)

    def hold(self) -> None:
        """Keeps the connection open until the test is over."""
        self._over.wait(20)

    def close(self) -> None:
        self._over.set()
        self._listener.close()


@contextmanager
def serving(script: Callable[[Server, socket.socket], None]) -> Iterator[Server]:
    server = Server(lambda sock: script(server, sock))
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Server, socket.socket], None]], Server]]:
    with ExitStack() as stack:
        yield lambda script: stack.enter_context(serving(script))


Serve = Callable[[Callable[[Server, socket.socket], None]], Server]


def says(*pieces: bytes, hold: bool = False) -> Callable[[Server, socket.socket], None]:
    def script(server: Server, sock: socket.socket) -> None:
        server.head(sock)
        for piece in pieces:
            server.push(sock, piece)
        if hold:
            server.hold()

    return script


def get(server: Server, *, method: str = "GET", body: bytes = b"", timeout_s: float = 10) -> Answer:
    return send(server.address, Request(method, "/", (("Host", "shop.test"),), body), timeout_s=timeout_s)


# --- what is sent


def test_a_request_is_one_http_1_1_message_that_closes_its_connection() -> None:
    assert Request("POST", "/a?b", (("Host", "shop.test"), ("X", "é")), b"body").wire() == (
        "POST /a?b HTTP/1.1\r\nHost: shop.test\r\nX: é\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody".encode()
    )


@pytest.mark.parametrize(("method", "declared"), [("POST", True), ("PUT", True), ("GET", False), ("DELETE", False)])
def test_an_empty_body_is_declared_where_the_method_expects_one(method: str, declared: bool) -> None:
    assert (b"Content-Length: 0" in Request(method, "/", ()).wire()) == declared


def test_how_the_message_is_framed_is_ours_to_say() -> None:
    headers = (("Content-Length", "99"), ("transfer-encoding", "chunked"), ("Expect", "100-continue"), ("A", "b"))
    assert Request("POST", "/", headers, b"x").wire() == (
        b"POST / HTTP/1.1\r\nA: b\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"
    )


def test_the_server_can_act_only_once_the_last_byte_is_released(serve: Serve) -> None:
    acted = threading.Event()

    def script(server: Server, sock: socket.socket) -> None:
        server.head(sock)
        acted.set()
        server.push(sock, b"HTTP/1.1 204 No Content\r\n\r\n")

    server = serve(script)
    connection = Connection(server.address, Request("GET", "/", (("Host", "a"),)))
    connection.open()
    assert connection.local_port > 0
    assert not acted.wait(0.2)
    connection.release()
    assert connection.receive().status == 204
    assert acted.is_set()


def test_a_large_body_that_is_refused_early_still_has_its_answer(serve: Serve) -> None:
    refusal = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig"
    for hold in (False, True):
        found = get(serve(says(refusal, hold=hold)), method="POST", body=b"x" * 50_000_000)
        assert (found.status, found.body, found.error) == (413, b"big", None)


def test_a_server_that_never_reads_holds_us_no_longer_than_the_deadline(serve: Serve) -> None:
    server = serve(lambda server, sock: server.hold())
    found = get(server, method="POST", body=b"x" * 50_000_000, timeout_s=0.3)
    assert (found.status, found.error) == (0, "no answer within 0.3 s")
    assert found.seconds < 5


# --- no answer


def test_a_closed_port_refuses_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    found = send(Address("127.0.0.1", port), Request("GET", "/", ()))
    assert (found.status, found.error) == (0, "connection refused")


@pytest.mark.parametrize("address", [Address("x" * 70 + ".invalid", 80), Address("127.0.0.1", 99999), Address("", -1)])
def test_an_address_that_can_not_be_one_is_an_answer_too(address: Address) -> None:
    found = send(address, Request("GET", "/", ()))
    assert found.status == 0
    assert found.error


def test_a_server_that_speaks_no_tls_is_an_answer_too(serve: Serve) -> None:
    port = serve(says(b"HTTP/1.1 400 Bad Request\r\n\r\n")).address.port
    found = send(Address("127.0.0.1", port, tls=True), Request("GET", "/", ()), timeout_s=2)
    assert found.status == 0
    assert (found.error or "").startswith("no connection")


def test_a_connection_that_closes_at_once_gave_no_answer(serve: Serve) -> None:
    found = get(serve(lambda server, sock: None))
    assert (found.status, found.error) == (0, "closed the connection without an answer")


def test_a_silent_server_is_waited_for_until_the_deadline(serve: Serve) -> None:
    found = get(serve(says(hold=True)), timeout_s=0.2)
    assert (found.status, found.error) == (0, "no answer within 0.2 s")


def drip(data: bytes, every_s: float = 0.02) -> Callable[[Server, socket.socket], None]:
    def script(server: Server, sock: socket.socket) -> None:
        server.head(sock)
        for byte in data:
            server.push(sock, bytes([byte]))
            time.sleep(every_s)

    return script


def test_headers_that_drip_are_no_answer_at_the_deadline(serve: Serve) -> None:
    found = get(serve(drip(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200)), timeout_s=0.3)
    assert (found.status, found.error) == (0, "no answer within 0.3 s")
    assert found.seconds < 5


@pytest.mark.parametrize(
    "garbage",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"\x00\xff\xfe\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 101 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"x" * 70_000,
    ],
)
def test_what_is_no_http_is_said_to_be_none(serve: Serve, garbage: bytes) -> None:
    found = get(serve(says(garbage)))
    assert found.status == 0
    assert (found.error or "").startswith("not an HTTP answer (")


# --- heads


def test_many_headers_are_read(serve: Serve) -> None:
    found = get(serve(says(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 98 + b"Content-Length: 0\r\n\r\n")))
    assert (found.status, len(found.headers)) == (200, 99)


def test_every_set_cookie_is_kept_in_order(serve: Serve) -> None:
    found = get(serve(says(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: a=2\r\nContent-Length: 0\r\n\r\n")))
    assert [text for name, text in found.headers if name.lower() == "set-cookie"] == ["a=1", "a=2"]


@pytest.mark.parametrize(
    ("raw", "text"), [("né".encode(), "né"), ("né".encode("latin-1"), "né"), ("Åą …".encode(), "Åą …"), (b"a", "a")]
)
def test_header_values_are_read_as_utf_8_or_else_as_latin_1(serve: Serve, raw: bytes, text: str) -> None:
    found = get(serve(says(b"HTTP/1.1 200 OK\r\nX-Name: " + raw + b"\r\nContent-Length: 2\r\n\r\nok")))
    assert (found.header("x-name"), found.body) == (text, b"ok")


def test_interim_answers_are_passed_over(serve: Serve) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    found = get(serve(says(interim, b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok")))
    assert (found.status, found.header("link"), found.body) == (201, None, b"ok")


@pytest.mark.parametrize("framing", [b"Content-Length: 50\r\n", b"Transfer-Encoding: chunked\r\n", b""])
@pytest.mark.parametrize(("method", "status"), [("GET", 204), ("GET", 304), ("HEAD", 200)])
def test_answers_without_a_body_are_whole(serve: Serve, method: str, status: int, framing: bytes) -> None:
    script = says(f"HTTP/1.1 {status} Some\r\n".encode() + framing + b"\r\n", hold=True)
    found = get(serve(script), method=method, timeout_s=5)
    assert (found.status, found.body, found.truncated, found.error) == (status, b"", False, None)


# --- bodies


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        CHUNKED + chunk(b"hel") + chunk(b"lo") + b"0\r\n\r\n",
        CHUNKED + b"5;name=value\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
    ],
)
def test_a_body_ends_where_its_framing_says(serve: Serve, raw: bytes) -> None:
    found = get(serve(says(raw)))
    assert (found.body, found.truncated, found.error) == (b"hello", False, None)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
        CHUNKED + chunk(b"hello"),
        CHUNKED + b"ff\r\nhello",
        CHUNKED + chunk(b"hello") + b"garbage\r\n",
    ],
)
def test_a_body_that_breaks_off_is_an_error_and_what_came_is_kept(serve: Serve, raw: bytes) -> None:
    found = get(serve(says(raw)))
    assert (found.status, found.body) == (200, b"hello")
    assert found.error == "the connection closed before the body was whole"


def test_an_endless_body_is_read_up_to_the_bound(serve: Serve) -> None:
    def script(server: Server, sock: socket.socket) -> None:
        server.head(sock)
        server.push(sock, CHUNKED)
        while True:
            server.push(sock, chunk(b"x" * 65536))

    found = get(serve(script))
    assert (len(found.body), found.truncated, found.error) == (MAX_BODY_BYTES, True, None)


def test_of_a_declared_gigabyte_only_what_fits_the_bound_is_read(serve: Serve) -> None:
    def script(server: Server, sock: socket.socket) -> None:
        server.head(sock)
        server.push(sock, b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        while server.sent < 1 << 30:
            server.push(sock, b"x" * 65536)

    server = serve(script)
    found = get(server)
    assert (len(found.body), found.truncated, found.error) == (MAX_BODY_BYTES, True, None)
    assert server.sent < MAX_BODY_BYTES + 64 * 1024 * 1024  # what lay in the buffers of the kernel, no more


@pytest.mark.parametrize("head", [f"Content-Length: {MAX_BODY_BYTES}\r\n", ""])
def test_a_body_exactly_at_the_bound_is_whole_where_its_length_is_declared(serve: Serve, head: str) -> None:
    found = get(serve(says(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode(), b"x" * MAX_BODY_BYTES)))
    assert (len(found.body), found.truncated, found.error) == (MAX_BODY_BYTES, not head, None)


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Connection: close"])
def test_a_body_that_drips_is_cut_at_the_deadline(serve: Serve, framing: str) -> None:
    def script(server: Server, sock: socket.socket) -> None:
        server.head(sock)
        server.push(sock, f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode())
        for _ in range(1000):
            server.push(sock, b"x")
            time.sleep(0.02)

    found = get(serve(script), timeout_s=0.5)
    assert found.status == 200
    assert found.error == "the body had not ended after 0.5 s"
    assert found.truncated
    assert 0 < len(found.body) < 1000
    assert found.seconds < 5


@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", "Connection: close"])
def test_of_an_event_stream_what_came_in_time_is_kept(
    serve: Serve, framing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "STREAM_SECONDS", 0.3)
    event = b"data: 1\n\n"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream\r\n{framing}\r\n\r\n".encode()
    found = get(serve(says(head, chunk(event) if "chunked" in framing else event, hold=True)))
    assert (found.body, found.truncated, found.error) == (event, True, None)
    assert found.seconds < 5


def test_an_event_stream_that_ends_is_whole(serve: Serve) -> None:
    head = CHUNKED.replace(b"OK\r\n", b"OK\r\nContent-Type: text/event-stream\r\n")
    found = get(serve(says(head, chunk(b"data: 1\n\n"), b"0\r\n\r\n")))
    assert (found.body, found.truncated, found.error) == (b"data: 1\n\n", False, None)


@pytest.mark.parametrize(
    ("encoding", "raw", "body"),
    [
        ("gzip", gzip.compress(b"hello", mtime=0), b"hello"),
        ("X-GZIP", gzip.compress(b"hello", mtime=0), b"hello"),
        ("deflate", zlib.compress(b"hello"), b"hello"),
        ("gzip", b"hello", b"hello"),
        ("deflate", b"hello", b"hello"),
        ("gzip", gzip.compress(b"hello", mtime=0)[:-8] + b"\0" * 8, None),
        ("gzip", b"", b""),
        ("br", b"hello", b"hello"),
        ("identity", b"hello", b"hello"),
    ],
)
def test_a_content_encoding_is_undone_where_it_is_true(
    serve: Serve, encoding: str, raw: bytes, body: bytes | None
) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(raw)}\r\n\r\n"
    found = get(serve(says(head.encode() + raw)))
    assert found.body == (raw if body is None else body)
    assert found.error is None


def test_a_small_body_that_unpacks_to_gigabytes_is_unpacked_up_to_the_bound(serve: Serve) -> None:
    raw = zlib.compress(b"\0" * (4 * MAX_BODY_BYTES))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: {len(raw)}\r\n\r\n"
    assert len(get(serve(says(head.encode() + raw))).body) == MAX_BODY_BYTES


@given(st.binary(max_size=300), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", CHUNKED]))
def test_whatever_a_server_sends_an_answer_comes_back(raw: bytes, head: bytes) -> None:
    with serving(says(head + raw)) as server:
        found = get(server, timeout_s=2)
    assert found.status or found.error
