"""With `FUNGIBLE_REQUIRE=all` in the environment, as in CI, nothing is skipped: what is missing fails, by name."""

import importlib
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from servers import (
        GaleraServers,
        MariaDBServer,
        MemcachedServer,
        MemcachedUnixServer,
        PostgreSQLServer,
        RedisClusterServers,
        RedisSentinelServers,
        RedisServer,
    )


# No test depends on how fast a machine is. CI judges a change, and not its luck: it tries the same examples each time,
# where all other runs draw new ones.
settings.register_profile("anywhere", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("anywhere"), derandomize=True)
settings.load_profile("ci" if os.environ.get("FUNGIBLE_REQUIRE") == "all" else "anywhere")


def refused(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turns a skip into a failure that gives the reason; an expected failure is no skip."""
    if os.environ.get("FUNGIBLE_REQUIRE") != "all" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"FUNGIBLE_REQUIRE=all lets nothing be skipped: {reason.removeprefix('Skipped: ')}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    refused(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refused(report)
    return report


@contextmanager
def running(name: str) -> Iterator[Any]:
    """A private server for as long as this worker runs; where it isn't installed, its tests are skipped by name."""
    kind = getattr(importlib.import_module("servers"), name)
    if missing := kind.missing():
        pytest.skip(missing)
    with kind() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> "Iterator[RedisServer]":
    with running("RedisServer") as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster() -> "Iterator[RedisClusterServers]":
    with running("RedisClusterServers") as servers:
        yield servers


@pytest.fixture(scope="session")
def redis_sentinel() -> "Iterator[RedisSentinelServers]":
    with running("RedisSentinelServers") as servers:
        yield servers


@pytest.fixture(scope="session")
def postgresql_server() -> "Iterator[PostgreSQLServer]":
    with running("PostgreSQLServer") as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> "Iterator[MariaDBServer]":
    with running("MariaDBServer") as server:
        yield server


@pytest.fixture(scope="session")
def galera_servers() -> "Iterator[GaleraServers]":
    with running("GaleraServers") as servers:
        yield servers


@pytest.fixture(scope="session")
def memcached_server() -> "Iterator[MemcachedServer]":
    with running("MemcachedServer") as server:
        yield server


@pytest.fixture(scope="session")
def memcached_unix_server() -> "Iterator[MemcachedUnixServer]":
    with running("MemcachedUnixServer") as server:
        yield server
