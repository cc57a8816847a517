"""Who is let in: passwords, TLS, and URLs that can't be meant."""

import asyncio
import datetime
import ipaddress
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hiredis
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis_drills import clients, counting, opened, say, talking
from servers import RedisServer
from servers.ports import free_port
from servers.redis import CLUSTER_RIGHTS, RIGHTS, user

from fungible.core.errors import SettingError
from fungible.stores import Lack, StoreUnavailableError, Survives, open_store
from fungible.stores.redis import failures
from fungible.stores.redis.failures import WORDS, reason_of

SECRET = "s3cret/with:odd@signs"
QUOTED = "s3cret%2Fwith%3Aodd%40signs"


async def use(url: str) -> None:
    async with opened(url) as store:
        await store.ping()
        put = await store.put("s", {"a": b"1"}, ttl_s=60)
        assert await store.get("s") == put


def unavailable(url: str) -> str:
    """The error that using it ends in."""

    async def run() -> str:
        async with opened(url, timeout_s=2) as store:
            with pytest.raises(StoreUnavailableError) as error:
                await store.put("s", {"a": b"1"}, ttl_s=60)
            with pytest.raises(StoreUnavailableError):
                await store.get("s")
            return str(error.value)

    return asyncio.run(run())


def test_a_password_is_given_to_the_server_and_to_nobody_else(server: RedisServer) -> None:
    where = f"127.0.0.1:{server.port}"
    with talking(server) as ask:
        ask("CONFIG", "SET", "requirepass", SECRET)
        try:
            asyncio.run(use(f"redis://:{QUOTED}@{where}"))
            asyncio.run(use(f"redis://default:{QUOTED}@{where}"))
            assert "it wants a password" in unavailable(f"redis://{where}")
            told = unavailable(f"redis://:wrong{QUOTED}@{where}")
            assert "does not accept the user name and password" in told
            assert SECRET not in told
            shown = repr(vars(open_store(f"redis://:{QUOTED}@{where}")))
            assert SECRET not in shown
        finally:
            ask("CONFIG", "SET", "requirepass", "")


@pytest.fixture
def guest(server: RedisServer) -> Iterator[Callable[..., str]]:
    """Makes a user with the given rights, and gives the store's URL for it."""

    def make(*rights: str, keys: str = "~fungible:*") -> str:
        _, *words = user(*rights, keys=keys)
        assert say(server, "ACL", "SETUSER", "guest", "reset", *words) == b"OK"
        return f"redis://guest:s3cret@127.0.0.1:{server.port}"

    yield make
    say(server, "ACL", "DELUSER", "guest")


def refused_at_ping(url: str) -> str:
    """The error that the first ping ends in; and there is nothing left of what it tried."""

    async def run() -> str:
        async with opened(url) as store:
            for _ in range(2):
                with pytest.raises(StoreUnavailableError) as error:
                    await store.ping()
            return str(error.value)

    return asyncio.run(run())


def test_the_rights_that_the_reference_names_are_enough(server: RedisServer, guest: Callable[..., str]) -> None:
    # The whole contract suite runs with them, too.
    asyncio.run(use(guest(*RIGHTS)))
    asyncio.run(use(f"{guest(*RIGHTS, '+select')}/2"))
    # A database that can't be selected must not be taken for another one.
    assert "give it +select" in unavailable(f"{guest(*RIGHTS)}/2")
    assert say(server, "DBSIZE") == 1
    assert "does not accept the user name and password" in unavailable(f"redis://shop:no@127.0.0.1:{server.port}")


@pytest.mark.parametrize("right", RIGHTS)
def test_without_any_one_of_them_the_first_ping_names_it(guest: Callable[..., str], right: str) -> None:
    told = refused_at_ping(guest(*(other for other in RIGHTS if other != right)))
    assert f"is not permitted to run {right[1:]}: give it {right}" in told.lower()


def test_all_that_are_missing_are_named_at_once(guest: Callable[..., str]) -> None:
    told = refused_at_ping(guest("+eval", "+evalsha", "+hgetall", "+hget", "+hmget", "+hset", "+time", "+pttl"))
    assert "give it +hdel +pexpireat +pexpire +del" in told


@pytest.mark.parametrize("keys", ["~other:*", "~fungible:r:*", "~fungible:l:*", "~fungible:[rl]:*"])
def test_a_missing_key_pattern_is_told_as_what_it_is(guest: Callable[..., str], keys: str) -> None:
    assert "give it the key pattern ~fungible:*" in refused_at_ping(guest(*RIGHTS, keys=keys))
    told = refused_at_ping(f"{guest(*RIGHTS)}?prefix=shop:")
    assert "give it the key pattern ~shop:*" in told


@pytest.mark.parametrize("missing", ["+hset", "+time", "~fungible:*"])
def test_a_right_that_was_taken_away_later_is_told_by_what_needs_it(guest: Callable[..., str], missing: str) -> None:
    keys, rights = "~other:*" if missing[0] == "~" else "~fungible:*", [right for right in RIGHTS if right != missing]

    async def run() -> str:
        async with opened(guest(*RIGHTS)) as store:
            await store.ping()
            guest(*rights, keys=keys)
            with pytest.raises(StoreUnavailableError) as error:
                await store.put("s", {"a": b"1"}, ttl_s=60)
            return str(error.value)

    told = asyncio.run(run())
    assert "fungible:*" in told if missing[0] == "~" else missing in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        # 6.2
        ("NOPERM this user has no permissions to run the 'hset' command or its subcommand", "give it +hset"),
        # 7.0
        ("NOPERM this user has no permissions to run the 'cluster|slots' command", "give it +cluster|slots"),
        ("NOPERM this user has no permissions to access one of the keys used as arguments", "key pattern ~a:*"),
        ("ERR The user executing the script can't run this command or subcommand script: 1f", "+hset"),
        ("ERR The user executing the script can't access at least one of the keys mentioned", "key pattern ~a:*"),
        # 7.2 and newer
        ("NOPERM User shop has no permissions to run the 'hset' command", "give it +hset"),
        ("NOPERM ACL failure in script: User shop has no permissions to run the 'hset' command", "give it +hset"),
        ("NOPERM No permissions to access a key", "key pattern ~a:*"),
        ("ERR ACL failure in script: No permissions to access a key script: 1f", "key pattern ~a:*"),
    ],
)
def test_every_release_is_understood(words: str, told: str) -> None:
    reason = reason_of(hiredis.ReplyError(words), prefix="a:")
    assert told in reason
    assert "shop" not in reason


def test_the_reference_names_just_these_rights() -> None:
    text = (Path(__file__).parents[3] / "docs" / "reference" / "stores.md").read_text(encoding="utf-8")
    [line] = re.findall(r"ACL SETUSER shop .*", text)
    assert line.split()[line.split().index("-@all") + 1 :] == list(RIGHTS)
    assert f"`{' '.join(CLUSTER_RIGHTS)}`" in text
    assert " ".join(RIGHTS) == failures.RIGHTS


def test_an_active_replica_is_refused(server: RedisServer) -> None:
    async def run() -> str:
        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection("127.0.0.1", server.port)

            async def forth() -> None:
                while asked := await reader.read(65_536):
                    back.write(asked)
                back.close()

            forward = asyncio.create_task(forth())
            while answer := await there.read(65_536):
                # As KeyDB says it, with as many bytes.
                writer.write(answer.replace(b"role:master\r\nconnected", b"role:active-replica\r\nc"))
            writer.close()
            await forward

        proxy = await asyncio.start_server(relay, "127.0.0.1")
        async with opened(f"redis://127.0.0.1:{proxy.sockets[0].getsockname()[1]}") as store:
            with pytest.raises(StoreUnavailableError) as error:
                await store.ping()
        proxy.close()
        return str(error.value)

    assert "active replica" in asyncio.run(run())


@pytest.mark.parametrize(
    ("renamed", "told"),
    [
        ("xadd", "this server can't hold a store: XADD: "),
        ("eval", "this server can't hold a store: EVAL: "),
        ("pexpireat", "this server can't hold a store: PEXPIREAT: "),
    ],
)
def test_a_server_without_what_a_store_needs_is_refused_at_the_first_ping(renamed: str, told: str) -> None:
    class Poorer(RedisServer):
        """As Garnet has no streams, and a sharded OCI Cache no scripts."""

        options = ("--rename-command", renamed, "")

    if missing := Poorer.missing():
        pytest.skip(missing)
    with Poorer() as server:
        assert told in refused_at_ping(server.url)


def test_what_was_found_fit_is_not_asked_again(server: RedisServer) -> None:
    async def run() -> None:
        async with opened(server.url) as store:
            await store.ping()
            with counting(server) as counted:
                await store.ping()
                await store.put("s", {"a": b"1"}, ttl_s=60)
                await store.get("s")
            assert counted["EVALSHA"] + counted["EVAL"] <= 3
            assert counted["XADD"] == 0
            assert say(server, "KEYS", "*") == [b"fungible:r:s"]

    asyncio.run(run())


def test_a_unix_socket_is_a_way_in_too_with_a_login_and_a_database(server: RedisServer) -> None:
    place = f"{server.folder}/redis.sock"
    asyncio.run(use(f"redis+unix://{place}"))
    asyncio.run(use(f"unix://{place}?db=2"))
    asyncio.run(use(server.unix_url))
    assert open_store(server.unix_url).home == f"redis+unix://{place}"
    assert "does not accept the user name" in unavailable(f"redis+unix://shop:wrong@{place}")
    assert f"there is no socket {place}x" in unavailable(f"redis+unix://{place}x")


@pytest.mark.parametrize(
    ("alias", "home"),
    [
        ("valkey://a:1/2", "redis://a:1/2"),
        ("valkeys://a", "rediss://a"),
        ("valkey+cluster://a,b", "redis+cluster://a,b"),
        ("valkey+sentinel://a/m", "redis+sentinel://a/m"),
        ("valkey+unix:///run/a.sock", "redis+unix:///run/a.sock"),
        ("unix:///run/a.sock?db=1", "redis+unix:///run/a.sock"),
    ],
)
def test_valkey_is_spoken_to_as_redis_is(alias: str, home: str) -> None:
    assert open_store(alias).home == home


def test_the_connection_has_a_name_for_the_operator(server: RedisServer) -> None:
    async def run() -> None:
        async with opened(server.url) as store:
            await store.ping()
            assert " name=fungible " in clients(server)[0]

    asyncio.run(run())


def usage(*, authority: bool) -> x509.KeyUsage:
    """What a key may be used for: an authority's to sign certificates, others' to sign handshakes."""
    never = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
        **dict.fromkeys(never, False),
    )


class Authority:
    """Makes certificates, for tests and for a day."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(name, self.key, authority=True)
        self.file = self._keep(name, self.certificate, self.key)[0]

    def make(self, name: str) -> tuple[Path, Path]:
        """The files of a certificate for 127.0.0.1 and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        return self._keep(name, self._sign(name, key, authority=False), key)

    def _sign(self, name: str, key: ec.EllipticCurvePrivateKey, *, authority: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            # Python 3.13 and newer insists on these (RFC 5280 section 4.2.1).
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False)
            .add_extension(usage(authority=authority), critical=True)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
            .sign(self.key, hashes.SHA256())
        )

    def _keep(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> tuple[Path, Path]:
        files = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        plain = serialization.NoEncryption()
        files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
        for file in files:
            file.chmod(0o644)
        return files


class TLSServer(RedisServer):
    """Speaks TLS on a second port, to those who show a certificate."""

    @classmethod
    def missing(cls) -> str | None:
        if reason := super().missing():
            return reason
        # Without TLS inside, it does not know the option, and ends at once; with it, it misses the certificate.
        command = [str(cls.binary()), "--port", "0", "--tls-port", "1", "--dir", "/"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=30)
        return "redis-server is built without TLS" if "tls-port" in run.stdout + run.stderr else None

    def prepare(self) -> None:
        self.folder.chmod(0o755)
        self.authority = Authority(self.folder, "authority")
        self.certificate, self.key = self.authority.make("server")
        self.tls_port = free_port()

    def command(self) -> list[str]:
        files = ("--tls-cert-file", self.certificate, "--tls-key-file", self.key)
        rest = ("--tls-ca-cert-file", self.authority.file, "--tls-auth-clients", "yes")
        return [*super().command(), "--tls-port", str(self.tls_port), *map(str, (*files, *rest))]


@pytest.fixture(scope="module")
def tls_server() -> Iterator[TLSServer]:
    if missing := TLSServer.missing():
        pytest.skip(missing)
    with TLSServer() as server:
        yield server


@pytest.fixture
def options(tls_server: TLSServer) -> dict[str, Any]:
    certificate, key = tls_server.authority.make("client")
    return {"ca": tls_server.authority.file, "cert": certificate, "key": key}


def tls_url(server: TLSServer, **options: Any) -> str:
    text = "&".join(f"{name}={value}" for name, value in options.items())
    return f"rediss://127.0.0.1:{server.tls_port}/0?{text}"


def test_everything_goes_over_tls(tls_server: TLSServer, options: dict[str, Any]) -> None:
    async def run() -> None:
        async with opened(tls_url(tls_server, **options)) as store:
            value = bytes(range(256)) * 2000
            await asyncio.gather(*(store.put(f"s{number}", {"v": value}, ttl_s=60) for number in range(20)))
            for record in await asyncio.gather(*(store.get(f"s{number}") for number in range(20))):
                assert record is not None
                assert record.fields["v"] == value
            assert len(clients(tls_server)) == 1

    asyncio.run(run())


def test_a_server_whose_certificate_nobody_vouches_for_is_not_trusted(
    tls_server: TLSServer, options: dict[str, Any], tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger").file
    assert "is not trusted" in unavailable(tls_url(tls_server, **(options | {"ca": stranger})))


def test_a_server_with_a_certificate_for_another_name_is_not_trusted(
    tls_server: TLSServer, options: dict[str, Any]
) -> None:
    url = tls_url(tls_server, **options).replace("127.0.0.1", "localhost")
    assert "is not trusted" in unavailable(url)


def test_a_server_with_any_certificate_is_trusted_on_request_and_the_log_says_so(
    tls_server: TLSServer, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    shown = {name: options[name] for name in ("cert", "key")}
    url = tls_url(tls_server, **shown, tls="insecure")
    asyncio.run(use(url))
    asyncio.run(use(url.replace("127.0.0.1", "localhost")))
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "tls=insecure: any server that answers there is trusted" in caplog.text
    caplog.clear()
    assert "is not trusted" in unavailable(tls_url(tls_server, **shown))
    assert not caplog.records


def test_without_a_certificate_of_ours_such_a_server_hangs_up(tls_server: TLSServer, options: dict[str, Any]) -> None:
    assert "unavailable" in unavailable(tls_url(tls_server, ca=options["ca"]))


def test_tls_with_a_server_that_speaks_none_is_an_error(tls_server: TLSServer, options: dict[str, Any]) -> None:
    url = tls_url(tls_server, **options).replace(str(tls_server.tls_port), str(tls_server.port))
    assert "unavailable" in unavailable(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis+unix://", "the path of a Unix socket was expected"),
        ("redis+unix://run/redis.sock", "the path of a Unix socket was expected"),
        ("redis+unix:///run/redis.sock?tls=yes", "there is no option 'tls'"),
        ("redis:///run/redis.sock", "a Unix socket is named by redis\\+unix:"),
        ("rediss://a?tls=no", "can be yes or insecure"),
        ("rediss://a?tls=insecure&ca=/ca.pem", "trusts anybody"),
        ("redis://a?tls=insecure", "there is no option 'tls'"),
        ("redis://a,b", "takes one host"),
        ("redis://a/one", "the database 'one' must be a number"),
        ("redis://a/-1", "the database '-1' must be a number"),
        ("redis://a?prefx=b", "there is no option 'prefx'"),
        ("redis://a?ca=/ca.pem", "there is no option 'ca'"),
        ("redis://a?prefix=a%0Ab", "the prefix must be at most 100 bytes"),
        ("redis://a?timeout_s=0", "must be a number of seconds above 0"),
        ("rediss://a?ca=/no/such/file.pem", "can't be read"),
        ("rediss://a?key=/k.pem", "key has a meaning with cert alone"),
        ("redis+sentinel://a:1,b:2", "the master's name was expected"),
        ("redis+sentinel://a/main?ca=/ca.pem", "add tls=yes"),
        ("redis+sentinel://a/main?tls=maybe", "can be yes or insecure or no"),
        ("redis+sentinel://a/main?db=x", "the database 'x' must be a number"),
        ("redis+cluster://a/3", "a cluster has the database 0"),
        ("redis+cluster://a?db=0", "there is no option 'db'"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_at_once(url: str, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        open_store(url)


@pytest.mark.parametrize("code", sorted(WORDS))
@pytest.mark.parametrize(
    "form",
    [
        "{} and some more",
        "{} and more. script: 8f1e, on @user_script:12.",
        "ERR Error running script (call to f_8f1e): @user_script:12: @user_script: 12: -{} and more",
    ],
)
def test_an_error_is_understood_wherever_its_code_stands(code: str, form: str) -> None:
    assert reason_of(hiredis.ReplyError(form.format(code))) == WORDS[code]


def test_the_arguments_of_a_command_are_in_no_error() -> None:
    told = reason_of(hiredis.ReplyError("ERR unknown command 'HGETALL', with args beginning with: 'fungible:r:id' "))
    assert told == "ERR unknown command 'HGETALL'"


@pytest.mark.parametrize("scheme", ["redis://a", "redis+sentinel://a/m", "redis+cluster://a"])
def test_it_promises_to_keep_over_a_restart_what_the_url_says_and_no_more(scheme: str) -> None:
    said, unsaid = open_store(f"{scheme}?persistence=aof").guarantees, open_store(scheme).guarantees
    assert (said.survives, said.lacks) == (Survives.MACHINE, {Lack.RECENT_WRITES})
    assert (unsaid.survives, unsaid.lacks) == (Survives.PROCESS, {Lack.RESTART, Lack.RECENT_WRITES})
    with pytest.raises(SettingError, match="persistence"):
        open_store(f"{scheme}?persistence=rdb")
