import base64
import contextlib
import json
import string
import urllib.parse
from collections.abc import Callable
from email import message_from_bytes
from email.message import Message
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from fungible.check.http.client import Request
from fungible.check.http.jar import Jar
from fungible.check.http.template import (
    UnboundError,
    at_path,
    captured,
    encoded_target,
    fill,
    fill_all,
    names_in,
    needs,
    request_for,
    unmet,
)
from fungible.check.model import Answer, Capture, Expect, FilePart, Step

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def step(**fields: Any) -> Step:
    return Step(**({"id": "s", "path": "/"} | fields))


def request(values: dict[str, str] | None = None, cookies: str = "", **fields: Any) -> Request:
    jar = Jar()
    jar.take(cookies + "; Path=/", "/")
    return request_for(step(**fields), values or {}, host="shop.test", scheme="http", cookies=jar)


def header(sent: Request, name: str) -> str | None:
    found = [text for key, text in sent.headers if key.lower() == name]
    assert len(found) <= 1
    return found[0] if found else None


def answer(body: str | bytes = b"", status: int = 200, **headers: str) -> Answer:
    return Answer(
        status=status,
        headers=tuple((name.replace("_", "-"), text) for name, text in headers.items()),
        body=body.encode() if isinstance(body, str) else body,
    )


def json_answer(document: Any) -> Answer:
    return answer(json.dumps(document), Content_Type="application/json")


# --- filling in


def test_a_name_is_replaced_by_its_value_and_percent_encoded_on_demand() -> None:
    assert fill("/o/{{id}}?next={{id|url}}", {"id": "a/b c"}) == "/o/a/b c?next=a%2Fb%20c"


def test_a_name_without_a_value_is_an_error_that_names_it() -> None:
    with pytest.raises(UnboundError) as caught:
        fill("{{token}}", {})
    assert caught.value.name == "token"


@pytest.mark.parametrize("text", ["{{ token }}", "{token}", "{{token|upper}}", "{{1st}}", "{{}}", "{{token}"])
def test_what_is_no_placeholder_stays_as_it_is(text: str) -> None:
    assert fill(text, {"token": "x"}) == text
    assert names_in(text) == set()


def test_a_value_that_looks_like_a_placeholder_is_not_filled_in_again() -> None:
    assert fill("{{a}}", {"a": "{{a}}"}) == "{{a}}"


def test_keys_and_items_of_json_are_filled_too() -> None:
    values = {"a": "1", "b": "2"}
    assert fill_all({"{{a}}": ["{{b}}", 3, None, {"x": "{{a}}{{b}}"}]}, values) == {"1": ["2", 3, None, {"x": "12"}]}


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_filling_in_gives_text_or_names_what_is_missing(text: str, values: dict[str, str]) -> None:
    if names_in(text) <= values.keys():
        assert isinstance(fill(text, values), str)
    else:
        with pytest.raises(UnboundError):
            fill(text, values)


@given(st.text(st.characters(), max_size=30), st.sampled_from(["{{a}}", "{{a|url}}"]))
def test_any_value_can_be_filled_in(value: str, placeholder: str) -> None:
    filled = fill(f"<{placeholder}>", {"a": value})
    if placeholder == "{{a}}":
        assert filled == f"<{value}>"
    else:
        assert set(filled[1:-1]) <= set(string.ascii_letters + string.digits + "-._~%")
        assert urllib.parse.unquote(filled[1:-1], errors="surrogatepass") == value


def test_a_step_needs_what_any_part_of_its_request_names() -> None:
    made = step(
        path="/{{a}}",
        headers={"X": "{{b}}"},
        auth=("{{c}}", "{{d}}"),
        form={"{{e}}": ["{{f}}"]},
        files=(FilePart(field="f", filename="{{g}}", content="{{h}}"),),
        expect=Expect(contains=("{{not}}",)),
    )
    assert needs(made) == set("abcdefgh")
    assert needs(step(json={"x": ["{{i}}"]})) == {"i"}
    assert needs(step(body="{{j|url}}")) == {"j"}


# --- targets


@pytest.mark.parametrize(
    ("given_target", "sent"),
    [
        ("/a?b=c&d=%20", "/a?b=c&d=%20"),
        ("", "/"),
        ("orders", "/orders"),
        ("?q=1", "/?q=1"),
        ("/a b", "/a%20b"),
        ("/é", "/%C3%A9"),
        ("/a\r\nX: y", "/a%0D%0AX:%20y"),
        ("/a#b", "/a"),
        ('/"<>\\^`{|}', "/%22%3C%3E%5C%5E%60%7B%7C%7D"),
        ("/100%", "/100%"),
        ("/a;b=1,2/(c)'!*@:$&+=~[0]", "/a;b=1,2/(c)'!*@:$&+=~[0]"),
        ("http://shop.test:8000/orders/5?x=1#y", "/orders/5?x=1"),
        ("HTTPS://shop.test", "/"),
        ("https://shop.test?x=1", "/?x=1"),
        ("/login?next=http://shop.test/", "/login?next=http://shop.test/"),
    ],
)
def test_a_target_is_encoded_where_it_must_be_and_nowhere_else(given_target: str, sent: str) -> None:
    assert encoded_target(given_target) == sent


@given(st.text(st.characters()))
def test_any_text_becomes_a_target_that_fits_the_request_line(target: str) -> None:
    encoded = encoded_target(target)
    assert encoded.startswith("/")
    assert all("!" <= char <= "~" for char in encoded)
    assert encoded_target(encoded) == encoded


# --- requests


def test_every_request_names_the_one_host() -> None:
    sent = request(path="/x")
    assert (sent.method, sent.target) == ("GET", "/x")
    assert header(sent, "host") == header(sent, "x-forwarded-host") == "shop.test"
    assert header(sent, "accept-encoding") == "identity"


def test_headers_of_a_step_replace_ours_whatever_their_case() -> None:
    sent = request(headers={"hOST": "other", "accept": "text/html"})
    assert (header(sent, "host"), header(sent, "accept")) == ("other", "text/html")


def test_line_breaks_in_a_header_become_spaces() -> None:
    assert header(request({"v": "a\r\nB: c\0"}, headers={"X": "{{v}}"}), "x") == "a  B: c "


@pytest.mark.parametrize(
    "path",
    [
        "/index.php{{location}}",
        "{{whole}}",
        "http://shop.test/index.php{{location}}",
        "/{{page}}?db=app",
        "/admin/../index.php",
    ],
)
def test_which_cookies_fit_is_told_by_the_path_with_its_values_in(path: str) -> None:
    values = {"location": "?db=app", "whole": "http://shop.test/index.php?db=app", "page": "index.php"}
    jar = Jar()
    jar.set("key", "here", "/index.php")
    jar.set("other", "there", "/other.php")
    sent = request_for(step(path=path), values, host="shop.test", scheme="http", cookies=jar)
    assert header(sent, "cookie") == (None if "/../" in path else "key=here")


def test_the_jars_cookies_are_sent_unless_the_step_has_a_cookie_header() -> None:
    assert header(request(cookies="a=1"), "cookie") == "a=1"
    assert header(request(cookies="a=1", headers={"cookie": "a=0"}), "cookie") == "a=0"
    assert header(request(cookies="a=1", headers={"Cookie": ""}), "cookie") is None
    assert header(request(), "cookie") is None


def test_basic_authentication_is_encoded_as_utf_8() -> None:
    sent = header(request({"p": "pä:ß"}, auth=("ada", "{{p}}")), "authorization") or ""
    assert base64.b64decode(sent.removeprefix("Basic ")).decode() == "ada:pä:ß"


@pytest.mark.parametrize(
    ("fields", "body", "content_type"),
    [
        ({"json": {"a": ["{{v}}", 1, None]}}, '{"a":["é&",1,null]}'.encode(), "application/json"),
        ({"json": None}, b"null", "application/json"),
        ({"form": {"a": "{{v}}", "b": ["1", "2"]}}, b"a=%C3%A9%26&b=1&b=2", "application/x-www-form-urlencoded"),
        ({"form": {}}, b"", "application/x-www-form-urlencoded"),
        ({"body": "<{{v}}>"}, "<é&>".encode(), None),
        ({"body_base64": "AP8="}, b"\x00\xff", None),
        ({}, b"", None),
    ],
)
def test_each_kind_of_body_is_sent_with_its_content_type(
    fields: dict[str, Any], body: bytes, content_type: str | None
) -> None:
    sent = request({"v": "é&"}, method="post", **fields)
    assert sent.method == "POST"
    assert sent.body == body
    assert header(sent, "content-type") == content_type


def parts_of(sent: Request) -> list[Message]:
    whole = message_from_bytes(f"Content-Type: {header(sent, 'content-type')}\r\n\r\n".encode() + sent.body)
    return cast(list[Message], whole.get_payload())


def test_a_multipart_body_holds_fields_and_files() -> None:
    sent = request(
        {"v": "x"},
        form={"a": ["{{v}}", "2"]},
        files=(
            FilePart(field="f", filename="{{v}}.txt", content="<{{v}}>", content_type="text/plain"),
            FilePart(field="g", filename="g.bin", content_base64="AP8K"),
        ),
        headers={"content-type": "multipart/form-data; boundary=of-a-recording"},
    )
    fields = [
        (part.get_param("name", header="content-disposition"), part.get_filename(), part.get_payload(decode=True))
        for part in parts_of(sent)
    ]
    assert fields == [
        ("a", None, b"x"),
        ("a", None, b"2"),
        ("f", "x.txt", b"<x>"),
        ("g", "g.bin", b"\x00\xff\n"),
    ]


def test_a_multipart_body_is_the_same_each_time() -> None:
    fields: dict[str, Any] = {"form": {"a": "1"}, "files": (FilePart(field="f", filename="f", content="x"),)}
    assert request(**fields) == request(**fields)


def test_quotes_and_line_breaks_in_a_file_name_stay_inside_its_quotes() -> None:
    sent = request(files=(FilePart(field='a"b', filename='x"\r\nX-Injected: 1', content=""),))
    (part,) = parts_of(sent)
    assert part["X-Injected"] is None
    assert part.get_filename() == "x%22%0D%0AX-Injected: 1"


STRANGE = st.text(st.characters())  # lone surrogates among them, as JSON can hold them


@given(STRANGE, st.sampled_from(["json", "form", "body", "file", "auth", "header", "path"]))
def test_any_value_can_be_sent(value: str, where: str) -> None:
    ways: dict[str, Callable[[], dict[str, Any]]] = {
        "json": lambda: {"json": {"a": "{{v}}"}},
        "form": lambda: {"form": {"a": "{{v}}"}},
        "body": lambda: {"body": "{{v}}"},
        "file": lambda: {
            "form": {"{{v}}": "{{v}}"},
            "files": (FilePart(field="f", filename="{{v}}", content="{{v}}"),),
        },
        "auth": lambda: {"auth": ("{{v}}", "{{v}}")},
        "header": lambda: {"headers": {"X": "{{v}}"}},
        "path": lambda: {"path": "/{{v}}?{{v|url}}"},
    }
    wire = request({"v": value}, method="POST", **ways[where]()).wire()
    head, _, body = wire.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")


# --- taking values out of answers


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.0.b", 1),
        ("/a/0/b", 1),
        ("a.-1.b", 1),
        ("", {"a": [{"b": 1}], "x/y": 2, "m~n": 3}),
        ("/x~1y", 2),
        ("/m~0n", 3),
    ],
)
def test_a_path_leads_to_its_value(path: str, value: Any) -> None:
    assert at_path({"a": [{"b": 1}], "x/y": 2, "m~n": 3}, path) == value


@pytest.mark.parametrize("path", ["b", "a.1", "a.x", "/a/-", "/", "a.0.b.c", "a.0.b.0", "a." + "9" * 5000])
def test_where_nothing_stands_there_is_a_lookup_error(path: str) -> None:
    with pytest.raises(LookupError):
        at_path({"a": [{"b": 1}]}, path)


@given(JSON, st.text())
def test_a_path_finds_something_or_raises_lookup_error(document: Any, path: str) -> None:
    with contextlib.suppress(LookupError):
        at_path(document, path)


def taken(found: Answer, jar: Jar | None = None, **fields: Any) -> str | None:
    return captured(Capture(name="v", **fields), found, jar or Jar())


def test_each_source_gives_its_value() -> None:
    jar = Jar()
    jar.set("sid", "abc")
    page = answer("<p>hello 7</p>", Location="/orders/5")
    assert taken(page, source="header", header="location") == "/orders/5"
    assert taken(page, source="body", regex=r"hello (\d)") == "7"
    assert taken(page, source="body", regex=r"hello \d") == "hello 7"
    assert taken(page, jar, source="cookie", cookie="sid") == "abc"
    assert taken(json_answer({"id": 7}), source="json", path="id") == "7"
    assert taken(json_answer({"ok": True}), source="json", path="/ok") == "true"
    assert taken(json_answer([{"a": 1}]), source="json", path="0") == '{"a": 1}'


@pytest.mark.parametrize(
    ("found", "fields"),
    [
        (json_answer({"id": None}), {"source": "json", "path": "id"}),
        (json_answer({}), {"source": "json", "path": "id"}),
        (answer("no JSON"), {"source": "json", "path": "id"}),
        (answer("[" * 100_000), {"source": "json", "path": "0"}),
        (answer(b"\xff\xfe\xff"), {"source": "json", "path": "0"}),
        (answer(""), {"source": "header", "header": "location"}),
        (answer(""), {"source": "cookie", "cookie": "sid"}),
        (answer("abc"), {"source": "body", "regex": "x"}),
        (answer("abc"), {"source": "body", "regex": "a(x)?"}),
        (Answer(error="connection refused"), {"source": "body"}),
    ],
)
def test_where_nothing_is_found_the_default_stands_in(found: Answer, fields: dict[str, Any]) -> None:
    assert taken(found, **fields) is None
    assert taken(found, **fields, default="d") == "d"


@pytest.mark.parametrize(
    ("value", "decode", "plain"),
    [
        ("a&amp;b", ("html",), "a&b"),
        ("a%20b", ("url",), "a b"),
        ("YWI_Pw", ("base64",), "ab??"),
        ("YWI/\nPw==", ("base64",), "ab??"),
        ("YSZhbXA7Yg==", ("base64", "html"), "a&b"),
        ("%%%", ("base64",), "%%%"),
        ("/w==", ("base64",), "/w=="),
    ],
)
def test_encodings_are_undone_in_order_and_left_where_they_are_none(
    value: str, decode: tuple[Any, ...], plain: str
) -> None:
    assert taken(answer(value), source="body", decode=decode) == plain


# --- expectations


@pytest.mark.parametrize(
    ("expect", "why"),
    [
        (Expect(status=(200, 201)), None),
        (Expect(status=(201, 204)), "status 200, expected 201 or 204"),
        (Expect(contains=("ada",)), None),
        (Expect(contains=("{{who}}",)), "the body lacks 'grace (1)'"),
        (Expect(lacks=("{{who}}",)), None),
        (Expect(lacks=("ada",)), "the body has 'ada'"),
        (Expect(location="^/orders/[0-9]+$"), None),
        (Expect(location="/{{who}}"), "Location '/orders/5' does not match '/grace (1)'"),
        (Expect(json={"user.name": "ada", "/user/n": 1}), None),
        (Expect(json={"user.name": "{{who}}"}), "JSON user.name is 'ada', expected 'grace (1)'"),
        (Expect(json={"user.id": 1}), "JSON user.id is missing, expected 1"),
        (Expect(contains=("{{nobody}}",)), "the expectation needs {{nobody}}, which no earlier step gave"),
        (Expect(), None),
    ],
)
def test_an_expectation_is_met_or_says_why_not(expect: Expect, why: str | None) -> None:
    found = answer('{"user": {"name": "ada", "n": 1}}', Location="/orders/5")
    assert unmet(expect, found, {"who": "grace (1)"}) == why


@pytest.mark.parametrize("value", ["(", "a+b", "/orders?id=5", "[x"])
def test_a_value_stands_for_itself_in_a_location_pattern(value: str) -> None:
    found = answer("", 303, Location=f"/to/{value}")
    assert unmet(Expect(location="^/to/{{v}}$"), found, {"v": value}) is None


def test_json_is_expected_of_what_is_none() -> None:
    assert unmet(Expect(json={"a": 1}), answer("<p>"), {}) == "the body is not JSON"


def test_an_answer_that_broke_off_meets_no_expectation() -> None:
    assert unmet(Expect(), Answer(status=200, error="the body broke off"), {}) == "the body broke off"


@given(st.binary(), st.text(), JSON)
def test_no_answer_is_too_strange_for_an_expectation(body: bytes, text: str, wanted: Any) -> None:
    found = answer(body)
    unmet(Expect(contains=(text,), lacks=(text,), json={text: wanted}), found, {})
    taken(found, source="json", path=text, decode=("base64", "html", "url"))
    assert step().json is UNSET
