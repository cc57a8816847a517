"""A server for each test: running, and empty."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from servers import MemcachedServer


@pytest.fixture
def server(memcached_server: "MemcachedServer") -> "Iterator[MemcachedServer]":
    # What other tests have left open would be counted among a test's own connections.
    memcached_server.kill()
    memcached_server.revive()
    memcached_server.reset()
    yield memcached_server
    memcached_server.revive()
