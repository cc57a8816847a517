import base64
import hashlib
import json
import string
import urllib.parse
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import answer, assert_same_requests, exchange, replayed

from fungible.check.flows import sinks
from fungible.check.flows.binding import bind, confirm
from fungible.check.http.jar import Jar
from fungible.check.http.template import captured
from fungible.check.model import Answer, Capture, Exchange, FilePart, Flow, Step

TOKEN = "pX3sk29fJw0aQzLm81TtYvBc"
OTHER = "k7Rw2mZq90sLxE4uHn6cVb1D"
UUID = "3f2b6a10-9c4d-4f6e-8a57-0d1c2b3a4f5e"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJlLW9mLWl0"


def bound(*exchanges: Exchange, **cookies: str) -> Flow:
    flow = bind(exchanges, cookies=cookies)
    assert_same_requests(flow, exchanges)
    return flow


def only_capture(flow: Flow) -> tuple[str, Capture]:
    [(step, capture)] = [(step.id, capture) for step in flow.steps for capture in step.capture]
    return step, capture


def test_a_csrf_form_sign_in_and_a_signed_out_session() -> None:
    page = (
        '<form method="post"><input type="hidden" name="csrfmiddlewaretoken" value="{}"><input name="username"></form>'
    )
    exchanges = [
        exchange("form", "/login/", answer(page.format(TOKEN), Set_Cookie="csrftoken=abcdefgh12345678; Path=/")),
        exchange(
            "login",
            "/login/",
            answer(status=302, Location="/home/", Set_Cookie=f"sessionid={UUID}; Path=/"),
            "POST",
            form={"csrfmiddlewaretoken": TOKEN, "username": "root"},
        ),
        exchange("home", "/home/", answer(page.format(OTHER))),
        exchange(
            "logout",
            "/logout/",
            answer(Set_Cookie="sessionid=; Max-Age=0; Path=/"),
            "POST",
            form={"csrfmiddlewaretoken": OTHER},
        ),
        exchange("replay", "/home/", answer(status=302), headers={"Cookie": f"sessionid={UUID}"}),
    ]
    flow = bound(*exchanges)
    assert flow.steps[1].form == {"csrfmiddlewaretoken": "{{csrfmiddlewaretoken}}", "username": "root"}
    assert flow.steps[3].form == {"csrfmiddlewaretoken": "{{csrfmiddlewaretoken_2}}"}
    assert flow.steps[4].headers == {"Cookie": "sessionid={{sessionid}}"}
    assert [[c.name for c in step.capture] for step in flow.steps] == [
        ["csrfmiddlewaretoken"],
        ["sessionid"],
        ["csrfmiddlewaretoken_2"],
        [],
        [],
    ]
    assert all(c.default is None for step in flow.steps for c in step.capture)


@pytest.mark.parametrize(
    "page",
    [
        "<input name='t' type=hidden value='{}'>",
        "<input value={} name=t type=hidden>",
        '<INPUT TYPE="hidden" VALUE="{}" data-x=1 NAME="t">',
        '<meta name="t" content="{}"/>',
        '<meta content="{}" property="og:x" name=t>',
        "<script>window.t = '{}';</script>",
        '<script type="application/json">{{"t":"{}"}}</script>',
        '<body hx-headers=\'{{"t": "{}"}}\'>',
        '<div data-t="{}"></div>',
        '<form action="/other"><input type=hidden name=t value="zzzz9999zzzz9999"></form><form action="/go"><input type=hidden name=t value="{}"></form>',
    ],
)
def test_a_token_is_found_wherever_pages_put_it(page: str) -> None:
    flow = bound(
        exchange("a", "/", answer(page.format(TOKEN))),
        exchange("b", "/", answer(), "POST", headers={"X-CSRF-Token": TOKEN}),
    )
    [capture] = flow.steps[0].capture
    assert flow.steps[1].headers == {"X-CSRF-Token": f"{{{{{capture.name}}}}}"}
    assert capture.name in {"t", "data_t"}
    assert captured(capture, answer(page.format(OTHER)), Jar()) == OTHER


def test_uuids_in_json_bind_in_paths_bodies_and_inside_longer_values() -> None:
    flow = bound(
        exchange(
            "create", "/items", answer({"data": {"item": {"id": UUID, "name": "A"}}}, 201), "POST", json={"name": "A"}
        ),
        exchange("read", f"/items/{UUID}", answer({"id": UUID})),
        exchange("file", f"/files/item-{UUID}.json?of={UUID}", answer()),
        exchange("order", "/orders", answer(), "POST", json={"lines": [{"item": UUID, "n": 2}]}),
    )
    assert only_capture(flow) == ("create", Capture(name="id", source="json", path="/data/item/id"))
    assert [step.path for step in flow.steps] == [
        "/items",
        "/items/{{id}}",
        "/files/item-{{id}}.json?of={{id}}",
        "/orders",
    ]
    assert flow.steps[3].json == {"lines": [{"item": "{{id}}", "n": 2}]}


def test_a_jwt_is_one_value() -> None:
    flow = bound(
        exchange(
            "login", "/token", answer({"access_token": JWT, "token_type": "bearer"}), "POST", form={"username": "u"}
        ),
        exchange("me", "/me", answer(), headers={"Authorization": f"Bearer {JWT}"}),
    )
    assert only_capture(flow) == ("login", Capture(name="access_token", source="json", path="/access_token"))
    assert flow.steps[1].headers == {"Authorization": "Bearer {{access_token}}"}


def test_location_gives_identifiers() -> None:
    flow = bound(
        exchange(
            "create",
            "/orders",
            answer(status=303, Location="http://app.test/orders/17/lines?draft=1"),
            "POST",
            form={"a": "b"},
        ),
        exchange("read", "/orders/17/lines?draft=1", answer()),
        exchange("edit", "/orders/17/edit", answer()),
    )
    step, capture = only_capture(flow)
    assert (step, capture.source, capture.header, capture.default) == ("create", "header", "Location", "17")
    assert [one.path for one in flow.steps[1:]] == ["/orders/{{order}}/lines?draft=1", "/orders/{{order}}/edit"]
    assert captured(capture, answer(status=303, Location="/orders/18/lines?draft=1"), Jar()) in {"18", "17"}


def test_a_link_gives_the_identifier_of_its_own_path_alone() -> None:
    page = '<a href="/items/3">x</a> <a href="/items/3/edit?next=%2Fa">edit</a><a href="/about">a</a>'
    flow = bound(
        exchange("list", "/", answer(page)),
        exchange("edit", "/items/3/edit", answer()),
        exchange("other", "/users/3/edit", answer()),
    )
    assert [step.path for step in flow.steps] == ["/", "/items/{{item}}/edit", "/users/3/edit"]


def test_short_ids_bind_where_the_names_speak_of_one_thing() -> None:
    flow = bound(
        exchange("cart", "/carts", answer({"id": 1, "total": 0}), "POST", json={"n": 1}),
        exchange("product", "/products/1", answer({"id": 1})),
        exchange(
            "add",
            "/carts/1/lines?page=1",
            answer({"id": 1, "cart_id": 1}),
            "POST",
            form={"quantity": "1", "cart_id": "1"},
        ),
    )
    assert flow.steps[1].path == "/products/1"
    assert flow.steps[2].path == "/carts/{{id}}/lines?page=1"
    assert flow.steps[2].form == {"quantity": "1", "cart_id": "{{id}}"}
    assert only_capture(flow)[1].default == "1"


def test_numbers_in_json_are_bound_only_where_they_stay_numbers() -> None:
    flow = bound(
        exchange("cart", "/carts", answer({"id": 81}), "POST"),
        exchange("pay", "/payments", answer(), "POST", json={"cart_id": 81, "amount": 81}),
    )
    expected = "{{id|json}}" if sinks.numbers_can_be_filled() else 81
    assert flow.steps[1].json == {"cart_id": expected, "amount": 81}


def test_what_the_client_sent_first_is_its_own() -> None:
    flow = bound(
        exchange(
            "create",
            f"/items?ref={OTHER}",
            answer({"id": UUID, "ref": OTHER, "email": "ada@example.org"}),
            "PUT",
            json={"id": UUID, "email": "ada@example.org"},
        ),
        exchange("read", f"/items/{UUID}", answer()),
        exchange(
            "again",
            "/login",
            answer(),
            "POST",
            form={"email": "ada@example.org", "ref": OTHER, "theme": "dark-theme-1"},
        ),
        exchange("theme", "/theme/dark-theme-1", answer()),
        theme="dark-theme-1",
    )
    assert not any(step.capture for step in flow.steps)


def test_uploaded_names_are_the_client_s_own() -> None:
    flow = bound(
        exchange(
            "up",
            "/",
            answer('<a href="/files/demo-1.0.tar.gz">x</a>'),
            "POST",
            files=(FilePart(field="f", filename="demo-1.0.tar.gz", content="x"),),
        ),
        exchange("down", "/files/demo-1.0.tar.gz", answer()),
    )
    assert not flow.steps[0].capture


def test_constants_words_and_booleans_are_no_references() -> None:
    flow = bound(
        exchange(
            "a",
            "/",
            answer(
                {"role": "admin", "state": "pending", "ok": True, "flag": "true", "kind": "account", "next": "/admin/"}
            ),
        ),
        exchange(
            "b",
            "/account/pending?next=/admin/",
            answer(),
            "POST",
            json={"role": "admin", "ok": True, "flag": "true", "state": "pending"},
        ),
    )
    assert not flow.steps[0].capture


def test_a_short_value_is_taken_from_hidden_inputs_and_not_from_visible_ones() -> None:
    page = '<form action="/buy"><input type="hidden" name="product" value="3"><input name="quantity" value="1"></form>'
    flow = bound(
        exchange("a", "/shop", answer(page)),
        exchange("b", "/buy", answer(), "POST", form={"product": "3", "quantity": "1"}),
    )
    assert flow.steps[1].form == {"product": "{{product}}", "quantity": "1"}


def test_a_value_that_may_be_constant_has_a_default_and_a_token_has_none() -> None:
    flow = bound(
        exchange("a", "/shop", answer({"slug": "shoes", "title": "Blue Widget", "etag": TOKEN})),
        exchange("b", "/shop/shoes", answer(), "PUT", json={"title": "Blue Widget", "etag": TOKEN}),
    )
    assert {c.name: c.default for c in flow.steps[0].capture} == {"slug": "shoes", "title": "Blue Widget", "etag": None}


def test_encodings_are_undone_and_done_again() -> None:
    secret = "a/b+c=9&d é"
    coded = base64.b64encode(b"user-77:secret").decode()
    flow = bound(
        exchange(
            "a",
            "/",
            answer(
                '<input type="hidden" name="state" value="x&amp;y=&quot;9&quot;"><a href="/go?code=%C3%A9%2F12345">x</a>',
                Set_Cookie=f"xsrf={urllib.parse.quote(TOKEN + '==', safe='')}; Path=/",
            ),
        ),
        exchange(
            "b",
            "/s",
            answer({"cursor": secret, "blob": coded}),
            "POST",
            form={"state": 'x&y="9"'},
            headers={"X-XSRF-TOKEN": TOKEN + "=="},
        ),
        exchange("c", f"/list?cursor={urllib.parse.quote(secret, safe='')}&code=%C3%A9%2F12345", answer()),
        exchange("d", "/who", answer(), "POST", json={"who": "user-77:secret"}),
    )
    assert flow.steps[1].form == {"state": "{{state}}"}
    assert flow.steps[1].headers == {"X-XSRF-TOKEN": "{{xsrf}}"}
    assert flow.steps[2].path == "/list?cursor={{cursor|url}}&code={{code|url}}"
    assert flow.steps[3].json == {"who": "{{blob}}"}
    assert {c.name: c.decode for step in flow.steps for c in step.capture} == {
        "state": ("html",),
        "xsrf": ("url",),
        "cursor": (),
        "code": ("url",),
        "blob": ("base64",),
    }


def test_the_surest_place_counts_then_the_latest() -> None:
    page = f'<meta name="csrf-token" content="{TOKEN}"><script>var x = "{TOKEN}"</script>'
    flow = bound(
        exchange("one", "/a", answer({"list": [{"t": TOKEN}]}, X_Token=TOKEN)),
        exchange("two", "/b", answer(page)),
        exchange("three", "/c", answer(page)),
        exchange("four", "/d", answer({"t": [TOKEN]})),
        exchange("five", "/e", answer(), "POST", headers={"X-CSRF-Token": TOKEN}),
    )
    step, capture = only_capture(flow)
    assert step == "three"
    assert capture.name == "csrf_token"


def test_an_answer_that_repeats_its_request_is_no_source() -> None:
    flow = bound(
        exchange("create", "/items", answer({"id": UUID}), "POST"),
        exchange("read", f"/items/{UUID}", answer({"id": UUID})),
        exchange("delete", f"/items/{UUID}", answer(), "DELETE"),
    )
    assert only_capture(flow)[0] == "create"


def test_multipart_text_and_raw_bodies_are_places_too() -> None:
    flow = bound(
        exchange("a", "/", answer({"token": TOKEN, "id": UUID})),
        exchange(
            "b",
            "/up",
            answer(),
            "POST",
            form={"token": TOKEN},
            files=(FilePart(field="f", filename="a.txt", content=f"ref: {UUID}"),),
        ),
        exchange("c", "/soap", answer(), "POST", body=f"<t>{TOKEN}</t>", headers={"Content-Type": "text/xml"}),
        exchange(
            "d",
            "/form",
            answer(),
            "POST",
            body=f"b=*&id={UUID}&b=2",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        ),
    )
    assert flow.steps[1].form == {"token": "{{token}}"}
    assert flow.steps[1].files[0].content == "ref: {{id}}"
    assert flow.steps[2].body == "<t>{{token}}</t>"
    assert flow.steps[3].body == "b=*&id={{id}}&b=2"


def test_a_set_cookie_of_a_step_that_leaves_the_jar_alone_is_read_from_its_header() -> None:
    flow = bound(
        exchange("a", "/", answer(Set_Cookie=f"sid={UUID}; Path=/"), headers={"Cookie": ""}),
        exchange("b", "/", answer(), headers={"Cookie": f"sid={UUID}"}),
    )
    assert only_capture(flow)[1].header == "Set-Cookie"


def test_origin_and_referer_are_left() -> None:
    headers = {"Origin": f"http://{UUID}", "Referer": f"http://{{{{host}}}}/{UUID}"}
    flow = bound(exchange("a", "/", answer({"id": UUID})), exchange("b", "/", answer(), headers=headers))
    assert flow.steps[1].headers == headers


def test_what_two_runs_have_in_common_gets_a_default() -> None:
    flow = bound(
        exchange("a", "/", answer({"token": TOKEN, "id": UUID})),
        exchange("b", f"/{UUID}", answer(), headers={"X-Token": TOKEN}),
    )
    confirmed = confirm(flow, {"token": "same", "id": "1"}, {"token": "same", "id": "2"})
    assert {c.name: c.default for c in confirmed.steps[0].capture} == {"token": "same", "id": None}


def test_names_never_clash_with_what_the_recording_has() -> None:
    flow = bound(
        exchange("a", "/", answer({"host": UUID, "token-1": TOKEN, "9": OTHER})),
        exchange("b", f"/{UUID}", answer(), headers={"A": TOKEN, "B": OTHER}),
    )
    assert flow.steps[1].path == "/{{host_2}}"
    assert flow.steps[1].headers == {"A": "{{token_1}}", "B": "{{value_9}}"}


_token = st.sampled_from(
    [TOKEN, OTHER, UUID, JWT, "17", "a3f2", "Blue Widget", "a/b c+d&e=12", 'é"<9>;x', "shoes", "/items/5/x"]
)
_leaf = _token | st.text(string.printable, max_size=12) | st.integers(-5, 2**40) | st.booleans() | st.none()
_document = st.recursive(
    _leaf,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "item_id", "token", "a", "b/c", "~", ""]), inner, max_size=3)
    ),
    max_leaves=6,
)
_no_placeholder = _document.filter(lambda v: "{{" not in json.dumps(v))


def _escaped(value: Any) -> str:
    return str(value).replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


@st.composite
def _exchanges(draw: st.DrawFn) -> Exchange:
    value = draw(_token)
    quoted = urllib.parse.quote(value, safe="")
    body = draw(
        st.one_of(
            _document.map(answer),
            st.text(max_size=40).map(lambda text: answer("<html>" + text)),
            st.just(
                answer(
                    f'<input name="t" type="hidden" value="{_escaped(value)}"><a href="/items/{quoted}?x={quoted}">x</a><script>t = "{value}"</script>'
                )
            ),
            st.just(answer(status=302, Location=f"/items/{quoted}?code={quoted}", Set_Cookie=f"sid={quoted}; Path=/")),
            st.binary(max_size=20).map(answer),
        )
    )
    sent = draw(_token)
    coded = urllib.parse.quote(sent, safe="")
    given: dict[str, Any] = draw(
        st.one_of(
            st.just({}),
            _no_placeholder.map(lambda v: {"json": v}),
            st.just({"form": {"t": sent, "id": [sent, "x"]}}),
            st.just({"headers": {"X-Token": sent, "Authorization": f"Bearer {sent}", "Cookie": f"sid={coded}; b=1"}}),
            st.just({"body": f"t={coded}&b", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}),
        )
    )
    path = draw(st.sampled_from(["/", f"/items/{coded}", f"/x-{coded}.json?id={coded}&q=a+b", f"/a?{coded}"]))
    return Exchange(step=Step(id="s", path=path, method="POST", **given), answer=body)


@settings(max_examples=400, deadline=None)
@given(exchanges=st.lists(_exchanges(), max_size=5))
def test_a_bound_flow_makes_the_recorded_requests_again(exchanges: list[Exchange]) -> None:
    flow = bind(exchanges)
    assert_same_requests(flow, exchanges)


@settings(max_examples=300, deadline=None)
@given(body=st.text(max_size=200), path=st.text(max_size=30), header=st.text(max_size=30))
def test_anything_can_be_bound(body: str, path: str, header: str) -> None:
    one = Answer(
        status=200,
        headers=(("Content-Type", "text/html"), ("Location", header), ("Set-Cookie", header)),
        body=body.encode(),
    )
    step = Step(id="s", path=path, headers={"X": header, "Cookie": header}, body=body)
    assert len(bind([Exchange(step=step, answer=one)] * 3).steps) == 3


def test_a_large_recording_is_bound_in_time() -> None:
    items = [{"id": hashlib.md5(b"%d" % n).hexdigest(), "name": f"item {n}"} for n in range(9_000)]
    exchanges = [exchange(f"s{n}", f"/items/{items[n * 99]['id']}", answer(items)) for n in range(20)]
    flow = bind(exchanges)
    assert len(replayed(flow, [one.answer for one in exchanges])[0]) == 20
