"""Applications that can't be judged: `python_misbehaving.py PORT HOW`. They answer `/`, if anything, and go wrong at
`/ask`. They end by themselves after two minutes, so that none outlives a test that lost sight of it."""

import os
import select
import signal
import socketserver
import sys
import threading
import time

PORT, HOW = int(sys.argv[1]), sys.argv[2]
GIBIBYTE = 1024**3


def hangs(out):
    time.sleep(3600)


def closes(out):
    pass


def cuts(out):
    out.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly the beginning")


def endless(out):
    out.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        out.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")


def drips(out):
    out.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        out.write(b"1\r\nx\r\n")
        time.sleep(0.05)


def huge(out):
    out.write(f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {GIBIBYTE}\r\n\r\n".encode())
    for _ in range(1024):
        out.write(b"x" * 1024**2)


def charset(out):
    plain(out, b"caf\xe9 \xff\xfe", b"Content-Type: text/html; charset=utf-8")


def unknown_charset(out):
    plain(out, b"hello", b"Content-Type: text/html; charset=klingon")


def gzip(out):
    plain(out, b"this was never compressed", b"Content-Type: text/plain\r\nContent-Encoding: gzip")


def json(out):
    plain(out, b'{"half": ', b"Content-Type: application/json")


def content_length(out):
    out.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: plenty\r\n\r\nhello")


def headers(out):
    out.write(b"HTTP/1.1 200 OK\r\nno colon here\r\n: no name\r\nX-\xff\x00\x07: \xfe\xfe\r\n\r\nhello")


def many_headers(out):
    out.write(b"HTTP/1.1 200 OK\r\n" + b"X-Much: more\r\n" * 20_000 + b"\r\nhello")


def not_http(out):
    out.write(b"SSH-2.0-OpenSSH_9.2p1\r\n")


def plain(out, body, head):
    out.write(b"HTTP/1.1 200 OK\r\n%b\r\nContent-Length: %d\r\n\r\n%b" % (head, len(body), body))


ANSWERS = {
    "hangs": hangs,
    "closes": closes,
    "cuts": cuts,
    "endless": endless,
    "drips": drips,
    "huge": huge,
    "charset": charset,
    "unknown-charset": unknown_charset,
    "gzip": gzip,
    "json": json,
    "content-length": content_length,
    "headers": headers,
    "many-headers": many_headers,
    "not-http": not_http,
}


class OneRequest(socketserver.StreamRequestHandler):
    def handle(self):
        path = self.rfile.readline().split(b" ")[1]
        while self.rfile.readline().strip():
            pass
        try:
            if path == b"/ask" and HOW in ANSWERS:
                ANSWERS[HOW](self.wfile)
            else:
                plain(self.wfile, b"process %d" % os.getpid(), b"Content-Type: text/plain\r\nConnection: close")
        except OSError:
            pass  # whoever asked has heard enough


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def serve(port):
    """Serves until SIGTERM, then answers what has come: only what its name says is to be wrong with an application."""
    server = Server(("127.0.0.1", port), OneRequest)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown, daemon=True).start())
    server.serve_forever(poll_interval=0.02)
    while select.select([server], [], [], 0.1)[0]:
        server.handle_request()
    answering = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    end = time.monotonic() + 0.5
    for thread in answering:
        thread.join(max(0, end - time.monotonic()))


def become_a_daemon():
    """The double fork of old: in the end, nobody's child, in a session of its own."""
    for step in (os.setsid, lambda: None):
        if os.fork():
            os._exit(0)
        step()
    signal.alarm(120)


signal.alarm(120)
match HOW:
    case "exits":
        raise RuntimeError("the setting DATABASE_URL is missing")
    case "exits-later":
        time.sleep(0.3)
        sys.exit("giving up: no connection to the database")
    case "never-listens":
        time.sleep(3600)
    case "ignores-the-port":
        serve(0)
    case "daemonises":
        become_a_daemon()
        serve(PORT)
    case _:
        serve(PORT)
