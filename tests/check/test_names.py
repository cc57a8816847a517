from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fungible.check.model import Capture, FilePart, Step
from fungible.check.runs.names import candidates
from fungible.check.runs.renames import Renames


def step(**fields: Any) -> Step:
    return Step(**({"id": "s", "method": "POST", "path": "/x"} | fields))


def test_fields_that_name_things_come_before_other_fields_and_those_before_the_path() -> None:
    found = candidates(step(path="/signup", form={"colour": "green", "username": "ada", "email": "ada@example.org"}))
    assert found == ["ada", "ada@example.org", "green", "signup"]


def test_what_a_put_makes_is_named_by_its_path() -> None:
    found = candidates(step(method="PUT", path="/buckets/photos", json={"colour": "green", "title": "Holiday"}))
    assert found == ["Holiday", "photos", "buckets", "green"]


def test_a_read_takes_no_name_but_may_ask_for_one_that_was_made_before() -> None:
    read = step(method="GET", path="/users/ada/health")
    assert candidates(read) == []
    assert candidates(read, [step(method="GET", path="/users/ada")]) == []
    assert candidates(read, [step(path="/signup", form={"username": "ada"})]) == ["ada"]


@pytest.mark.parametrize(
    "field", ["password", "passwd", "pwd", "secret", "access_token", "csrf", "otp", "user_pin", "PIN", "pin-code"]
)
def test_secrets_are_left_alone(field: str) -> None:
    assert candidates(step(path="/", form={field: "lovelace"})) == []


@pytest.mark.parametrize("field", ["shipping_name", "opinion", "passenger", "passport", "spinner"])
def test_a_field_is_no_secret_by_a_few_letters_in_its_name(field: str) -> None:
    assert candidates(step(path="/", form={field: "lovelace"})) == ["lovelace"]


def test_nested_json_lists_files_and_queries_are_searched() -> None:
    found = candidates(
        step(
            path="/?label=blue",
            json={"users": [{"name": "ada"}, {"name": "grace"}], "n": 7, "no": None},
            files=(FilePart(field="f", filename="report.pdf"),),
        )
    )
    assert found == ["ada", "grace", "report", "blue"]


def test_a_form_field_with_several_values_gives_each() -> None:
    assert candidates(step(path="/", form={"tag": ["red", "blue"]})) == ["red", "blue"]


def test_captured_values_versions_short_and_long_words_are_no_names() -> None:
    values = ["{{token}}", "v1", "ab", "x" * 121, "7", "2024-05-01", ""]
    assert candidates(step(path="/v2", form={"name": values})) == []


def test_each_name_stands_once_and_there_are_at_most_ten() -> None:
    form: dict[str, str | list[str]] = {"name": [f"name{n}" for n in range(20)] + ["name1"]}
    assert candidates(step(form=form)) == [f"name{n}" for n in range(10)]


@given(st.recursive(st.none() | st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_any_json_has_candidates_or_none(body: Any) -> None:
    assert all(isinstance(name, str) and name for name in candidates(step(json=body)))


def test_a_name_is_made_unique_in_texts_and_in_credentials_but_not_in_placeholders() -> None:
    captures = (Capture(name="ada", source="header", header="X-Key", regex="ada=(.+)", default="key of ada"),)
    given = step(
        path="/{{my-ada-key}}/ada", auth=("ada", "{{ada}}"), json={"to": "ada|url}} {{ada|url}}"}, capture=captures
    )
    sent = Renames(["ada", "header", "json"], "t0ken").apply(given)
    assert sent.path == "/{{my-ada-key}}/adat0ken"
    assert sent.auth == ("adat0ken", "{{ada}}")
    assert sent.json == {"to": "adat0ken|url}} {{ada|url}}"}
    one = sent.capture[0]
    assert (one.name, one.source, one.header, one.regex) == ("ada", "header", "X-Key", "adat0ken=(.+)")
    assert one.default == "key of adat0ken"
