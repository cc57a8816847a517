"""From a kind of state and a URL to what the home promises."""

import builtins
import sys
from pathlib import Path
from typing import Any

import pytest

from fungible.core.errors import SettingError
from fungible.doctor.homes import assumed, home_of
from fungible.stores.contract import Reach
from fungible.stores.opening import BACKENDS, open_store

URLS = {
    "redis": "redis://user:s3cret@localhost:6379/0",
    "rediss": "rediss://user:s3cret@localhost",
    "redis+sentinel": "redis+sentinel://:s3cret@one,two/main",
    "redis+cluster": "redis+cluster://:s3cret@one,two",
    "postgresql": "postgresql://user:s3cret@localhost/shop",
    "mysql": "mysql://user:s3cret@localhost/shop",
}
DRIVERS = {"redis": ("redis", "hiredis"), "postgresql": ("asyncpg",), "mysql": ("asyncmy",)}


@pytest.mark.parametrize("url", URLS.values(), ids=list(URLS))
def test_without_its_driver_a_home_is_judged_by_what_the_backend_promises(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheme = url.partition(":")[0]
    promised = open_store(url).guarantees
    module, _, extra = BACKENDS[scheme]
    forget(monkeypatch, module, DRIVERS[extra])

    found = home_of("session", url, "--home")

    (home,) = found.homes
    assert home.guarantees == promised == assumed(scheme)
    assert "s3cret" not in str(found)
    (note,) = found.notes
    assert f"pip install 'fungible[{extra}]'" in note
    assert "session was judged without it" in note


def forget(monkeypatch: pytest.MonkeyPatch, module: str, drivers: tuple[str, ...]) -> None:
    """Makes a backend's driver a module that is not installed."""
    for name in list(sys.modules):
        if name.startswith(module) or name.partition(".")[0] in drivers:
            monkeypatch.delitem(sys.modules, name)
    really = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if name.partition(".")[0] in drivers:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return really(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)


@pytest.mark.parametrize("url", URLS.values(), ids=list(URLS))
def test_a_home_shows_no_user_name_and_no_password(url: str) -> None:
    (home,) = home_of("session", url, "--home").homes
    assert "s3cret" not in str(home)
    assert "user" not in home.home


def test_a_database_file_is_judged_without_being_made(tmp_path: Path) -> None:
    (home,) = home_of("session", f"sqlite:///{tmp_path}/shop.db", "--home").homes
    assert home.guarantees.reach is Reach.MACHINE
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "url", "shown", "reach"),
    [
        ("session", "memory:", "memory:", "process"),
        ("signing-key", "memory:", "memory:", "process"),
        ("upload", "file:///srv/uploads", "file:/srv/uploads", "machine"),
        ("upload", "s3://key:s3cret@uploads", "s3://uploads", "fleet"),
        ("notifier", "smtp://user:s3cret@mail:587", "smtp://mail:587", "fleet"),
        ("notifier", "file:/tmp/mail.txt", "file:/tmp/mail.txt", "machine"),
        ("users", "ldaps://user:s3cret@directory", "ldaps://directory", "fleet"),
        ("users", "file:///etc/users.yml", "file:/etc/users.yml", "machine"),
    ],
)
def test_what_is_no_store_has_a_home_too(kind: str, url: str, shown: str, reach: str) -> None:
    (home,) = home_of(kind, url, "--home").homes
    assert (home.kind, home.home, home.guarantees.reach, home.seat) == (kind, shown, reach, "--home")


@pytest.mark.parametrize(
    ("kind", "url", "words"),
    [
        ("sessions", "memory:", "--home: there is no kind of state 'sessions'; there are: session, "),
        ("session", "localhost", "--home, session: a URL with a scheme was expected"),
        ("session", "nosql://localhost", "--home, session: no store has the scheme 'nosql'"),
        ("session", "smtp://mail", "--home, session: smtp: can hold notifier, no session"),
        ("session", "memory:?size=3", "--home, session: memory:: there is no option 'size'"),
    ],
)
def test_a_home_that_can_not_be_is_refused_with_the_place_it_was_declared(kind: str, url: str, words: str) -> None:
    with pytest.raises(SettingError) as caught:
        home_of(kind, url, "--home")
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    "url",
    [
        "redis:user:s3cret@localhost",
        "redis://user:s3cret",
        "redis://user:s3cret@localhost:port",
        "redis://user:s3cret\u2100@localhost",
        "redis://user:s3cret@[localhost",
        "nosql://user:s3cret@localhost",
        "smtp://user:s3cret@localhost",
        "redis://user:s3cret@localhost?tiemout_s=1",
    ],
)
def test_no_error_shows_a_password(url: str) -> None:
    with pytest.raises(SettingError) as caught:
        home_of("session", url, "--home")
    assert "s3cret" not in str(caught.value)
