"""How long a lease is relied on by whoever has it."""

from __future__ import annotations

import inspect
import time
from typing import Any

import pytest

from fungible.core import leases
from fungible.core.leases import CLOCKS, Term, elapsed_s
from fungible.idempotency.claims import Claims
from fungible.sessions.revocations import Revocations as SessionRevocations
from fungible.stores.following import Following
from fungible.tokens.families_clock import StoreClock
from fungible.tokens.key_store import StoredKeys
from fungible.tokens.reloading import ReloadedKeys
from fungible.tokens.remote_keys import RemoteKeys
from fungible.tokens.revocations import Revocations


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_lease_is_over_by_a_tenth_before_its_end_and_a_renewal_counts_from_when_it_was_asked_for() -> None:
    clock = Hands()
    term = Term(30, clocks=(clock,))
    clock.now += 26.9
    assert not term.over
    asked_at = term.now()
    clock.now += 5
    # The answer has come: the store may have counted from any moment since it was asked.
    assert term.over
    term.renewed(asked_at)
    assert (term.over, round(term.left_s, 1)) == (False, 22.0)
    clock.now += 22
    assert term.over


def test_where_no_clock_goes_on_in_suspend_the_time_of_day_counts_too_and_a_step_back_of_it_does_not() -> None:
    monotonic, day = Hands(), Hands()
    term = Term(30, clocks=(monotonic, day))
    day.now += 28
    assert term.over
    day.now -= 3600
    assert not term.over
    monotonic.now += 28
    assert term.over


def test_on_this_machine_the_clock_goes_forward_at_the_same_pace_as_time_does() -> None:
    assert CLOCKS[0] is elapsed_s
    before = elapsed_s()
    assert 0 <= elapsed_s() - before < 60


@pytest.mark.parametrize(("platform", "lacking"), [("linux", "CLOCK_BOOTTIME"), ("darwin", "CLOCK_MONOTONIC")])
def test_a_machine_without_such_a_clock_is_asked_for_two(
    platform: str, lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.delattr(time, lacking, raising=False)
    assert leases._elapsed() == (time.monotonic, False)


def test_a_kernel_that_does_not_know_the_clock_is_asked_for_two(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: int) -> float:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(time, "CLOCK_BOOTTIME", 7, raising=False)
    monkeypatch.setattr(time, "clock_gettime", unknown)
    assert leases._elapsed() == (time.monotonic, False)


@pytest.mark.parametrize(
    "kind", [Following, SessionRevocations, Revocations, StoreClock, ReloadedKeys, RemoteKeys, StoredKeys]
)
def test_what_is_true_only_for_so_long_goes_by_a_clock_that_goes_on_in_suspend(kind: Any) -> None:
    assert inspect.signature(kind).parameters["monotonic"].default is elapsed_s


def test_idempotency_leases_go_by_these_clocks() -> None:
    assert inspect.signature(Claims).parameters["clocks"].default is CLOCKS
