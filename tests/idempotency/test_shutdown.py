"""Point F6 with a real server: its client goes away, it is told to end, and the work is done and remembered."""

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path

from servers.ports import free_port

from fungible.stores import open_store
from idempotency.calling import ADA, KEY, Shop, guarded, order

TESTS = Path(__file__).resolve().parents[1]


def left_and_ended(url: str) -> None:
    """A server whose client goes away in the middle of a request, and that is told to end before the work is done."""
    port = free_port()
    command = [sys.executable, "-m", "idempotency.serving", url, str(port)]
    with subprocess.Popen(command, cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            assert server.stdout.readline() == "ready\n"
            connection = connected(port, server)
            request = f"POST /orders HTTP/1.1\r\nHost: example.org\r\nContent-Length: 3\r\nIdempotency-Key: {KEY}\r\n"
            connection.sendall(f"{request}Authorization: {ADA['authorization']}\r\n\r\nmug".encode())
            assert server.stdout.readline() == "begun\n"
            connection.close()
            server.send_signal(signal.SIGTERM)
            server.stdin.write("go on\n")
            server.stdin.flush()
            assert server.stdout.readline() == "answered\n"
            assert server.stdout.readline() == "closing\n"
            server.wait()
        finally:
            server.kill()


def connected(port: int, server: subprocess.Popen[str]) -> socket.socket:
    """A connection, once the server listens: it says that it is ready a moment before."""
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            assert server.poll() is None


async def test_f6_sigterm_waits_for_work_whose_client_has_gone_and_its_retry_gets_the_answer(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'keys.db'}"
    await asyncio.to_thread(left_and_ended, url)
    shop, store = Shop(), open_store(url)
    answer = await order(guarded(shop, store))
    assert (answer.status_code, answer.text, shop.effects) == (201, "done once", 0)
    assert answer.headers["idempotent-replayed"] == "true"
    await store.aclose()
