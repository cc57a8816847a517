import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fungible.check.model import Answer
from fungible.check.oracle.places import MAX_VALUE, places_of

HOST = "shop.test"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


def answer(body: str | bytes = b"", kind: str = "text/html", status: int = 200, **fields: Any) -> Answer:
    headers = (("Content-Type", kind), *fields.pop("headers", ()))
    return Answer(status=status, headers=headers, body=body.encode() if isinstance(body, str) else body, **fields)


def shown(found: Answer, *, but: tuple[str, ...] = ("connection", "status", "content-type", "body")) -> dict[str, Any]:
    """The places as plain dicts: what stands there once is shown as it is."""
    return {
        place: next(iter(values)) if values.total() == 1 else dict(values)
        for place, values in places_of(found, HOST).items()
        if place not in but
    }


# --- heads


def test_no_answer_has_one_place() -> None:
    assert places_of(Answer(error="connection refused"), HOST) == {"connection": Counter(["connection refused"])}


def test_status_and_media_type_are_places_and_other_headers_are_not() -> None:
    found = shown(answer(kind="Text/HTML; charset=utf-8", headers=(("Date", "x"), ("ETag", "y"))), but=())
    assert found == {"connection": "whole", "status": "200", "content-type": "text/html", "body": "empty"}


def test_of_an_answer_that_broke_off_the_body_is_not_compared() -> None:
    assert shown(answer("<p>half", error="the body broke off")) == {}


@pytest.mark.parametrize(
    ("location", "places"),
    [
        ("/login", {"location": "/login"}),
        ("http://shop.test/login", {"location": "/login"}),
        ("https://other.test/x", {"location": "other.test/x"}),
        ("//shop.test/x", {"location": "/x"}),
        ("/x?a=1&b=&a=2", {"location": "/x", "location ?a": {"1": 1, "2": 1}, "location ?b": ""}),
        ("", {"location": ""}),
        ("http://[", {"location": "http://["}),
    ],
)
def test_a_location_is_its_path_and_each_query_value(location: str, places: dict[str, Any]) -> None:
    assert shown(answer(status=303, headers=(("Location", location),))) == places


@pytest.mark.parametrize(
    ("header", "place", "value"),
    [
        ("sid=abc; Path=/; HttpOnly", "cookie sid", "set; httponly; path=/"),
        ("sid=def; httponly; Path=/", "cookie sid", "set; httponly; path=/"),
        ("sid=; Path=/", "cookie sid", "empty; path=/"),
        ('sid=""', "cookie sid", "empty"),
        ("sid=x; Max-Age=0", "cookie sid", "deleted; max-age"),
        ("sid=x; Max-Age=60; Priority=High", "cookie sid", "set; max-age"),
        ("sid=x; SameSite=Lax; Secure", "cookie sid", "set; samesite=Lax; secure"),
        ("wp_d41d8cd98f00b204e9800998ecf8427e=x", "cookie wp_*", "set"),
    ],
)
def test_of_a_cookie_the_name_and_the_attributes_count_but_not_the_value(header: str, place: str, value: str) -> None:
    assert shown(answer(headers=(("Set-Cookie", header),))) == {place: value}


# --- JSON


def test_json_is_taken_apart_by_pointer_without_positions() -> None:
    body = json.dumps({"user": {"id": 7, "a/b~c": None}, "tags": ["x", "x", "y"], "ok": True, "none": [], "no": {}})
    assert shown(answer(body, "application/json")) == {
        "json /{}": "no,none,ok,tags,user",
        "json /user/{}": "a/b~c,id",
        "json /user/id": "7",
        "json /user/a~1b~0c": "null",
        "json /tags/#": "3",
        "json /tags/*": {'"x"': 2, '"y"': 1},
        "json /ok": "true",
        "json /none/#": "0",
        "json /no/{}": "empty",
    }


def test_numbers_and_texts_of_numbers_are_not_the_same() -> None:
    one, other = (places_of(answer(body, "application/json"), HOST) for body in ("[1, true, 1.0]", '["1", 1, 1]'))
    assert one["json /*"] == {"1": 1, "true": 1, "1.0": 1}
    assert other["json /*"] == {'"1"': 1, "1": 2}


def shuffled(value: Any) -> Any:
    """The same value, its keys and items in another order."""
    if isinstance(value, dict):
        return {key: shuffled(item) for key, item in reversed(value.items())}
    if isinstance(value, list):
        return [shuffled(item) for item in reversed(value)]
    return value


@given(JSON)
def test_the_order_of_keys_and_items_is_no_difference(document: Any) -> None:
    one = places_of(answer(json.dumps(document), "application/json"), HOST)
    other = places_of(answer(json.dumps(shuffled(document), indent=1), "application/json"), HOST)
    assert one == other


@pytest.mark.parametrize("kind", ["application/problem+json", "text/plain", ""])
def test_json_is_known_by_its_type_or_by_its_beginning(kind: str) -> None:
    assert shown(answer(' {"a": 1}', kind))["json /a"] == "1"


@pytest.mark.parametrize("body", ['{"a": 1', "[" * 100_000, "{} {}", "[1" + "0" * 5000 + "]"])
def test_what_is_no_json_after_all_is_compared_by_lines(body: str) -> None:
    assert shown(answer(body, "application/json"))["text lines"] == "1"


def test_a_captured_number_does_not_break_the_json_around_it() -> None:
    found = places_of(
        answer('{"id": 123456, "next": "\\/o\\/123456"}', "application/json"),
        HOST,
        lambda text: text.replace("123456", "{{id}}").replace("/o/", "{{o}}"),
    )
    assert found["json /id"] == {"{{id}}": 1}
    assert found["json /next"] == {'"{{o}}{{id}}"': 1}


def test_names_made_unique_are_undone_in_keys_too() -> None:
    def places(token: str) -> Any:
        body = json.dumps({f"ada{token}": {"n": 1}, "ada8": 2, "long": f"ada{token}" * 200})
        return places_of(answer(body, "application/json"), HOST, lambda text: text.replace(f"ada{token}", "ada"))

    assert places("5") == places("9")


def test_two_keys_that_become_one_are_counted_together() -> None:
    found = places_of(answer('{"a1": 5, "a2": 5}', "application/json"), HOST, lambda text: text.replace("2", "1"))
    assert found["json /a1"] == {"5": 2}


def test_a_long_value_is_shown_by_its_beginning_and_its_digest() -> None:
    (value,) = places_of(answer(json.dumps("x" * 1000), "application/json"), HOST)["json "]
    assert len(value) < MAX_VALUE
    assert value.startswith('"xxx')
    assert "1002 characters" in value


# --- markup


def test_a_page_is_taken_apart_by_elements_classes_and_field_names() -> None:
    page = """<!DOCTYPE html><title>Shop</title><body><ul class="items big"><li>a <b>c</b><li>b</ul>
      <input name=csrf type=hidden value="x&amp;y"><br/><!-- no --><a href='/p?x=1' nonce=z style=w>P</a>"""
    assert shown(answer(page)) == {
        "html title": "element",
        "html title/text()": "Shop",
        "html body": "element",
        "html body/ul.big.items": "element",
        "html body/ul.big.items/li": {"element": 2},
        "html body/ul.big.items/li/text()": {"a": 1, "b": 1},
        "html body/ul.big.items/li/b": "element",
        "html body/ul.big.items/li/b/text()": "c",
        "html body/input[name=csrf]": "element",
        "html body/input[name=csrf]/@name": "csrf",
        "html body/input[name=csrf]/@type": "hidden",
        "html body/input[name=csrf]/@value": "x&y",
        "html body/br": "element",
        "html body/a": "element",
        "html body/a/@href": "/p?x=1",
        "html body/a/text()": "P",
    }


def test_elements_whose_end_tags_are_left_out_stand_side_by_side() -> None:
    rows = "<table>" + "<tr><td>1<td>2" * 3 + "</table><p>a<p>b<dl><dt>t<dd>d<dt>u<dd>e</dl><select><option>x<option>y"
    found = shown(answer(rows))
    assert found["html table/tr/td/text()"] == {"1": 3, "2": 3}
    assert found["html p/text()"] == {"a": 1, "b": 1}


def test_a_name_that_a_machine_drew_is_no_part_of_a_place() -> None:
    def places(drawn: str) -> set[str]:
        return set(places_of(answer(f'<input name="{drawn}"><div class="m-{drawn}"><p>x</p></div>'), HOST))

    assert places("d41d8cd98f00b204e9800998ecf8427e") == places("0cc175b9c0f1b6a831c399e269772661")


def test_the_lines_of_a_long_script_are_compared_one_by_one() -> None:
    script = "\n".join(f"var a{n} = 'some words that make it long';" for n in range(20))
    found = shown(answer(f"<script>{script}</script>"))["html script/text()"]
    assert len(found) == 20


@pytest.mark.parametrize(
    "page", ["<![foo", "<!DOCTYPE [", "<a b='", "</p></p>", "<p" * 5000, "<![CDATA[x]]>", "&#xFFFFFFF;"]
)
def test_broken_markup_is_compared_too(page: str) -> None:
    assert places_of(answer(page), HOST)


def test_xml_is_taken_apart_as_markup() -> None:
    assert shown(answer("<feed><id>7</id></feed>", "application/atom+xml"))["html feed/id/text()"] == "7"


# --- other bodies


def test_text_is_compared_line_by_line() -> None:
    assert shown(answer("a\n b \n", "text/plain")) == {"text lines": "2", "text line 1": "a", "text line 2": "b"}


def test_text_of_very_many_lines_is_compared_as_a_whole() -> None:
    found = places_of(answer("x\n" * 5000, "text/plain"), HOST)
    assert "10000 characters" in next(iter(found["body"]))


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"\x89PNG\r\n\x1a\n\0\0", "image/png"), (b"\0\1", ""), (b"\xff", "application/pdf"), (b"\xfe", "")],
)
def test_a_binary_body_is_compared_by_length_and_digest(body: bytes, kind: str) -> None:
    (value,) = places_of(answer(body, kind), HOST)["body"]
    assert value.startswith(f"{len(body)} bytes, SHA-256 ")


def test_two_binary_bodies_of_one_byte_differ() -> None:
    assert places_of(answer(b"\xff", ""), HOST) != places_of(answer(b"\xfe", ""), HOST)


def test_text_of_no_known_type_may_be_cut_inside_a_character_where_it_is_looked_at() -> None:
    body = ("a" * 4095 + "é" * 10).encode()
    assert "text lines" in places_of(answer(body, "application/x-own"), HOST)


def test_of_a_stream_that_was_cut_the_first_event_is_compared() -> None:
    def places(events: int) -> Any:
        body = "".join(f"id: {n}\r\ndata: {n}\r\n\r\n" for n in range(events))
        return places_of(answer(body, "text/event-stream", truncated=True), HOST)

    assert places(1) == places(5)
    assert places(1) != places(0)


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("kind", ["application/json", "text/html", "text/plain", "application/octet-stream"])
def test_truncated_bodies_have_places(kind: str, cut: bool) -> None:
    assert len(places_of(answer('{"a": [1, 2, "<p>', kind, truncated=cut), HOST)) > 3


KINDS = st.sampled_from(
    ["", "text/html", "application/json", "text/plain", "image/svg+xml", "image/png", "text/event-stream", "a/b; c"]
)


@given(st.binary(), KINDS, st.booleans())
def test_any_bytes_of_any_type_have_places(body: bytes, kind: str, truncated: bool) -> None:
    one = places_of(answer(body, kind, truncated=truncated), HOST)
    assert one == places_of(answer(body, kind, truncated=truncated), HOST)
    assert all(values.total() for values in one.values())


@given(st.text(st.sampled_from("<>/=\"'&;!-[]{}: \n\0abpli1"), max_size=80), KINDS, st.text())
def test_any_text_and_any_header_has_places(body: str, kind: str, header: str) -> None:
    headers = (("Location", header), ("Set-Cookie", header))
    found = places_of(answer(body, kind, headers=headers), HOST, lambda text: text.replace("a", "\0"))
    assert "location" in found


@given(JSON)
def test_taking_out_what_is_not_there_changes_nothing(document: Any) -> None:
    found = answer(json.dumps(document), "application/json")
    assert places_of(found, HOST, lambda text: text + "") == places_of(found, HOST)
