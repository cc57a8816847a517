"""What rights the store needs, as the reference lists them: they are enough, and an error names those that are missing."""

import asyncio
from collections.abc import Iterator

import pytest
from contracts.verbs import every_verb
from postgresql_drills import opened
from servers import PostgreSQLServer

from fungible.stores import ABSENT, ConflictError, GoneError, Rate, StoreUnavailableError
from fungible.stores.postgresql import PostgreSQLStore
from fungible.stores.postgresql.failures import TO_MIGRATE, TO_RUN, granted

PASSWORD = "open-sesame"


@pytest.fixture
def guest(server: PostgreSQLServer) -> Iterator[str]:
    """A URL whose user has no rights; nor has anybody whom nothing was granted."""
    server.run_sql("REVOKE ALL ON SCHEMA public FROM PUBLIC; REVOKE ALL ON DATABASE fungible FROM PUBLIC")
    server.run_sql(f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'; GRANT CONNECT ON DATABASE fungible TO guest")
    yield server.url.replace("//fungible:", "//guest:")
    server.run_sql("DROP OWNED BY guest; DROP ROLE guest; GRANT CONNECT, TEMPORARY ON DATABASE fungible TO PUBLIC")


async def use_everything(store: PostgreSQLStore) -> None:
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


EXPIRED = """
UPDATE fungible_records SET sweep_at = 0; UPDATE fungible_rates SET sweep_at = 0, tat = 0;
UPDATE fungible_topics SET sweep_at = 0, expires_at = 0; UPDATE fungible_items SET expires_at = 0;
"""


def test_what_the_reference_lists_is_enough_to_run(server: PostgreSQLServer, guest: str) -> None:
    async def run() -> None:
        async with opened(server.url) as owner:
            await owner.migrate()
        server.run_sql(granted(TO_RUN, user="guest"))
        async with opened(guest) as store:
            await use_everything(store)
            server.run_sql(EXPIRED)
            assert await store.sweep() == 4

    asyncio.run(run())


def test_what_the_reference_lists_is_enough_to_migrate(server: PostgreSQLServer, guest: str) -> None:
    async def run() -> None:
        server.run_sql(granted(TO_MIGRATE, user="guest").partition(", ")[2])
        async with opened(guest) as store:
            assert await store.migrate() == [1]
            # Whose the tables are may do everything with them.
            await use_everything(store)

    asyncio.run(run())


def said(url: str) -> set[str]:
    """The reasons that the verbs give."""

    async def run() -> set[str]:
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

    found = asyncio.run(run())
    assert PASSWORD not in "".join(found)
    return found


def test_a_missing_right_is_named_with_the_statement_that_grants_it(server: PostgreSQLServer, guest: str) -> None:
    async def migrate() -> None:
        async with opened(guest) as store:
            with pytest.raises(StoreUnavailableError, match='GRANT USAGE, CREATE ON SCHEMA public TO "guest"'):
                await store.migrate()
        async with opened(f"{guest}?migrate=auto") as store:
            with pytest.raises(StoreUnavailableError, match='GRANT USAGE, CREATE ON SCHEMA public TO "guest"'):
                await store.get("key")
        async with opened(server.url) as owner:
            await owner.migrate()

    asyncio.run(migrate())
    # Tables in a schema that is closed to the user are not there, as far as it can see.
    [closed] = said(guest)
    assert "the schema public, which is closed to the user: GRANT USAGE ON SCHEMA public" in closed
    server.run_sql("GRANT USAGE ON SCHEMA public TO guest; GRANT SELECT ON fungible_migrations TO guest")
    reasons = said(guest)
    assert len(reasons) == 3
    for reason in reasons:
        assert "permission denied for table fungible_" in reason
        assert "GRANT SELECT, INSERT, UPDATE, DELETE ON fungible_records" in reason
    # To read is not enough.
    server.run_sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest")
    assert len(said(guest)) == 3
    server.run_sql(granted(TO_RUN, user="guest"))
    assert said(guest) == set()
