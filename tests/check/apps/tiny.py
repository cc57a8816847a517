"""A small web framework on the standard library's server: what the Python applications of the zoo stand on.

It has no fault of its own, so that each application shows only the one planted in it. It finishes what it has begun
when it is asked to end, and it answers a repeated `Idempotency-Key` with the first answer, from whichever instance.
"""

import base64
import email.parser
import email.policy
import hashlib
import hmac
import http.cookies
import json
import os
import re
import secrets
import signal
import sqlite3
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MENDED = os.environ.get("MENDED") == "1"
SHARED_DIR = Path(os.environ.get("SHARED_DIR", "."))


# --- state ------------------------------------------------------------------------------------------------------------


class MemoryTable:
    """Values by key in this process's memory."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._lock = threading.RLock()

    def get(self, key: str) -> Any:
        """A copy of the value, or None."""
        with self._lock:
            return json.loads(json.dumps(self._values.get(key)))

    def put(self, key: str, value: Any) -> None:
        with self._lock:
            self._values[key] = json.loads(json.dumps(value))

    def add(self, key: str, value: Any) -> bool:
        """Puts the value if the key is free; tells whether it was."""
        with self._lock:
            if key in self._values:
                return False
            self.put(key, value)
            return True

    def delete(self, key: str) -> bool:
        with self._lock:
            return self._values.pop(key, None) is not None

    def change(self, key: str, edit: Callable[[Any], Any]) -> Any:
        """Replaces the value by `edit(value)` with nobody in between, and gives the new one; None if there is none."""
        with self._lock:
            value = self.get(key)
            if value is None:
                return None
            self.put(key, edit(value))
            return self.get(key)

    def increment(self, key: str) -> int:
        with self._lock:
            self.add(key, 0)
            return self.change(key, lambda count: count + 1)


class SqliteTable:
    """Values by key in an SQLite file: what several processes that have the file share."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name

    @contextmanager
    def _transaction(self):
        db = sqlite3.connect(self._path, timeout=15, isolation_level=None)
        try:
            db.execute("pragma synchronous=off")
            db.execute("create table if not exists entries (name, key, value, primary key (name, key))")
            db.execute("begin immediate")
            yield db
            db.execute("commit")
        finally:
            db.close()

    def _read(self, db: sqlite3.Connection, key: str) -> Any:
        row = db.execute("select value from entries where name = ? and key = ?", (self._name, key)).fetchone()
        return json.loads(row[0]) if row else None

    def _write(self, db: sqlite3.Connection, key: str, value: Any) -> None:
        db.execute("insert or replace into entries values (?, ?, ?)", (self._name, key, json.dumps(value)))

    def get(self, key: str) -> Any:
        with self._transaction() as db:
            return self._read(db, key)

    def put(self, key: str, value: Any) -> None:
        with self._transaction() as db:
            self._write(db, key, value)

    def add(self, key: str, value: Any) -> bool:
        with self._transaction() as db:
            if self._read(db, key) is not None:
                return False
            self._write(db, key, value)
            return True

    def delete(self, key: str) -> bool:
        with self._transaction() as db:
            return bool(db.execute("delete from entries where name = ? and key = ?", (self._name, key)).rowcount)

    def change(self, key: str, edit: Callable[[Any], Any]) -> Any:
        with self._transaction() as db:
            value = self._read(db, key)
            if value is None:
                return None
            self._write(db, key, edit(value))
            return self._read(db, key)

    def increment(self, key: str) -> int:
        with self._transaction() as db:
            self._write(db, key, (self._read(db, key) or 0) + 1)
            return self._read(db, key)


Table = MemoryTable | SqliteTable


def table(name: str, *, shared: bool) -> Table:
    """A table common to all instances, or one of this process's own."""
    return SqliteTable(SHARED_DIR / "shared.db", name) if shared else MemoryTable()


# --- signing ----------------------------------------------------------------------------------------------------------


def signing_key(*, shared: bool) -> bytes:
    """One key for all instances, or one drawn now."""
    return b"one key for all instances" if shared else secrets.token_bytes(32)


def sign(key: bytes, value: Any) -> str:
    """The value as `payload.signature`."""
    payload = base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
    return f"{payload}.{hmac.new(key, payload.encode(), hashlib.sha256).hexdigest()}"


def unsign(key: bytes, text: str) -> Any:
    """What was signed, or None where the signature is wrong."""
    payload, _, signature = text.partition(".")
    if not hmac.compare_digest(hmac.new(key, payload.encode(), hashlib.sha256).hexdigest(), signature):
        return None
    return json.loads(base64.urlsafe_b64decode(payload + "=="))


# --- requests and answers ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """One request, its body read."""

    method: str
    path: str
    query: dict[str, str]
    headers: email.message.Message
    body: bytes

    @cached_property
    def cookies(self) -> dict[str, str]:
        return {name: part.value for name, part in http.cookies.SimpleCookie(self.headers.get("Cookie", "")).items()}

    @cached_property
    def form(self) -> dict[str, str]:
        return dict(urllib.parse.parse_qsl(self.body.decode(), keep_blank_values=True))

    @cached_property
    def json(self) -> Any:
        return json.loads(self.body)

    @cached_property
    def files(self) -> dict[str, bytes]:
        """The files of a `multipart/form-data` body by field."""
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + self.body)
        fields = ((part.get_param("name", header="content-disposition"), part) for part in message.iter_parts())
        return {str(name): part.get_payload(decode=True) or b"" for name, part in fields}

    @property
    def bearer(self) -> str:
        """The token of `Authorization: Bearer`, else empty."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return token if scheme == "Bearer" else ""


@dataclass
class Answer:
    """What goes back."""

    status: int = 200
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)

    def cookie(self, name: str, value: str) -> "Answer":
        self.headers.append(("Set-Cookie", f"{name}={value}; Path=/; HttpOnly; SameSite=Lax"))
        return self

    def header(self, name: str, value: str) -> "Answer":
        self.headers.append((name, value))
        return self


def text(body: str, status: int = 200, kind: str = "text/plain") -> Answer:
    return Answer(status, body.encode(), [("Content-Type", f"{kind}; charset=utf-8")])


def page(body: str, status: int = 200) -> Answer:
    return text(f"<!doctype html><title>Zoo</title><body>{body}</body>", status, "text/html")


def as_json(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), [("Content-Type", "application/json")])


def redirect(location: str) -> Answer:
    return Answer(303, b"", [("Location", location)])


# --- the application --------------------------------------------------------------------------------------------------

Handler = Callable[..., Answer]


class App:
    """Routes and the server. `idempotent=False` does an unsafe request again when it is sent again."""

    def __init__(self, *, idempotent: bool = True) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []
        self._answers = table("answers", shared=True) if idempotent else None

    def on(self, method: str, path: str) -> Callable[[Handler], Handler]:
        """Registers a handler; `{name}` in the path becomes an argument."""

        def register(handler: Handler) -> Handler:
            self._routes.append((method, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)), handler))
            return handler

        return register

    def answer(self, request: Request) -> Answer:
        key = request.headers.get("Idempotency-Key")
        if self._answers is None or key is None or request.method in {"GET", "HEAD", "OPTIONS"}:
            return self._handle(request)
        key = f"{request.method} {request.path} {key}"
        if self._answers.add(key, "under way"):
            answer = self._handle(request)
            self._answers.put(key, [answer.status, base64.b64encode(answer.body).decode(), answer.headers])
            return answer
        for _ in range(500):
            if (kept := self._answers.get(key)) != "under way":
                return Answer(kept[0], base64.b64decode(kept[1]), [tuple(pair) for pair in kept[2]])
            time.sleep(0.01)
        return text("the first request with this key is still under way", 409)

    def _handle(self, request: Request) -> Answer:
        for method, path, handler in self._routes:
            match = path.fullmatch(request.path)
            if match and method == request.method:
                return handler(request, **match.groupdict())
        return text("ready") if request.path == "/" else text("not found", 404)

    def serve(self, *, graceful: bool = True, workers: int = 1) -> None:
        """Serves on the port given as the first argument until SIGTERM; several workers accept from one socket."""
        server = _Server(("127.0.0.1", int(sys.argv[1])), _handler(self))
        if workers > 1 and (children := _forked(workers)):
            # Nobody accepts here; who ends the children is whoever asks this process to end.
            signal.signal(signal.SIGTERM, lambda *_: [os.kill(child, signal.SIGTERM) for child in children])
            for child in children:
                os.waitpid(child, 0)
            return
        if graceful:
            signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        server.serve_forever(poll_interval=0.05)
        server.finish()


def _forked(workers: int) -> list[int]:
    """The process IDs of the workers; empty in each of them."""
    children: list[int] = []
    for _ in range(workers):
        child = os.fork()
        if not child:
            return []
        children.append(child)
    return children


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 256
    timeout = 0
    _idle = False

    def finish(self) -> None:
        """Takes what already waits to be accepted, stops listening, and ends when all of it is answered."""
        while not self._idle:
            self.handle_request()
        self.server_close()

    def handle_timeout(self) -> None:
        self._idle = True

    def server_bind(self) -> None:
        # Without the look-up of this machine's full name, which may be slow.
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def _handler(app: App) -> type[BaseHTTPRequestHandler]:
    class OneRequest(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def _serve(self) -> None:
            target = urllib.parse.urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = dict(urllib.parse.parse_qsl(target.query))
            try:
                answer = app.answer(Request(self.command, target.path, query, self.headers, body))
            except (KeyError, ValueError) as error:
                answer = text(f"bad request: {error!r}", 400)
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            if answer.status != 204:
                self.send_header("Content-Length", str(len(answer.body)))
            # One request a connection: an idle connection then never holds up the end.
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve

        def log_message(self, *_: object) -> None:
            pass

    return OneRequest
