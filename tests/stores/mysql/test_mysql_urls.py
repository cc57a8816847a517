"""What a `mysql:` URL can say; what is wrong with it is told without its password."""

import asyncio
import datetime
import ipaddress
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from mysql_drills import opened, pool_of, run, until
from servers import MariaDBServer

from fungible.core.errors import SettingError
from fungible.stores import Lack, Reach, StoreUnavailableError, Survives, open_store

PASSWORD = "open-sesame"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://u:s3cret@h/d?pool_size=0", "pool_size='0'"),
        ("mysql://u:s3cret@h/d?pool_size=many", "pool_size='many'"),
        ("mysql://u:s3cret@h/d?timeout_s=0", "timeout_s='0'"),
        ("mysql://u:s3cret@h/d?poolsize=5", "no option 'poolsize'"),
        ("mysql://u:s3cret@h/d?migrate=yes", "never or auto"),
        ("mysql://u:s3cret@h/d?ssl_mode=preferred", "disabled or required or verify_ca or verify_identity"),
        ("mysql://u:s3cret@h/d?ssl_ca=/nowhere", "can't be read"),
        ("mysql://u:s3cret@h/d?ssl_ca=/nowhere&ssl_mode=disabled", "needs another ssl_mode"),
        ("mysql://u:s3cret@h/d?reads=anywhere", "primary or replica"),
        ("mysql://u:s3cret@h", "database is missing"),
        ("mysql://u:s3cret@h1,h2/d", "name one host"),
    ],
)
def test_what_a_url_can_not_say_is_refused_without_its_password(url: str, said: str) -> None:
    with pytest.raises(SettingError, match="mysql") as raised:
        open_store(url)
    assert said in str(raised.value)
    assert "s3cret" not in "".join(traceback.format_exception(raised.value))


def test_it_states_its_guarantees() -> None:
    store = open_store("mariadb://u:s3cret@h:3307/d?pool_size=3")
    assert store.home == "mysql://h:3307/d"
    assert (store.guarantees.reach, store.guarantees.survives) == (Reach.FLEET, Survives.MACHINE)
    assert store.guarantees.lacks == frozenset()


@pytest.mark.parametrize("scheme", ["mysql", "postgresql"])
def test_reads_that_replicas_answer_are_declared(scheme: str) -> None:
    assert open_store(f"{scheme}://u@h/d?reads=replica").guarantees.lacks == {Lack.STALE_READS}
    assert open_store(f"{scheme}://u@h/d?reads=primary").guarantees.lacks == frozenset()


def test_no_error_of_a_connection_shows_the_password(server: MariaDBServer, url: str) -> None:
    wrong = {
        "Access denied": url.replace(PASSWORD, "s3cret"),
        "Can't connect": url.replace(PASSWORD, "s3cret").replace(f":{server.port}/", ":1/"),
        "Unknown database": url.replace("/fungible?", "/elsewhere?"),
        "SSL": f"{url}&ssl_mode=required",
    }

    async def drill() -> None:
        for said, other in wrong.items():
            async with opened(other) as store:
                with pytest.raises(StoreUnavailableError, match=said) as raised:
                    await store.get("k")
                shown = "".join(traceback.format_exception(raised.value))
                assert "s3cret" not in shown
                assert PASSWORD not in shown

    run(drill())


def test_a_server_that_speaks_another_language_is_unavailable() -> None:
    async def drill() -> None:
        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(range(256)) * 300_000)
            writer.close()

        elsewhere = await asyncio.start_server(greet, "127.0.0.1", 0)
        port = elsewhere.sockets[0].getsockname()[1]
        async with elsewhere, opened(f"mysql://u:p@127.0.0.1:{port}/d", timeout_s=2) as store:
            with pytest.raises(StoreUnavailableError):
                await store.get("k")

    run(drill())


class OwnServer(MariaDBServer):
    """With a certificate that it has signed itself, for 127.0.0.1, and more users."""

    def prepare(self) -> None:
        super().prepare()
        users = {"'ü'@'127.0.0.1'": "pässwörd €:/@", "'local'@'localhost'": "p"}
        self.write(
            "init.sql",
            (self.folder / "init.sql").read_text()
            + "SET NAMES utf8mb4;\n"
            + "".join(
                f"CREATE USER IF NOT EXISTS {user} IDENTIFIED BY '{password}';\nGRANT ALL ON fungible.* TO {user};\n"
                for user, password in users.items()
            ),
        )
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.write("certificate.pem", certificate.public_bytes(serialization.Encoding.PEM).decode())
        form = serialization.PrivateFormat.PKCS8
        pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        self.write("key.pem", pem.decode())

    def command(self) -> list[str]:
        return [*super().command(), f"--ssl-cert={self.certificate}", f"--ssl-key={self.folder}/key.pem"]

    @property
    def certificate(self) -> Path:
        return self.folder / "certificate.pem"


@pytest.fixture(scope="module")
def own_server() -> Iterator[OwnServer]:
    if missing := OwnServer.missing():
        pytest.skip(missing)
    with OwnServer() as server:
        yield server


def test_connections_are_encrypted_and_the_server_is_verified(own_server: OwnServer) -> None:
    url = f"{own_server.url}?migrate=auto"
    by_name = url.replace("127.0.0.1", "localhost")

    async def drill() -> None:
        for good in (f"{url}&ssl_mode=required", f"{url}&ssl_ca={own_server.certificate}"):
            async with opened(good) as store:
                await store.put("k", {"a": bytes(300_000)}, ttl_s=60)
                answer = await store._database.read(
                    lambda connection: connection.run("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
                )
                assert answer.rows[0][1]
        for bad in (f"{url}&ssl_mode=verify_identity", f"{by_name}&ssl_ca={own_server.certificate}"):
            async with opened(bad) as store:
                with pytest.raises(StoreUnavailableError, match="certificate verify failed"):
                    await store.get("k")

    run(drill())


def test_calls_that_end_in_the_middle_of_a_handshake_leave_no_connection(own_server: OwnServer) -> None:
    url = f"{own_server.url}?migrate=auto&ssl_mode=required&pool_size=4"

    async def drill() -> None:
        async with opened(url) as store:
            await store.ping()
            for turn in range(150):
                tasks = [asyncio.create_task(store.get("k")) for _ in range(4)]
                await asyncio.sleep(turn * 0.00004)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            assert pool_of(store).connections == pool_of(store).idle
            await store.ping()
            await until(lambda: own_server.connections() <= 4)
        own_server.pause()
        try:
            async with opened(url, timeout_s=0.3) as store:
                answers = await asyncio.gather(*(store.get("k") for _ in range(8)), return_exceptions=True)
                assert {type(answer) for answer in answers} == {StoreUnavailableError}
        finally:
            own_server.resume()
        await until(lambda: own_server.connections() == 0)

    run(drill())


def test_passwords_of_any_letters_let_in(own_server: OwnServer) -> None:
    async def drill() -> None:
        login = "%C3%BC:p%C3%A4ssw%C3%B6rd%20%E2%82%AC%3A%2F%40"
        async with opened(f"mysql://{login}@127.0.0.1:{own_server.port}/fungible?migrate=auto") as store:
            await store.ping()

    run(drill())


def test_a_unix_socket_can_be_used(own_server: OwnServer) -> None:
    async def drill() -> None:
        async with opened(f"mysql://local:p@/fungible?migrate=auto&unix_socket={own_server.folder}/socket") as store:
            await store.ping()

    run(drill())
