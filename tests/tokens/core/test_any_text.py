"""Whatever is given for a token, it is judged or refused: no other exception, and nobody is let in."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fungible.core.errors import SettingError
from fungible.tokens import InvalidTokenError, Key, SigningKeys, TokenVerifier, VerifyingKeys
from fungible.tokens.framing import from_base64url, read_claims, to_base64url
from tokens.core.material import ALL, b64, claims, issuer_with, key_for, signed, verifier_with

RING = SigningKeys([key_for(algorithm) for algorithm in ALL])
SEGMENTS = st.text("ABCabc019-_=+/. \n\x00é", max_size=30) | st.binary(max_size=60).map(b64)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["alg", "kid", "typ", "crit", "jwk", "zip", "b64", "iss", "sub", "aud", "exp", "nbf", "iat", "jti"]
)
VALUES = JSON | st.sampled_from([*ALL, "none", "at+jwt", *(key_for(algorithm).kid for algorithm in ALL)])
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=6)


def judge() -> TokenVerifier:
    return verifier_with(RING, max_bytes=1 << 20)


def refused(text: str) -> None:
    """The text lets nobody in, with no other exception than ours."""
    with pytest.raises(InvalidTokenError):
        judge().verify(text)


@settings(deadline=None)
@given(st.text(max_size=200))
@example("\ud800.\udfff.x")
@example("..")
@example("v4.public.")
@example("v4.local..")
@example("v4.")
def test_any_text_is_refused(text: str) -> None:
    refused(text)


@settings(deadline=None)
@given(st.lists(SEGMENTS, min_size=1, max_size=6))
def test_any_parts_are_refused(parts: list[str]) -> None:
    refused(".".join(parts))
    refused("v4.local." + ".".join(parts))
    refused("v4.public." + ".".join(parts))


@settings(deadline=None)
@given(OBJECTS, OBJECTS, st.binary(max_size=70))
def test_any_header_and_claims_without_a_good_signature_are_refused(header: Any, said: Any, signature: bytes) -> None:
    refused(f"{b64(json.dumps(header))}.{b64(json.dumps(said))}.{b64(signature)}")


@settings(deadline=None)
@given(said=OBJECTS, key=st.sampled_from([key_for("EdDSA"), key_for("HS256")]))
def test_any_claims_under_a_good_signature_are_refused_unless_they_are_good(said: Any, key: Key) -> None:
    # None of these names the issuer that is trusted.
    refused(signed(key, json.dumps(said)))


@settings(deadline=None)
@given(changed=st.dictionaries(st.sampled_from(["exp", "nbf", "iat", "sub", "aud", "jti", "scope"]), JSON, max_size=3))
def test_any_change_of_good_claims_is_judged(changed: Any) -> None:
    text = signed(key_for("HS256"), json.dumps({**claims(), **changed}))
    try:
        token = judge().verify(text)
    except InvalidTokenError:
        return
    assert isinstance(token.subject, str)
    assert isinstance(token.expires_at, int | float)
    token.has_scope("x")


@settings(deadline=None)
@given(header=OBJECTS)
def test_any_header_under_a_good_signature_is_judged(header: Any) -> None:
    text = signed(key_for("HS256"), claims(), json.dumps(header))
    try:
        token = judge().verify(text)
    except InvalidTokenError:
        return
    assert (header["alg"], header["typ"].lower()) == ("HS256", "at+jwt")
    assert token.kid == key_for("HS256").kid


@settings(deadline=None)
@given(st.data())
def test_a_good_token_with_any_bytes_changed_is_refused(data: st.DataObject) -> None:
    algorithm = data.draw(st.sampled_from(["EdDSA", "HS256", "v4.local", "v4.public"]))
    ring = SigningKeys([key_for(algorithm)])
    text = issuer_with(ring, form="paseto" if algorithm.startswith("v4") else "jwt").issue("ada")
    at = data.draw(st.integers(0, len(text) - 1))
    until = data.draw(st.integers(at, min(len(text), at + 5)))
    other = text[:at] + data.draw(st.text(max_size=5)) + text[until:]
    if other != text:
        refused(other)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_base64url_has_one_form_for_each_bytes(data: bytes) -> None:
    text = to_base64url(data)
    assert from_base64url(text) == data


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text("ABab01-_=+/ \n", max_size=20).map(str.encode))
def test_base64url_of_another_form_is_refused(text: bytes) -> None:
    try:
        data = from_base64url(text)
    except InvalidTokenError:
        return
    assert to_base64url(data) == text


@settings(deadline=None)
@given(st.binary(max_size=80) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_claims_or_refused(data: bytes) -> None:
    try:
        found = read_claims(data)
    except InvalidTokenError:
        return
    # Whatever is taken means the same to another reader.
    assert found == json.loads(data)


@settings(deadline=None)
@given(JSON | st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "d", "k", "n", "e", "alg", "kid", "use"]), JSON))
def test_any_jwk_is_a_key_or_refused(jwk: Any) -> None:
    if not isinstance(jwk, dict):
        jwk = {"keys": jwk}
    for make in (Key.from_jwk, VerifyingKeys.from_jwks):
        with pytest.raises(SettingError):
            make(jwk)


@settings(deadline=None, max_examples=30)
@given(name=st.sampled_from(["kty", "crv", "x", "y", "d", "n", "e", "p", "q", "dp", "dq", "qi", "k"]), value=JSON)
def test_a_jwk_with_any_member_changed_is_a_key_or_refused(name: str, value: Any) -> None:
    for algorithm in ALL:
        try:
            key = Key.from_jwk({**key_for(algorithm).private_jwk(), name: value})
        except SettingError:
            continue
        assert key.algorithm == algorithm
        # Whatever has been changed: what it signs it verifies, or its halves do not belong together.
        if key.sign is not None and key.local is None:
            assert key.verify(key.sign(b"words"), b"words")


@settings(deadline=None)
@given(st.binary(max_size=100))
@example(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
@example(b"-----BEGIN PUBLIC KEY-----\n\n-----END PUBLIC KEY-----\n")
def test_any_pem_is_refused(data: bytes) -> None:
    with pytest.raises(SettingError):
        Key.from_pem(data)
