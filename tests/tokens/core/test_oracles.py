"""PyJWT, joserfc and pyseto as witnesses: what one side writes the other reads, and says the same."""

import json
from datetime import UTC, datetime
from typing import Any

import jwt
import pyseto
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt as jose
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from fungible.tokens import Key, SigningKeys
from fungible.tokens.jwk import write_pem
from tokens.core.material import (
    AUDIENCE,
    EC,
    ISSUER,
    JWT,
    NOW,
    PASETO,
    PUBLISHED,
    RSA,
    claims,
    form_of,
    issuer_with,
    key_for,
    unb64,
    verifier_with,
)

FURTHER = {"scope": "read write", "client_id": "shop", "roles": ["a", "ü", "\U0001f600"], "n": 1, "deep": {"x": None}}
KINDS: dict[str, Any] = {
    **{"Ed25519": OKPKey, "EdDSA": OKPKey, "HS256": OctKey},
    **dict.fromkeys(EC, ECKey),
    **dict.fromkeys(RSA, RSAKey),
}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)


@pytest.mark.parametrize("algorithm", JWT)
def test_pyjwt_reads_what_is_issued_here(algorithm: str) -> None:
    key = key_for(algorithm)
    token = issuer_with(SigningKeys([key])).issue("ada", FURTHER, token_id="7")
    read: Any = jwt.decode(
        token,
        jwt.PyJWK.from_dict(key.private_jwk() if key.is_symmetric else key.public_jwk()).key,
        algorithms=[algorithm],
        audience=AUDIENCE,
        issuer=ISSUER,
        options={"verify_exp": False, "verify_iat": False},
    )
    assert read == {**claims(jti="7"), **FURTHER}
    assert jwt.get_unverified_header(token) == {"alg": algorithm, "kid": key.kid, "typ": "at+jwt"}


@pytest.mark.parametrize("algorithm", JWT)
def test_what_pyjwt_issues_is_read_here(algorithm: str) -> None:
    key = key_for(algorithm)
    private: Any = jwt.PyJWK.from_dict(key.private_jwk()).key
    text = jwt.encode({**claims(), **FURTHER}, private, algorithm, headers={"kid": key.kid, "typ": "at+jwt"})
    assert verifier_with(SigningKeys([key])).verify(text).claims == {**claims(), **FURTHER}


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("algorithm", [*JWT, "Ed25519"])
def test_joserfc_reads_what_is_issued_here(algorithm: str) -> None:
    key = key_for(algorithm)
    token = issuer_with(SigningKeys([key])).issue("ada", FURTHER, token_id="7")
    found = jose.decode(token, KINDS[algorithm].import_key(dict(key.private_jwk())), algorithms=[algorithm])
    assert found.claims == {**claims(jti="7"), **FURTHER}


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("algorithm", [*JWT, "Ed25519"])
def test_what_joserfc_issues_is_read_here(algorithm: str) -> None:
    key = key_for(algorithm)
    header = {"alg": algorithm, "kid": key.kid, "typ": "at+jwt"}
    private = KINDS[algorithm].import_key(dict(key.private_jwk()))
    text = jose.encode(header, {**claims(), **FURTHER}, private, algorithms=[algorithm])
    assert verifier_with(SigningKeys([key])).verify(text).claims == {**claims(), **FURTHER}


@pytest.mark.parametrize("algorithm", PUBLISHED)
def test_joserfc_reads_a_key_as_it_is_written_and_gives_it_the_same_thumbprint(algorithm: str) -> None:
    key = key_for(algorithm)
    theirs = KINDS[algorithm].import_key(dict(key.public_jwk()))
    assert theirs.thumbprint() == key.kid
    assert Key.from_jwk({**theirs.as_dict(private=False), "alg": algorithm}).public_jwk() == key.public_jwk()
    private = KINDS[algorithm].import_key(dict(key.private_jwk())).as_dict(private=True)
    assert Key.from_jwk({**private, "alg": algorithm}).kid == key.kid


def pyseto_key(algorithm: str, *, public: bool = False) -> Any:
    key = key_for(algorithm)
    if algorithm == "v4.local":
        return pyseto.Key.new(version=4, purpose="local", key=bytes.fromhex(secret_of(algorithm)))
    if public:
        return pyseto.Key.new(version=4, purpose="public", key=write_pem(key.public_key()))
    return pyseto.Key.from_asymmetric_key_params(4, d=private_d(algorithm))


def secret_of(algorithm: str) -> str:
    return unb64(key_for(algorithm).private_jwk()["k"]).hex()


def private_d(algorithm: str) -> bytes:
    return unb64(key_for(algorithm).private_jwk()["d"])


@pytest.mark.parametrize("algorithm", PASETO)
def test_pyseto_reads_what_is_issued_here(algorithm: str) -> None:
    key = key_for(algorithm)
    token = issuer_with(SigningKeys([key]), form="paseto").issue("ada", FURTHER, token_id="7")
    read = pyseto.decode(pyseto_key(algorithm, public=True), token)
    times = {name: datetime.fromtimestamp(at, UTC).isoformat() for name, at in (("exp", NOW + 300), ("iat", NOW))}
    assert json.loads(bytes(read.payload)) == {**claims(jti="7"), **times, **FURTHER}
    assert json.loads(bytes(read.footer)) == {"kid": key.kid, "typ": "at+jwt"}


@pytest.mark.parametrize("algorithm", PASETO)
def test_what_pyseto_issues_is_read_here(algorithm: str) -> None:
    key = key_for(algorithm)
    said = {**claims(), "exp": "2027-01-15T09:00:00+01:00", "iat": "2027-01-15T08:00:00Z", **FURTHER}
    text = pyseto.encode(
        pyseto_key(algorithm), json.dumps(said).encode(), footer=json.dumps({"kid": key.kid, "typ": "at+jwt"}).encode()
    ).decode()
    assert verifier_with(SigningKeys([key]), leeway_s=60).verify(text).claims == said


@settings(deadline=None)
@given(further=st.dictionaries(TEXTS.filter(lambda name: name not in claims()), VALUES, max_size=5))
def test_any_claims_come_back_as_they_were(further: dict[str, Any]) -> None:
    for algorithm in ("EdDSA", "v4.local"):
        ring = SigningKeys([key_for(algorithm)])
        text = issuer_with(ring, form=form_of(algorithm), max_bytes=100_000).issue("ada", further)
        read = verifier_with(ring, max_bytes=100_000)
        if {"nbf"} & set(further):
            continue
        assert {name: read.verify(text).claims[name] for name in further} == further
