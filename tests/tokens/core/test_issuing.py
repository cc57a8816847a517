"""What an issuer writes, and what it refuses to write."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest

from fungible.core.errors import SettingError
from fungible.stores.postures import PostureError
from fungible.tokens import Key, NoSigningKeyError, SigningKeys, TokenTooLargeError
from tokens.core.material import ALL, AUDIENCE, ISSUER, NOW, form_of, issuer_with, key_for, pair, unb64, verifier_with


def parts(text: str) -> tuple[Any, Any]:
    header, payload, _ = text.split(".")
    return json.loads(unb64(header)), json.loads(unb64(payload))


def test_an_access_token_has_what_rfc_9068_asks_for() -> None:
    issuer, _, _ = pair("EdDSA")
    header, said = parts(issuer.issue("ada", {"client_id": "shop", "scope": "read"}))
    assert header == {"alg": "EdDSA", "kid": key_for("EdDSA").kid, "typ": "at+jwt"}
    assert set(said) == {"iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope"}
    assert (said["iss"], said["sub"], said["aud"]) == (ISSUER, "ada", AUDIENCE)
    assert (said["iat"], said["exp"]) == (int(NOW), int(NOW) + 300)


def test_a_token_has_an_id_of_128_random_bits_or_the_one_given() -> None:
    issuer, judge, _ = pair("EdDSA")
    ids = {judge.verify(issuer.issue("ada")).id for _ in range(100)}
    assert len(ids) == 100
    assert {len(unb64(each)) for each in ids} == {16}
    assert judge.verify(issuer.issue("ada", token_id="mine")).id == "mine"


def test_a_time_to_live_is_the_issuers_unless_one_is_given() -> None:
    issuer, judge, _ = pair("EdDSA", ttl_s=60)
    assert judge.verify(issuer.issue("ada")).expires_at == NOW + 60
    assert judge.verify(issuer.issue("ada", ttl_s=7)).expires_at == NOW + 7


def test_several_audiences_are_a_list_in_a_jwt_and_refused_for_a_paseto() -> None:
    ring = SigningKeys([key_for("EdDSA"), key_for("v4.local")])
    text = issuer_with(ring, audience=["a", "b"]).issue("ada")
    assert parts(text)[1]["aud"] == ["a", "b"]
    assert verifier_with(ring, audience="b").verify(text).audience == ("a", "b")
    with pytest.raises(SettingError, match="one audience"):
        issuer_with(ring, audience=["a", "b"], form="paseto")


@pytest.mark.parametrize("name", ["iss", "sub", "aud", "exp", "iat", "jti"])
def test_a_claim_of_the_issuers_own_can_not_be_given(name: str) -> None:
    issuer, _, _ = pair("EdDSA")
    with pytest.raises(SettingError, match=name):
        issuer.issue("ada", {name: "x"})


@pytest.mark.parametrize("subject", ["", None, 7, b"ada"])
def test_a_subject_is_a_text(subject: Any) -> None:
    issuer, _, _ = pair("EdDSA")
    with pytest.raises(SettingError, match="subject"):
        issuer.issue(subject)


def test_claims_that_json_has_not_are_refused() -> None:
    issuer, _, _ = pair("EdDSA")
    endless: list[Any] = []
    endless.append(endless)
    for bad in (object(), endless, "\ud800", {1j}):
        with pytest.raises(SettingError, match="JSON"):
            issuer.issue("ada", {"bad": bad})


@pytest.mark.parametrize("algorithm", ALL)
def test_a_token_over_its_budget_is_refused_with_its_largest_claims(algorithm: str) -> None:
    issuer, _, _ = pair(algorithm, max_bytes=1000)
    issuer.issue("ada", {"roles": ["x" * 10]})
    with pytest.raises(TokenTooLargeError) as refused:
        issuer.issue("ada", {"photo": "x" * 2000, "roles": ["admin"] * 200, "small": 1})
    error = refused.value
    assert error.largest[:2] == (("photo", 2002), ("roles", 1601))
    assert error.max_bytes == 1000 < 4000 < error.size_bytes
    assert "'photo' with 2002 bytes, 'roles' with 1601 bytes" in str(error)
    assert "xxx" not in str(error)


def test_a_token_of_exactly_its_budget_is_issued() -> None:
    issuer, _, _ = pair("EdDSA")
    size = len(issuer.issue("ada", token_id="1"))
    fits, _, _ = pair("EdDSA", max_bytes=size)
    assert len(fits.issue("ada", token_id="1")) == size
    with pytest.raises(TokenTooLargeError):
        fits.issue("adam", token_id="1")


def test_a_paseto_says_its_times_as_dates() -> None:
    key = key_for("v4.public")
    text = issuer_with(SigningKeys([key]), form="paseto").issue("ada")
    payload = json.loads(unb64(text.split(".")[2])[:-64])
    assert payload["exp"] == datetime.fromtimestamp(NOW + 300, UTC).isoformat() == "2027-01-15T08:05:00+00:00"
    assert json.loads(unb64(text.split(".")[3])) == {"kid": key.kid, "typ": "at+jwt"}


def test_what_is_local_hides_what_it_says_and_never_looks_the_same() -> None:
    issuer, _, _ = pair("v4.local")
    texts = {issuer.issue("ada", token_id="1") for _ in range(10)}
    assert len(texts) == 10
    assert not any(b"ada" in unb64(text.split(".")[2]) for text in texts)


def test_a_ring_without_a_key_for_the_form_signs_nothing() -> None:
    with pytest.raises(NoSigningKeyError, match=r"no active key for tokens of the form 'paseto'.*v4.public"):
        issuer_with(SigningKeys([key_for("EdDSA")]), form="paseto").issue("ada")


@pytest.mark.parametrize(
    "settings",
    [
        {"issuer": ""},
        {"audience": ()},
        {"audience": ""},
        {"ttl_s": 0},
        {"ttl_s": -1},
        {"ttl_s": math.nan},
        {"form": "jwe"},
        {"typ": ""},
    ],
    ids=str,
)
def test_a_setting_that_can_not_be_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        issuer_with(SigningKeys([key_for("EdDSA")]), **settings)


def test_a_key_drawn_at_start_is_refused_for_several_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    for ring in (SigningKeys.generate(), SigningKeys([Key.generate("HS256")])):
        issuer_with(ring, instances=1)
        with pytest.raises(PostureError) as refused:
            issuer_with(ring, instances=2)
        assert "BREAKING signing-key at memory: would sign what every other instance refuses" in str(refused.value)
        monkeypatch.setenv("FUNGIBLE_INSTANCES", "3")
        with pytest.raises(PostureError):
            issuer_with(ring)
        monkeypatch.delenv("FUNGIBLE_INSTANCES")


def test_a_key_that_is_given_is_good_for_several_instances() -> None:
    ring = SigningKeys([Key.from_jwk(key_for("EdDSA").private_jwk())])
    issuer = issuer_with(ring, instances=5)
    assert [(home.kind, home.home) for home in issuer.homes()] == [("signing-key", "given:")]


def test_tokens_of_every_algorithm_are_verified_by_one_ring() -> None:
    ring = SigningKeys([key_for(algorithm) for algorithm in ALL])
    judge = verifier_with(ring)
    for algorithm in ALL:
        text = issuer_with(SigningKeys([key_for(algorithm)]), form=form_of(algorithm)).issue(algorithm)
        assert judge.verify(text).subject == algorithm
