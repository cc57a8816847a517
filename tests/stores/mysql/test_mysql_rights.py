"""What rights the store needs, as the reference lists them: they are enough, and an error names those that are missing."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from contracts.verbs import every_verb
from mysql_drills import opened, run

from fungible.stores import ABSENT, ConflictError, GoneError, Rate, StoreUnavailableError
from fungible.stores.mysql import MySQLStore
from fungible.stores.mysql.failures import TO_MIGRATE, TO_RUN

if TYPE_CHECKING:
    from servers import MariaDBServer

PASSWORD = "open-sesame"
EXPIRED = """
UPDATE fungible_records SET sweep_us = 0, expires_us = 0; UPDATE fungible_rates SET sweep_us = 0, tat_us = 0;
UPDATE fungible_topics SET sweep_us = 0, expires_us = 0; UPDATE fungible_items SET expires_us = 0
"""


@pytest.fixture
def guest(server: "MariaDBServer") -> Iterator[str]:
    """A URL whose user has no rights."""
    server.run_sql(f"CREATE USER guest@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
    yield server.url.replace("//fungible:", "//guest:")
    server.run_sql("DROP USER guest@'127.0.0.1'")


def grant(server: "MariaDBServer", rights: str) -> None:
    server.run_sql(f"GRANT {rights} ON fungible.* TO guest@'127.0.0.1'")


async def use_everything(store: MySQLStore) -> None:
    """Each statement of the store, at least once."""
    read = await store.put("s", {"a": b"1"}, ttl_s=600)
    with pytest.raises(ConflictError):
        await store.put("s", {}, ttl_s=60, expect=ABSENT)
    read = await store.put("s", {"a": b"2"}, ttl_s=600, expect=read)
    await store.change(read, {"b": b"1"}, ttl_s=700)
    await store.touch("s", ttl_s=800)
    await store.take("r", Rate(limit=1, period_s=60))
    await store.append("t", b"1", ttl_s=60)
    assert (await store.since("t")).items == (b"1",)
    await store.delete("s", tombstone_s=60)
    await store.delete("other")
    await store.ping()
    assert await store.applied() == 1


def test_what_the_reference_lists_is_enough_to_run(server: "MariaDBServer", guest: str) -> None:
    async def drill() -> None:
        async with opened(server.url) as owner:
            await owner.migrate()
        grant(server, TO_RUN)
        async with opened(guest) as store:
            await use_everything(store)
            server.run_sql(EXPIRED)
            await store._database.sweep()
            assert server.run_sql("SELECT COUNT(*) FROM fungible_records") == "0"
            assert server.run_sql("SELECT COUNT(*) FROM fungible_items") == "0"

    run(drill())


def test_what_the_reference_lists_is_enough_to_migrate(server: "MariaDBServer", guest: str) -> None:
    grant(server, TO_RUN)
    grant(server, TO_MIGRATE)

    async def drill() -> None:
        async with opened(guest) as store:
            assert await store.migrate() == [1]
            await use_everything(store)

    run(drill())


def test_a_missing_right_is_named_with_the_statement_that_grants_it(server: "MariaDBServer", guest: str) -> None:
    def said(url: str) -> set[str]:
        """The reasons that the verbs give."""

        async def ask() -> set[str]:
            reasons: set[str] = set()
            async with opened(url) as store:
                for verb in every_verb(store).values():
                    try:
                        await verb()
                    except StoreUnavailableError as error:
                        reasons.add(error.reason)
                    except GoneError:
                        pass
            return reasons

        return asyncio.run(ask())

    async def migrate() -> None:
        async with opened(server.url) as owner:
            await owner.migrate()

    # Nothing at all: not even the database.
    [closed] = said(guest)
    assert "GRANT SELECT, INSERT, UPDATE, DELETE ON `fungible`.* TO 'guest'@'%'" in closed
    asyncio.run(migrate())
    grant(server, "SELECT")
    denied = said(guest)
    # The server names those that a statement lacks.
    assert any("INSERT, UPDATE command denied" in reason and "`fungible_rates`" in reason for reason in denied)
    assert any("UPDATE command denied" in reason and "`fungible_records`" in reason for reason in denied)
    assert any("DELETE command denied" in reason for reason in denied)
    assert all("GRANT SELECT, INSERT, UPDATE, DELETE ON `fungible`.*" in reason for reason in denied)
    grant(server, TO_RUN)
    assert said(guest) == set()
    server.reset()
    [missing] = said(f"{guest}?migrate=auto")
    assert "CREATE command denied" in missing
    assert "GRANT CREATE, ALTER, INDEX ON `fungible`.*" in missing
