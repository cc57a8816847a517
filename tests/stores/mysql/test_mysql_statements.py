"""What each verb sends: one statement, where nobody was in the way."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from mysql_drills import connected, opened, run

from fungible.stores import ABSENT, ConflictError, GoneError, Rate
from fungible.stores.mysql.server import Server

if TYPE_CHECKING:
    from servers import MariaDBServer


def test_each_verb_is_one_statement_and_no_packet_holds_two(server: "MariaDBServer", url: str) -> None:
    async def drill() -> None:
        async with connected(url) as log, opened(f"{url}&pool_size=1") as store:
            await log.run("SET GLOBAL log_output = 'TABLE'")
            record = await store.put("k", {"a": b"1"}, ttl_s=600)

            async def sent(verb: Callable[[], Awaitable[Any]]) -> list[str]:
                await log.run("TRUNCATE mysql.general_log")
                await log.run("SET GLOBAL general_log = 1")
                try:
                    await verb()
                finally:
                    await log.run("SET GLOBAL general_log = 0")
                mine = await log.run(
                    "SELECT CONVERT(argument USING latin1) FROM mysql.general_log WHERE command_type = 'Query' AND thread_id != CONNECTION_ID()"
                )
                # A packet is logged once, however many statements it holds.
                assert not any(";" in line for (line,) in mine.rows)
                return [line.split()[0] for (line,) in mine.rows]

            assert await sent(lambda: store.get("k")) == ["SELECT"]
            assert await sent(lambda: store.put("new", {}, ttl_s=60, expect=ABSENT)) == ["INSERT"]
            assert await sent(lambda: store.put("k", {"a": b"1"}, ttl_s=60)) == ["INSERT"]
            assert await sent(lambda: store.put("k", {"a": b"1"}, ttl_s=60, expect=record)) == ["UPDATE"]
            assert await sent(lambda: store.change(record, {"a": b"2", "b": b"3"}, ttl_s=60)) == ["UPDATE"]
            assert await sent(lambda: store.touch("k", ttl_s=60)) == ["UPDATE"]
            assert await sent(lambda: store.take("k", Rate(limit=1, period_s=1))) == ["INSERT"]
            # Two tables, one transaction, and no two statements in a packet: see Connection.transaction.
            transaction = ["START", "INSERT", "INSERT", "COMMIT"]
            assert await sent(lambda: store.append("t", b"1", ttl_s=60)) == transaction
            assert await sent(lambda: store.since("t")) == ["SELECT"]
            assert await sent(lambda: store.delete("k")) == ["DELETE"]
            assert await sent(lambda: store.delete("k", tombstone_s=60)) == ["INSERT"]

            stale = await store.put("s", {"a": b"1"}, ttl_s=60)
            await store.change(stale, {"a": b"2"})

            async def refused() -> None:
                with pytest.raises(ConflictError):
                    await store.change(stale, {"a": b"3"})

            assert await sent(refused) == ["UPDATE", "SELECT"]

    run(drill())


def test_where_the_server_is_mysql_no_statement_is_mariadbs_own(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "is_mariadb", False)

    async def drill() -> None:
        async with opened(url) as store:
            put = await store.put("k", {"a": b"1"}, ttl_s=600)
            assert await store.get("k") == put
            again = await store.put("k", {"a": b"2"}, ttl_s=900)
            assert again.incarnation == put.incarnation
            assert await store.get("k") == again
            await store.delete("k", tombstone_s=60)
            with pytest.raises(GoneError):
                await store.put("k", {"a": b"3"}, ttl_s=600)

    run(drill())
