"""A small shop that takes half a second to start, for measuring a check: half of that is CPU, half is waiting.

What an application does until it listens is mostly imports, which cost CPU and so can't be had twice as fast by
starting two at once on one core; the rest is waiting for something else, such as a database. Both halves are pretended:
START_CPU_S (default 0.25) is the CPU time this process has used when it goes on, that of the interpreter included,
START_WAIT_S (default 0.25) is then slept.

All state is in the SQLite file named by STATE, so that any instance can serve any request and nothing is to be found.
With FAULT=session the sessions are in a dict of the process instead: one fault, which a check has to find and name.

    STATE=/tmp/shop.db python slow_start.py 8000
"""

import json
import os
import re
import secrets
import signal
import sqlite3
import sys
import threading
import time
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

START_CPU_S = float(os.environ.get("START_CPU_S", "0.25"))
START_WAIT_S = float(os.environ.get("START_WAIT_S", "0.25"))
FAULTY = os.environ.get("FAULT") == "session"
_SESSION = re.compile(r"session=(\w+)")
_TABLES = """
    create table if not exists sessions (id text primary key, user text);
    create table if not exists lines (session text, item text, quantity integer, primary key (session, item));
    create table if not exists orders (id text primary key, session text, lines text);
    create table if not exists answers (key text primary key, status integer, body text);
"""
Reply = tuple[int, object]


class Shop:
    """Carts and orders by session. Each request is one transaction, so that instances can't come between each other."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._own_sessions: dict[str, str] = {}
        with closing(self._connected()) as db:
            db.executescript(_TABLES)

    def _connected(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=15, isolation_level=None)
        # No power will fail here, and what is to be measured is not this disk.
        db.execute("pragma synchronous=off")
        return db

    @contextmanager
    def transaction(self):
        with closing(self._connected()) as db:
            db.execute("begin immediate")
            yield db
            db.execute("commit")

    def answer(self, db: sqlite3.Connection, method: str, path: str, cookie: str, body: bytes) -> Reply:
        """Status and JSON value."""
        match = _SESSION.search(cookie)
        session = match[1] if match else ""
        if (method, path) == ("POST", "/login"):
            return self._sign_in(db, json.loads(body)["user"])
        if path == "/":
            return 200, "ready"
        user = self._user(db, session)
        if user is None:
            return 401, {"error": "sign in first"}
        match method, path.split("/")[1:]:
            case "GET", ["cart"]:
                return 200, {"user": user, "lines": self._lines(db, session)}
            case "PUT", ["cart", item]:
                quantity = json.loads(body)["quantity"]
                db.execute("insert or replace into lines values (?, ?, ?)", (session, item, quantity))
                return 200, {"item": item, "quantity": quantity}
            case "POST", ["orders"]:
                return self._order(db, session)
            case "GET", ["orders", order]:
                row = db.execute("select lines from orders where id = ? and session = ?", (order, session)).fetchone()
                return (200, {"id": order, "lines": json.loads(row[0])}) if row else (404, {"error": "no such order"})
        return 404, {"error": "not found"}

    def _sign_in(self, db: sqlite3.Connection, user: str) -> Reply:
        session = secrets.token_hex(16)
        if FAULTY:
            self._own_sessions[session] = user
        else:
            db.execute("insert into sessions values (?, ?)", (session, user))
        return 200, {"user": user, "session": session}

    def _user(self, db: sqlite3.Connection, session: str) -> str | None:
        if FAULTY:
            return self._own_sessions.get(session)
        row = db.execute("select user from sessions where id = ?", (session,)).fetchone()
        return row[0] if row else None

    def _lines(self, db: sqlite3.Connection, session: str) -> dict[str, int]:
        return dict(db.execute("select item, quantity from lines where session = ? order by item", (session,)))

    def _order(self, db: sqlite3.Connection, session: str) -> Reply:
        order = secrets.token_hex(8)
        lines = json.dumps(self._lines(db, session))
        db.execute("insert into orders values (?, ?, ?)", (order, session, lines))
        return 201, {"id": order}


class Handler(BaseHTTPRequestHandler):
    """One request a connection, so that an idle connection never holds up the end."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    shop: Shop

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, text = self._once(self.headers.get("Idempotency-Key"), body)
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        if self.path == "/login" and status == 200:
            session = json.loads(text)["session"]
            self.send_header("Set-Cookie", f"session={session}; Path=/; HttpOnly; SameSite=Lax")
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = _serve

    def _once(self, key: str | None, body: bytes) -> tuple[int, str]:
        """Does what is asked, or gives the answer again that a request with the same Idempotency-Key got."""
        with self.shop.transaction() as db:
            row = key and db.execute("select status, body from answers where key = ?", (key,)).fetchone()
            if row:
                return row[0], row[1]
            status, value = self.shop.answer(db, self.command, self.path, self.headers.get("Cookie", ""), body)
            text = json.dumps(value)
            if key:
                db.execute("insert into answers values (?, ?, ?)", (key, status, text))
            return status, text

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Answers what it has accepted or has waiting before it ends."""

    daemon_threads = False
    request_queue_size = 256
    timeout = 0
    _idle = False

    def server_bind(self) -> None:
        # Without the look-up of this machine's full name, which may be slow.
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.server_address[:2]

    def finish(self) -> None:
        while not self._idle:
            self.handle_request()
        self.server_close()

    def handle_timeout(self) -> None:
        self._idle = True


def take_time() -> None:
    """The pretended start."""
    while time.process_time() < START_CPU_S:
        sum(range(10_000))  # Between looks at the clock, which is the kernel's work and not this program's.
    time.sleep(START_WAIT_S)


def main() -> None:
    take_time()
    Handler.shop = Shop(os.environ["STATE"])
    server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.05)
    server.finish()


if __name__ == "__main__":
    main()
