"""A server for each test: running and empty; and its URL."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from servers import RedisServer


@pytest.fixture
def server(redis_server: "RedisServer") -> "Iterator[RedisServer]":
    redis_server.revive()
    redis_server.reset()
    yield redis_server
    redis_server.revive()


@pytest.fixture
def url(server: "RedisServer") -> str:
    return server.url
