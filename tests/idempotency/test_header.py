"""Points I1 and F8 for every text there is: a key, or an error of ours; and the two forms are one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fungible.core.structured import string
from fungible.idempotency import InvalidKeyError
from fungible.idempotency.fingerprints import digest_of, record_key, request_fingerprint
from fungible.idempotency.header import key_in, parse_key
from fungible.stores.contract import check_name

PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=255)


@given(PRINTABLE.filter(lambda key: key == key.strip() and not key.startswith('"')))
def test_i1_every_key_reads_the_same_quoted_and_bare(key: str) -> None:
    assert parse_key(key) == parse_key(string(key)) == parse_key(f"  {string(key)}\t") == key


@given(st.binary(max_size=300))
def test_f8_any_bytes_are_a_key_or_are_refused_by_our_own_error(value: bytes) -> None:
    try:
        key = key_in([(b"idempotency-key", value)])
    except InvalidKeyError:
        pass
    else:
        assert key is not None
        assert 0 < len(key) <= 255
        assert key.isascii()
        assert key.isprintable()


@given(
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"'), min_size=256, max_size=400)
)
def test_f8_what_is_too_long_is_refused_in_both_forms(key: str) -> None:
    for form in (key, string(key)):
        with pytest.raises(InvalidKeyError, match="characters, and may have 255"):
            parse_key(form)


PARTS = st.lists(st.binary(max_size=8), max_size=5)


@given(PARTS, PARTS)
def test_i7_digests_meet_only_where_all_parts_do(one: list[bytes], other: list[bytes]) -> None:
    assert (digest_of(*one) == digest_of(*other)) == (one == other)


@given(st.lists(st.text(max_size=300), min_size=1, max_size=4))
def test_b2_whatever_scopes_a_key_makes_a_name_that_every_store_takes(parts: list[str]) -> None:
    check_name(record_key(parts) + ":begun")


def test_i7_fingerprints_stay_the_same_from_release_to_release() -> None:
    found = request_fingerprint("POST", b"example.org", b"/orders?dry_run=1", b"application/json", b"{}")
    assert found.hex() == "aede313eb3e4d2c50f257d6c78a6cc7f8f6fe1515d6fa4f340f1b7a38ef99113"
