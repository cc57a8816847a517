import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fungible.check.http.jar import Jar, path_of, read_set_cookie


def jar_with(*headers: str, request_path: str = "/") -> Jar:
    jar = Jar()
    for header in headers:
        jar.take(header, request_path)
    return jar


def test_a_cookie_comes_back_on_the_next_request() -> None:
    assert jar_with("sid=abc; Path=/; HttpOnly").header("/account") == "sid=abc"


def test_a_second_value_replaces_the_first() -> None:
    assert jar_with("sid=abc; Path=/", "sid=def; Path=/").header("/") == "sid=def"


# RFC 6265 section 5.1.4
@pytest.mark.parametrize(
    ("cookie_path", "request_path", "fits"),
    [
        ("/", "/", True),
        ("/", "/a/b", True),
        ("/a", "/a", True),
        ("/a", "/a/", True),
        ("/a", "/a/b", True),
        ("/a/", "/a/b", True),
        ("/a/", "/a", False),
        ("/a", "/ab", False),
        ("/a", "/A", False),
        ("/a", "/", False),
        ("/a", "/a?b=/c", True),
        ("/a/b", "/a?x=/b", False),
        ("/", "", True),
        ("/", "orders", True),
        ("/", "http://shop.test", True),
        ("/a", "https://shop.test/a/b?c", True),
        ("/a", "https://shop.test/b", False),
    ],
)
def test_a_path_is_matched_as_section_5_1_4_says(cookie_path: str, request_path: str, fits: bool) -> None:
    assert jar_with(f"sid=1; Path={cookie_path}").header(request_path) == ("sid=1" if fits else "")


@pytest.mark.parametrize(
    ("request_path", "default"),
    [("/", "/"), ("/login", "/"), ("/a/login", "/a"), ("/a/b/", "/a/b"), ("/a/b?c=/d/e", "/a"), ("", "/")],
)
@pytest.mark.parametrize("attribute", ["", "; Path", "; Path=", "; Path=relative"])
def test_without_a_path_a_cookie_belongs_to_the_directory_of_its_request(
    request_path: str, default: str, attribute: str
) -> None:
    jar = jar_with(f"sid=1{attribute}", request_path=request_path)
    assert jar.header(default) == "sid=1"
    assert jar.header(default.rstrip("/") + "/below") == "sid=1"
    if default != "/":
        assert jar.header("/") == ""


def test_longer_paths_come_first_and_then_the_older_cookie() -> None:
    jar = jar_with("a=1; Path=/", "b=2; Path=/x", "c=3; Path=/", "a=4; Path=/")
    assert jar.header("/x/y") == "b=2; a=4; c=3"


def test_the_last_of_two_equal_attributes_counts() -> None:
    assert jar_with("a=1; Path=/x; Path=/y").header("/y") == "a=1"


@pytest.mark.parametrize("header", ["", "sid", "=abc", " =abc", "; Path=/", "sid; Path=/"])
def test_a_header_without_a_named_cookie_is_ignored(header: str) -> None:
    assert read_set_cookie(header) is None
    assert jar_with(header).header("/") == ""


def test_quotes_are_part_of_the_value_and_are_sent_back() -> None:
    # A browser does so, and a server that wrote "a\054b" understands it only with its quotes.
    assert jar_with('sid="a\\054b"; Path=/').header("/") == 'sid="a\\054b"'


def test_a_value_may_hold_equals_signs() -> None:
    assert jar_with("sid=YWJj==; Path=/").header("/") == "sid=YWJj=="


@pytest.mark.parametrize(
    "attribute",
    [
        "Max-Age=0",
        "max-age=-1",
        "Max-Age=000",
        "Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "Expires=Thu, 01-Jan-1970 00:00:10 GMT",
        "Expires=Thu Jan  1 00:00:00 1970",
        "Expires=Mon, 01 Jan 1900 00:00:00 GMT",
        "Expires=Wed, 31 Dec 1969 23:59:59 GMT",
        "Max-Age=0; Expires=Fri, 01 Jan 2999 00:00:00 GMT",
        "Max-Age=soon; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    ],
)
def test_an_expired_cookie_is_taken_away(attribute: str) -> None:
    assert jar_with("sid=abc; Path=/", f"sid=; Path=/; {attribute}").header("/") == ""


@pytest.mark.parametrize(
    "attribute",
    [
        "",
        "Max-Age=60",
        "Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "Max-Age=" + "9" * 5000,
        "Max-Age=--5",
        "Max-Age=²",
        "Expires=Fri, 31 Dec 99999 23:59:59 GMT",
        # Named, since a name with the time in it is another one in each process that collects the tests.
        pytest.param(
            "Expires=" + time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 3600)), id="in-an-hour"
        ),
        "Expires=0",
        "Expires=never",
        "Expires",
    ],
)
def test_a_cookie_that_lives_is_kept(attribute: str) -> None:
    assert jar_with(f"sid=abc; Path=/; {attribute}").header("/") == "sid=abc"


def test_a_cookie_is_deleted_only_at_its_own_path() -> None:
    jar = jar_with("sid=1; Path=/", "sid=2; Path=/admin", "sid=; Path=/admin; Max-Age=0")
    assert jar.header("/admin") == "sid=1"


def test_domain_and_secure_do_not_matter_as_every_request_goes_to_the_one_application() -> None:
    assert jar_with("sid=abc; Domain=shop.example; Secure; Path=/").header("/") == "sid=abc"


def test_a_copy_has_cookies_of_its_own() -> None:
    jar = jar_with("a=1; Path=/")
    other = jar.copy()
    other.set("a", "2")
    assert (jar.get("a"), other.get("a"), jar.get("b")) == ("1", "2", None)


@given(st.text(), st.text())
def test_no_header_and_no_path_is_too_strange(header: str, path: str) -> None:
    jar = jar_with(header, request_path=path)
    cookie = read_set_cookie(header)
    if cookie is None or cookie.deletes:
        assert jar.header(path) == ""
    assert path_of(path).startswith("/")
    assert "?" not in path_of(path)


@given(st.from_regex(r"(?:/[a-c]{0,2}){1,4}", fullmatch=True), st.from_regex(r"(?:/[a-c]{0,2}){1,4}", fullmatch=True))
def test_a_path_matches_exactly_what_stands_at_it_or_below_it(at: str, path: str) -> None:
    below = at if at.endswith("/") else at + "/"
    assert (jar_with(f"a=1; Path={at}").header(path) != "") == (path == at or path.startswith(below))
