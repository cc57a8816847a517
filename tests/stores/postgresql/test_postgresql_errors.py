"""What goes wrong at the server becomes one of our errors, which says what it was and never the password."""

import asyncio
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from postgresql_drills import opened, until
from servers import PostgreSQLServer

from fungible.core.errors import FungibleError, SettingError
from fungible.stores import NotMigratedError, Rate, StoreUnavailableError, open_store
from fungible.stores.postgresql import tables

SECRET = "open-sesame"


def error_of(url: str) -> FungibleError:
    """What reading at a URL raises."""

    async def run() -> FungibleError:
        async with opened(url) as store:
            with pytest.raises(FungibleError) as caught:
                await store.get("key")
            return caught.value

    error = asyncio.run(run())
    assert SECRET not in "".join(traceback.format_exception(error))
    return error


def test_a_wrong_password_is_said(server: PostgreSQLServer) -> None:
    error = error_of(server.url.replace(SECRET, f"not-{SECRET}"))
    assert isinstance(error, StoreUnavailableError)
    assert "password authentication failed" in str(error)


def test_a_missing_database_is_said(server: PostgreSQLServer) -> None:
    error = error_of(f"{server.url}-nope")
    assert isinstance(error, StoreUnavailableError)
    assert 'database "fungible-nope" does not exist' in str(error)


def test_a_server_that_is_not_there_is_said(server: PostgreSQLServer) -> None:
    server.kill()
    error = error_of(server.url)
    assert isinstance(error, StoreUnavailableError)
    assert str(error).endswith("connection refused")


def test_an_unknown_host_is_said() -> None:
    error = error_of(f"postgresql://ada:{SECRET}@nowhere.invalid/shop")
    assert isinstance(error, StoreUnavailableError)
    assert "nowhere.invalid" in str(error)
    assert "ada" not in str(error)


def test_missing_tables_are_said_with_what_makes_them(server: PostgreSQLServer) -> None:
    error = error_of(server.url)
    assert isinstance(error, NotMigratedError)
    assert (error.found, error.wanted) == (0, 1)
    assert "fungible storage migrate" in str(error)


def test_tables_made_while_the_store_is_open_are_found(server: PostgreSQLServer) -> None:
    async def run() -> None:
        async with opened(server.url) as store, opened(server.url) as other:
            for _ in range(2):
                with pytest.raises(NotMigratedError):
                    await store.ping()
            await other.migrate()
            await store.ping()
            await store.put("key", {}, ttl_s=60)

    asyncio.run(run())


def test_tables_dropped_while_the_store_is_open_are_missed(server: PostgreSQLServer) -> None:
    async def run() -> None:
        async with opened(server.url) as store, opened(f"{server.url}?migrate=auto") as maker:
            await store.migrate()
            await store.put("key", {}, ttl_s=60)
            await maker.put("key", {}, ttl_s=60)
            server.reset()
            with pytest.raises(NotMigratedError):
                await store.get("key")
            assert await maker.get("key") is None  # it has made them again
            assert await store.get("key") is None

    asyncio.run(run())


def test_a_standby_is_refused_by_ping_and_by_writes(server: PostgreSQLServer, url: str) -> None:
    server.run_sql("DROP ROLE IF EXISTS reader")
    server.run_sql(f"CREATE ROLE reader SUPERUSER LOGIN PASSWORD '{SECRET}'")
    # What a standby is, as far as a connection can tell.
    server.run_sql("ALTER ROLE reader SET default_transaction_read_only = on")

    async def run() -> None:
        async with opened(url) as owner:
            await owner.ping()
        async with opened(url.replace("//fungible:", "//reader:")) as store:
            assert await store.get("key") is None
            # Behind a proxy that has replicas answer reads, the question says nothing of where writes go.
            async with opened(f"{url.replace('//fungible:', '//reader:')}&reads=replica") as divided:
                await divided.ping()
            for call in (store.ping(), store.put("key", {}, ttl_s=60), store.take("key", Rate(limit=1, period_s=1))):
                with pytest.raises(StoreUnavailableError, match="read-only standby"):
                    await call

    asyncio.run(run())
    server.run_sql("DROP ROLE reader")


def test_tables_that_citus_has_spread_are_refused_at_the_first_use(server: PostgreSQLServer, url: str) -> None:
    async def run() -> None:
        async with opened(url) as store:
            await store.ping()
        # What Citus keeps of its tables, as far as it is asked for.
        server.run_sql("CREATE TABLE pg_dist_partition (logicalrel regclass, partmethod char)")
        server.run_sql("CREATE TABLE orders (id int); INSERT INTO pg_dist_partition VALUES ('orders', 'h')")
        async with opened(url) as store:
            await store.put("key", {}, ttl_s=60)
        server.run_sql("INSERT INTO pg_dist_partition VALUES ('fungible_records', 'n')")
        async with opened(url) as store:
            for call in (store.ping(), store.get("key")):
                with pytest.raises(SettingError, match=r"undistribute_table\('fungible_records'\)"):
                    await call

    asyncio.run(run())


def test_a_server_that_is_too_old_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with opened(url) as store:
            await store.ping()
            monkeypatch.setattr(tables, "OLDEST", 99)
            for call in (store.ping(), store.migrate()):
                with pytest.raises(SettingError, match="too old"):
                    await call

    asyncio.run(run())


RAISING = """
CREATE SEQUENCE attempts;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A sequence counts on when a transaction is rolled back.
    IF nextval('attempts') <= {times} THEN RAISE EXCEPTION 'as asked' USING ERRCODE = '{code}'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER fail BEFORE INSERT ON fungible_records FOR EACH ROW EXECUTE FUNCTION fail();
"""


AT_COMMIT = """
DROP TRIGGER fail ON fungible_records;
CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON fungible_records DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION fail();
"""


@pytest.mark.parametrize("when", ["at the statement", "at commit"])
@pytest.mark.parametrize("code", ["40001", "40P01"], ids=["serialization", "deadlock"])
def test_what_the_server_rolled_back_for_others_is_tried_again(
    server: PostgreSQLServer, url: str, code: str, when: str
) -> None:
    async def run() -> None:
        async with opened(url) as store:
            await store.ping()
            server.run_sql(RAISING.format(times=3, code=code) + (AT_COMMIT if when == "at commit" else ""))
            await store.put("key", {"n": b"1"}, ttl_s=60)
            assert server.run_sql("SELECT last_value FROM attempts") == "4"

    asyncio.run(run())


def test_what_is_rolled_back_again_and_again_ends_at_the_deadline(server: PostgreSQLServer, url: str) -> None:
    async def run() -> None:
        async with opened(url, timeout_s=1) as store:
            await store.ping()
            server.run_sql(RAISING.format(times=1_000_000, code="40001"))
            with pytest.raises(StoreUnavailableError):
                await store.put("key", {"n": b"1"}, ttl_s=60)

    asyncio.run(run())


@pytest.mark.parametrize("code", ["53100", "53200", "XX000"], ids=["disk full", "out of memory", "fault"])
def test_a_server_in_trouble_is_unavailable_and_asked_once(server: PostgreSQLServer, url: str, code: str) -> None:
    async def run() -> None:
        async with opened(url) as store:
            await store.ping()
            server.run_sql(RAISING.format(times=1, code=code))
            with pytest.raises(StoreUnavailableError, match=code):
                await store.put("key", {"n": b"1"}, ttl_s=60)
            await store.put("key", {"n": b"1"}, ttl_s=60)

    asyncio.run(run())


def test_a_server_shut_down_by_its_administrator_is_unavailable(server: PostgreSQLServer, url: str) -> None:
    async def run() -> None:
        async with opened(url) as store:
            await store.put("key", {"n": b"1"}, ttl_s=60)
            call = asyncio.create_task(store._database.rows(store._database.deadline(), "SELECT pg_sleep(60)"))
            ending = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            await until(lambda: server.run_sql(ending) == "1")
            with pytest.raises(StoreUnavailableError, match="administrator command"):
                await call
            assert await store.get("key")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("poolsize=3", "no option 'poolsize'"),
        ("pool_size=0", "1 or more"),
        ("pool_size=many", "1 or more"),
        ("statement_cache=-1", "0 or more"),
        ("durability=none", "full or relaxed"),
        ("durability=relaxed&statement_cache=0", "ALTER ROLE"),
        ("migrate=yes", "never or auto"),
        ("sslmode=perhaps", "verify-full"),
        ("sslrootcert=system&sslmode=require", "verify-full"),
        ("sslrootcert=/nowhere/root.crt", "no file sslrootcert"),
        ("sslrootcert=system&sslcert=/nowhere/own.crt", "no file sslcert"),
        ("target_session_attrs=best", "read-write"),
    ],
)
def test_an_option_that_cannot_be_is_refused_before_anything_is_opened(options: str, words: str) -> None:
    with pytest.raises(SettingError, match=words) as caught:
        open_store(f"postgresql://ada:{SECRET}@nowhere.invalid/shop?{options}")
    assert SECRET not in str(caught.value)


@pytest.fixture(scope="module")
def tls_server(postgresql_server: PostgreSQLServer) -> "Iterator[PostgreSQLServer]":
    """A server with a certificate for `localhost`, signed by itself."""
    with PostgreSQLServer() as server:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        text = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
        server.write("data/server.key", text).chmod(0o600)
        server.write("data/server.crt", certificate.public_bytes(pem).decode())
        server.run_sql("ALTER SYSTEM SET ssl = on")
        server.run_sql("SELECT pg_reload_conf()")
        while server.run_sql("SHOW ssl") != "on":
            pass
        yield server


def encrypted(server: PostgreSQLServer, host: str, options: str) -> str:
    """Whether a store's connection is encrypted, as the server sees it: `t` or `f`."""

    async def run() -> str:
        async with opened(f"{server.url.replace('127.0.0.1', host)}?migrate=auto&{options}") as store:
            await store.ping()
            # The newest: an earlier one, whose end the server has not noticed yet, may be there still.
            return server.run_sql(
                "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'fungible'"
                " ORDER BY backend_start DESC LIMIT 1"
            )

    return asyncio.run(run())


def test_tls_goes_by_sslmode_as_in_libpq(tls_server: PostgreSQLServer, server: PostgreSQLServer) -> None:
    own = f"sslrootcert={tls_server.data}/server.crt"
    assert encrypted(tls_server, "127.0.0.1", "sslmode=disable") == "f"
    assert encrypted(tls_server, "127.0.0.1", "sslmode=prefer") == "t"
    assert encrypted(tls_server, "127.0.0.1", "sslmode=require") == "t"
    assert encrypted(tls_server, "127.0.0.1", f"sslmode=verify-ca&{own}") == "t"
    assert encrypted(tls_server, "localhost", f"sslmode=verify-full&{own}") == "t"
    for server_refused, options in (
        (tls_server, f"sslmode=verify-full&{own}"),  # the certificate is for another name
        (tls_server, "sslmode=verify-full&sslrootcert=system"),  # nobody vouches for it
        (server, "sslmode=require"),  # it has no TLS
    ):
        with pytest.raises(StoreUnavailableError, match=r"certificate|TLS|SSL"):
            encrypted(server_refused, "127.0.0.1", options)
