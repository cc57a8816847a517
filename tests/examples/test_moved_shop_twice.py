"""The moved shop on two instances that share a folder: what is asked of both at once happens once, or as often as it may."""

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "examples" / "shop" / "moved"
START = f"{sys.executable} -m uvicorn shop:app --port {{port}}"
ENVIRONMENT = {"SHOP_SECRET": "only-for-this-test, of 32 characters or more"}

_spec = importlib.util.spec_from_file_location("plain_runner", ROOT / "tests/check/apps/plain_runner.py")
assert _spec is not None
assert _spec.loader is not None
plain = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(plain)


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Two instances, started in one directory."""
    directory = tmp_path_factory.mktemp("shop") / "moved"
    shutil.copytree(SHOP, directory, ignore=shutil.ignore_patterns("__pycache__", "data", "uploads"))
    with plain.started(START, directory, ENVIRONMENT) as one, plain.started(START, directory, ENVIRONMENT) as two:
        yield [one.url, two.url]


def post_at_once(urls: list[str], path: str, form: dict[str, Any], times: int, **more: Any) -> list[httpx.Response]:
    """The same request so often, at both in turn."""

    def post(number: int) -> httpx.Response:
        return httpx.post(urls[number % 2] + path, data=form, timeout=60, **more)

    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(post, range(times)))


def test_a_form_that_comes_many_times_is_one_order(urls: list[str]) -> None:
    form = {"code": "a-code-of-its-own", "customer": "Grace Guest", "product": 2, "quantity": 3}
    answers = post_at_once(urls, "/orders", form, 16)
    assert {answer.status_code for answer in answers} == {303}
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert "1 order," in httpx.get(f"{urls[0]}/orders?code=a-code-of-its-own").text


def test_another_order_under_the_same_code_is_refused(urls: list[str]) -> None:
    form = {"code": "a-second-code", "customer": "Grace Guest", "product": 2, "quantity": 1}
    assert httpx.post(f"{urls[0]}/orders", data=form).status_code == 303
    assert httpx.post(f"{urls[1]}/orders", data=form | {"quantity": 2}).status_code == 422
    assert "€8.50" in httpx.get(f"{urls[1]}/orders?code=a-second-code").text


def test_of_many_guesses_at_once_three_are_looked_at(urls: list[str]) -> None:
    answers = post_at_once(urls, "/login", {"user": "grace", "password": "wrong"}, 16)
    assert sorted(answer.status_code for answer in answers) == [401] * 3 + [429] * 13
    right = {"user": "grace", "password": "hopper"}
    assert httpx.post(f"{urls[0]}/login", data=right).status_code == 429
    admin = ("admin", "admin")
    assert httpx.post(f"{urls[1]}/admin/unlock", data={"user": "grace"}, auth=admin).status_code == 303
    assert httpx.post(f"{urls[0]}/login", data=right).status_code == 303


def test_a_price_that_is_changed_at_one_instance_is_shown_by_the_other(urls: list[str]) -> None:
    for euros in ("44.95", "59.00"):
        assert "Wool blanket" in httpx.get(urls[1]).text
        form = {"product": 5, "euros": euros}
        assert httpx.post(f"{urls[0]}/admin/prices", data=form, auth=("admin", "admin")).status_code == 303
        assert f"€{euros}" in httpx.get(urls[1]).text
