"""Findings in words."""

import pytest

from fungible.check.findings.differences import body_instead, both, place_words, plain_text, sides
from fungible.check.http.client import Address
from fungible.check.model import Answer, Step
from fungible.check.oracle.noise import Difference, Oracle
from fungible.check.oracle.places import places_of
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


def json_of(text: str, *headers: tuple[str, str], status: int = 200) -> Answer:
    return Answer(status=status, headers=(("Content-Type", "application/json"), *headers), body=text.encode())


def page_of(text: str) -> Answer:
    return Answer(status=200, headers=(("Content-Type", "text/html"),), body=text.encode())


def plain_of(text: str) -> Answer:
    return Answer(status=200, headers=(("Content-Type", "text/plain"),), body=text.encode())


PAIRS = {
    "list": (json_of("[1]"), json_of("[1,1]"), "json /#", "the list has 1 item", "the list has 2 items"),
    "list in an object": (
        json_of('{"a":{"rows":[]}}'),
        json_of('{"a":{"rows":[1,2]}}'),
        "json /a/rows/#",
        "the list a.rows has 0 items",
        "the list a.rows has 2 items",
    ),
    "no list": (
        json_of('{"rows":[]}'),
        json_of('{"rows":7}'),
        "json /rows/#",
        "the list rows has 0 items",
        "there is no list rows",
    ),
    "lists in a list": (
        json_of("[[1],[1]]"),
        json_of("[[1],[1,2]]"),
        "json /*/#",
        "the lists [*] have 1 (2 times) items",
        "the lists [*] have 1, 2 items",
    ),
    "object": (
        json_of('{"o":{"a":1,"b":2}}'),
        json_of('{"o":{}}'),
        "json /o/{}",
        "the object o has the keys a, b",
        "the object o is empty",
    ),
    "no object": (
        json_of('{"a":1}'),
        json_of("[]"),
        "json /{}",
        "the object has the keys a",
        "there is no object",
    ),
    "value": (
        json_of('{"orders":[{"id":"x"}]}'),
        json_of('{"orders":[]}'),
        "json /orders/*/id",
        'orders[*].id is "x"',
        "there is no orders[*].id",
    ),
    "a word that could be mistaken": (
        page_of("<h1>nothing</h1>"),
        page_of("<h1></h1>"),
        "html h1/text()",
        "the text of h1 is nothing",
        "no text in h1",
    ),
    "whole JSON": (json_of("1"), json_of("2"), "json ", "the JSON value is 1", "the JSON value is 2"),
    "a key with a slash": (json_of('{"a/b~":1}'), json_of('{"a/b~":2}'), "json /a~1b~0", "a/b~ is 1", "a/b~ is 2"),
    "elements": (
        page_of("<ul class=items><li>a</li><li>a</li></ul>"),
        page_of("<ul class=items><li>a</li></ul>"),
        "html ul.items/li",
        "2 times li in ul.items",
        "one li in ul.items",
    ),
    "no element": (page_of("<p>a</p><b>x</b>"), page_of("<p>a</p>"), "html b", "one b", "no b"),
    "attribute": (
        page_of("<a href='/x'>a</a>"),
        page_of("<a href=''>a</a>"),
        "html a/@href",
        "href of a is /x",
        "href of a is empty",
    ),
    "lines": (plain_of("a"), plain_of("a\nb"), "text lines", "1 line of text", "2 lines of text"),
    "line": (plain_of("a"), plain_of("b"), "text line 1", "line 1 is 'a'", "line 1 is 'b'"),
    "body": (
        json_of('{"a":1}'),
        Answer(status=200, headers=(("Content-Type", "application/json"),)),
        "body",
        "no such body",
        "an empty body",
    ),
    "bytes": (
        Answer(status=200, headers=(("Content-Type", "image/png"),), body=b"\0a"),
        Answer(status=200, headers=(("Content-Type", "image/png"),)),
        "body",
        "a body of 2 bytes, SHA-256 ",
        "an empty body",
    ),
    "cookie": (
        json_of("1", ("Set-Cookie", "sid=a; HttpOnly; Path=/")),
        json_of("1"),
        "cookie sid",
        "sets the cookie sid (httponly; path=/)",
        "sets no cookie sid",
    ),
    "cookie deleted": (
        json_of("1", ("Set-Cookie", "sid=a")),
        json_of("1", ("Set-Cookie", "sid=; Max-Age=0")),
        "cookie sid",
        "sets the cookie sid",
        "deletes the cookie sid",
    ),
    "status": (json_of("1"), json_of("1", status=404), "status", "status 200", "status 404"),
    "content type": (
        plain_of("1"),
        json_of("1"),
        "content-type",
        "content type text/plain",
        "content type application/json",
    ),
    "location": (
        json_of("1", ("Location", "/a")),
        json_of("1"),
        "location",
        "Location /a",
        "no Location",
    ),
    "query of the location": (
        json_of("1", ("Location", "/a?n=1")),
        json_of("1", ("Location", "/a?n=2")),
        "location ?n",
        "n=1 in Location",
        "n=2 in Location",
    ),
    "connection": (
        json_of("1"),
        Answer(error="closed the connection without an answer"),
        "connection",
        "a whole answer",
        "closed the connection without an answer",
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_every_kind_of_place_reads_as_english_on_both_sides(name: str) -> None:
    one, other, place, expected, saw = PAIRS[name]
    found = Oracle(places_of(one, "h")).differences(places_of(other, "h"))
    said = next(sides(difference) for difference in found if difference.place == place)
    assert said[0].startswith(expected), said
    assert said[1].startswith(saw), said


def test_a_place_that_is_told_beside_the_status_follows_it() -> None:
    def outcome(answer: Answer) -> Outcome:
        return Outcome(Move(Step(id="view", path="/")), answer, Address("127.0.0.1", 1), 1)

    one, other = outcome(json_of("[1]")), outcome(json_of("[1,2]"))
    difference = Oracle(places_of(one.answer, "h")).differences(places_of(other.answer, "h"))[0]
    assert both(difference, one, other) == ("200, the list has 1 item", "200, the list has 2 items")
    lacks = Difference("expect", "200", "the body lacks 'Grace'")
    assert both(lacks, one, other) == ("200, as the step expects", "200, but the body lacks 'Grace'")
    assert both(lacks, one, outcome(json_of("1", status=404))) == ("200", "404")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("status", "status"),
        ("cookie sid", "cookie sid"),
        ("content-type", "content type"),
        ("location", "Location"),
        ("location ?n", "n in Location"),
        ("json /a/*/b", "a[*].b"),
        ("json /a/#", "number of items in a"),
        ("json /#", "number of items in the list"),
        ("json /{}", "keys of the object"),
        ("html html/body/footer/text()", "text of footer in body"),
        ("html body/a/@href", "href of a in body"),
        ("html ul/li", "number of li in ul"),
        ("text lines", "number of lines"),
        ("text line 3", "line 3"),
        ("body", "body"),
    ],
)
def test_a_place_has_a_name_for_people(place: str, words: str) -> None:
    assert place_words(place) == words
