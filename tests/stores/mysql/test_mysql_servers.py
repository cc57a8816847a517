"""Servers on which the store can't be kept: told at the first use, with what would do."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from mysql_drills import opened, run

from fungible.core.errors import SettingError
from fungible.stores import Rate, StoreUnavailableError
from fungible.stores.mysql import server as servers
from fungible.stores.mysql.server import Server, described, refuse_shards

if TYPE_CHECKING:
    from servers import MariaDBServer


@pytest.fixture
def replica(server: "MariaDBServer") -> Iterator[str]:
    """A server that takes no writes, but for administrators; and a user who is none."""
    server.run_sql("CREATE USER guest@'127.0.0.1' IDENTIFIED BY 'open-sesame'")
    server.run_sql("GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON fungible.* TO guest@'127.0.0.1'")
    yield server.url.replace("//fungible:", "//guest:")
    server.run_sql("SET GLOBAL read_only = OFF; DROP USER guest@'127.0.0.1'")


def test_a_read_only_server_is_refused_by_ping_and_by_writes(server: "MariaDBServer", replica: str) -> None:
    async def drill() -> None:
        async with opened(replica) as store:
            await store.migrate()
            await store.ping()
            # As in a failover and back, while its connections stand.
            server.run_sql("SET GLOBAL read_only = ON")
            with pytest.raises(StoreUnavailableError, match="read-only"):
                await store.ping()
            server.run_sql("SET GLOBAL read_only = OFF")
            await store.ping()
            server.run_sql("SET GLOBAL read_only = ON")
            for _ in range(2):
                for call in (store.put("k", {}, ttl_s=60), store.take("r", Rate(limit=1, period_s=1)), store.ping()):
                    with pytest.raises(StoreUnavailableError, match="read-only, as a replica is: name the primary"):
                        await call
            assert await store.get("k") is None
            # Behind a proxy that has replicas answer reads, the question says nothing of where writes go.
            async with opened(f"{replica}?reads=replica") as divided:
                await divided.ping()
            server.run_sql("SET GLOBAL read_only = OFF")
            await store.put("k", {}, ttl_s=60)

    run(drill())


def test_a_server_that_is_too_old_is_refused_at_the_first_use(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "OLDEST_MARIADB", (99, 0))

    async def drill() -> None:
        async with opened(url) as store:
            for call in (store.ping(), store.get("k"), store.migrate()):
                with pytest.raises(SettingError, match=r"too old.*use MariaDB 10\.6"):
                    await call

    run(drill())


@pytest.mark.parametrize(
    ("version", "served"),
    [
        ("10.6.0-MariaDB", True),
        ("10.11.19-MariaDB-0+deb12u1", True),
        ("5.5.5-10.11.6-MariaDB-log", True),
        ("5.5.5-10.3.39-MariaDB", False),
        ("10.5.29-MariaDB", False),
        ("11.8.2-MariaDB-ubu2404", True),
        ("8.0.36", True),
        ("8.4.0-commercial", True),
        ("9.1.0", True),
        ("5.7.44-log", False),
        ("8.0.11-TiDB-v7.5.0", True),
        ("5.7.25-TiDB-v6.5.0", True),
        ("", True),
    ],
)
def test_the_version_decides_and_a_server_that_names_none_is_tried(version: str, served: bool) -> None:
    try:
        Server(version=version).refuse_too_old(home="mysql://h/d")
    except SettingError:
        assert not served
    else:
        assert served


def test_a_server_is_what_its_variables_say() -> None:
    assert described([("version", "8.0.36"), ("read_only", "OFF"), ("transaction_isolation", "REPEATABLE-READ")]) == (
        Server(version="8.0.36")
    )
    # Aurora's readers; MariaDB 12.
    assert described([("read_only", "OFF"), ("innodb_read_only", "ON")]).read_only
    assert described([("read_only", "NO_LOCK")]).read_only
    cluster = described([("version", "10.11.19-MariaDB"), ("wsrep_on", "ON"), ("tx_isolation", "READ-COMMITTED")])
    assert cluster.is_galera
    assert "tx_isolation = 'READ-COMMITTED'" in cluster.session(wait_s=2)
    assert "wsrep_sync_wait" in cluster.session(wait_s=2)
    assert "wsrep_sync_wait" not in Server().session(wait_s=2)


def test_a_keyspace_of_several_shards_is_refused() -> None:
    assert described([("version", "8.0.30-Vitess")]).may_be_sharded
    rows = [("commerce/0",), ("customer/-80",), ("customer/80-",)]
    refuse_shards(rows, database="commerce", home="mysql://h/commerce")
    with pytest.raises(SettingError, match="sharded"):
        refuse_shards(rows, database="customer", home="mysql://h/customer")
    with pytest.raises(SettingError, match="sharded"):
        refuse_shards(rows, database="customer@primary", home="mysql://h/customer@primary")
