"""Sealed text opens where it was sealed for, and in no other form than it was sealed in."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fungible.core.keyring import KeyRing
from fungible.core.sealing import OVERHEAD_BYTES, Sealer, from_base64url, to_base64url

OLD, NEW = "the former secret, of enough bytes too", "the current secret, of enough bytes too"


def sealer(*secrets: str, purpose: str = "a test") -> Sealer:
    return Sealer(KeyRing(secrets or (NEW,)), purpose=purpose)


@given(st.binary(max_size=200))
def test_what_was_sealed_opens_on_every_instance(data: bytes) -> None:
    opened = sealer().open(sealer().seal(data))
    assert opened is not None
    assert (opened.data, opened.by_current_key) == (data, True)


@given(st.binary(max_size=40), st.data())
def test_no_changed_text_opens(data: bytes, draws: st.DataObject) -> None:
    text = sealer().seal(data)
    at = draws.draw(st.integers(0, len(text) - 1))
    letter = draws.draw(st.sampled_from("AZaz09-_+/= ."))
    changed = text[:at] + letter + text[at + 1 :]
    assert (sealer().open(changed) is None) == (changed != text)
    assert sealer().open(text[:at]) is None
    assert sealer().open(text + letter) is None


@given(st.text(max_size=120))
def test_no_text_raises(text: str) -> None:
    assert sealer().open(text) is None


@given(st.binary(min_size=OVERHEAD_BYTES - 3, max_size=OVERHEAD_BYTES + 9))
def test_no_bytes_raise_and_none_open(raw: bytes) -> None:
    assert sealer().open(to_base64url(raw)) is None
    assert sealer().open(to_base64url(b"\x01" + raw[1:])) is None


def test_another_purpose_does_not_open_it() -> None:
    assert sealer(purpose="one").open(sealer(purpose="other").seal(b"data")) is None


def test_another_key_does_not_open_it_and_a_former_one_does() -> None:
    text = sealer(OLD).seal(b"data")
    assert sealer(NEW).open(text) is None
    opened = sealer(NEW, OLD).open(text)
    assert opened is not None
    assert (opened.data, opened.by_current_key) == (b"data", False)


def test_the_same_data_is_never_the_same_text() -> None:
    assert len({sealer().seal(b"data") for _ in range(100)}) == 100


@given(st.binary(max_size=70))
def test_base64url_is_that_of_the_standard_library_without_padding(data: bytes) -> None:
    text = to_base64url(data)
    assert text == base64.urlsafe_b64encode(data).decode().rstrip("=")
    assert from_base64url(text) == data


@given(st.text("AQgw-_xyz019", max_size=12))
def test_bytes_have_one_text_only(text: str) -> None:
    data = from_base64url(text)
    assert data is None or to_base64url(data) == text


@pytest.mark.parametrize(
    "text", ["A", "AB", "AAAAA", "AA==", "AA=", "A A", "AA\n", "+A", "/A", "é", "A\x00", "AAA=A", "=" * 4]
)
def test_other_forms_are_no_base64url(text: str) -> None:
    assert from_base64url(text) is None


def test_vectors_of_rfc_4648_section_10() -> None:
    for data, text in ((b"", ""), (b"f", "Zg"), (b"fo", "Zm8"), (b"foo", "Zm9v"), (b"foobar", "Zm9vYmFy")):
        assert to_base64url(data) == text
        assert from_base64url(text) == data
