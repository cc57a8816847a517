"""What a kind of state needs of its home, on one instance and on several."""

import logging
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fungible.core.errors import SettingError
from fungible.stores.contract import Guarantees, Lack, Reach, Survives
from fungible.stores.memory import MemoryStore
from fungible.stores.needs import NEEDS
from fungible.stores.postures import (
    Deployment,
    Finding,
    PostureError,
    Severity,
    catalogue,
    foretell,
    judge,
    require,
)

PROCESS = Guarantees(reach=Reach.PROCESS, survives=Survives.NOTHING)
MACHINE = Guarantees(reach=Reach.MACHINE, survives=Survives.MACHINE, lacks=frozenset({Lack.COMMON_CLOCK}))
FLEET = Guarantees(reach=Reach.FLEET, survives=Survives.MACHINE)
THREE_MACHINES = Deployment(3)
ONE_MACHINE = Deployment(3, 1)


class Place(NamedTuple):
    """What of a store is judged."""

    home: str
    guarantees: Guarantees


def lacking(*lacks: Lack) -> Guarantees:
    return Guarantees(reach=Reach.FLEET, survives=Survives.MACHINE, lacks=frozenset(lacks))


def codes(kind: str, guarantees: Guarantees, deployment: Deployment) -> list[tuple[str, str]]:
    return [(found.severity, found.code) for found in judge(kind, "somewhere:", guarantees, deployment)]


# --- the table of the design ------------------------------------------------------------------------------------------

TABLE = [
    *[(kind, PROCESS, Severity.BREAKING) for kind in ("session", "refresh-family", "idempotency-key")],
    *[(kind, MACHINE, Severity.BREAKING) for kind in ("session", "refresh-family", "idempotency-key")],
    ("portal-storage", MACHINE, Severity.BREAKING),
    ("notifier", MACHINE, Severity.HIGH),
    ("users", MACHINE, Severity.MEDIUM),
    ("signing-key", PROCESS, Severity.BREAKING),
    ("upload", MACHINE, Severity.BREAKING),
    ("cache", PROCESS, Severity.MEDIUM),
    ("rate-limit", PROCESS, Severity.MEDIUM),
]


@pytest.mark.parametrize(("kind", "guarantees", "severity"), TABLE)
def test_a_home_that_some_instances_do_not_see_is_found(kind: str, guarantees: Guarantees, severity: Severity) -> None:
    assert codes(kind, guarantees, THREE_MACHINES) == [(severity, f"{kind}-home-{guarantees.reach}")]


@pytest.mark.parametrize(("kind", "guarantees", "severity"), TABLE)
def test_one_instance_accepts_everything_and_is_told_what_would_break(
    kind: str, guarantees: Guarantees, severity: Severity
) -> None:
    assert judge(kind, "somewhere:", guarantees, Deployment()) == []
    assert [found.severity for found in foretell(kind, "somewhere:", guarantees)] == [severity]


@pytest.mark.parametrize("kind", NEEDS)
def test_a_home_on_one_machine_serves_all_instances_of_that_machine(kind: str) -> None:
    assert codes(kind, MACHINE, ONE_MACHINE) == []
    assert codes(kind, PROCESS, ONE_MACHINE) == codes(kind, PROCESS, THREE_MACHINES) != []


@pytest.mark.parametrize("kind", NEEDS)
def test_a_home_that_promises_all_serves_every_kind(kind: str) -> None:
    assert codes(kind, FLEET, Deployment(1000)) == []


# --- what survives, and what is lacking -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", NEEDS)
def test_a_home_that_ends_with_an_instance_is_found_unless_the_state_can_be_made_again(kind: str) -> None:
    brief = Guarantees(reach=Reach.FLEET, survives=Survives.NOTHING)
    expected = [] if kind in {"cache", "rate-limit"} else [(NEEDS[kind].apart, f"{kind}-home-ends")]
    assert codes(kind, brief, THREE_MACHINES) == expected


def test_a_home_that_is_not_shared_is_not_also_said_to_be_short_lived() -> None:
    assert codes("session", PROCESS, THREE_MACHINES) == [("BREAKING", "session-home-process")]


@pytest.mark.parametrize(
    ("kind", "lack", "severity"),
    [
        ("session", Lack.EVICTS, "HIGH"),
        ("session", Lack.RESTART, "MEDIUM"),
        ("session", Lack.COMMON_CLOCK, "MEDIUM"),
        ("session", Lack.RECENT_WRITES, None),
        ("session", Lack.STALE_READS, "HIGH"),
        ("refresh-family", Lack.EVICTS, "HIGH"),
        ("refresh-family", Lack.STALE_READS, "HIGH"),
        ("idempotency-key", Lack.STALE_READS, "MEDIUM"),
        ("idempotency-key", Lack.EVICTS, "BREAKING"),
        ("idempotency-key", Lack.RESTART, "HIGH"),
        ("idempotency-key", Lack.RECENT_WRITES, "MEDIUM"),
        ("revocation", Lack.EVICTS, "BREAKING"),
        ("cache", Lack.EVICTS, None),
        ("cache", Lack.RESTART, None),
        ("cache", Lack.STALE_READS, "MEDIUM"),
        ("rate-limit", Lack.STALE_READS, None),
        ("rate-limit", Lack.EVICTS, None),
        ("rate-limit", Lack.COMMON_CLOCK, "MEDIUM"),
    ],
)
def test_what_a_shared_home_lacks_is_as_bad_as_what_it_costs(kind: str, lack: Lack, severity: str | None) -> None:
    expected = [] if severity is None else [(severity, f"{kind}-home-{lack}")]
    assert codes(kind, lacking(lack), THREE_MACHINES) == expected


def test_instances_on_one_machine_have_a_common_clock() -> None:
    assert codes("session", lacking(Lack.COMMON_CLOCK), ONE_MACHINE) == []


def test_what_ends_with_its_server_is_forgotten_at_a_restart_whether_it_says_so_or_not() -> None:
    memory_of_a_server = Guarantees(reach=Reach.FLEET, survives=Survives.PROCESS)
    assert codes("session", memory_of_a_server, THREE_MACHINES) == [("MEDIUM", "session-home-restart")]


def test_the_worst_finding_comes_first() -> None:
    found = codes("session", lacking(*Lack), THREE_MACHINES)
    assert [severity for severity, _ in found] == ["HIGH", "HIGH", "MEDIUM", "MEDIUM"]
    assert sorted(Severity) == list(Severity)


ANY_GUARANTEES = st.builds(
    Guarantees,
    reach=st.sampled_from(Reach),
    survives=st.sampled_from(Survives),
    lacks=st.frozensets(st.sampled_from(Lack)),
)


@given(kind=st.sampled_from(list(NEEDS)), guarantees=ANY_GUARANTEES, instances=st.integers(2, 9), data=st.data())
def test_more_instances_on_as_many_machines_change_nothing_and_every_finding_is_in_the_catalogue(
    kind: str, guarantees: Guarantees, instances: int, data: st.DataObject
) -> None:
    deployment = Deployment(instances, data.draw(st.integers(1, instances)))
    found = judge(kind, "somewhere:", guarantees, deployment)
    assert found == judge(kind, "somewhere:", guarantees, Deployment(instances + 1, deployment.machines))
    listed = {entry.code: entry for entry in catalogue()}
    for finding in found:
        assert finding.problem == listed[finding.code].problem
        assert finding.severity == listed[finding.code].severity


def test_codes_are_unique() -> None:
    listed = [finding.code for finding in catalogue()]
    assert len(listed) == len(set(listed))


def test_an_unknown_kind_of_state_is_refused_by_name() -> None:
    with pytest.raises(SettingError, match="no kind of state 'sesion'; there are: session, "):
        judge("sesion", "memory:", PROCESS, Deployment())


# --- the deployment ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, Deployment(1)),
        ({"FUNGIBLE_INSTANCES": "3"}, Deployment(3)),
        ({"FUNGIBLE_INSTANCES": " 3 ", "FUNGIBLE_MACHINES": "1"}, Deployment(3, 1)),
        ({"FUNGIBLE_INSTANCES": "", "FUNGIBLE_MACHINES": ""}, Deployment(1)),
    ],
)
def test_the_environment_declares_the_deployment(environ: dict[str, str], expected: Deployment) -> None:
    assert Deployment.from_environment(environ) == expected


@pytest.mark.parametrize("value", ["0", "-1", "three", "2.5", "１", "1e3", "²"])
@pytest.mark.parametrize("name", ["FUNGIBLE_INSTANCES", "FUNGIBLE_MACHINES"])
def test_nonsense_in_the_environment_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"{name}='.*' must be a whole number"):
        Deployment.from_environment({name: value})


@pytest.mark.parametrize(("instances", "machines"), [(0, None), (-2, None), (2, 0), (2, 3), (1, 2)])
def test_a_deployment_that_can_not_be_is_refused(instances: int, machines: int | None) -> None:
    with pytest.raises(SettingError):
        Deployment(instances, machines)


def test_instances_are_assumed_to_be_on_a_machine_each() -> None:
    assert Deployment(3).apart == 3
    assert Deployment(3, 2).apart == 2


# --- at start ---------------------------------------------------------------------------------------------------------


def test_a_breaking_home_is_refused_with_every_finding_on_its_own_line() -> None:
    with pytest.raises(PostureError) as caught:
        require("idempotency-key", Place("memcached://localhost", lacking(*Lack)), THREE_MACHINES)
    header, *lines = str(caught.value).splitlines()
    assert header == "this set-up can't run on 3 instances:"
    assert lines == [str(found) for found in caught.value.findings]
    assert [found.severity for found in caught.value.findings] == ["BREAKING", "HIGH", *["MEDIUM"] * 3]
    assert caught.value.code == "posture"
    assert caught.value.exit_status == 78


def test_a_finding_reads_as_one_sentence() -> None:
    (found,) = judge("session", "memory:", PROCESS, THREE_MACHINES)
    assert str(found) == (
        "BREAKING session at memory: would differ on each instance; use redis:, postgresql: or mysql:"
    )


def test_a_home_that_is_not_breaking_starts_and_warns() -> None:
    warned: list[Finding] = []
    require("session", Place("memcached://localhost", lacking(Lack.EVICTS)), THREE_MACHINES, warn=warned.append)
    assert [found.code for found in warned] == ["session-home-evicts"]


def test_warnings_go_to_the_log_unless_told_otherwise(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        require("cache", MemoryStore(), THREE_MACHINES)
    (record,) = caplog.records
    assert record.name == "fungible.postures"
    assert record.getMessage().startswith("MEDIUM cache at memory: would be filled")


def test_one_instance_starts_with_any_home_and_warns_of_nothing() -> None:
    warned: list[Finding] = []
    require("session", MemoryStore(), Deployment(), warn=warned.append)
    assert warned == []
