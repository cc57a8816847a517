"""What Django settings say of where sessions and caches are."""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fungible.core.errors import SettingError
from fungible.doctor.diagnosis import diagnose
from fungible.doctor.django_settings import homes_of_django
from fungible.stores.postures import Deployment

SESSIONS = "MIDDLEWARE = ['django.contrib.sessions.middleware.SessionMiddleware']\n"
BACKENDS = "django.contrib.sessions.backends."
SQLITE = "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': '/srv/shop.db'}}\n"
POSTGRESQL = (
    "DATABASES = {'default': {'ENGINE': 'django.db.backends.postgresql', 'HOST': 'db', 'NAME': 'shop', "
    "'USER': 'user', 'PASSWORD': 's3cret'}}\n"
)


def cache(backend: str, location: Any = "") -> str:
    return f"CACHES = {{'default': {{'BACKEND': 'django.core.cache.backends.{backend}', 'LOCATION': {location!r}}}}}\n"


REDIS = cache("redis.RedisCache", "redis://user:s3cret@cache:6379/1")


class Result(NamedTuple):
    """What was judged."""

    homes: list[tuple[str, str]]
    findings: list[tuple[str, str, str]]
    notes: tuple[str, ...]


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Judges settings, given as text, for three instances."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def judge(text: str, *, machines: int | None = None) -> Result:
        (tmp_path / "shop_settings.py").write_text(text, encoding="utf-8")
        monkeypatch.delitem(sys.modules, "shop_settings", raising=False)
        found = diagnose(homes_of_django("shop_settings"), Deployment(3, machines))
        monkeypatch.delitem(sys.modules, "shop_settings", raising=False)
        assert "s3cret" not in repr(found)
        return Result(
            [(home.kind, home.home) for home in found.homes],
            [(finding.severity.value, finding.code, finding.home) for finding in found.findings],
            found.notes,
        )

    return judge


LOST = ("MEDIUM", "session-record-lost-update")


def engine(name: str) -> str:
    return f"{SESSIONS}SESSION_ENGINE = '{BACKENDS}{name}'\n"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (engine("db") + SQLITE + REDIS, [("BREAKING", "session-home-machine", "sqlite:/srv/shop.db")]),
        (SESSIONS + SQLITE + REDIS, [("BREAKING", "session-home-machine", "sqlite:/srv/shop.db")]),
        (engine("db") + POSTGRESQL + REDIS, []),
        (engine("cache") + REDIS, [("MEDIUM", "session-home-restart", "redis://cache:6379/1")]),
        (engine("cached_db") + POSTGRESQL + REDIS, []),
        (
            engine("file") + "SESSION_FILE_PATH = '/srv/sessions'\n" + REDIS,
            [("BREAKING", "session-home-machine", "file:/srv/sessions")],
        ),
        (
            engine("cached_db") + POSTGRESQL,
            [("BREAKING", "session-home-process", "memory:"), ("MEDIUM", "cache-home-process", "memory:")],
        ),
        (
            engine("cache") + cache("memcached.PyMemcacheCache", "cache:11211"),
            [
                ("HIGH", "session-home-evicts", "memcached://cache:11211"),
                ("MEDIUM", "session-home-restart", "memcached://cache:11211"),
            ],
        ),
    ],
)
def test_django_sessions_are_judged_by_their_home(judged: Any, settings: str, expected: list[Any]) -> None:
    found = judged(settings)
    assert [finding for finding in found.findings if finding[:2] != LOST] == expected
    assert [finding[:2] for finding in found.findings].count(LOST) == 1


def test_files_and_database_files_serve_the_instances_of_one_machine(judged: Any) -> None:
    for text in (engine("db") + SQLITE, engine("file")):
        assert [finding[:2] for finding in judged(text + REDIS, machines=1).findings] == [LOST]


def test_sessions_in_signed_cookies_are_found(judged: Any) -> None:
    found = judged(engine("signed_cookies") + REDIS)
    assert found.findings == [("HIGH", "session-cookie-lost-update", "cookie:")]


def test_sessions_without_their_middleware_are_off(judged: Any) -> None:
    assert judged(SQLITE + REDIS).homes == [("cache", "redis://cache:6379/1")]


@pytest.mark.parametrize(
    ("caches", "homes", "codes"),
    [
        ("", [("cache", "memory:")], ["cache-home-process"]),
        (cache("locmem.LocMemCache"), [("cache", "memory:")], ["cache-home-process"]),
        (cache("filebased.FileBasedCache", "/srv/cache"), [("cache", "file:/srv/cache")], ["cache-home-machine"]),
        (cache("db.DatabaseCache", "table") + SQLITE, [("cache", "sqlite:/srv/shop.db")], ["cache-home-machine"]),
        (cache("db.DatabaseCache", "table") + POSTGRESQL, [("cache", "postgresql://db/shop")], []),
        (REDIS, [("cache", "redis://cache:6379/1")], []),
        (
            cache("redis.RedisCache", ["redis://:s3cret@one", "redis://:s3cret@two"]),
            [("cache", "redis://one,two")],
            [],
        ),
        (cache("memcached.PyLibMCCache", "one:1;two:2"), [("cache", "memcached://one:1,two:2")], []),
        (cache("dummy.DummyCache"), [], []),
    ],
)
def test_every_cache_is_judged(judged: Any, caches: str, homes: list[Any], codes: list[str]) -> None:
    found = judged(caches)
    assert found.homes == homes
    assert [finding[1] for finding in found.findings] == codes


def test_a_database_in_memory_is_the_process_own(judged: Any) -> None:
    found = judged(engine("db") + SQLITE.replace("/srv/shop.db", ":memory:") + REDIS)
    assert found.findings[0] == ("BREAKING", "session-home-process", "sqlite::memory:")


def test_our_own_engine_is_judged_by_the_store_it_is_given(judged: Any) -> None:
    text = f"{SESSIONS}SESSION_ENGINE = 'fungible.adapters.django.sessions'\n{REDIS}"
    found = judged(f"{text}FUNGIBLE_SESSION = {{'store': 'memory:'}}\n")
    assert found.findings == [("BREAKING", "session-home-process", "memory:")]
    with pytest.raises(SettingError, match="needs FUNGIBLE_SESSION"):
        judged(text)


def test_what_is_not_known_is_named_as_not_judged(judged: Any) -> None:
    text = f"{SESSIONS}SESSION_ENGINE = 'acme.sessions'\nCACHES = {{'default': {{'BACKEND': 'acme.Cache'}}}}\n"
    assert judged(text).notes == (
        "CACHES['default'] in shop_settings: acme.Cache is not known, and was not judged",
        "SESSION_ENGINE in shop_settings: acme.sessions is not known, and was not judged",
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (engine("db") + REDIS, "SESSION_ENGINE in shop_settings: there is no 'default'"),
        (engine("cache") + "SESSION_CACHE_ALIAS = 'fast'\n", "there is no 'fast'"),
        ("CACHES = {'default': 3}", "there is no 'default'"),
        ("CACHES = 3", "CACHES in shop_settings is no dict"),
        ("1 / 0", "can't import shop_settings: ZeroDivisionError"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(judged: Any, settings: str, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        judged(settings)
