"""URLs that name a home: taken apart, shown without secrets, refused with a reason."""

import contextlib
import string
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fungible.core.errors import SettingError
from fungible.core.urls import HomeURL, parse_home_url

SECRETS = st.text(min_size=1).filter(lambda text: text.encode("utf-8", "ignore") == text.encode("utf-8", "replace"))
HOSTS = st.sampled_from(["localhost", "db.example.org", "127.0.0.1", "::1", "fe80::1", "redis-0"])
PORTS = st.none() | st.integers(1, 65535)
PATHS = st.text(st.characters(exclude_categories=["Cs"]))
WORDS = st.text(string.ascii_lowercase + "_", min_size=1, max_size=10)


@settings(deadline=None)
@given(
    username=st.none() | SECRETS,
    password=st.none() | SECRETS,
    hosts=st.lists(st.tuples(HOSTS, PORTS), min_size=1, max_size=3),
    path=PATHS,
    options=st.dictionaries(WORDS, st.text(st.characters(exclude_categories=["Cs"]))),
)
def test_what_is_quoted_is_read_as_it_was(
    username: str | None,
    password: str | None,
    hosts: list[tuple[str, int | None]],
    path: str,
    options: dict[str, str],
) -> None:
    login = quote(username or "", safe="") + (f":{quote(password, safe='')}" if password else "")
    places = ",".join((f"[{host}]" if ":" in host else host) + (f":{port}" if port else "") for host, port in hosts)
    query = "&".join(f"{name}={quote(text, safe='')}" for name, text in options.items())
    text = (
        f"redis+cluster://{f'{login}@' if login else ''}{places}/{quote(path, safe='')}{f'?{query}' if query else ''}"
    )
    assert parse_home_url(text) == HomeURL("redis+cluster", username, password, tuple(hosts), path, options)


@settings(deadline=None)
@given(
    st.text(string.ascii_letters + string.digits, min_size=12, max_size=30),
    st.text(string.ascii_letters + string.digits, min_size=12, max_size=30),
)
def test_the_redacted_url_has_neither_login_nor_options(username: str, password: str) -> None:
    shown = parse_home_url(f"redis://{username}:{password}@host:6379/0?token={password}").redacted
    assert shown == "redis://host:6379/0"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("memory:", "memory:"),
        ("redis://localhost", "redis://localhost"),
        ("redis://localhost/", "redis://localhost"),
        ("redis://[::1]:6379/1", "redis://[::1]:6379/1"),
        ("redis+sentinel://a:1,b:2/main/0", "redis+sentinel://a:1,b:2/main/0"),
        ("sqlite:///data.db", "sqlite:data.db"),
        ("sqlite:////var/data.db", "sqlite:/var/data.db"),
    ],
)
def test_the_redacted_url_names_the_place(text: str, shown: str) -> None:
    assert parse_home_url(text).redacted == shown


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("sqlite:///data.db", "data.db"),
        ("sqlite:////var/data.db", "/var/data.db"),
        ("sqlite:///", ""),
        ("sqlite:///a%20b%3f.db", "a b?.db"),
        ("memory:", ""),
        ("redis://h", ""),
        ("redis://h/0", "0"),
        ("redis://h//0", "/0"),
    ],
)
def test_the_path_begins_after_its_first_slash(text: str, path: str) -> None:
    assert parse_home_url(text).path == path


def test_hosts_are_several_and_each_may_have_a_port() -> None:
    url = parse_home_url("redis+cluster://a:1,[::1]:2,b,[::2],10.0.0.1:65535")
    assert url.hosts == (("a", 1), ("::1", 2), ("b", None), ("::2", None), ("10.0.0.1", 65535))


def test_an_at_sign_in_a_password_need_not_be_quoted() -> None:
    url = parse_home_url("postgresql://ada:p@ss@db/app")
    assert (url.username, url.password, url.hosts) == ("ada", "p@ss", (("db", None),))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "/var/data.db",
        "//host/0",
        "redis://host:port",
        "redis://host:65536",
        "redis://host:-1",
        "redis://[::1",
        "redis://a,b:c",
        "1redis://host",
    ],
)
def test_what_is_no_url_is_refused(text: str) -> None:
    with pytest.raises(SettingError):
        parse_home_url(text)


@pytest.mark.parametrize(
    "text",
    [
        "redis://ada:open-sesame@host:port/0",
        "redis://:open-sesame@host:99999",
        "redis://ada:open-sesame@[::1/0",
        "//ada:open-sesame@host",
        "redis://ada:open-sesame@a,b:x",
    ],
)
def test_an_error_never_shows_the_password(text: str) -> None:
    with pytest.raises(SettingError) as error:
        parse_home_url(text)
    seen: BaseException | None = error.value
    while seen is not None:
        assert "open-sesame" not in str(seen)
        seen = seen.__cause__


SCHEMES = [
    *("redis", "rediss", "redis+sentinel", "redis+cluster", "redis+unix", "valkey", "postgresql", "postgres", "mysql"),
    *("mariadb", "memcached", "smtp", "s3", "ldap"),
]
ODD = ["opensesame1/2", "opensesame1?b=2", "12#opensesame", "/opensesame", "#opensesame", "open%sesame", "open%zsesame"]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("form", ["{}://:{}@host", "{}://ada:{}@host:1/0?prefix=x", "{}://{}@host", "{}://a,{}@b/m"])
@pytest.mark.parametrize("password", ODD)
def test_a_password_that_is_not_percent_encoded_is_refused_and_never_leads_elsewhere(
    scheme: str, form: str, password: str
) -> None:
    with pytest.raises(SettingError, match="percent-encode") as error:
        parse_home_url(form.format(scheme, password))
    assert not any(part in str(error.value) for part in ("sesame", "opensesame1", "ada", "12"))


@pytest.mark.parametrize(
    "text",
    [
        "redis://:a@b/2@host",
        "redis://:a@b?c@host",
        "redis://:a@b#c@host",
        "redis://host/0#1",
        "redis://host?prefix=a@b",
        "redis://u:p[@host",
        "sqlite:///a#b.db",
        "redis://:a\nb@host",
        "redis://:a\tb@host",
    ],
)
def test_a_url_that_two_readers_would_take_for_two_places_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="percent-encode"):
        parse_home_url(text)


def test_a_file_may_have_an_at_sign_in_its_name() -> None:
    assert parse_home_url("sqlite:////home/ada@example.org/a.db").path == "/home/ada@example.org/a.db"


def test_what_python_shows_of_a_url_has_no_secrets() -> None:
    url = parse_home_url("redis://ada:open-sesame@host:6379/0?sentinel_password=open-sesame")
    assert "'host', 6379" in repr(url)
    for secret in ("ada", "open-sesame"):
        assert secret not in f"{url} {[url]} {url!r}"


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_url_or_refused(text: str) -> None:
    with contextlib.suppress(SettingError):
        parse_home_url(text)


def test_an_option_may_only_say_what_is_allowed() -> None:
    url = parse_home_url("sqlite:///a.db?durability=some")
    assert url.option("migrate", "never") == "never"
    with pytest.raises(SettingError, match=r"durability='some' can be normal or full"):
        url.option("durability", "normal", allowed=("normal", "full"))


@pytest.mark.parametrize("text", ["", "0", "-1", "soon", "nan", "inf", "1e999", "1s"])
def test_seconds_must_be_a_number_above_zero(text: str) -> None:
    url = parse_home_url(f"redis://h?timeout_s={text}")
    with pytest.raises(SettingError, match="must be a number of seconds above 0"):
        url.seconds("timeout_s", 2.0)


@pytest.mark.parametrize(("text", "seconds"), [("1", 1.0), ("0.5", 0.5), ("1e-3", 0.001), ("10", 10.0)])
def test_seconds_may_have_a_fraction(text: str, seconds: float) -> None:
    assert parse_home_url(f"redis://h?timeout_s={text}").seconds("timeout_s", 2.0) == seconds
    assert parse_home_url("redis://h").seconds("timeout_s", 2.0) == 2.0


def test_an_option_that_nothing_reads_is_refused_by_name() -> None:
    url = parse_home_url("redis://h?timeout=1&timeout_s=1")
    with pytest.raises(SettingError, match=r"no option 'timeout'; there are: prefix, timeout_s"):
        url.refuse_options_but("timeout_s", "prefix")
    url.refuse_options_but("timeout_s", "timeout")
