"""An application of which nothing is known: where its API description is looked for, and what is told about a sign-in."""

import json

import pytest

from fungible.check.errors import CheckError
from fungible.check.flows.sources import Flows, discovered
from fungible.check.model import Answer, SignIn

ITEMS = {
    "openapi": "3.0.3",
    "info": {"title": "items", "version": "1"},
    "paths": {"/items": {"get": {"responses": {"200": {"description": "all"}}}}},
}
ADA = SignIn(user="ada", password="lovelace")


def serving(pages):
    """What an application with these pages answers."""

    def send(step):
        body = pages.get(step.path)
        if body is None:
            return Answer(status=404)
        if isinstance(body, Answer):
            return body
        kind = "application/json" if body.startswith("{") else "text/html"
        return Answer(status=200, headers=(("content-type", kind),), body=body.encode())

    return send


def found_in(pages, **known):
    found = Flows()
    discovered(found, serving(pages), "app.test", **known)
    return found


@pytest.mark.parametrize(
    "path", ["/openapi.json", "/swagger.json", "/v3/api-docs", "/api-docs", "/api/schema/", "/swagger/v1/swagger.json"]
)
def test_a_description_is_found_at_the_usual_places(path):
    found = found_in({path: json.dumps(ITEMS)})
    assert found.document == ITEMS
    assert found.notes[0] == f"the flows come from {path} of the application"


def test_a_description_is_found_where_the_page_for_people_names_it():
    page = "<script src='/static/openapi.js'></script><script>ui({url: '/internal/openapi-v2.json'})</script>"
    found = found_in({"/docs": page, "/internal/openapi-v2.json": json.dumps(ITEMS)})
    assert found.notes[0] == "the flows come from /internal/openapi-v2.json of the application"


def test_a_description_is_found_where_the_usual_place_redirects_to():
    moved = Answer(status=301, headers=(("location", "/api-docs/"),))
    assert found_in({"/api-docs": moved, "/api-docs/": json.dumps(ITEMS)}).document == ITEMS


def test_who_says_where_to_begin_gets_that_page_first():
    found = found_in({"/openapi.json": json.dumps(ITEMS), "/shop": "<h1>Shop</h1>"}, begin="/shop")
    assert [step.path for step in found.flows[0].steps] == ["/shop"]
    assert found_in({"/openapi.json": json.dumps(ITEMS)}, begin="/shop").document == ITEMS


def test_it_is_told_where_nobody_could_sign_in():
    found = found_in({"/shop": "<h1>Shop</h1>"}, begin="/shop", sign_in=ADA)
    assert any("nobody signed in" in note for note in found.notes)
    assert "lovelace" not in " ".join(found.notes)
    form = '<form method="post" action="/in"><input name="user"><input type="password" name="pin"></form>'
    answered = Answer(status=303, headers=(("location", "/shop"),))
    found = found_in({"/shop": form, "/in": answered}, begin="/shop", sign_in=ADA)
    assert not any("nobody signed in" in note for note in found.notes)


def test_where_nothing_is_found_it_is_told_what_to_give():
    with pytest.raises(CheckError, match=r"--begin /path.*--sign-in user:password"):
        found_in({})
