"""Which key signs and which verify, as time goes; and how a ring changes."""

import math
from typing import Any

import pytest
from contracts.clock import Clock

from fungible.core.errors import SettingError
from fungible.tokens import InvalidTokenError, Key, NoSigningKeyError, SigningKeys, UnknownKeyError, VerifyingKeys
from fungible.tokens.algorithms import ALGORITHMS, draw, public_of
from fungible.tokens.claims import MAX_LEEWAY_S, OUTLIVES_EXP_S
from fungible.tokens.jwk import thumbprint, write_pem
from fungible.tokens.keys import key_set
from fungible.tokens.rotation import first_key, retire, rotate
from tokens.core.material import ALL, EC, NOW, PUBLISHED, RSA, issuer_with, key_for, verifier_with


def clocked(at: float = NOW) -> Clock:
    clock = Clock()
    clock.time_s = at
    return clock


def key(at: float, until: float = math.inf, algorithm: str = "EdDSA") -> Key:
    return Key.generate(algorithm, activates_at=at).timed(expires_at=until)


def test_a_key_verifies_before_it_signs_and_after_another_has_taken_its_place() -> None:
    clock = clocked()
    old, new = key(NOW - 1000, NOW + 500), key(NOW + 100)
    ring = SigningKeys([old, new], now=clock)
    issuer, judge = issuer_with(ring, now=clock, ttl_s=3600), verifier_with(ring, now=clock)
    by_new = issuer_with(SigningKeys([new.timed(activates_at=0)]), now=clock).issue("ada")
    early = issuer.issue("ada")
    assert (judge.verify(early).kid, judge.verify(by_new).kid) == (old.kid, new.kid)
    assert [ring.known(clock()).state(each) for each in (old, new)] == ["active", "next"]
    clock.time_s = NOW + 100
    late = issuer.issue("ada")
    assert (judge.verify(late).kid, judge.verify(early).kid) == (new.kid, old.kid)
    assert [ring.known(clock()).state(each) for each in (old, new)] == ["retired", "active"]
    clock.time_s = NOW + 500
    assert judge.verify(late).kid == new.kid
    with pytest.raises(InvalidTokenError) as refused:
        judge.verify(early)
    assert refused.value.reason == "key"


def test_a_clock_that_is_set_back_gives_the_ring_of_that_time() -> None:
    clock = clocked()
    old, new = key(NOW - 1000), key(NOW + 100)
    ring = SigningKeys([old, new], now=clock)
    clock.time_s = NOW + 200
    assert ring.known(clock()).signing["jwt"] is new
    clock.time_s = NOW
    assert ring.known(clock()).signing["jwt"] is old


def test_of_keys_without_times_the_first_signs() -> None:
    first, second = Key.generate(), Key.generate("ES256")
    assert SigningKeys([first, second]).known(NOW).signing["jwt"] is first
    assert SigningKeys([second, first]).known(NOW).signing["jwt"] is second


def test_no_key_is_made_whose_name_a_command_line_would_take_for_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    like_an_option = draw(ALGORITHMS["EdDSA"])
    while not thumbprint(public_of(like_an_option)).startswith("-"):
        like_an_option = draw(ALGORITHMS["EdDSA"])
    other = key_for("EdDSA")
    drawn = [like_an_option, like_an_option, other._material]
    monkeypatch.setattr("fungible.tokens.key.draw", lambda _: drawn.pop(0))
    assert Key.generate().kid == other.kid


def test_public_keys_sign_nothing() -> None:
    with pytest.raises(SettingError, match="can sign"):
        SigningKeys([key_for("EdDSA").public()])
    ring = SigningKeys([key_for("EdDSA").public(), key_for("ES256")])
    assert ring.known(NOW).signing["jwt"] is key_for("ES256")
    with pytest.raises(SettingError, match="secret"):
        key_for("HS256").public()


def test_two_keys_of_one_name_are_refused() -> None:
    same = key_for("EdDSA")
    with pytest.raises(SettingError, match="each needs its own"):
        VerifyingKeys([same, same.public()])
    with pytest.raises(SettingError, match="at least one"):
        VerifyingKeys([])


def test_a_ring_whose_keys_have_all_ended_signs_nothing() -> None:
    clock = clocked()
    ring = SigningKeys([key(NOW - 10, NOW + 10)], now=clock)
    clock.time_s = NOW + 10
    with pytest.raises(NoSigningKeyError):
        issuer_with(ring, now=clock).issue("ada")


@pytest.mark.parametrize("algorithm", ALL)
def test_a_key_is_the_same_from_its_jwk(algorithm: str) -> None:
    made = key_for(algorithm).timed(activates_at=NOW, expires_at=NOW + 5.5)
    again = Key.from_jwk(made.private_jwk())
    assert again.private_jwk() == made.private_jwk()
    assert (again.kid, again.algorithm, again.activates_at, again.expires_at) == (
        made.kid,
        algorithm,
        NOW,
        NOW + 5.5,
    )
    assert not again.drawn


def test_a_key_does_not_show_itself() -> None:
    for algorithm in ALL:
        secret = key_for(algorithm).private_jwk()
        assert (secret.get("d") or secret["k"]) not in repr(key_for(algorithm))


def test_a_jwk_set_has_public_keys_alone() -> None:
    ring = SigningKeys([key_for(algorithm) for algorithm in ALL])
    listed = ring.jwks()["keys"]
    assert {each["alg"] for each in listed} == set(PUBLISHED)
    private = {"d", "p", "q", "dp", "dq", "qi", "k", "oth"}
    assert not any(private & set(each) for each in listed)
    assert {each["use"] for each in listed} == {"sig"}
    again = VerifyingKeys.from_jwks(ring.jwks())
    text = issuer_with(SigningKeys([key_for("ES256")])).issue("ada")
    assert verifier_with(again).verify(text).subject == "ada"


def test_rotating_gives_a_next_key_and_the_former_ones_an_end() -> None:
    first = first_key((), "EdDSA", now=NOW)
    assert first.changed
    assert first.key.activates_at == NOW
    change = rotate(first.keys, None, now=NOW + 10, settle_s=120, longest_life_s=3600)
    old, new = change.keys
    assert (new.activates_at, new.algorithm) == (NOW + 130, "EdDSA")
    assert old.expires_at == NOW + 130 + 3600 + OUTLIVES_EXP_S
    assert key_set(change.keys, NOW + 129).signing["jwt"] is old
    assert key_set(change.keys, NOW + 130).signing["jwt"] is new


@pytest.mark.parametrize("behind_s", [0, MAX_LEEWAY_S])
def test_a_replaced_key_verifies_until_the_last_instant_at_which_any_verifier_takes_its_tokens(behind_s: float) -> None:
    keys = first_key((), "EdDSA", now=NOW - 9).keys
    change = rotate(keys, None, now=NOW, settle_s=120, longest_life_s=3600)
    # An instance whose clock is behind signs with the old key for longer, and its tokens last as much longer.
    clock = clocked(NOW + 119.9)
    text = issuer_with(SigningKeys(change.keys, now=clock), now=clock, ttl_s=3600).issue("ada")
    ring = VerifyingKeys([each.public() for each in change.keys], now=clock)
    judge = verifier_with(ring, now=clock, leeway_s=MAX_LEEWAY_S)
    clock.time_s = NOW + 119 + 3600 + MAX_LEEWAY_S - 0.1 + behind_s
    if behind_s:
        assert keys[0].kid in ring.known(clock()).by_kid
    else:
        assert judge.verify(text).kid == keys[0].kid


def test_rotating_twice_makes_one_key() -> None:
    keys = first_key((), "EdDSA", now=NOW).keys
    once = rotate(keys, None, now=NOW, settle_s=120, longest_life_s=3600)
    twice = rotate(once.keys, None, now=NOW + 1, settle_s=120, longest_life_s=3600)
    assert (twice.changed, twice.key.kid) == (False, once.key.kid)
    young = rotate(once.keys, None, now=NOW + 121, settle_s=120, longest_life_s=3600, min_age_s=60)
    assert not young.changed
    assert rotate(once.keys, None, now=NOW + 181, settle_s=120, longest_life_s=3600, min_age_s=60).changed


def test_rotating_at_once_has_the_waiting_key_sign_now() -> None:
    keys = first_key((), "EdDSA", now=NOW - 9).keys
    waiting = rotate(keys, None, now=NOW, settle_s=120, longest_life_s=3600)
    now = rotate(waiting.keys, None, now=NOW + 5, settle_s=120, longest_life_s=3600, at_once=True)
    assert (now.key.kid, now.key.activates_at) == (waiting.key.kid, NOW + 5)
    assert key_set(now.keys, NOW + 5).signing["jwt"].kid == now.key.kid
    # Again within the same second: the successor's time must not be the same.
    again = rotate(now.keys, None, now=NOW + 5, settle_s=120, longest_life_s=3600, at_once=True)
    assert key_set(again.keys, NOW + 6).signing["jwt"].kid == again.key.kid != now.key.kid


def test_the_algorithm_can_be_changed_and_each_form_rotates_by_itself() -> None:
    keys = (*first_key((), "EdDSA", now=NOW - 9).keys, Key.generate("v4.local", activates_at=NOW - 9))
    with pytest.raises(SettingError, match="which algorithm"):
        rotate(keys, None, now=NOW, settle_s=1, longest_life_s=1)
    change = rotate(keys, "ES256", now=NOW, settle_s=1, longest_life_s=1)
    assert {each.algorithm: each.expires_at < math.inf for each in change.keys} == {
        "EdDSA": True,
        "ES256": False,
        "v4.local": False,
    }
    assert key_set(change.keys, NOW + 1).signing["jwt"].algorithm == "ES256"
    assert rotate(change.keys, "v4.local", now=NOW, settle_s=1, longest_life_s=1).changed


def test_rotating_forgets_keys_that_verify_nothing_any_more() -> None:
    dead, alive = key(NOW - 99, NOW - 1), key(NOW - 50)
    change = rotate((dead, alive), None, now=NOW, settle_s=1, longest_life_s=1)
    assert {each.kid for each in change.keys} == {alive.kid, change.key.kid}


def test_a_first_key_is_made_once_for_each_form() -> None:
    keys = first_key((), "EdDSA", now=NOW).keys
    assert not first_key(keys, "ES256", now=NOW).changed
    assert first_key(keys, "v4.public", now=NOW).changed
    assert first_key([each.timed(expires_at=NOW) for each in keys], "EdDSA", now=NOW).changed


def test_a_key_is_retired_by_its_name_unless_it_alone_signs() -> None:
    old, new = key(NOW - 99), key(NOW - 50)
    assert retire((old, new), old.kid, now=NOW).keys == (new,)
    assert retire((old, new), new.kid[:8], now=NOW).keys == (old,)
    with pytest.raises(SettingError, match="only one that signs"):
        retire((new, key(NOW + 50)), new.kid, now=NOW)
    for unknown in ("x", ""):
        with pytest.raises(UnknownKeyError, match=new.kid):
            retire((old, new), unknown, now=NOW)


@pytest.mark.parametrize(
    ("algorithm", "secret", "words"),
    [
        ("HS256", b"x" * 64, "32 bytes or more"),
        ("HS256", bytes(range(31)), "32 bytes or more"),
        ("v4.local", bytes(range(33)), "exactly 32"),
        ("EdDSA", bytes(range(32)), "Ed25519"),
        ("none", bytes(range(32)), "no algorithm"),
    ],
)
def test_a_weak_secret_or_one_for_another_algorithm_is_refused(algorithm: str, secret: bytes, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        Key.from_secret(secret, algorithm)


def test_a_key_of_another_curve_or_too_short_is_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    curves: dict[str, Any] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
    for algorithm, name in (("ES256", "P-256"), ("ES384", "P-384"), ("ES512", "P-521")):
        for other in (curve for each, curve in curves.items() if each != algorithm):
            with pytest.raises(SettingError, match=name):
                Key(ec.generate_private_key(other), algorithm)
        with pytest.raises(SettingError, match=name):
            Key(ec.generate_private_key(ec.SECP256K1()), algorithm)
    weak = rsa.generate_private_key(65537, 1024)
    for algorithm in RSA:
        with pytest.raises(SettingError, match="2048"):
            Key(weak, algorithm)


@pytest.mark.parametrize(
    ("made", "algorithm"),
    [("EdDSA", "EdDSA"), ("ES256", "ES256"), ("ES384", "ES384"), ("ES512", "ES512"), ("PS512", "RS256")],
)
def test_a_key_that_does_not_say_what_it_is_for_is_for_the_usual_one(made: str, algorithm: str) -> None:
    jwk = {name: value for name, value in key_for(made).private_jwk().items() if name != "alg"}
    assert Key.from_jwk(jwk).algorithm == algorithm
    assert Key.from_pem(write_pem(key_for(made).public_key())).algorithm == algorithm


def test_a_pem_of_a_curve_that_is_not_used_is_refused_with_those_that_are() -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    pem = write_pem(ec.generate_private_key(ec.SECP256K1()).public_key())
    with pytest.raises(SettingError, match="secp256k1; P-256, P-384, P-521 can be used"):
        Key.from_pem(pem)


@pytest.mark.parametrize("algorithm", ["EdDSA", *EC, "RS256"])
def test_halves_of_two_keys_are_no_key(algorithm: str) -> None:
    one, other = Key.generate(algorithm).private_jwk(), Key.generate(algorithm).public_jwk()
    halves = {**one, **{name: value for name, value in other.items() if name in ("x", "y", "n")}}
    with pytest.raises(SettingError, match="no key that can be read"):
        Key.from_jwk(halves)
