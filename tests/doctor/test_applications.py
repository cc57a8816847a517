"""What an application shows of where it keeps state."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import flask
import pytest
from fastapi import FastAPI
from litestar import Litestar
from litestar.middleware import DefineMiddleware
from litestar.middleware.session.client_side import CookieBackendConfig
from litestar.middleware.session.server_side import ServerSideSessionConfig
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware as CookieSessions
from starlette.routing import Mount

from fungible.adapters.flask import FungibleSessions as ForFlask
from fungible.adapters.litestar import FungibleSessions as ForLitestar
from fungible.core.errors import MissingExtraError, SettingError
from fungible.doctor.applications import homes_of, homes_of_application
from fungible.sessions import SessionMiddleware
from fungible.stores.memory import MemoryStore
from fungible.stores.postures import Home

STORE = MemoryStore()
SECRET = "0123456789abcdefghijklmnopqrstuv"


class Keeper:
    """Keeps state, and says where; of another kind than sessions."""

    def __init__(self, app: Any = None, *, kind: str) -> None:
        self.app = app
        self.kind = kind

    def homes(self) -> Sequence[Home]:
        return self.homes_declared(kind=self.kind)

    @classmethod
    def homes_declared(cls, *, kind: str) -> Sequence[Home]:
        return [Home(kind, STORE.home, STORE.guarantees, "Keeper(kind=…)")]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


def kinds(application: object) -> list[str]:
    return [home.kind for home in homes_of(application, "shop:app").homes]


# --- what is ours -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framework", [Starlette, FastAPI])
def test_middleware_that_is_noted_down_and_not_built_yet_is_found(framework: Callable[[], Starlette]) -> None:
    app = framework()
    app.add_middleware(Keeper, kind="cache")
    app.add_middleware(SessionMiddleware, store=STORE, secret=SECRET)
    assert kinds(app) == ["session", "cache"]


def test_middleware_around_an_application_is_found_through_all_layers() -> None:
    assert kinds(Keeper(Keeper(Starlette(), kind="cache"), kind="rate-limit")) == ["rate-limit", "cache"]
    assert "session" in kinds(Keeper(SessionMiddleware(Starlette(), store=STORE, secret=SECRET), kind="cache"))


def test_mounted_applications_are_looked_at() -> None:
    inner = Starlette(middleware=[Middleware(Keeper, kind="upload")])
    assert kinds(Starlette(routes=[Mount("/inner", app=inner)])) == ["upload"]


def test_litestar_middleware_is_found_with_and_without_settings() -> None:
    class Plain(Keeper):
        def __init__(self, app: Any) -> None:
            super().__init__(app, kind="users")

        @classmethod
        def homes_declared(cls, **settings: Any) -> Sequence[Home]:
            return Keeper.homes_declared(kind="users")

    app = Litestar(route_handlers=[], middleware=[DefineMiddleware(Keeper, kind="cache"), Plain])
    assert kinds(app) == ["cache", "users"]


def test_a_session_interface_of_flask_is_asked() -> None:
    app: Any = flask.Flask("shop")
    app.session_interface = Keeper(kind="session")
    assert kinds(app) == ["session"]


def test_what_wraps_a_flask_application_is_found() -> None:
    app: Any = flask.Flask("shop")
    app.wsgi_app = Keeper(app.wsgi_app, kind="idempotency-key")
    assert kinds(app) == ["idempotency-key"]


def test_our_adapters_say_where_sessions_are() -> None:
    for_flask = flask.Flask("shop")
    ForFlask(for_flask, store=STORE, secret=SECRET)
    sessions = ForLitestar(store=STORE, secret=SECRET)
    for_litestar = Litestar(route_handlers=[], middleware=[sessions.middleware])
    for app in (for_flask, for_litestar):
        found = homes_of(app, "shop:app")
        assert [(home.kind, home.home) for home in found.homes] == [("session", "memory:")]
        assert found.notes == ()


def test_a_home_is_said_to_be_in_the_application_where_it_was_found() -> None:
    (home,) = homes_of(Keeper(kind="cache"), "shop:app").homes
    assert home.seat == "Keeper(kind=…) in shop:app"


def test_applications_that_contain_each_other_end_the_search() -> None:
    one, two = Keeper(kind="cache"), Keeper(kind="users")
    one.app, two.app = two, one
    assert kinds(one) == ["cache", "users"]


def test_another_method_of_the_same_name_is_not_believed() -> None:
    class Estate:
        def homes(self) -> list[str]:
            return ["Bag End"]

    assert kinds(Estate()) == []


# --- what is not ours -------------------------------------------------------------------------------------------------


def starlette_cookies() -> object:
    return Starlette(middleware=[Middleware(CookieSessions, secret_key=SECRET)])


def flask_cookies() -> object:
    app = flask.Flask("shop")
    app.secret_key = SECRET
    return app


def litestar_cookies() -> object:
    return Litestar(route_handlers=[], middleware=[CookieBackendConfig(secret=b"x" * 32).middleware])


@pytest.mark.parametrize("make", [starlette_cookies, flask_cookies, litestar_cookies])
def test_a_session_in_a_cookie_is_found(make: Callable[[], object]) -> None:
    found = homes_of(make(), "shop:app")
    assert [(finding.code, finding.severity) for finding in found.findings] == [("session-cookie-lost-update", "HIGH")]
    assert found.findings[0].seat.endswith(" in shop:app")


def test_flask_without_a_key_has_no_sessions() -> None:
    assert homes_of(flask.Flask("shop"), "shop:app") == homes_of(Starlette(), "shop:app")


def test_sessions_of_an_unknown_library_are_named_as_not_judged() -> None:
    class ForeignSessions(Keeper):
        homes = homes_declared = None  # type: ignore[assignment]

    found = homes_of(ForeignSessions(Starlette(), kind=""), "shop:app")
    assert not found.homes
    assert "ForeignSessions) is not known, and was not judged" in found.notes[0]

    app = Litestar(route_handlers=[], middleware=[ServerSideSessionConfig().middleware])
    assert ["ServerSideSessionBackend" in note for note in homes_of(app, "shop:app").notes] == [True]


# --- importing --------------------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory; what is imported from it is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


SHOP = """
from fungible.stores.postures import Home
from fungible.stores.memory import MemoryStore

class App:
    def homes(self):
        return [Home("session", "memory:", MemoryStore.guarantees, "App")]

def make():
    print("made")
    return App()

class inner:
    app = App()
"""


@pytest.mark.parametrize("target", ["shop:inner.app", "shop:make()"])
def test_an_application_is_imported_from_the_working_directory(
    here: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "shop.py").write_text(SHOP, encoding="utf-8")
    assert [home.home for home in homes_of_application(target).homes] == ["memory:"]
    # What the application prints must not get into a report in JSON.
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("code", "target", "words"),
    [
        ("", "shop", "--app shop: package.module:attribute was expected"),
        ("", "shop:app", "--app shop:app: shop has no 'app'"),
        ("app = 3", "shop:app()", "--app shop:app(): 'app' can't be called"),
        ("import nowhere", "shop:app", "can't import shop: ModuleNotFoundError: No module named 'nowhere'"),
        ("1 / 0", "shop:app", "can't import shop: ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "shop:app", "can't import shop: SystemExit: 3"),
        ("(", "shop:app", "can't import shop: SyntaxError: "),
        ("def app(): raise OSError('no')", "shop:app()", "shop:app() failed: OSError: no"),
        (
            "raise OSError('away: redis://user:s3cret@h@localhost/0')",
            "shop:app",
            "can't import shop: OSError: away: redis://localhost/0",
        ),
    ],
)
def test_an_application_that_can_not_be_had_says_why(here: Path, code: str, target: str, words: str) -> None:
    (here / "shop.py").write_text(code, encoding="utf-8")
    with pytest.raises(SettingError) as caught:
        homes_of_application(target)
    assert str(caught.value).startswith(words)
    assert "s3cret" not in str(caught.value)


def test_a_missing_driver_of_the_application_keeps_its_own_words(here: Path) -> None:
    (here / "shop.py").write_text(
        "from fungible.core.errors import MissingExtraError\n"
        "raise MissingExtraError(needed_by='redis:', extra='redis', module='redis')",
        encoding="utf-8",
    )
    with pytest.raises(MissingExtraError, match=r"pip install 'fungible\[redis\]'"):
        homes_of_application("shop:app")


def test_an_application_that_refuses_to_start_gives_its_findings(here: Path) -> None:
    (here / "shop.py").write_text(
        "from fungible.stores.memory import MemoryStore\n"
        "from fungible.stores.postures import Deployment, require\n"
        "require('session', MemoryStore(), Deployment(3))",
        encoding="utf-8",
    )
    found = homes_of_application("shop:app")
    assert [(finding.code, finding.seat) for finding in found.findings] == [("session-home-process", "shop:app")]


def test_an_application_that_keeps_nothing_known_is_said_so(here: Path) -> None:
    (here / "shop.py").write_text("app = object()", encoding="utf-8")
    found = homes_of_application("shop:app")
    assert found.notes == ("shop:app: nothing in it is known to keep state",)


def test_settings_that_the_middleware_refuses_are_an_error_with_its_place() -> None:
    app = Starlette(middleware=[Middleware(Keeper, colour="red")])
    with pytest.raises(SettingError, match="Keeper in shop:app can't be built: TypeError"):
        homes_of(app, "shop:app")
