"""The diagnosis, and what it is written as."""

import json
from pathlib import Path

import pytest

from fungible.doctor.diagnosis import Found, diagnose
from fungible.doctor.foreign import in_cookie
from fungible.doctor.report import all_findings, to_json, to_sarif, to_text
from fungible.stores.contract import Guarantees, Reach, Survives
from fungible.stores.memory import MemoryStore
from fungible.stores.postures import Deployment, Home

SESSION = Home("session", "memory:", MemoryStore.guarantees, "--home")
CACHE = Home("cache", "memory:", MemoryStore.guarantees, "--home")
REDIS = Home("session", "redis://cache", Guarantees(reach=Reach.FLEET, survives=Survives.MACHINE), "fungible.toml")
FOUND = Found(homes=(CACHE, SESSION)) + in_cookie("SessionMiddleware in {shop}:app")


def test_findings_of_all_homes_are_ordered_worst_first_and_told_where() -> None:
    diagnosis = diagnose(FOUND, Deployment(3))
    assert [(finding.severity, finding.seat) for finding in diagnosis.findings] == [
        ("BREAKING", "--home"),
        ("HIGH", "SessionMiddleware in {shop}:app"),
        ("MEDIUM", "--home"),
    ]
    assert diagnosis.exit_status == 78
    assert diagnosis.would_break == ()


def test_one_instance_is_fine_and_told_the_same_of_several() -> None:
    several, one = diagnose(FOUND, Deployment(2)), diagnose(FOUND, Deployment())
    assert one.findings == ()
    assert one.would_break == several.findings
    assert one.exit_status == 0


def test_what_two_sources_say_alike_is_said_once() -> None:
    assert diagnose(FOUND + FOUND, Deployment(3)) == diagnose(FOUND, Deployment(3))


def test_only_breaking_makes_an_exit_status() -> None:
    assert diagnose(Found(homes=(CACHE,)) + in_cookie(""), Deployment(3)).exit_status == 0


# --- text, JSON, SARIF ------------------------------------------------------------------------------------------------


def test_text_has_a_line_for_each_finding_one_for_its_place_and_a_summary() -> None:
    text = to_text(diagnose(Found(homes=(CACHE, SESSION), notes=("x is not known",)), Deployment(3, 2)))
    assert text.splitlines() == [
        "BREAKING session at memory: would differ on each instance; use redis:, postgresql: or mysql:",
        "    --home (session-home-process)",
        "MEDIUM cache at memory: would be filled, and go stale, on each instance by itself; "
        "use redis:, memcached:, postgresql: or mysql:",
        "    --home (cache-home-process)",
        "note: x is not known",
        "2 homes judged for 3 instances on 2 machines: 1 BREAKING, 1 MEDIUM; this can't run on 3 instances",
    ]


def test_text_for_one_instance_says_what_would_break() -> None:
    lines = to_text(diagnose(Found(homes=(SESSION,)), Deployment())).splitlines()
    assert lines[0] == "On several instances, each on a machine of its own, there would be:"
    assert lines[-1] == "1 home judged for 1 instance, which any home serves; for several: 1 BREAKING"


@pytest.mark.parametrize("instances", [1, 3])
def test_text_says_so_where_nothing_was_found(instances: int) -> None:
    (line,) = to_text(diagnose(Found(homes=(REDIS,)), Deployment(instances))).splitlines()
    assert line.startswith("1 home judged for ")
    assert line.endswith("nothing found")


def test_json_has_it_all() -> None:
    document = json.loads(to_json(diagnose(Found(homes=(SESSION, REDIS), notes=("x",)), Deployment(3, 1))))
    assert document == {
        "instances": 3,
        "machines": 1,
        "exit_status": 78,
        "homes": [
            {"kind": "session", "home": "memory:", "seat": "--home"},
            {"kind": "session", "home": "redis://cache", "seat": "fungible.toml"},
        ],
        "findings": [
            {
                "code": "session-home-process",
                "severity": "BREAKING",
                "kind": "session",
                "home": "memory:",
                "problem": "would differ on each instance",
                "way_out": "use redis:, postgresql: or mysql:",
                "seat": "--home",
            }
        ],
        "would_break": [],
        "notes": ["x"],
    }


def test_sarif_has_a_rule_for_every_finding_there_can_be_and_results_that_point_at_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    log = json.loads(to_sarif(diagnose(FOUND, Deployment(3)), file=Path("my settings.toml")))
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [finding.code for finding in all_findings()]
    assert [rules[result["ruleIndex"]]["id"] for result in run["results"]] == [
        result["ruleId"] for result in run["results"]
    ]
    assert [result["level"] for result in run["results"]] == ["error", "error", "warning"]
    assert run["results"][1]["locations"] == [
        {
            "logicalLocations": [{"fullyQualifiedName": "SessionMiddleware in {shop}:app"}],
            "physicalLocation": {"artifactLocation": {"uri": "my%20settings.toml", "uriBaseId": "%SRCROOT%"}},
        }
    ]
    assert run["invocations"] == [{"executionSuccessful": True, "exitCode": 78}]


def test_sarif_of_one_instance_has_no_result() -> None:
    assert json.loads(to_sarif(diagnose(FOUND, Deployment())))["runs"][0]["results"] == []


def test_codes_are_unique_over_all_sources() -> None:
    codes = [finding.code for finding in all_findings()]
    assert len(codes) == len(set(codes))
