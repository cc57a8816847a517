"""Ports of instances that start: nobody else's answers are taken for theirs."""

import contextlib
import http.server
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fungible.check.http.client import Request, send
from fungible.check.instances import ports, starter
from fungible.check.instances.starter import Instance, Starter
from fungible.check.isolation.disks import Isolation, Launchers, Layout, probe
from fungible.check.model import Target
from fungible.check.stopping import Endings

SAYS = """
import http.server, sys, time
class Says(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"the instance")
time.sleep(0.4)  # what a real application does until it listens: imports
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Says).serve_forever()
"""

CHOOSES_FROM_ONE = """
import sys
from fungible.check.errors import CheckError
from fungible.check.instances import ports
ports._PORTS = range(int(sys.argv[1]), int(sys.argv[1]) + 1)
try:
    with ports.reserved_port() as port:
        print(port)
except CheckError as error:
    print(error)
"""


def chosen_elsewhere(port: int) -> str:
    """What another process gets whose only choice is this port."""
    command = [sys.executable, "-c", CHOOSES_FROM_ONE, str(port)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="claims are names in Linux's abstract namespace")
def test_a_port_is_not_given_to_two_checkers_while_an_instance_starts() -> None:
    with ports.reserved_port() as port:
        assert "found no free port" in chosen_elsewhere(port)
    assert chosen_elsewhere(port) == str(port)


def test_no_port_is_given_twice_nor_where_somebody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        monkeypatch.setattr(ports, "_PORTS", range(server.server_port - 5, server.server_port + 5))
        given: list[int] = []
        with contextlib.suppress(ports.CheckError):
            while True:
                with ports.reserved_port() as port:
                    given.append(port)
    assert given
    assert len(set(given)) == len(given)
    assert server.server_port not in given


class _SomebodyElse(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"somebody else")

    def log_message(self, format: str, *args: object) -> None:
        """Keeps quiet."""


@pytest.fixture
def foreign() -> Iterator[int]:
    """A port where another program answers whatever is asked."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _SomebodyElse) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Instance]]:
    """Starts an instance, and ends it."""
    directory = tmp_path / "app"
    directory.mkdir()
    (directory / "says.py").write_text(SAYS)
    base = tmp_path / "base"
    base.mkdir()
    with contextlib.ExitStack() as ends:

        def start(command: str) -> Instance:
            layout = Layout(directory)
            launchers = ends.enter_context(contextlib.closing(Launchers()))
            isolation: Isolation = probe(layout, launchers, Endings())
            known = Starter(Target(start=command), layout, isolation, launchers, base, "app.test")
            disk = known.disk()
            ends.callback(disk.close)
            return known.start(disk, 1)

        yield start


def takes_first(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first instance is to listen at this port, later ones where nobody does."""
    chosen = iter([contextlib.nullcontext(port)])
    monkeypatch.setattr(starter, "reserved_port", lambda: next(chosen, None) or ports.reserved_port())


def said(instance: Instance) -> bytes:
    return send(instance.address, Request("GET", "/", (("Host", "app.test"),))).body


def test_whoever_takes_the_port_during_the_start_is_not_taken_for_the_instance(
    foreign: int, started: Callable[..., Instance], monkeypatch: pytest.MonkeyPatch
) -> None:
    takes_first(foreign, monkeypatch)
    instance = started(f"{sys.executable} -S says.py {{port}}")
    assert instance.address.port != foreign
    assert said(instance) == b"the instance"


def test_a_daemon_that_listens_for_the_start_command_is_the_instance(
    foreign: int, started: Callable[..., Instance], monkeypatch: pytest.MonkeyPatch
) -> None:
    takes_first(foreign, monkeypatch)
    assert said(started("exec sleep 600")) == b"somebody else"
