"""Steps are named from what they do: by buttons, routes and operations, the same for the same request."""

import json

import pytest
from recordings import answer, entry, har

from fungible.check.flows.crawl import crawl
from fungible.check.flows.har import read_har
from fungible.check.flows.html_forms import read_page
from fungible.check.flows.step_names import Names, button_words, operation_name, step_name
from fungible.check.model import Answer, Step

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("method", "target", "more", "name"),
    [
        ("GET", "/", {}, "get-home"),
        ("GET", "/admin/orders/17", {}, "get-admin-orders"),
        ("GET", "/index.php?route=/database/structure&db=app", {}, "get-database-structure"),
        ("POST", "/index.php?route=/database/export", {}, "post-database-export"),
        ("POST", "/admin.php", {"body": {"form": {"action": "delete_post", "id": "7"}}}, "post-delete-post"),
        ("POST", "/cart", {"button": "Add to cart"}, "add-to-cart"),
        ("POST", "/settings", {"button": "Save"}, "save-settings"),
        ("POST", "/cart", {"button": "Einkauf in den Warenkorb legen bitte"}, "einkauf-in-den-warenkorb"),
        ("POST", "/cart", {"button": "送信"}, "post-cart"),
        ("POST", "/orders", {"body": {"json": {"sku": 1}}}, "create-order"),
        ("POST", "/shops/3/orders", {"body": {"json": {}}}, "create-shops-order"),
        ("PATCH", "/api/v1/orders/17", {"body": {"json": {"n": 2}}}, "update-v1-order"),
        ("PUT", "/categories/a1b2c3d4", {"body": {"json": []}}, "update-category"),
        ("DELETE", "/orders/17", {}, "delete-orders"),
        ("POST", "/login", {"body": {"form": {"user": "a", "password": "x"}}}, "sign-in"),
        ("POST", "/api/auth/token", {"body": {"json": {"username": "a", "password": "x"}}}, "sign-in"),
        ("POST", "/index.php?route=/", {"body": {"form": {"u": "a", "pwd": "x"}}, "button": "Log in"}, "sign-in"),
        ("POST", "/users", {"body": {"form": {"password1": "x", "password2": "x"}}}, "register"),
        ("POST", "/register", {"body": {"form": {"name": "a", "password": "x"}}}, "register"),
        ("POST", "/me/password", {"body": {"form": {"old_password": "x", "password": "y"}}}, "change-password"),
        ("POST", "/logout", {}, "sign-out"),
        ("GET", "/logout", {}, "sign-out"),
        ("POST", "/secrets", {"body": {"form": {"password": "x"}}, "button": "Keep it"}, "keep-it"),
    ],
)
def test_a_step_is_named_from_what_it_does(method, target, more, name):
    assert step_name(method, target, **more) == name


@pytest.mark.parametrize(
    ("identifier", "method", "path", "name"),
    [
        ("createOrder", "POST", "/orders", "create-order"),
        ("create_order_orders_post", "POST", "/orders", "create-order"),
        ("read_item_items__item_id__get", "GET", "/items/{item_id}", "read-item"),
        ("listHTTPChecks", "GET", "/checks", "list-httpchecks"),
        ("orders.create", "POST", "/orders", "orders-create"),
        ("create", "POST", "/api/orders", "create-order"),
        ("list", "GET", "/api/orders", "list-orders"),
        ("", "POST", "/orders", ""),
        ("注文", "POST", "/orders", ""),
    ],
)
def test_an_operation_is_named_by_its_id_without_what_a_framework_adds(identifier, method, path, name):
    assert operation_name(identifier, method, path) == name


@pytest.mark.parametrize("length", [1, 30, 200])
def test_names_are_short_and_fit_for_an_id(length):
    for name in (
        step_name("POST", "/" + "/".join(["segment"] * length), button="word " * length),
        step_name("GET", "/" + "x" * length),
        operation_name("word_" * length, "GET", "/"),
    ):
        assert 0 < len(name) <= 48
        assert not name.startswith("-")
        assert not name.endswith("-")


def test_the_same_name_is_numbered():
    names = Names()
    assert [names.unique("sign-in") for _ in range(3)] == ["sign-in", "sign-in-2", "sign-in-3"]


def test_of_several_buttons_the_one_that_was_sent_counts():
    form = "<form><button name=do value=Publish>Publish</button><button name=do value=Discard>Discard</button></form>"
    page = read_page(form).forms[0]
    assert button_words(page, {"do": "Discard"}) == "Discard"
    assert button_words(page, {}) == ""
    one = read_page("<form><input name=a><input type=submit value='Add note'></form>").forms[0]
    assert button_words(one, {"a": "x"}) == "Add note"


PAGE = """<form action="index.php" method="post"><input name=title><button>Add note</button></form>
<form action="/index.php" method="post"><input name=mail><button>Subscribe</button></form>"""


def test_a_recording_names_its_posts_by_the_buttons_of_its_own_pages(tmp_path):
    path = tmp_path / "flow.har"
    sent = [
        entry("POST", "http://app.test/index.php", text=f"{name}=x", mime=FORM, status=303)
        for name in ("title", "mail", "other")
    ]
    path.write_text(json.dumps(har(entry("GET", "http://app.test/", answered=PAGE), *sent)))
    assert [one.step.id for one in read_har(path).exchanges] == ["get-home", "add-note", "subscribe", "post-home"]


def test_a_crawl_names_what_it_submits_by_its_buttons():
    def send(step: Step) -> Answer:
        if step.method == "POST":
            return Answer(status=303, headers=(("Location", "/"),))
        return answer(PAGE.replace("index.php", "/notes"))

    ids = [one.step.id for one in crawl(send)]
    assert {"add-note", "get-home"} <= set(ids)
    assert not [name for name in ids if name.startswith("post-")]
