import pytest

from fungible.core.asgi import list_elements, list_members, retry_after
from fungible.core.errors import SettingError


def test_a_list_field_is_read_by_members_over_all_its_lines():
    headers = [(b"Vary", b"Accept ,, X-Cookie-Consent"), (b"x", b"cookie"), (b"vary", b"\tAccept-Language")]
    assert list_members(headers, b"vary") == ["accept", "x-cookie-consent", "accept-language"]


def test_a_list_field_that_is_absent_or_empty_has_no_members():
    assert list_members([], b"vary") == []
    assert list_members([(b"vary", b" , ")], b"vary") == []


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("", []),
        (" , ,\t", []),
        ("a, b ,c", ["a", "b", "c"]),
        ('private="x, y", max-age=1', ['private="x, y"', "max-age=1"]),
        (r'a="1\", b", c', [r'a="1\", b"', "c"]),
        (r'a="1\\", b', [r'a="1\\"', "b"]),
        ('a, "never closed, b', ["a", '"never closed, b']),
        (r"a\, b", ["a\\", "b"]),
    ],
)
def test_the_elements_of_a_list_are_parted_by_commas_outside_of_quotes(text: str, elements: list[str]) -> None:
    assert list_elements(text) == elements


@pytest.mark.parametrize("seconds", [-1, "2", 1.5, True, None])
def test_what_is_no_number_of_seconds_is_no_retry_after(seconds: object) -> None:
    with pytest.raises(SettingError, match="retry_after_s="):
        retry_after(seconds)  # type: ignore[arg-type]
    assert retry_after(0) == (b"retry-after", b"0")
