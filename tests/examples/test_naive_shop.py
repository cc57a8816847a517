"""The naive shop works on one instance, and is wrong on several in the ways its README says."""

import base64
import importlib.util
import re
import shutil
import sys
import threading
import tomllib
from pathlib import Path

import msgspec
import pytest

from fungible.check.model import CheckFile

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "examples" / "shop" / "naive"

_spec = importlib.util.spec_from_file_location("plain_runner", ROOT / "tests/check/apps/plain_runner.py")
assert _spec is not None
assert _spec.loader is not None
plain = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(plain)

CHECK = msgspec.convert(tomllib.loads((SHOP / "check.toml").read_text()), CheckFile)
FLOWS = {flow.name: flow.steps or () for flow in CHECK.flows}


@pytest.fixture(scope="module")
def instances(tmp_path_factory):
    """Two instances of the shop, each on a copy of its own, started as the check file says."""
    directories = [tmp_path_factory.mktemp("shop") / "naive" for _ in range(2)]
    for directory in directories:
        shutil.copytree(SHOP, directory, ignore=shutil.ignore_patterns("__pycache__", "shop.db*", "uploads"))
    command = CHECK.target.start.replace("uvicorn", f"{sys.executable} -m uvicorn", 1)
    with plain.started(command, directories[0], {}) as one, plain.started(command, directories[1], {}) as two:
        yield one, two


@pytest.mark.parametrize("flow", FLOWS)
def test_every_flow_passes_on_one_instance_as_often_as_it_is_run(instances, flow):
    for _ in range(2):
        plain.run_flow(FLOWS[flow], lambda step: instances[0].url)


@pytest.mark.parametrize(
    ("flow", "broken", "saw"),
    [
        ("cart", "add", "/login"),
        ("order", "receipt", "status 404"),
        ("picture", "picture", "status 404"),
        ("price", "new-price", "€44.95"),
        ("export", "progress", "status 404"),
        ("share", "open", "status 403"),
        ("sign-in-attempts", "locked", "status 303"),
    ],
)
def test_every_flow_breaks_where_the_next_step_meets_another_instance(instances, flow, broken, saw):
    order = {"price": (0, 1, 0, 1, 0), "sign-in-attempts": (0, 0, 1, 1, 1)}.get(flow, (0, 1, 0, 1))
    try:
        with pytest.raises(plain.Broken, match=re.escape(saw)) as found:
            plain.run_flow(FLOWS[flow], lambda step: instances[order[step]].url)
        assert found.value.step == broken
    finally:
        for instance in instances:
            with plain.Run() as run:
                for step in (*FLOWS["price"], *FLOWS["sign-in-attempts"]):
                    if step.id in {"change-back", "unlock"}:
                        run.step(step, instance.url)


def test_the_footer_of_each_page_names_the_instance(instances):
    for instance in instances:
        for path, status in (("/", 200), ("/products/1", 200), ("/login", 200), ("/nowhere", 404)):
            answer = plain.httpx.get(instance.url + path)
            assert answer.status_code == status
            assert re.search(rf"Served by instance <code>[^<]+:{instance.port}</code>", answer.text)


def test_the_picture_comes_back_byte_for_byte(instances):
    answers = plain.run_flow(FLOWS["picture"], lambda step: instances[0].url)
    sent = base64.b64decode(FLOWS["picture"][0].files[0].content_base64 or "")
    assert answers["picture"].content == sent
    assert answers["picture"].headers["content-type"] == "image/png"
    assert 'src="/products/3/picture"' in plain.httpx.get(instances[0].url + "/products/3").text


def test_an_order_sent_again_is_a_second_order(instances):
    form = {"code": "a-code-of-its-own", "customer": "Grace", "product": "1", "quantity": "1"}
    for _ in range(2):
        plain.httpx.post(instances[0].url + "/orders", data=form, headers={"Idempotency-Key": "one"})
    assert "2 orders, €24.00" in plain.httpx.get(instances[0].url + "/orders?code=a-code-of-its-own").text


def test_a_visitor_can_fill_share_order_and_leave_a_cart(instances):
    with plain.httpx.Client(base_url=instances[0].url, follow_redirects=True) as browser:
        browser.post("/login", data={"user": "grace", "password": "hopper"})
        assert "€8.50" in browser.post("/cart", data={"product": 2}).text
        cart = browser.get("/cart").text
        products = re.findall(r'name="product" value="(\d+)"', cart)
        link = re.search(r'href="(/shared/[^"]+)"', browser.post("/share", data={"product": products}).text)
        assert link is not None
        assert "Linen notebook" in plain.httpx.get(instances[0].url + link[1]).text
        assert "1 order, €8.50" in browser.post("/cart/order").text
        assert "It is empty" in browser.get("/cart").text
        session = browser.cookies["session"]
        browser.post("/logout")
    answer = plain.httpx.get(instances[0].url + "/cart", headers={"Cookie": f"session={session}"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


def test_only_the_administrator_gets_to_the_prices(instances):
    url = instances[0].url + "/admin"
    assert plain.httpx.get(url).headers["location"] == "/login"
    assert plain.httpx.get(url, auth=("ada", "lovelace")).status_code == 403
    assert plain.httpx.get(url, auth=("admin", "wrong")).status_code == 401
    assert "Enamel mug" in plain.httpx.get(url, auth=("admin", "admin")).text


def test_only_pictures_are_taken(instances):
    url = instances[0].url + "/products/1/picture"
    answer = plain.httpx.post(url, files={"picture": ("a.svg", b"<svg/>", "image/png")}, auth=("ada", "lovelace"))
    assert answer.status_code == 415


def test_visitors_at_the_same_time_are_served(instances):
    failed = []

    def visit() -> None:
        try:
            plain.run_flow(FLOWS["cart"], lambda step: instances[0].url)
            plain.run_flow(FLOWS["order"], lambda step: instances[0].url)
        except Exception as error:
            failed.append(error)

    visitors = [threading.Thread(target=visit) for _ in range(8)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert not failed
