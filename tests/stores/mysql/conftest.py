"""A server for each test: running, without tables; and a store's URL on it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from servers import MariaDBServer


@pytest.fixture
def server(mariadb_server: "MariaDBServer") -> "Iterator[MariaDBServer]":
    # What other tests have left open would be counted among a test's own connections.
    mariadb_server.kill()
    mariadb_server.revive()
    mariadb_server.reset()
    yield mariadb_server
    mariadb_server.revive()


@pytest.fixture
def url(server: "MariaDBServer") -> str:
    return f"{server.url}?migrate=auto"
