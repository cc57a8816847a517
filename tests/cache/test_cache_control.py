"""The Cache-Control field: whatever comes is read without an error, and what was written is read again."""

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fungible.cache.conditions import is_not_modified, names, strong_etag
from fungible.cache.directives import LARGEST_S, TOKEN, CacheControl, cache_control, delta_seconds, parse
from fungible.cache.freshness import facts_of, http_date

TOKENS = st.text("abcdefghijklmnopqrstuvwxyz!#$%&'*+-.^_`|~0123456789", min_size=1, max_size=20)
LATIN = st.characters(max_codepoint=255, exclude_characters="\r\n\0")
PIECES = st.sampled_from(
    [
        "max-age",
        "s-maxage",
        "no-store",
        "private",
        "=",
        '"',
        ",",
        "\\",
        " ",
        "\t",
        "1",
        "-1",
        "9" * 30,
        ";",
        "a",
        "\xff",
    ]
)


def render(directives: Mapping[str, str | None]) -> str:
    """A field with these directives: what `parse` reads."""
    return ", ".join(
        name if argument is None else f"{name}={_shown(argument)}" for name, argument in directives.items()
    )


def _shown(argument: str) -> str:
    if TOKEN.fullmatch(argument):
        return argument
    return '"' + argument.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(st.dictionaries(TOKENS, st.none() | st.text(LATIN, max_size=30), max_size=8))
def test_what_is_written_is_read_again(directives: dict[str, str | None]) -> None:
    assert parse(render(directives)) == directives


@given(st.text(LATIN) | st.lists(PIECES, max_size=30).map("".join))
def test_whatever_comes_is_read_without_an_error(text: str) -> None:
    found = parse(text)
    assert all(name == name.lower() for name in found)
    said = cache_control(text)
    for seconds in (said.max_age, said.s_maxage, said.min_fresh, said.stale_while_revalidate, said.stale_if_error):
        assert seconds is None or 0 <= seconds <= LARGEST_S


@given(st.lists(PIECES, max_size=20).map("".join).filter(lambda text: text.count('"') % 2 == 0 and "\\" not in text))
def test_what_can_not_be_read_hides_nothing_that_follows_it(text: str) -> None:
    assert "no-store" in parse(f"{text},no-store")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max-age=60", CacheControl(max_age=60)),
        ("MAX-AGE=60 , Public", CacheControl(max_age=60, public=True)),
        ('max-age="60"', CacheControl(max_age=60)),
        ("max-age=60, max-age=5", CacheControl(max_age=60)),
        ("max-age", CacheControl(max_age=0)),
        ("max-age=-1", CacheControl(max_age=0)),
        ("max-age=1.5", CacheControl(max_age=0)),
        ("max-age=\xb2", CacheControl(max_age=0)),
        (f"s-maxage={'9' * 40}", CacheControl(s_maxage=LARGEST_S)),
        ("max-stale", CacheControl(max_stale=math.inf)),
        ("max-stale=5", CacheControl(max_stale=5)),
        ('private="set-cookie, no-store"', CacheControl(private=True)),
        ('no-cache="a\\"b", no-store', CacheControl(no_cache=True, no_store=True)),
        (",,, ;x, must-revalidate", CacheControl(must_revalidate=True)),
        ("public max-age=60, no-store", CacheControl(public=True, max_age=0, no_store=True)),
        ("max-age=60 private", CacheControl(max_age=0, private=True)),
        ("stale-while-revalidate=1, stale-if-error=2", CacheControl(stale_while_revalidate=1, stale_if_error=2)),
    ],
)
def test_directives_mean_what_the_rfc_says(text: str, expected: CacheControl) -> None:
    assert cache_control(text) == expected


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    b"cache-control",
                    b"age",
                    b"date",
                    b"expires",
                    b"vary",
                    b"etag",
                    b"content-length",
                    b"last-modified",
                    b"Vary",
                ]
            ),
            st.binary(max_size=30),
        )
    )
)
def test_headers_of_any_kind_are_read_without_an_error(headers: list[tuple[bytes, bytes]]) -> None:
    facts_of(headers)


@given(st.text())
def test_a_date_is_read_or_is_none(text: str) -> None:
    http_date(text)
    assert delta_seconds(text) is None or text.isdecimal()


def test_dates_in_all_forms_of_the_rfc_are_read() -> None:
    for text in ("Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"):
        assert http_date(text) == 784111777
    assert http_date("0") is None


@given(st.text(LATIN), st.text(LATIN))
def test_conditions_of_any_kind_are_read_without_an_error(field: str, etag: str) -> None:
    names(field, etag)
    is_not_modified(if_none_match=field, if_modified_since=etag, etag=etag, last_modified=0)


@pytest.mark.parametrize(
    ("field", "etag", "expected"),
    [
        ('"a"', '"a"', True),
        ('W/"a"', '"a"', True),
        ('"a"', 'W/"a"', True),
        ('"b", "a"', '"a"', True),
        ('"b" ,,W/"a"', '"a"', True),
        ("*", '"a"', True),
        ('"b"', '"a"', False),
        ('"a,b"', '"a"', False),
        ('"a,b"', '"a,b"', True),
        ("a", '"a"', False),
        ("", '"a"', False),
        ('"A"', '"a"', False),
    ],
)
def test_entity_tags_are_compared_weakly(field: str, etag: str, expected: bool) -> None:
    assert names(field, etag) is expected


def test_an_entity_tag_is_made_of_the_bytes_and_their_encoding() -> None:
    assert strong_etag(b"body", "") == strong_etag(b"body", "")
    assert (
        len({strong_etag(b"body", ""), strong_etag(b"body", "gzip"), strong_etag(b"", ""), strong_etag(b"gzip\0", "")})
        == 4
    )


def test_a_date_does_not_count_beside_an_entity_tag() -> None:
    assert not is_not_modified(
        if_none_match='"other"', if_modified_since="Sun, 06 Nov 1994 08:49:37 GMT", etag='"a"', last_modified=0
    )
    assert is_not_modified(
        if_none_match=None, if_modified_since="Sun, 06 Nov 1994 08:49:37 GMT", etag=None, last_modified=784111777
    )
    assert not is_not_modified(
        if_none_match=None, if_modified_since="Sun, 06 Nov 1994 08:49:37 GMT", etag=None, last_modified=784111778
    )
