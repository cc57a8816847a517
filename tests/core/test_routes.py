"""Which route a request is for: one way to match, however a path is spelled and wherever an application is mounted."""

from typing import Any

import pytest

from fungible.core.errors import SettingError
from fungible.core.routes import Pattern, method_of, methods_of, plain_path, route_path


@pytest.mark.parametrize(
    ("path", "root", "found"),
    [
        ("/login", "", "/login"),
        ("/login", "/shop", "/login"),
        ("/shop/login", "/shop", "/login"),
        ("/shop/login", "/shop/", "/login"),
        ("/shop", "/shop", "/"),
        ("/shop/", "/shop", "/"),
        ("/shopping/login", "/shop", "/shopping/login"),
        ("/shop/shop/login", "/shop", "/shop/login"),
        ("//shop///login", "/shop", "/login"),
        ("", "/shop", "/"),
        ("/login\n", "", "/login"),
        ("/Login/", "", "/Login/"),
        ("/a/../login", "", "/a/../login"),
        ("*", "", "*"),
    ],
)
def test_a_path_begins_below_the_mount_and_has_one_slash_at_a_time(path: str, root: str, found: str) -> None:
    assert route_path({"path": path, "root_path": root}) == found


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("/login", ["/login", "/login/"], ["/", "/login/x", "/logins", "/Login", "/a/login"]),
        ("/login/", ["/login", "/login/"], ["/login/x"]),
        ("/", ["/"], ["/login"]),
        ("/api/*", ["/api/", "/api/x", "/api/x/y", "/api/\n"], ["/api", "/apix"]),
        ("/api*", ["/api", "/api/x", "/apix"], ["/ap"]),
        ("/orders/{id}/pay", ["/orders/7/pay", "/orders/7/pay/"], ["/orders/pay", "/orders/7/8/pay", "/orders//pay"]),
        ("/orders/*/pay", ["/orders/7/pay"], ["/orders/pay"]),
        ("/files/{name}.json", ["/files/a.json"], ["/files/ajson", "/files/a/b.json"]),
        ("/files/{at:path}", ["/files/a", "/files/a/b/c"], ["/files"]),
        ("/a.b", ["/a.b"], ["/axb"]),
    ],
)
def test_a_pattern_names_paths(pattern: str, matching: list[str], others: list[str]) -> None:
    made = Pattern(pattern)
    assert [path for path in [*matching, *others] if made.matches(path)] == matching


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("/payments", ["/payments", "/payments/", "/payments/7/8"], ["/", "/paymentsx", "/a/payments"]),
        ("/", ["/", "/x", "/x/y", "*"], []),
        ("/orders/*", ["/orders/7", "/orders/7/8"], ["/orders", "/orders/"]),
    ],
)
def test_a_pattern_may_name_all_that_is_below_it(pattern: str, matching: list[str], others: list[str]) -> None:
    made = Pattern(pattern, below=True)
    assert [path for path in [*matching, *others] if made.matches(path)] == matching


@pytest.mark.parametrize("pattern", ["login", "", "*", "/a*b", "/a*b/c"])
def test_a_pattern_that_can_not_be_read_is_refused(pattern: str) -> None:
    with pytest.raises(SettingError):
        Pattern(pattern)


@pytest.mark.parametrize("path", ["//public/x", "/public//x", "/public/../x", "/public/.", "/public/x\n", "/a\\b"])
def test_a_path_in_an_odd_spelling_is_not_plain(path: str) -> None:
    assert plain_path({"path": path}) is None


def test_a_plain_path_begins_below_the_mount() -> None:
    assert plain_path({"path": "/v1/.well-known/jwks", "root_path": "/v1"}) == "/.well-known/jwks"


@pytest.mark.parametrize(
    ("named", "meant"),
    [(["get"], {"GET", "HEAD"}), (["POST", "patch"], {"POST", "PATCH"}), (["HEAD"], {"HEAD"}), ([], set[str]())],
)
def test_get_is_head_as_well(named: list[str], meant: set[str]) -> None:
    assert methods_of(named) == meant


@pytest.mark.parametrize(("scope", "method"), [({"method": "post"}, "POST"), ({"type": "websocket"}, "GET")])
def test_a_method_is_in_upper_case(scope: dict[str, Any], method: str) -> None:
    assert method_of(scope) == method
