"""Findings in words."""

import pytest

from fungible.check.findings.words import body_instead, plain_text
from fungible.check.http.client import Address
from fungible.check.model import Answer, Step
from fungible.check.oracle.noise import Difference
from fungible.check.runs.runner import Move, Outcome

PAGE = (
    b"<html><head><title>Shop</title><style>p {}</style></head>\n<body><p>Twine &amp; <b>Tin</b></p>\n"
    b"<script>let a = '<p>'</script>Sign in</body></html>"
)


def instead(answer: Answer, difference: Difference) -> tuple[str, ...]:
    return body_instead(difference, Outcome(Move(Step(id="view", path="/")), answer, Address("127.0.0.1", 1), 1))


def test_a_body_that_lacks_something_is_shown_as_the_text_that_a_visitor_sees() -> None:
    lacks = Difference("expect", "200", "the body lacks 'Grace'")
    assert instead(Answer(status=200, body=PAGE), lacks) == (f"the body has {len(PAGE)} bytes: Twine & Tin Sign in",)
    assert instead(Answer(status=200, body=b""), lacks) == ("the body has 0 bytes",)
    long = instead(Answer(status=200, body=b"word " * 1000), lacks)[0]
    assert long.endswith("word word ...")
    assert len(long) < 250


@pytest.mark.parametrize(
    ("answer", "difference"),
    [
        (Answer(status=404, body=PAGE), Difference("expect", "200", "status 404, expected 200")),
        (Answer(error="connection refused"), Difference("expect", "200", "connection refused")),
        (Answer(status=200, body=PAGE), Difference("JSON title", "'second'", "'first'")),
    ],
    ids=["another status", "no answer", "a place that differs"],
)
def test_where_the_words_before_say_it_all_no_body_is_shown(answer: Answer, difference: Difference) -> None:
    assert instead(answer, difference) == ()


def test_what_a_page_says_is_read_without_its_markup_however_broken_that_is() -> None:
    page = "<head>\n<title>T</title></head>A<b class='x'>B</b> &lt;C&gt;<script>var a = '<i>';</script>D<style>E"
    assert plain_text(page) == "A B <C> D E"
    assert plain_text("<style>E</style>F<br") == "F <br"
    assert plain_text("a < b") == "a < b"
    assert plain_text("") == ""
