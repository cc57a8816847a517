"""The vectors of the RFCs, of PASETO and of Wycheproof. Each file in `vectors/` says where it is from."""

import functools
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from fungible.core.errors import SettingError
from fungible.tokens import InvalidTokenError, Key, SigningKeys, VerifyingKeys, algorithms, paseto
from fungible.tokens.jwk import thumbprint
from tokens.core.material import key_for, unb64, vectors, verifier_with

RFC = vectors("rfc")
PASETO = vectors("paseto_v4")
JWS = vectors("wycheproof_jws")
DETERMINISTIC = {"EdDSA", "RS256", "HS256"}


def named(cases: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case["name"] for case in cases])


@named(RFC["signatures"])
def test_the_signatures_of_the_rfcs_are_verified_and_made_anew(case: dict[str, Any]) -> None:
    key = Key.from_jwk({**case["key"], "alg": case["alg"]})
    words, _, signature = case["jws"].rpartition(".")
    assert key.verify(unb64(signature), words.encode())
    assert not key.verify(unb64(signature), words.encode() + b"x")
    assert key.sign is not None
    if case["alg"] in DETERMINISTIC:
        assert key.sign(words.encode()) == unb64(signature)
    assert key.verify(key.sign(words.encode()), words.encode())


@named([case for case in RFC["signatures"] if case["name"] in ("RFC 7515 A.1", "RFC 7515 A.2", "RFC 7515 A.3")])
def test_a_token_of_the_rfc_has_a_good_signature_and_no_audience(case: dict[str, Any]) -> None:
    # RFC 7519 section 3.1: issued by "joe", with an exp in 2011, and for nobody.
    key = Key.from_jwk({**case["key"], "alg": case["alg"]})
    judge = verifier_with(SigningKeys([key]), issuer="joe", typ=None, now=lambda: 1300819379.0)
    with pytest.raises(InvalidTokenError, match="sub") as refused:
        judge.verify(case["jws"])
    assert refused.value.reason == "claims"


@named(RFC["thumbprints"])
def test_a_thumbprint_is_that_of_the_rfc(case: dict[str, Any]) -> None:
    key = Key.from_jwk({name: value for name, value in case["key"].items() if name != "kid"})
    assert key.kid == case["thumbprint"]


def test_the_jwk_set_of_rfc_7517_gives_the_key_that_is_for_signatures() -> None:
    ring = VerifyingKeys.from_jwks(RFC["jwks"])  # the other one has use=enc
    assert [(key.kid, key.algorithm) for key in ring.known(0).keys] == [("2011-04-29", "RS256")]


def test_the_private_keys_of_rfc_7517_are_read_and_written_the_same() -> None:
    jwk = RFC["private_jwks"]["keys"][1]
    assert Key.from_jwk(jwk).private_jwk() == {**jwk, "use": "sig"}
    with pytest.raises(SettingError, match="another use"):
        Key.from_jwk(RFC["private_jwks"]["keys"][0])


def payload_of(case: dict[str, Any]) -> bytes:
    given = case["payload"]
    return given.encode() if isinstance(given, str) else json.dumps(given, separators=(",", ":")).encode()


def parts(token: bytes, header: bytes) -> tuple[bytes, bytes]:
    if not token.startswith(header):
        raise InvalidTokenError("malformed", "of another version or purpose")
    body, footer = paseto.split(token, header)
    return unb64(body.decode()), unb64(footer.decode())


def ed25519_of(case: dict[str, Any]) -> Key:
    secret, public = bytes.fromhex(case["secret-key"])[:32], bytes.fromhex(case["public-key"])
    key = algorithms.ed25519.Ed25519PrivateKey.from_private_bytes(secret)
    assert key.public_key().public_bytes_raw() == public
    return Key(key, "v4.public")


@named([case for case in PASETO["tests"] if not case["expect-fail"]])
def test_a_paseto_vector_is_written_and_read(case: dict[str, Any]) -> None:
    payload, token = payload_of(case), case["token"].encode()
    beside = {"footer": case["footer"].encode(), "implicit": case["implicit-assertion"].encode()}
    if "nonce" in case:
        local = paseto.LocalKey(bytes.fromhex(case["key"]), draw=lambda _: bytes.fromhex(case["nonce"]))
        assert local.encrypt(payload, **beside) == token
        body, footer = parts(token, paseto.LOCAL)
        assert local.decrypt(body, **beside) == payload
    else:
        key = ed25519_of(case)
        assert key.sign is not None
        assert paseto.sign_public(key.sign, payload, **beside) == token
        body, footer = parts(token, paseto.PUBLIC)
        assert paseto.verify_public(key.verify, body, **beside) == payload
        for other in ({**beside, "footer": b"x"}, {**beside, "implicit": b"x"}):
            with pytest.raises(InvalidTokenError):
                paseto.verify_public(key.verify, body, **other)
    assert footer == beside["footer"]


@named([case for case in PASETO["tests"] if case["expect-fail"]])
def test_a_paseto_vector_that_must_fail_is_refused(case: dict[str, Any]) -> None:
    beside = {"footer": case["footer"].encode(), "implicit": case["implicit-assertion"].encode()}
    # Those with a nonce are for the purpose `local`, whatever they begin with.
    if "nonce" in case:
        header, read = paseto.LOCAL, paseto.LocalKey(bytes.fromhex(case["key"])).decrypt
    else:
        header, read = paseto.PUBLIC, functools.partial(paseto.verify_public, ed25519_of(case).verify)
    with pytest.raises(InvalidTokenError):
        read(parts(case["token"].encode(), header)[0], **beside)


@pytest.mark.parametrize("library", ["libsodium", "openssl"])
def test_wycheproof_ed25519(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if library == "openssl":
        monkeypatch.setattr(algorithms, "crypto_sign_open", None)
    else:
        assert algorithms.crypto_sign_open is not None, "PyNaCl is one of the tests' requirements"
    judge("wycheproof_ed25519", "EdDSA")


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_wycheproof_signatures(algorithm: str) -> None:
    judge(f"wycheproof_{algorithm.lower()}", algorithm)


def judge(name: str, algorithm: str) -> None:
    """Every signature of the file is judged as it says; the number of cases is known."""
    found = vectors(name)
    bound = algorithms.algorithm_named(algorithm)
    keys = [algorithms.verifier(bound, loaded(pem)) for pem in found["keys"]]
    wrong = [
        (number, comment)
        for number, comment, key, message, signature, valid in found["tests"]
        if keys[key](bytes.fromhex(signature), bytes.fromhex(message)) is not valid
    ]
    assert wrong == []
    assert len(found["tests"]) > 150
    assert {case[5] for case in found["tests"]} == {True, False}


def loaded(pem: str) -> Any:
    return serialization.load_pem_public_key(pem.encode())


def test_wycheproof_tokens() -> None:
    for group in JWS["groups"]:
        key = Key.from_jwk(group["key"])
        good = verifier_with(SigningKeys([key]) if key.is_private else VerifyingKeys([key]), typ=None)
        for comment, jws, valid in group["tests"]:
            with pytest.raises(InvalidTokenError) as refused:
                good.verify(jws)
            # Its words are "foo", which is no claim of anything: whoever gets so far has a good signature.
            assert (refused.value.reason == "claims") is valid, comment


def test_a_secret_has_a_name_that_is_no_digest_of_it_alone() -> None:
    secret = bytes(range(32))
    assert thumbprint(secret) == thumbprint(bytes(range(32)))
    assert thumbprint(secret) != thumbprint(bytes(range(1, 33)))


@pytest.mark.parametrize(("algorithm", "size"), [("ES256", 64), ("ES384", 96), ("ES512", 132)])
def test_a_signature_of_ecdsa_has_one_length_however_short_its_numbers_are(algorithm: str, size: int) -> None:
    # In one of 128 signatures a number has a byte less; in one of 32,768 two. Those of P-521 begin with a bit.
    key = Key.generate(algorithm)
    assert key.sign is not None
    for number in range(1500 if algorithm == "ES256" else 300):
        message = number.to_bytes(4, "big")
        signature = key.sign(message)
        assert len(signature) == size
        assert key.verify(signature, message)


@pytest.mark.parametrize(("algorithm", "size"), [("ES256", 32), ("ES384", 48), ("ES512", 66)])
def test_of_an_ecdsa_signature_no_other_form_is_taken(algorithm: str, size: int) -> None:
    key = key_for(algorithm)
    assert key.sign is not None
    signature = key.sign(b"x")
    r, s = signature[:size], signature[size:]
    order = ORDERS[algorithm]
    der = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
    zero, full = bytes(size), b"\xff" * size
    others = [b"", der, b"\0" + r + b"\0" + s, r + s + b"\0", (r + s)[1:], s + r]
    others += [zero + s, r + zero, zero + zero, full + s, r + full, order + s, r + order]
    assert [other for other in others if key.verify(other, b"x")] == []
    assert key.verify(signature, b"x")


ORDERS = {
    # SEC 2 version 2.0, sections 2.4.2, 2.5.1 and 2.6.1: the number of points, by which nothing can be divided.
    "ES256": bytes.fromhex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
    "ES384": bytes.fromhex("ff" * 24 + "c7634d81f4372ddf581a0db248b0a77aecec196accc52973"),
    "ES512": bytes.fromhex("01" + "ff" * 32 + "fa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409"),
}


@pytest.mark.parametrize("algorithm", ["PS256", "PS384", "PS512"])
def test_a_salt_of_another_length_than_the_digests_is_refused(algorithm: str) -> None:
    # RFC 7518 section 3.5.
    key, bits = key_for(algorithm), int(algorithm[2:])
    digest = algorithms.DIGESTS[bits]
    private: Any = key._material
    for salt_bytes, good in ((bits // 8, True), (0, False), (20, False), (bits // 8 + 1, False)):
        scheme = padding.PSS(padding.MGF1(digest), salt_bytes)
        assert key.verify(private.sign(b"x", scheme, digest), b"x") is good
    for other in (each for each in algorithms.DIGESTS.values() if each is not digest):
        scheme = padding.PSS(padding.MGF1(other), bits // 8)
        assert not key.verify(private.sign(b"x", scheme, digest), b"x")
