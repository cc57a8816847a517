"""What a verifier refuses, by RFC 7515, 7519, 8725 and 9068; each with its reason."""

import hashlib
import hmac
import json
from typing import Any

import pytest

from fungible.core.errors import SettingError
from fungible.tokens import InvalidTokenError, Key, SigningKeys, TokenVerifier, VerifyingKeys
from fungible.tokens.framing import MAX_HEAD_CHARACTERS
from fungible.tokens.jwk import write_pem
from tokens.core.material import (
    ALL,
    AUDIENCE,
    EC,
    ISSUER,
    JWT,
    NOW,
    PUBLISHED,
    RSA,
    b64,
    claims,
    form_of,
    issuer_with,
    key_for,
    pair,
    signed,
    unb64,
    verifier_with,
)


def refusal(judge: TokenVerifier, text: str) -> str:
    """Why a text is refused; whatever it is, and every time."""
    with pytest.raises(InvalidTokenError) as refused:
        judge.verify(text)
    with pytest.raises(InvalidTokenError) as again:
        judge.verify(text)
    assert refused.value.reason == again.value.reason
    assert len(text) < 8 or text not in str(refused.value)
    return refused.value.reason


@pytest.fixture
def key() -> Key:
    return key_for("EdDSA")


@pytest.fixture
def judge(key: Key) -> TokenVerifier:
    return verifier_with(VerifyingKeys([key.public()]))


@pytest.mark.parametrize("algorithm", ALL)
def test_what_was_issued_is_verified_and_says_what_was_said(algorithm: str) -> None:
    issuer, judge, _ = pair(algorithm)
    text = issuer.issue("ada", {"scope": "read write"}, token_id="7")
    for _ in range(2):  # the second time its header is known
        token = judge.verify(text)
        assert (token.subject, token.issuer, token.audience, token.id) == ("ada", ISSUER, (AUDIENCE,), "7")
        assert (token.issued_at, token.expires_at, token.kid) == (NOW, NOW + 300, key_for(algorithm).kid)
        assert token.claims["scope"] == "read write"


def test_scopes_are_whole_words(key: Key, judge: TokenVerifier) -> None:
    token = judge.verify(signed(key, claims(scope="read write:all")))
    assert token.has_scope("read")
    assert token.has_scope("write:all", "read")
    assert not token.has_scope("write")
    assert not judge.verify(signed(key, claims())).has_scope("read")
    assert not judge.verify(signed(key, claims(scope=["read"]))).has_scope("read")


@pytest.mark.parametrize("algorithm", ALL)
def test_any_character_that_is_changed_lets_nobody_in(algorithm: str) -> None:
    issuer, judge, _ = pair(algorithm)
    text = issuer.issue("ada")
    judge.verify(text)
    for place in range(len(text)):
        other = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        refusal(judge, other)
        refusal(judge, text[:place] + text[place + 1 :])


@pytest.mark.parametrize("algorithm", ALL)
def test_a_token_has_one_form_only(algorithm: str) -> None:
    issuer, judge, _ = pair(algorithm)
    text = issuer.issue("ada")
    for other in (text + "=", text + "\n", " " + text, text + ".", text.replace(".", "..", 1), text + "A"):
        refusal(judge, other)
    # The last character of a signature may have bits that are no part of it: only one of these texts is the token.
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    accepted = 0
    for letter in letters:
        try:
            judge.verify(text[:-1] + letter)
        except InvalidTokenError:
            continue
        accepted += 1
    assert accepted == 1


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None, 1, ["EdDSA"], {"a": 1}, "HS256", "EdDSA "])
def test_an_algorithm_that_is_not_the_keys_is_refused(alg: Any, key: Key, judge: TokenVerifier) -> None:
    header = {"alg": alg, "kid": key.kid, "typ": "at+jwt"}
    assert refusal(judge, signed(key, claims(), header)) == "algorithm"
    assert refusal(judge, f"{b64(header)}.{b64(claims())}.") in {"algorithm", "signature"}


def test_a_public_key_is_never_taken_for_the_secret_of_an_hmac() -> None:
    # RFC 8725 section 2.1: signed by HMAC, with the public key as the secret.
    for algorithm in PUBLISHED:
        key = key_for(algorithm)
        header = {"alg": "HS256", "kid": key.kid, "typ": "at+jwt"}
        words = f"{b64(header)}.{b64(claims())}"
        for secret in (write_pem(key.public_key()).encode(), json.dumps(key.public_jwk()).encode()):
            text = f"{words}.{b64(hmac.digest(secret, words.encode(), hashlib.sha256))}"
            ring = VerifyingKeys([key.public(), key_for("HS256")])
            assert refusal(verifier_with(ring), text) == "algorithm"


@pytest.mark.parametrize("algorithm", [*RSA, *EC])
def test_a_key_judges_tokens_of_its_own_algorithm_and_of_no_other_of_its_type(algorithm: str) -> None:
    key = key_for(algorithm)
    ring = VerifyingKeys([key.public()])
    for other in {*RSA, *EC} - {algorithm}:
        # With the name of the other one, and a good signature by the key's own; and the other way round.
        header = {"alg": other, "kid": key.kid, "typ": "at+jwt"}
        assert refusal(verifier_with(ring), signed(key, claims(), header)) == "algorithm"
        if other in RSA and algorithm in RSA:
            same = Key(key._material, other, kid=key.kid)
            header["alg"] = algorithm
            assert refusal(verifier_with(ring), signed(same, claims(), header)) == "signature"


def test_only_allowed_algorithms_of_a_ring_are_taken() -> None:
    ring = SigningKeys([key_for(algorithm) for algorithm in JWT])
    judge = verifier_with(ring, algorithms=["ES256", "EdDSA"])
    for algorithm in JWT:
        text = signed(key_for(algorithm), claims())
        assert verifier_with(ring).verify(text).subject == "ada"
        if algorithm in {"ES256", "EdDSA"}:
            assert judge.verify(text).subject == "ada"
        else:
            assert refusal(judge, text) == "algorithm"


def test_a_key_is_no_key_of_the_other_form() -> None:
    jwt_key = key_for("EdDSA")
    same = Key(jwt_key._material, "v4.public")
    text = issuer_with(SigningKeys([same]), form="paseto").issue("ada")
    assert refusal(verifier_with(SigningKeys([jwt_key])), text) == "algorithm"
    assert refusal(verifier_with(SigningKeys([same])), signed(jwt_key, claims())) == "algorithm"
    # A PASETO of the one purpose with the footer of the other.
    both = SigningKeys([key_for("v4.public"), key_for("v4.local")])
    local = issuer_with(SigningKeys([key_for("v4.local")]), form="paseto").issue("ada")
    judge = verifier_with(both)
    judge.verify(local)
    assert refusal(judge, local.replace("v4.local.", "v4.public.")) == "algorithm"
    assert refusal(judge, local.replace("v4.local.", "v4.other.")) == "algorithm"
    assert refusal(judge, local.replace("v4.local.", "v3.local.")) == "malformed"


def test_an_extension_that_must_be_understood_is_refused(key: Key, judge: TokenVerifier) -> None:
    for crit in ([], ["b64"], ["exp"], None, "x"):
        header = {"alg": "EdDSA", "kid": key.kid, "typ": "at+jwt", "crit": crit, "b64": True, "exp": 1}
        assert refusal(judge, signed(key, claims(), header)) == "malformed"


def test_a_key_in_the_token_or_at_an_address_in_it_is_never_used(judge: TokenVerifier) -> None:
    thief = Key.generate()
    for member in ({"jwk": thief.public_jwk()}, {"jku": "https://evil.example/jwks"}, {"x5u": "https://evil.example"}):
        header = {"alg": "EdDSA", "kid": thief.kid, "typ": "at+jwt", **member}
        assert refusal(judge, signed(thief, claims(), header)) == "key"
        header["kid"] = key_for("EdDSA").kid
        assert refusal(judge, signed(thief, claims(), header)) == "signature"


@pytest.mark.parametrize("kid", ["", "x", "../../dev/null", "' OR 1=1", 1, ["x"], {"x": 1}, True])
def test_a_kid_that_names_no_key_is_refused(kid: Any, key: Key, judge: TokenVerifier) -> None:
    assert refusal(judge, signed(key, claims(), {"alg": "EdDSA", "kid": kid, "typ": "at+jwt"})) == "key"


def test_a_token_without_kid_is_judged_by_the_only_key_of_its_algorithm(key: Key, judge: TokenVerifier) -> None:
    text = signed(key, claims(), {"alg": "EdDSA", "typ": "at+jwt"})
    assert judge.verify(text).kid == key.kid
    two = VerifyingKeys([key, Key.generate()])
    assert refusal(verifier_with(two), text) == "key"


@pytest.mark.parametrize("typ", [None, "JWT", "dpop+jwt", "at+jwt ", "application/jwt", 1, ["at+jwt"]])
def test_another_kind_of_token_is_refused(typ: Any, key: Key, judge: TokenVerifier) -> None:
    header = {"alg": "EdDSA", "kid": key.kid, **({} if typ is None else {"typ": typ})}
    assert refusal(judge, signed(key, claims(), header)) == "type"
    assert verifier_with(VerifyingKeys([key]), typ=None).verify(signed(key, claims(), header)).subject == "ada"


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"])
def test_a_kind_of_token_may_be_written_in_full(typ: str, key: Key, judge: TokenVerifier) -> None:
    assert judge.verify(signed(key, claims(), {"alg": "EdDSA", "kid": key.kid, "typ": typ})).subject == "ada"


def test_a_paseto_of_another_kind_is_refused() -> None:
    ring = SigningKeys([key_for("v4.local")])
    text = issuer_with(ring, form="paseto", typ="refresh").issue("ada")
    assert refusal(verifier_with(ring), text) == "type"
    assert verifier_with(ring, typ="refresh").verify(text).subject == "ada"


BAD_CLAIMS: list[tuple[dict[str, Any], str]] = [
    ({"exp": None}, "claims"),
    ({"exp": str(int(NOW) + 300)}, "claims"),
    ({"exp": True}, "claims"),
    ({"exp": 10**400}, "claims"),
    ({"exp": -1}, "claims"),
    ({"exp": 1e300}, "claims"),
    ({"exp": [NOW + 300]}, "claims"),
    ({"exp": NOW}, "expired"),
    ({"exp": 0}, "expired"),
    ({"nbf": NOW + 1}, "not-yet"),
    ({"nbf": "soon"}, "claims"),
    ({"iat": "now"}, "claims"),
    ({"sub": None}, "claims"),
    ({"sub": 17}, "claims"),
    ({"sub": ["ada"]}, "claims"),
    ({"sub": ""}, "claims"),
    ({"jti": 17}, "claims"),
    ({"iss": None}, "issuer"),
    ({"iss": ISSUER + "/"}, "issuer"),
    ({"iss": [ISSUER]}, "issuer"),
    ({"aud": None}, "audience"),
    ({"aud": "https://other.example"}, "audience"),
    ({"aud": []}, "audience"),
    ({"aud": ["https://other.example"]}, "audience"),
    ({"aud": [AUDIENCE, 1]}, "claims"),
    ({"aud": {AUDIENCE: 1}}, "claims"),
    ({"aud": 1}, "claims"),
]


@pytest.mark.parametrize(("changed", "reason"), BAD_CLAIMS, ids=[f"{bad}"[:40] for bad, _ in BAD_CLAIMS])
def test_bad_claims_under_a_good_signature_are_refused(
    changed: dict[str, Any], reason: str, key: Key, judge: TokenVerifier
) -> None:
    assert refusal(judge, signed(key, claims(**changed))) == reason


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"1",
        b'"x"',
        b"{",
        b"\xff\xfe",
        b'{"sub":"\\ud800"}',
        b'{"exp":NaN}',
        b'{"exp":Infinity}',
        b'{"exp":1e999}',
        b"\xef\xbb\xbf{}",
        b"[" * 5000,
        b'{"a":' * 1200 + b"1" + b"}" * 1200,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    ],
    ids=lambda payload: repr(payload[:12]),
)
def test_claims_that_are_none_are_refused(payload: bytes, key: Key) -> None:
    judge = verifier_with(VerifyingKeys([key]), max_bytes=1_000_000)
    assert refusal(judge, signed(key, payload)) == "claims"


@pytest.mark.parametrize(
    "repeated",
    [
        '"sub":"eve"',
        '"sub" :"eve"',
        '"sub"\n:"eve"',
        '"s\\u0075b":"eve"',
        '"x":{"y":1,"y":2}',
        '"x":[{"y":1,"y":2}]',
    ],
)
def test_a_name_that_stands_twice_is_refused(repeated: str, key: Key, judge: TokenVerifier) -> None:
    good = json.dumps(claims(), separators=(",", ":"))
    judge.verify(signed(key, good))
    assert refusal(judge, signed(key, f"{good[:-1]},{repeated}}}")) == "claims"
    assert refusal(judge, signed(key, f"{{{repeated},{good[1:]}")) == "claims"
    header = f'{{"alg":"EdDSA","alg":"EdDSA","kid":"{key.kid}","typ":"at+jwt"}}'
    assert refusal(judge, signed(key, good, header)) == "malformed"


def test_colons_and_objects_inside_claims_are_no_repetition(key: Key, judge: TokenVerifier) -> None:
    further = {"text": 'a":"b" : c', "cnf": {"jkt": "x"}, "list": [{"a": 1}, {"a": 2}]}
    assert judge.verify(signed(key, claims(**further))).claims["cnf"] == {"jkt": "x"}


def test_several_audiences_need_one_of_ours(key: Key) -> None:
    judge = verifier_with(VerifyingKeys([key]), audience=["a", "b"])
    assert judge.verify(signed(key, claims(aud=["x", "b"]))).audience == ("x", "b")
    assert judge.verify(signed(key, claims(aud="a"))).audience == ("a",)
    assert refusal(judge, signed(key, claims(aud=["x"]))) == "audience"


@pytest.mark.parametrize("algorithm", ["EdDSA", "v4.local"])
def test_a_token_is_good_until_its_last_moment_and_the_leeway(algorithm: str) -> None:
    issuer, judge, clock = pair(algorithm, leeway_s=10)
    text = issuer.issue("ada")
    clock.time_s = NOW + 309.9
    judge.verify(text)
    clock.time_s = NOW + 310
    assert refusal(judge, text) == "expired"
    later = issuer.issue("ada", {"nbf": NOW + 400 if algorithm == "EdDSA" else "2027-01-15T08:06:40Z"})
    clock.time_s = NOW + 389.9
    assert refusal(judge, later) == "not-yet"
    clock.time_s = NOW + 390
    judge.verify(later)


@pytest.mark.parametrize(
    "exp", [NOW + 300, "2027-01-15", "2027-01-15T08:05:00", "soon" * 6, "20270115T080500+00000000", None, ["x"]]
)
def test_a_paseto_that_says_no_time_is_refused(exp: Any) -> None:
    key = key_for("v4.local")
    assert key.local is not None
    footer = json.dumps({"kid": key.kid, "typ": "at+jwt"}).encode()
    text = key.local.encrypt(json.dumps(claims(exp=exp, iat=None)).encode(), footer=footer).decode()
    assert refusal(verifier_with(SigningKeys([key])), text) == "claims"


def test_a_paseto_without_a_footer_is_judged_by_the_only_key() -> None:
    key = key_for("v4.local")
    assert key.local is not None
    said = json.dumps(claims(exp="2027-01-15T08:05:00Z", iat=None)).encode()
    judge = verifier_with(SigningKeys([key]), typ=None)
    assert judge.verify(key.local.encrypt(said).decode()).subject == "ada"
    assert refusal(judge, key.local.encrypt(said, footer=b"no json").decode()) == "malformed"
    assert refusal(judge, key.local.encrypt(said).decode() + ".") in {"malformed", "signature"}


def test_what_is_too_large_is_refused_before_it_is_read(key: Key, judge: TokenVerifier) -> None:
    assert refusal(judge, "A" * 1_000_000) == "too-large"
    assert refusal(judge, "." * 8193) == "too-large"
    header = {"alg": "EdDSA", "kid": key.kid, "typ": "at+jwt", "pad": "x" * MAX_HEAD_CHARACTERS}
    assert refusal(judge, signed(key, claims(), header)) == "too-large"
    assert verifier_with(VerifyingKeys([key]), max_bytes=100_000).verify(signed(key, claims(x="y" * 60_000)))


def test_headers_that_are_kept_are_few_and_only_of_good_tokens(key: Key, judge: TokenVerifier) -> None:
    for number in range(500):
        header = {"alg": "EdDSA", "kid": key.kid, "typ": "at+jwt", "n": number}
        judge.verify(signed(key, claims(), header))
        text = signed(Key.generate(), claims(), header)
        refusal(judge, text)
    assert 0 < len(judge._judged[1]) <= 64


def test_a_jwe_and_a_jws_of_another_serialisation_are_refused(judge: TokenVerifier) -> None:
    assert refusal(judge, ".".join(["eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ", "a", "b", "c", "d"]))
    assert refusal(judge, '{"payload":"Zm9v","signatures":[]}') == "malformed"


def test_a_message_says_nothing_of_the_token(key: Key, judge: TokenVerifier) -> None:
    with pytest.raises(InvalidTokenError) as refused:
        judge.verify(signed(key, claims(sub="secret-subject", exp=int(NOW) - 7)))
    assert str(refused.value) == "the token is refused: it has expired 7 s ago"
    assert refused.value.code == "invalid_token"


@pytest.mark.parametrize(
    "settings",
    [
        {"issuer": ""},
        {"audience": ""},
        {"audience": []},
        {"audience": ["a", ""]},
        {"algorithms": []},
        {"algorithms": ["none"]},
        {"algorithms": "EdDSA"},
        {"leeway_s": -1},
        {"leeway_s": float("nan")},
        {"leeway_s": 86_400},
    ],
    ids=str,
)
def test_a_setting_that_would_let_in_too_many_is_refused(settings: dict[str, Any], key: Key) -> None:
    with pytest.raises(SettingError):
        verifier_with(VerifyingKeys([key]), **settings)


def test_a_signature_of_another_length_is_refused_by_every_algorithm() -> None:
    for algorithm in JWT:
        text = signed(key_for(algorithm), claims())
        words, _, signature = text.rpartition(".")
        raw = unb64(signature)
        for other in (b"", raw[:-1], raw + b"\0", raw * 2, b"\0" * len(raw), b"\xff" * len(raw)):
            assert refusal(verifier_with(SigningKeys([key_for(algorithm)])), f"{words}.{b64(other)}") == "signature"
        assert form_of(algorithm) == "jwt"
