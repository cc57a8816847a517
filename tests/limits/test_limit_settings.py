"""Settings that can't be taken are refused when the application starts."""

import logging
from typing import Any

import pytest
from limit_asking import application, limit_of

from fungible.core.errors import SettingError
from fungible.limits import (
    Limit,
    Limiter,
    all_of,
    by_address,
    by_header,
    first_of,
    per_day,
    per_hour,
    per_minute,
    per_second,
)
from fungible.stores.memory import MemoryStore


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": ""}, "a limit's name"),
        ({"name": "a b"}, "a limit's name"),
        ({"name": "a:b"}, "a limit's name"),
        ({"name": "x" * 65}, "a limit's name"),
        ({"limit": 0}, "limit=0"),
        ({"per_s": 0}, "per_s=0"),
        ({"per_s": float("nan")}, "per_s=nan"),
        ({"per_s": float("inf")}, "per_s=inf"),
        ({"burst": 0}, "burst=0"),
        ({"cost": 0}, "cost=0"),
        ({"cost": 6}, "more would never be allowed"),
        ({"cost": 3, "burst": 2}, "more would never be allowed"),
        ({"on_unavailable": "allow"}, "must be 'open', 'closed' or 'share'"),
        ({"by": "address"}, "must be a plain function"),
        ({"methods": "POST"}, r"must be several: \('POST',\)"),
        ({"paths": "/login"}, "must be several"),
        ({"paths": ("login",)}, "must begin with /"),
        ({"paths": ("/a*b",)}, "no \\* but at the end"),
    ],
)
def test_a_limit_that_cant_be_is_refused(changed: dict[str, Any], words: str) -> None:
    settings: dict[str, Any] = {"name": "api", "limit": 5, "per_s": 60, "on_unavailable": "open", **changed}
    with pytest.raises(SettingError, match=words):
        Limit(settings.pop("name"), settings.pop("limit"), **settings)


async def coroutine(scope: Any) -> str:
    return ""


def test_a_coroutine_cant_give_the_key() -> None:
    with pytest.raises(SettingError, match="plain function"):
        limit_of(by=coroutine)


def test_what_holds_while_the_store_is_away_must_be_said() -> None:
    with pytest.raises(TypeError, match="on_unavailable"):
        Limit("api", 5, per_s=60)  # type: ignore[call-arg]


@pytest.mark.parametrize(("make", "seconds"), [(per_second, 1), (per_minute, 60), (per_hour, 3600), (per_day, 86_400)])
def test_rates_have_short_forms(make: Any, seconds: int) -> None:
    limit = make("api", 5, on_unavailable="open", burst=9, by=by_address)
    assert (limit.rate.limit, limit.rate.period_s, limit.burst) == (5, seconds, 9)


def test_limits_of_one_middleware_have_different_names() -> None:
    with pytest.raises(SettingError, match="different names: api, api"):
        application(limit_of(), limit_of())


def test_jitter_is_not_below_zero() -> None:
    with pytest.raises(SettingError, match="retry_jitter_s=-1"):
        application(limit_of(), retry_jitter_s=-1)


@pytest.mark.parametrize("make", [first_of, all_of, lambda: by_header(""), lambda: by_header("ä")])
def test_what_gives_no_key_at_all_is_refused(make: Any) -> None:
    with pytest.raises(SettingError):
        make()


def test_a_store_that_instances_do_not_share_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    Limiter(MemoryStore(), instances=3)
    assert "MEDIUM rate-limit at memory: would allow as much again on each instance" in caplog.text
    caplog.clear()
    Limiter(MemoryStore(), instances=1)
    assert caplog.text == ""


def test_the_environment_declares_the_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUNGIBLE_INSTANCES", "four")
    with pytest.raises(SettingError, match="FUNGIBLE_INSTANCES"):
        Limiter(MemoryStore())
