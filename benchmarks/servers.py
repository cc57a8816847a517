"""Private servers for measurements: those of the tests, set up as for use rather than for being killed.

They listen on free ports of 127.0.0.1, keep their data in folders of their own, and end with this process.
"""

import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

_TESTS = str(Path(__file__).parents[1] / "tests")
if not TYPE_CHECKING:
    # They are not part of the package: the tests' folder of this checkout has them.
    sys.path.append(_TESTS)
from servers import MariaDBServer, MemcachedServer, PostgreSQLServer, RedisServer, Server  # noqa: E402
from servers.ports import free_port  # noqa: E402
from servers.server import _dies_with_its_starter as dies_with_its_starter  # noqa: E402

__all__ = ["STORES", "Home", "dies_with_its_starter", "free_port", "missing", "running", "version"]

STORES = ("redis", "postgresql", "mysql", "sqlite", "memcached")


class _Redis(RedisServer):
    # No file: rewriting one in the middle of a measurement would be what is measured.
    options = ("--appendonly", "no")


class _Memcached(MemcachedServer):
    def command(self) -> list[str]:
        # A million sessions fit.
        return [*super().command(), "-m", "4096"]


_SERVERS: dict[str, type[Server]] = {
    "redis": _Redis,
    "postgresql": PostgreSQLServer,
    "mysql": MariaDBServer,
    "memcached": _Memcached,
}
_NAMES = {"redis": "Redis", "postgresql": "PostgreSQL", "mysql": "MariaDB", "memcached": "Memcached"}


@dataclass(frozen=True)
class Home:
    """Where sessions are kept: a running server, or a file."""

    store: str
    url: str
    server: Any = None
    """None for a file."""
    file: Path | None = None


def missing(store: str) -> str:
    """Why there can't be one here: empty if there can."""
    return _SERVERS[store].missing() or "" if store in _SERVERS else ""


def version(store: str) -> str:
    """Name and version of what keeps the sessions there: empty for none."""
    if store not in _SERVERS:
        return f"SQLite {sqlite3.sqlite_version}" if store else ""
    binary = _SERVERS[store].binary()
    printed = subprocess.run([str(binary), "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"\d+(\.\d+)+", printed)
    return f"{_NAMES[store]} {found[0] if found else printed.strip()}"


@contextmanager
def running(store: str) -> Iterator[Home]:
    """An empty home of that kind; "" is none."""
    if store in _SERVERS:
        with _SERVERS[store]() as server:
            yield Home(store, server.url, server)
        return
    folder = Path(tempfile.mkdtemp(prefix="fungible-bench-"))
    try:
        file = folder / "sessions.db"
        yield Home(store, f"sqlite:///{file}" if store else "", file=file)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
