"""The private servers themselves: they can be hurt, they come back, and they never outlive whoever started them."""

import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from servers import MariaDBServer, MemcachedServer, PostgreSQLServer, RedisServer, Server

KINDS = (RedisServer, MemcachedServer, PostgreSQLServer, MariaDBServer)
SILENT_S = 0.2
GONE_WITHIN_S = 30


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_server_can_be_killed_started_and_silenced(kind: type[Server]) -> None:
    if missing := kind.missing():
        pytest.skip(missing)
    with kind() as server:
        server.reset()
        server.kill()
        with pytest.raises(ConnectionRefusedError):
            server.ready()
        server.start()
        assert server.ready()
        server.pause()
        with socket.create_connection(("127.0.0.1", server.port), timeout=SILENT_S) as connection:
            assert server.connections() >= 1
            connection.sendall(b"\r\n")
            with pytest.raises(TimeoutError):
                connection.recv(1)
        server.resume()
        assert server.ready()
        server.reset()
        server.pause()
        server.kill()
        server.revive()
        assert server.ready()
        folder = server.folder
    assert not folder.exists()
    with pytest.raises(ConnectionRefusedError):
        server.ready()


def test_rows_outlive_a_kill_of_the_databases() -> None:
    for kind in (PostgreSQLServer, MariaDBServer):
        if missing := kind.missing():
            pytest.skip(missing)
        with kind() as server:
            server.run_sql("CREATE TABLE kept (n int)")
            server.run_sql("INSERT INTO kept VALUES (7)")
            server.kill()
            server.start()
            assert server.run_sql("SELECT n FROM kept") == "7"
            with pytest.raises(RuntimeError, match="nowhere"):
                server.run_sql("SELECT n FROM nowhere")
            server.reset()
            with pytest.raises(RuntimeError, match="kept"):
                server.run_sql("SELECT n FROM kept")


OWNER = """
import sys, time
from servers import RedisServer

server = RedisServer()
server.start()
print(server.port, server.folder, flush=True)
time.sleep(600)
"""


def test_a_server_ends_with_whoever_started_it_however_that_ends() -> None:
    if missing := RedisServer.missing():
        pytest.skip(missing)
    tests = str(Path(__file__).resolve().parents[1])
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, cwd=tests) as owner:
        assert owner.stdout is not None
        port, folder = owner.stdout.readline().split()
        with socket.create_connection(("127.0.0.1", int(port)), timeout=GONE_WITHIN_S) as connection:
            owner.send_signal(signal.SIGKILL)
            # The kernel ends the server, and so this connection.
            with suppress(ConnectionResetError):
                assert connection.recv(1) == b""
    until = time.monotonic() + GONE_WITHIN_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", int(port)), timeout=GONE_WITHIN_S).close()
        except ConnectionRefusedError:
            break
        except ConnectionResetError:
            # Its listening socket went while we were in its queue: it is ending.
            pass
        assert time.monotonic() < until
    subprocess.run(["rm", "-r", folder], check=True)
