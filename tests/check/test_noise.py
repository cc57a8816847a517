import json
import time
import uuid
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fungible.check.model import Answer
from fungible.check.oracle.noise import Difference, Oracle, type_name
from fungible.check.oracle.places import Places, places_of


def page(text: str) -> Places:
    return places_of(Answer(status=200, headers=(("Content-Type", "text/html"),), body=text.encode()), "shop.test")


def document(value: Any) -> Places:
    body = json.dumps(value).encode()
    return places_of(Answer(status=200, headers=(("Content-Type", "application/json"),), body=body), "shop.test")


def located(target: str) -> Places:
    return places_of(Answer(status=303, headers=(("Location", target),)), "shop.test")


def learned(*runs: Places) -> Oracle:
    oracle = Oracle(runs[0])
    for run in runs[1:]:
        oracle.learn(run)
    return oracle


def differing(oracle: Oracle, run: Places) -> list[str]:
    return [difference.place for difference in oracle.differences(run)]


def uid(number: int) -> str:
    return str(uuid.UUID(int=number * 0x1234567890ABCDEF1234567))


# --- without noise


def test_an_equal_answer_has_no_difference() -> None:
    assert Oracle(document({"a": 1, "b": [1, 2]})).differences(document({"b": [2, 1], "a": 1})) == []


def test_a_difference_says_what_was_expected_and_what_was_seen() -> None:
    found = Oracle(document({"items": ["a", "a", "b"]})).differences(document({"items": []}))
    assert Difference("json /items/#", "3", "0") in found
    assert Difference("json /items/*", '"a" (2 times), "b"', "nothing") in found


def test_many_values_are_shown_by_the_first_four() -> None:
    (found,) = Oracle({"json /*": Counter("abcdef")}).differences({})
    assert found.expected == "a, b, c, d and 2 more"


def test_the_most_telling_difference_comes_first() -> None:
    one = located("/orders")
    other = places_of(Answer(status=200, headers=(("Content-Type", "text/html"),), body=b"<p>x"), "shop.test")
    assert differing(Oracle(one), other)[:2] == ["status", "location"]
    assert differing(Oracle(one), places_of(Answer(error="connection refused"), "shop.test"))[0] == "connection"


# --- values of a type: (seen in two runs, also noise, a difference)

TYPED: list[tuple[str, str, str, list[str], list[str]]] = [
    ("uuid", uid(1), uid(2), [uid(3)], ["missing", "", "7", uid(3)[:-1]]),
    ("time", "2024-05-01T10:00:00Z", "2024-05-01T10:00:01Z", ["2025-12-31T23:59:59.123+01:00"], ["never", "10", ""]),
    ("clock", "10:00:00", "10:00:01", ["23:59:59", "9:30"], ["noon", "12"]),
    ("int", "17", "18", ["0", "-5", "123456789"], ["many", "1.5", ""]),
    ("float", "0.25", "3", ["7", "-1.5e-7"], ["fast", ""]),
    ("hex", "deadbeef", "0123cafe", ["00ff00ff00"], ["ghosts", "abc", ""]),
    ("base64", "Zm9vYmFy", "YmF6cXV4_-", ["QUJDREVGRw==", "a.b-c_d~e"], ["short", "two words", ""]),
    ("word", "hi!", "oh!!", ["what"], ["two words", "", "a<b"]),
]


@pytest.mark.parametrize(("kind", "one", "other", "same", "differ"), TYPED, ids=[row[0] for row in TYPED])
def test_a_place_that_varies_keeps_the_type_of_its_values(
    kind: str, one: str, other: str, same: list[str], differ: list[str]
) -> None:
    oracle = learned(document({"v": one, "name": "ada"}), document({"v": other, "name": "ada"}))
    for value in [one, other, *same]:
        assert differing(oracle, document({"v": value, "name": "ada"})) == [], value
    for value in differ:
        assert differing(oracle, document({"v": value, "name": "ada"})) == ["json /v"], value
    assert differing(oracle, document({"v": one, "name": "grace"})) == ["json /name"]


def test_a_number_of_json_stays_a_number() -> None:
    oracle = learned(document({"id": 1}), document({"id": 2}))
    assert differing(oracle, document({"id": 99})) == []
    assert differing(oracle, document({"id": "99"})) == ["json /id"]
    assert differing(oracle, document({"id": None})) == ["json /id"]


def test_a_type_has_a_name_for_people() -> None:
    assert (type_name(r"-?\d+"), type_name("no type at all")) == ("int", "text")


@pytest.mark.parametrize(
    ("one", "other", "same", "differ"),
    [
        (
            "Served at 10:00:00 by web-1",
            "Served at 10:00:01 by web-2",
            "Served at 11:30:00 by web-77",
            "Served by web-1",
        ),
        ("by web-1", "by web-2", "by web-30", "by cache-1"),
        ("Order 17 of ada", "Order 18 of ada", "Order 400 of ada", "Order 17 of grace"),
        ("Order (17): ada", "Order (18): ada", "Order (9): ada", "Order (none): ada"),
        ("127.0.0.1:8001/login", "127.0.0.1:8002/login", "127.0.0.1:40000/login", "127.0.0.1:8001/account"),
        ("http://h:8001/a/login", "http://h:8002/a/login", "http://h:80/a/login", "http://h:8001/a/logout"),
        ("took 3 ms", "took 12 ms", "took 5000 ms", "took long"),
        ("app-7d9f8b-x2k4 ok", "app-7d9f8b-zz9pq ok", "app-5c6d7e-aaaaa ok", "app-7d9f8b-x2k4 down"),
        (f"/orders/{uid(1)}/lines", f"/orders/{uid(2)}/lines", f"/orders/{uid(3)}/lines", f"/orders/{uid(3)}/files"),
        (f"/orders/{uid(1)}", f"/orders/{uid(2)}", f"/orders/{uid(3)}", "/orders/new"),
    ],
)
def test_what_two_runs_share_within_a_text_is_still_compared(one: str, other: str, same: str, differ: str) -> None:
    oracle = learned({"text line 1": Counter([one])}, {"text line 1": Counter([other])})
    assert differing(oracle, {"text line 1": Counter([same])}) == []
    assert differing(oracle, {"text line 1": Counter([differ])}) == ["text line 1"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        # What was equal by chance must not be held for constant.
        ("at 10:00:01", "at 10:00:02", "at 11:30:59"),
        ("at:2024-05-01T10:00:01Z", "at:2024-05-01T10:00:02Z", "at:2024-06-01T11:00:00Z"),
        ("eyJhIjoxfQ.Zabcde.sig-x_y1", "eyJhIjoxfQ.Zabcdf.sigz2345", "eyJhIjoxfQ.Zabcxx.a-b-c_d_e"),
        ("tok_ab12-cd34", "tok_xy98-zw76", "tok_qq_11_22"),
        ("8f3a-1", "77bc-1", "0000aa-2"),
    ],
)
def test_a_shape_is_no_narrower_than_two_runs_can_tell(one: str, other: str, same: str) -> None:
    oracle = learned({"text line 1": Counter([one])}, {"text line 1": Counter([other])})
    assert differing(oracle, {"text line 1": Counter([same])}) == []


def test_texts_with_nothing_in_common_are_any_text_but_none() -> None:
    oracle = learned(document("one two three"), document("x"))
    assert differing(oracle, document("anything at all")) == []
    assert differing(oracle, {**document("x"), "json ": Counter([" "])}) == ["json "]


def test_a_text_of_very_many_varying_words_is_judged_at_once() -> None:
    def text(seed: int) -> str:
        return '"'.join(f"w{seed}x{n}!" for n in range(40))

    oracle = learned({"body": Counter([text(1)])}, {"body": Counter([text(2)])})
    began = time.monotonic()
    assert differing(oracle, {"body": Counter([text(3) + "\n"])}) == ["body"]
    assert differing(oracle, {"body": Counter(['"' * 400])}) == ["body"]
    assert time.monotonic() - began < 5


# --- lists


def rows(*names: str, start: int = 0, **more: Any) -> Places:
    return document({"rows": [{"id": uid(start + n), "name": name, **more} for n, name in enumerate(names)]})


def test_items_that_are_made_anew_in_each_run_keep_their_other_fields_compared() -> None:
    oracle = learned(rows("ada", "grace", start=1), rows("ada", "grace", start=5))
    assert differing(oracle, rows("grace", "ada", start=9)) == []
    assert differing(oracle, rows("ada", "mallory", start=9)) == ["json /rows/*/name"]
    assert differing(oracle, rows("ada", start=9)) != []


def test_values_that_stay_do_not_widen_what_their_neighbours_may_be() -> None:
    def items(visits: int) -> Places:
        return page(f"<ul><li>Alice</li><li>Bob</li><li>Visit {visits}</li></ul>")

    oracle = learned(items(17), items(18))
    assert differing(oracle, items(40)) == []
    mallory = page("<ul><li>Alice</li><li>Mallory</li><li>Visit 19</li></ul>")
    assert differing(oracle, mallory) == ["html ul/li/text()"]


def test_an_array_whose_length_varies_may_have_any_length_but_none() -> None:
    oracle = learned(rows("ada", start=1), rows("ada", "ada", start=1))
    assert differing(oracle, rows("ada", "ada", "ada", start=7)) == []
    assert differing(oracle, rows("ada", "mallory", start=1)) == ["json /rows/*/name"]
    assert "json /rows/#" in differing(oracle, rows())


def test_an_array_that_was_empty_once_may_be_so_again() -> None:
    oracle = learned(rows(), rows("ada"))
    assert differing(oracle, rows("ada", "ada")) == differing(oracle, rows()) == []


def test_items_of_an_array_that_varies_still_have_their_keys() -> None:
    oracle = learned(rows("ada"), rows("ada", "ada"))
    assert "json /rows/*/{}" in differing(oracle, rows("ada", "ada", "ada", secret=1))


def test_a_list_of_thousand_new_values_is_learned_at_once() -> None:
    one = {"json /*": Counter(uid(n) for n in range(3000))}
    other = {"json /*": Counter(uid(n) for n in range(5000, 8000))}
    began = time.monotonic()
    oracle = learned(one, other)
    assert differing(oracle, {"json /*": Counter(uid(n) for n in range(9000, 12000))}) == []
    assert time.monotonic() - began < 5


# --- keys


def test_an_object_whose_keys_vary_keeps_the_ones_that_stay() -> None:
    def run(key: str, total: int = 5) -> Places:
        return document({"total": total, "by_id": {key: {"n": 1}}})

    oracle = learned(run("a1"), run("b2"))
    assert differing(oracle, run("c3")) == []
    assert differing(oracle, run("c3", total=0)) == ["json /total"]
    assert "json /by_id/{}" in differing(oracle, document({"total": 5, "by_id": {}}))
    assert differing(oracle, document({"total": 5, "by_id": {"c3": {"n": 1}}, "error": "x"})) != []


def test_a_key_that_comes_and_goes_leaves_the_rest_of_its_object_compared() -> None:
    oracle = learned(document({"user": "ada"}), document({"user": "ada", "hint": "hello"}))
    assert differing(oracle, document({"user": "ada", "hint": "bye"})) == []
    assert differing(oracle, document({"user": "grace"})) == ["json /user"]
    assert differing(oracle, document({"hint": "hello"})) == ["json /user"]


def test_a_place_that_comes_and_goes_is_not_compared() -> None:
    oracle = learned(page("<p>x</p>"), page("<p>x</p><b>ad 1</b>"))
    assert differing(oracle, page("<p>x</p><b>another</b>")) == differing(oracle, page("<p>x</p>")) == []
    assert differing(oracle, page("<p>y</p>")) == ["html p/text()"]


def test_a_place_never_seen_is_a_difference() -> None:
    assert "html b" in differing(learned(page("<p>1</p>"), page("<p>2</p>")), page("<p>3</p><b>x</b>"))


# --- whole answers


def form(token: str, name: str) -> Places:
    return page(f'<form><input type="hidden" name="csrf" value="{token}"><p>Hello {name}</p></form>')


def test_a_csrf_token_is_masked_and_its_neighbours_are_compared() -> None:
    oracle = Oracle(form("Zm9vYmFyMTIz", "ada"))
    assert oracle.learn(form("YmF6cXV4NDU2", "ada")) == ["html form/input[name=csrf]/@value"]
    assert differing(oracle, form("QUJDREVGR0hJ", "ada")) == []
    assert differing(oracle, form("QUJDREVGR0hJ", "you, please sign in")) == ["html form/p/text()"]
    assert differing(oracle, form("", "ada")) == ["html form/input[name=csrf]/@value"]


def test_an_absolute_url_with_the_instances_own_port_is_masked_only_there() -> None:
    def run(port: int, path: str = "/orders") -> Places:
        return located(f"http://127.0.0.1:{port}{path}?page=1")

    oracle = learned(run(8001), run(8002))
    assert differing(oracle, run(40123)) == []
    assert differing(oracle, run(8001, "/login")) == ["location"]


def test_a_varying_query_of_a_location_leaves_its_path_compared() -> None:
    oracle = learned(located("/orders?id=1"), located("/orders?id=2"))
    assert differing(oracle, located("/orders?id=3")) == []
    assert differing(oracle, located("/login?id=3")) == ["location"]
    assert "location ?id" in differing(oracle, located("/orders?id=none"))


def test_a_cookie_that_is_missing_or_has_other_attributes_is_a_difference_and_its_value_is_none() -> None:
    def run(*headers: str) -> Places:
        return places_of(Answer(status=200, headers=tuple(("Set-Cookie", text) for text in headers)), "shop.test")

    oracle = Oracle(run("sid=abc; Path=/"))
    assert differing(oracle, run("sid=def; Path=/")) == []
    for other in (run(), run("sid=; Path=/"), run("sid=abc; Path=/; HttpOnly"), run("sid=abc; Path=/; Max-Age=0")):
        assert differing(oracle, other) == ["cookie sid"]


def test_binary_bodies_that_vary_are_masked_and_an_empty_one_is_not() -> None:
    def run(body: bytes) -> Places:
        return places_of(Answer(status=200, headers=(("Content-Type", "image/png"),), body=body), "shop.test")

    assert differing(Oracle(run(b"\0one")), run(b"\0two")) == ["body"]
    oracle = learned(run(b"\0one"), run(b"\0three"))
    assert differing(oracle, run(b"\0five")) == []
    assert differing(oracle, run(b"")) == ["body"]


# --- inheriting


def test_what_varies_at_a_place_varies_there_in_another_sequence_too() -> None:
    other = learned(form("Zm9vYmFyMTIz", "ada"), form("YmF6cXV4NDU2", "ada"))
    oracle = Oracle(form("QUJDREVGR0hJ", "ada"))
    oracle.inherit(other)
    assert differing(oracle, form("c29tZXRoaW5n", "ada")) == []
    assert differing(oracle, form("c29tZXRoaW5n", "grace")) == ["html form/p/text()"]


def test_inheriting_leaves_the_other_oracle_as_it_was() -> None:
    other = learned(document({"n": 1}), document({"n": 2}))
    oracle = Oracle(document({"n": "word"}))
    oracle.inherit(other)
    assert differing(oracle, document({"n": "word"})) == []
    assert differing(other, document({"n": "word"})) == ["json /n"]


# --- for all places

WORDS = st.text(st.sampled_from('ab1-/:. "<{\n'), max_size=12)
NAMES = st.sampled_from(
    ["status", "location", "json /{}", "json /a", "json /a/{}", "json /a/#", "json /a/*", "json /a/*/b", "html p", "x"]
)
PLACES = st.dictionaries(NAMES, st.dictionaries(WORDS, st.integers(1, 3), min_size=1, max_size=4).map(Counter))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.uuids().map(str),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcdef"), inner, max_size=4),
    max_leaves=15,
).map(document)


@given(st.lists(PLACES | JSON, min_size=1, max_size=5))
def test_a_run_that_was_learned_has_no_difference_ever_after(runs: list[Places]) -> None:
    oracle = Oracle(runs[0])
    for run in runs[1:]:
        oracle.learn(run)
        assert oracle.differences(run) == []
    for run in runs:
        assert oracle.differences(run) == []
        assert oracle.learn(run) == []


@given(PLACES | JSON, PLACES | JSON, PLACES | JSON)
def test_an_oracle_that_inherits_still_allows_its_own_run(one: Places, two: Places, three: Places) -> None:
    oracle = Oracle(one)
    oracle.inherit(learned(two, three))
    assert oracle.differences(one) == []


@given(st.dictionaries(st.text(), st.dictionaries(st.text(), st.integers(1, 3)).map(Counter)), PLACES, PLACES)
def test_no_places_are_too_strange_for_an_oracle(strange: Places, one: Places, two: Places) -> None:
    for runs in ([one, two, strange], [strange, one, two], [one, strange]):
        oracle = learned(*runs)
        for difference in oracle.differences(strange) + oracle.differences({}):
            assert isinstance(difference.rank, int)


@given(JSON, JSON)
def test_the_other_half_of_a_difference_is_a_difference_too(one: Places, two: Places) -> None:
    assert {d.place for d in Oracle(one).differences(two)} == {d.place for d in Oracle(two).differences(one)}
