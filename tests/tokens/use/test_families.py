"""The chain of a family, as pure functions: what can be derived from what, and how much is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fungible.tokens.families import (
    MOST_RECENT,
    Chain,
    Repeated,
    Reused,
    Rotated,
    decode_chain,
    digest_of,
    encode,
    first_chain,
    judge,
    new_token,
    parse,
    text_of,
)

NOW = 1_000_000.0


def rotated(chain: Chain, secret: bytes, now: float = NOW, grace_s: float = 10) -> Rotated:
    judged = judge(chain, secret, now, grace_s=grace_s)
    assert isinstance(judged, Rotated)
    return judged


def test_who_has_an_old_token_alone_can_not_derive_its_successor() -> None:
    secret = new_token().secret
    chain = first_chain(secret)
    # The same token, spent twice from the same state: each time by another salt, which only the record has.
    assert rotated(chain, secret).secret != rotated(chain, secret).secret


def test_a_chain_holds_no_secret_and_after_the_grace_nothing_to_derive_one_with() -> None:
    first = new_token().secret
    second = rotated(first_chain(first), first)
    third = rotated(second.chain, second.secret, NOW + 11)
    kept = encode(third.chain)
    assert not any(secret in kept for secret in (first, second.secret, third.secret))
    assert [spent.digest for spent in third.chain.recent] == [digest_of(second.secret)]
    assert isinstance(judge(third.chain, first, NOW + 11, grace_s=10), Reused)


def test_a_chain_does_not_grow_however_often_it_is_rotated_within_the_grace() -> None:
    secrets = [new_token().secret]
    chain = first_chain(secrets[0])
    for _ in range(3 * MOST_RECENT):
        judged = rotated(chain, secrets[-1])
        chain = judged.chain
        secrets.append(judged.secret)
    assert len(chain.recent) == MOST_RECENT
    assert chain.rotations == 3 * MOST_RECENT
    assert judge(chain, secrets[-1 - MOST_RECENT], NOW, grace_s=10) == Repeated(secrets[-MOST_RECENT])
    assert isinstance(judge(chain, secrets[-2 - MOST_RECENT], NOW, grace_s=10), Reused)


def test_without_a_grace_nothing_is_kept_of_what_was_spent() -> None:
    secret = new_token().secret
    chain = rotated(first_chain(secret), secret, grace_s=0).chain
    assert chain.recent == ()
    assert isinstance(judge(chain, secret, NOW, grace_s=0), Reused)


def test_a_clock_that_was_set_back_makes_no_retry_a_theft() -> None:
    secret = new_token().secret
    first = rotated(first_chain(secret), secret)
    assert judge(first.chain, secret, NOW - 5, grace_s=10) == Repeated(first.secret)


def test_a_chain_is_what_it_was_after_it_was_stored() -> None:
    secret = new_token().secret
    chain = rotated(first_chain(secret), secret).chain
    assert decode_chain(encode(chain)) == chain


@given(st.binary(min_size=48, max_size=48))
def test_a_token_has_one_text(raw: bytes) -> None:
    text = text_of(raw[:16], raw[16:])
    presented = parse(text)
    assert presented is not None
    assert (presented.handle, presented.secret) == (raw[:16], raw[16:])
    assert len(text) == 64


@given(st.text(max_size=70))
def test_no_text_can_not_be_parsed(text: str) -> None:
    presented = parse(text)
    assert presented is None or text_of(presented.handle, presented.secret) == text


@pytest.mark.parametrize("change", [0, 1, 31])
def test_a_secret_that_differs_in_one_byte_is_another(change: int) -> None:
    secret = new_token().secret
    other = secret[:change] + bytes([secret[change] ^ 1]) + secret[change + 1 :]
    assert isinstance(judge(first_chain(secret), other, NOW, grace_s=10), Reused)
