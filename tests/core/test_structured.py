"""Structured fields: what is written is read again, and nothing else is taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fungible.core.structured import parse_string, string

printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))


@given(printable)
def test_a_string_is_read_as_it_was_written(text: str) -> None:
    assert parse_string(string(text)) == text


@pytest.mark.parametrize("parameters", [";a", "; a=1;b", ';q="x;y"', ";pk=:AAA=:", ";*a=?1"])
def test_parameters_are_passed_over(parameters: str) -> None:
    assert parse_string(f'"k"{parameters}') == "k"


@pytest.mark.parametrize("text", ["", "k", '"', '"k', '"k"x', '"k", "l"', '"\\k"', '"é"', '"\x7f"', '"k" ;A=1', '"k";'])
def test_anything_else_is_no_string(text: str) -> None:
    assert parse_string(text) is None


@given(st.text())
def test_no_text_raises(text: str) -> None:
    assert isinstance(parse_string(text), str | None)


@pytest.mark.parametrize("text", ["é", "\n", "\x7f", "\x00"])
def test_what_a_string_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        string(text)
