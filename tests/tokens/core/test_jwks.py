"""The JWK set at a URL: public keys alone, the same on every instance, cached no longer than is safe; and its reader."""

import gzip
import json
from typing import Any

import pytest
from contracts.clock import Clock

from fungible.core.errors import SettingError
from fungible.stores.errors import StoreUnavailableError
from fungible.stores.memory import MemoryStore
from fungible.tokens import InvalidTokenError, JWKSApp, Key, RemoteKeys, SigningKeys, StoredKeys, VerifyingKeys
from tokens.core.material import ALL, PUBLISHED, issuer_with, key_for, verifier_with
from tokens.servers import HTTPServer, http

Headers = dict[bytes, bytes]


async def ask(app: Any, method: str = "GET", headers: dict[bytes, bytes] | None = None) -> tuple[int, Headers, bytes]:
    """One request."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": method, "path": "/", "headers": list((headers or {}).items())}
    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), body


async def test_the_answer_has_the_public_keys_and_how_long_they_may_be_kept() -> None:
    ring = SigningKeys([key_for(algorithm) for algorithm in ALL])
    status, headers, body = await ask(JWKSApp(ring, max_age_s=30))
    assert status == 200
    assert headers[b"content-type"] == b"application/jwk-set+json"
    assert headers[b"cache-control"] == b"public, max-age=30"
    assert headers[b"content-length"] == str(len(body)).encode()
    document = json.loads(body)
    assert {key["alg"] for key in document["keys"]} == set(PUBLISHED)
    for secret in (key_for(algorithm).private_jwk() for algorithm in ALL):
        assert (secret.get("d") or secret["k"]).encode() not in body
    text = issuer_with(SigningKeys([key_for("RS256")])).issue("ada")
    assert verifier_with(VerifyingKeys.from_jwks(document)).verify(text).subject == "ada"


async def test_another_instance_answers_304_to_the_same_etag() -> None:
    keys = [key_for("EdDSA"), key_for("ES256")]
    here, there = JWKSApp(SigningKeys(keys)), JWKSApp(SigningKeys(keys[::-1]))
    _, headers, _ = await ask(here)
    etag = headers[b"etag"]
    for asked in (etag, b"W/" + etag, b'"other", ' + etag, b"*"):
        status, headers, body = await ask(there, headers={b"if-none-match": asked})
        assert (status, headers[b"etag"], body) == (304, etag, b"")
        assert b"cache-control" in headers
    for asked in (b'"other"', etag[:-2] + b'"', b'"with, *, inside"', b'"' + etag[1:-1] + b',"', b'*, "other"', b""):
        assert (await ask(there, headers={b"if-none-match": asked}))[0] == 200


async def test_head_has_no_body_and_other_methods_are_refused() -> None:
    app = JWKSApp(SigningKeys([key_for("EdDSA")]))
    status, headers, body = await ask(app, "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers[b"content-length"]) > 100
    status, headers, _ = await ask(app, "POST")
    assert (status, headers[b"allow"]) == (405, b"GET, HEAD")


async def test_a_store_that_is_away_is_503_and_not_an_empty_set() -> None:
    class Away(MemoryStore):
        async def get(self, key: str) -> Any:
            raise StoreUnavailableError(home="memory:", reason="cut off")

    app = JWKSApp(StoredKeys(Away(), "0123456789 0123456789 0123456789 abc", create="EdDSA"))
    status, headers, body = await ask(app)
    assert (status, headers[b"retry-after"]) == (503, b"2")
    assert b"keys" in body
    assert b'"keys"' not in body


def test_an_answer_may_not_be_kept_until_a_key_that_is_not_in_it_signs() -> None:
    ring = StoredKeys(MemoryStore(), "0123456789 0123456789 0123456789 abc", settle_s=120)
    JWKSApp(ring, max_age_s=120)
    with pytest.raises(SettingError, match="settle_s"):
        JWKSApp(ring, max_age_s=121)


def jwks(*keys: Key) -> bytes:
    return json.dumps({"keys": [key.public_jwk() for key in keys]}).encode()


async def test_the_keys_of_another_issuer_are_read_and_kept() -> None:
    key = key_for("ES256")
    async with HTTPServer(lambda: http(jwks(key))) as issuer:
        keys = RemoteKeys(issuer.url)
        await keys.load()
        text = issuer_with(SigningKeys([key])).issue("ada")
        for _ in range(5):
            assert verifier_with(keys).verify(text).subject == "ada"
        await keys.load()
        assert issuer.asked == 1
        assert "secret" not in keys.home
        await keys.aclose()


async def test_a_secret_or_a_key_for_something_else_in_the_answer_is_not_used() -> None:
    secret, good = key_for("HS256"), key_for("EdDSA")
    members = [secret.private_jwk(), {**key_for("ES256").public_jwk(), "use": "enc"}, 7, {}, good.public_jwk()]
    async with HTTPServer(lambda: http(json.dumps({"keys": members}).encode())) as issuer:
        keys = RemoteKeys(issuer.url)
        await keys.load()
        assert set(keys.known(0).by_kid) == {good.kid}
        with pytest.raises(InvalidTokenError):
            verifier_with(keys).verify(issuer_with(SigningKeys([secret])).issue("ada"))
        await keys.aclose()


@pytest.mark.parametrize(
    "answer",
    [
        http(b"", "500 Oops"),
        http(b"", "302 Found", extra="location: http://127.0.0.1:1/\r\n"),
        http(b"no json"),
        http(b"[]"),
        http(b'{"keys": []}'),
        http(b'{"keys": [{"kty": "oct", "k": "AAAA"}]}'),
        http(b"[" * 500_000),
        http(b" " * (1 << 20) + b"{}"),
        http(gzip.compress(b'{"keys": []}' + b" " * (1 << 26)), extra="content-encoding: gzip\r\n"),
        b"",
        b"\x00\x01\x02\r\n\r\n",
    ],
    ids=lambda answer: repr(answer[9:40]),
)
async def test_an_answer_that_is_no_jwk_set_leaves_the_keys_unknown(answer: bytes) -> None:
    async with HTTPServer(lambda: answer) as issuer:
        keys = RemoteKeys(issuer.url)
        with pytest.raises(StoreUnavailableError) as refused:
            await keys.load()
        assert "secret=1" not in str(refused.value)
        with pytest.raises(StoreUnavailableError):
            keys.known(0)
        await keys.aclose()


@pytest.mark.parametrize("whole", [0, 20, 80], ids=["silent at first", "in its headers", "in its body"])
async def test_a_server_that_drips_is_given_up_when_the_time_for_all_of_it_is_over(whole: int) -> None:
    async with HTTPServer(lambda: http(jwks(key_for("ES256"))), whole=whole) as issuer:
        keys = RemoteKeys(issuer.url, timeout_s=0.3)
        # Each byte comes in time, and all of them would come in a few seconds.
        with pytest.raises(StoreUnavailableError, match=r"no whole answer in 0\.3 s"):
            await keys.load()
        await keys.aclose()


async def test_a_later_answer_that_is_bad_leaves_the_keys_as_they_were() -> None:
    clock = Clock()
    answers = [http(jwks(key_for("EdDSA"))), http(b"", "503 Busy")]
    async with HTTPServer(lambda: answers.pop(0)) as issuer:
        keys = RemoteKeys(issuer.url, reload_s=10, bound_s=100, monotonic=clock, now=clock)
        await keys.load()
        clock.time_s += 20
        with pytest.raises(StoreUnavailableError):
            await keys.load()
        assert set(keys.known(clock()).by_kid) == {key_for("EdDSA").kid}
        clock.time_s += 81
        with pytest.raises(StoreUnavailableError):
            keys.known(clock())
        await keys.aclose()


@pytest.mark.parametrize("url", ["http://issuer.example/jwks", "ftp://issuer.example", "file:///etc/keys", "issuer"])
def test_an_address_that_others_could_answer_for_is_refused(url: str) -> None:
    with pytest.raises(SettingError, match="insecure_http=True"):
        RemoteKeys(url)


def test_an_address_without_tls_is_taken_where_that_is_asked_for_and_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = "http://:secret@login.default.svc.cluster.local:8080/jwks?secret"
    keys = RemoteKeys(url, insecure_http=True)
    assert keys.home == "http://login.default.svc.cluster.local:8080/jwks"
    (warned,) = caplog.records
    assert warned.levelname == "WARNING"
    assert f"the keys at {keys.home} come without TLS" in warned.getMessage()
    assert "secret" not in warned.getMessage()
    RemoteKeys("https://issuer.example/jwks", insecure_http=True)
    RemoteKeys("http://[::1]:80/jwks")
    assert len(caplog.records) == 1
    for url in ("ftp://issuer.example", "http:///jwks", "issuer"):
        with pytest.raises(SettingError):
            RemoteKeys(url, insecure_http=True)
