"""Settings that browsers, several instances or common sense would reject are refused at the start, in words that help."""

import os
from typing import Any

import pytest

from fungible.core.errors import SettingError
from fungible.sessions import CookiePolicy, SessionMiddleware, SessionSettings, open_sessions
from fungible.stores import open_store
from fungible.stores.memory import MemoryStore
from fungible.stores.postures import PostureError
from sessions.visiting import SECRET


async def app(scope: Any, receive: Any, send: Any) -> None: ...


def middleware(**options: Any) -> SessionMiddleware:
    return SessionMiddleware(app, **{"secret": SECRET, "store": MemoryStore(), **options})


@pytest.fixture(autouse=True)
def nothing_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FUNGIBLE_INSTANCES", "FUNGIBLE_MACHINES"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"same_site": "none", "secure": False}, "same_site='none'"),
        ({"partitioned": True, "secure": False}, "partitioned"),
        ({"cookie_name": "__Host-s", "secure": False}, "__Host-s"),
        ({"cookie_name": "__Secure-s", "secure": False}, "__Secure-s"),
        ({"cookie_name": "__host-s", "secure": False}, "__host-s"),
        ({"cookie_name": "__SECURE-s", "secure": False}, "__SECURE-s"),
        ({"cookie_name": "__Host-s", "path": "/app"}, "path"),
        ({"cookie_name": "__HOST-s", "path": "/app"}, "path"),
        ({"cookie_name": "__Host-s", "domain": "example.org"}, "domain"),
        ({"cookie_name": "a b"}, "RFC 6265"),
        ({"cookie_name": "a=b"}, "RFC 6265"),
        ({"cookie_name": "a;b"}, "RFC 6265"),
        ({"cookie_name": ""}, "RFC 6265"),
        ({"cookie_name": "é"}, "RFC 6265"),
        ({"path": "app"}, "begin with /"),
        ({"path": "/a;b"}, "path"),
        ({"path": "/a b"}, "path"),
        ({"path": "/\r\nx"}, "path"),
        ({"path": "/日本"}, "path"),
        ({"domain": "exa mple.org"}, "domain"),
        ({"domain": "example.org; Secure"}, "domain"),
        ({"same_site": "Lax "}, "same_site"),
    ],
)
def test_cookies_that_browsers_reject_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        middleware(**options)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "__Host-session"),
        ({"path": "/app"}, "__Secure-session"),
        ({"domain": "example.org"}, "__Secure-session"),
        ({"secure": False}, "session"),
        ({"secure": False, "path": "/app"}, "session"),
        ({"name": "sid"}, "sid"),
    ],
)
def test_the_name_by_default_is_the_strictest_that_browsers_take(options: dict[str, Any], name: str) -> None:
    assert CookiePolicy(**options).full_name == name


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"idle_timeout_s": 0}, "idle_timeout_s"),
        ({"idle_timeout_s": -1}, "idle_timeout_s"),
        ({"idle_timeout_s": float("nan")}, "idle_timeout_s"),
        ({"absolute_timeout_s": float("inf")}, "absolute_timeout_s"),
        ({"idle_timeout_s": 100, "absolute_timeout_s": 99}, "longer"),
        ({"freshness_s": 0}, "freshness_s"),
        ({"revocation_bound_s": 0}, "revocation_bound_s"),
        ({"tombstone_s": 0}, "tombstone_s"),
        ({"rotation_grace_s": -1}, "rotation_grace_s"),
        ({"rotation_grace_s": 301}, "rotation_grace_s"),
        ({"idle_timeout_s": "60"}, "must be a number"),
        ({"rotation_grace_s": None}, "must be a number"),
        ({"max_cookie_bytes": "4000"}, "must be a number"),
        ({"retry_after_s": "soon"}, "retry_after_s"),
        ({"retry_after_s": -1}, "retry_after_s"),
        ({"on_event": "log"}, "on_event"),
        ({"store": "redis://:hunter2@localhost"}, "takes an open store, and was given a 'str'"),
        ({"conflicts": "last"}, "conflicts"),
        ({"on_unavailable": "refused"}, "on_unavailable"),
        ({"mode": "store"}, "mode"),
        ({"store": None}, "needs a store"),
        ({"mode": "sealed"}, "takes no store"),
        ({"settings": SessionSettings(), "idle_timeout_s": 5}, "settings="),
        ({"settings": SessionSettings(), "cookie_name": "sid"}, "settings="),
    ],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        middleware(**options)


def test_an_option_that_there_is_not_is_refused() -> None:
    with pytest.raises(TypeError, match="idle_timeout"):
        middleware(idle_timeout=5)


@pytest.mark.parametrize("secret", ["", "short", "x" * 31, b"y" * 31, "x" * 64, ["a" * 16, SECRET]])
def test_secrets_that_can_be_guessed_are_refused(secret: Any) -> None:
    with pytest.raises(SettingError, match=r"32 or more|can be guessed"):
        middleware(secret=secret)


def test_no_secret_at_all_is_refused() -> None:
    with pytest.raises(SettingError, match="at least one"):
        middleware(secret=[])


def test_memory_is_refused_where_several_instances_are_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PostureError, match="BREAKING session at memory:") as refused:
        middleware(instances=2)
    assert [finding.code for finding in refused.value.findings] == ["session-home-process"]
    monkeypatch.setenv("FUNGIBLE_INSTANCES", "3")
    with pytest.raises(PostureError, match="3 instances"):
        middleware()
    # What is declared in the code goes before.
    middleware(instances=1)


def test_a_file_is_refused_across_machines_and_taken_on_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    store = open_store(f"sqlite:///{tmp_path}/sessions.db")
    with pytest.raises(PostureError, match="session"):
        middleware(store=store, instances=2)
    middleware(store=store, instances=2, machines=1)
    monkeypatch.setenv("FUNGIBLE_MACHINES", "1")
    middleware(store=store, instances=2)
    monkeypatch.setenv("FUNGIBLE_INSTANCES", "2")
    middleware(store=store)


def test_sealed_sessions_need_no_store_on_any_number_of_instances() -> None:
    assert os.environ.get("FUNGIBLE_INSTANCES") is None
    assert middleware(mode="sealed", store=None, instances=50).homes()[0].home == "cookie:"


def test_a_refused_setting_opens_no_connection() -> None:
    store = open_store("redis://127.0.0.1:1/0")
    with pytest.raises(SettingError):
        open_sessions(store, "short", SessionSettings())
    assert middleware(store=store, instances=9).homes()[0].home.startswith("redis://127.0.0.1:1")
