"""A server for each test: running, without tables; and a store on it that has its tables."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from servers import PostgreSQLServer


@pytest.fixture
def server(postgresql_server: "PostgreSQLServer") -> "Iterator[PostgreSQLServer]":
    postgresql_server.revive()
    postgresql_server.reset()
    yield postgresql_server
    postgresql_server.revive()


@pytest.fixture
def url(server: "PostgreSQLServer") -> str:
    return f"{server.url}?migrate=auto"
