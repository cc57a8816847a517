"""A server for each test: running, without tables; and a store on it that has its tables."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from servers import PostgreSQLServer


OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


@pytest.fixture
def server(postgresql_server: "PostgreSQLServer") -> "Iterator[PostgreSQLServer]":
    postgresql_server.revive()
    postgresql_server.reset()
    # What other tests have left open would be counted among a test's own connections.
    postgresql_server.run_sql(OTHERS)
    yield postgresql_server
    postgresql_server.revive()


@pytest.fixture
def url(server: "PostgreSQLServer") -> str:
    return f"{server.url}?migrate=auto"
