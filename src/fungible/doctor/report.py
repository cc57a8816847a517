"""The diagnosis as text, JSON and SARIF."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from fungible import __version__
from fungible.doctor import foreign
from fungible.doctor.diagnosis import Diagnosis
from fungible.stores import postures
from fungible.stores.postures import Finding, Severity

_LEVEL: Final = {Severity.BREAKING: "error", Severity.HIGH: "error", Severity.MEDIUM: "warning"}


def to_text(diagnosis: Diagnosis) -> str:
    """A line for each finding, one below it that says where, and a summary."""
    return "\n".join(_lines(diagnosis)) + "\n"


def _lines(diagnosis: Diagnosis) -> Iterator[str]:
    if diagnosis.would_break:
        yield "On several instances, each on a machine of its own, there would be:"
    for finding in (*diagnosis.findings, *diagnosis.would_break):
        yield str(finding)
        yield f"    {finding.seat} ({finding.code})" if finding.seat else f"    ({finding.code})"
    for note in diagnosis.notes:
        yield f"note: {note}"
    yield _summary(diagnosis)


def _summary(diagnosis: Diagnosis) -> str:
    instances, homes = diagnosis.deployment.instances, len(diagnosis.homes)
    counted = ", ".join(f"{count} {severity}" for severity, count in diagnosis.counts.items()) or "nothing found"
    judged = f"{homes} home{'' if homes == 1 else 's'} judged"
    if instances == 1:
        return f"{judged} for 1 instance, which any home serves; for several: {counted}"
    machines = diagnosis.deployment.apart
    where = f"{instances} instances on {machines} machine{'' if machines == 1 else 's'}"
    verdict = f"; this can't run on {instances} instances" if diagnosis.exit_status else ""
    return f"{judged} for {where}: {counted}{verdict}"


def to_json(diagnosis: Diagnosis) -> bytes:
    """The diagnosis as UTF-8 JSON."""
    document: dict[str, Any] = {
        "instances": diagnosis.deployment.instances,
        "machines": diagnosis.deployment.apart,
        "exit_status": diagnosis.exit_status,
        "homes": [{"kind": home.kind, "home": home.home, "seat": home.seat} for home in diagnosis.homes],
        "findings": diagnosis.findings,
        "would_break": diagnosis.would_break,
        "notes": diagnosis.notes,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def to_sarif(diagnosis: Diagnosis, *, file: Path | None = None) -> bytes:
    """The diagnosis as a SARIF 2.1.0 log.

    Args:
        diagnosis: What was found. What only would break is left out: it is no defect of this deployment.
        file: What declares the homes: code scanning shows only results that point at a file.
    Returns:
        UTF-8 JSON. The rules are all findings there can be, so that they stay the same from run to run.
    Source: SARIF 2.1.0, sections 3.14 (runs), 3.27 (results), 3.49 (rules).
    """
    rules = list(all_findings())
    numbers = {rule.code: number for number, rule in enumerate(rules)}
    run = {
        "tool": {
            "driver": {"name": "fungible doctor", "version": __version__, "rules": [_rule(rule) for rule in rules]}
        },
        "automationDetails": {"id": "fungible-doctor/"},
        "invocations": [{"executionSuccessful": True, "exitCode": diagnosis.exit_status}],
        "results": [_result(finding, numbers[finding.code], file) for finding in diagnosis.findings],
    }
    log = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return msgspec.json.format(msgspec.json.encode(log), indent=1) + b"\n"


def all_findings() -> Iterator[Finding]:
    """Every finding there can be, each with an empty home: what the reference lists."""
    yield from postures.catalogue()
    yield from foreign.catalogue()


def _rule(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.code,
        "shortDescription": {"text": f"{finding.kind} {finding.problem}"},
        "help": {"text": f"The way out: {finding.way_out}"},
        "defaultConfiguration": {"level": _LEVEL[finding.severity]},
    }


def _result(finding: Finding, rule: int, file: Path | None) -> dict[str, Any]:
    location: dict[str, Any] = {"logicalLocations": [{"fullyQualifiedName": finding.seat or finding.home}]}
    if file is not None:
        location["physicalLocation"] = {"artifactLocation": _artifact(file)}
    # Braces would be placeholders in a message (section 3.11.5).
    text = str(finding).replace("{", "{{").replace("}", "}}")
    return {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": _LEVEL[finding.severity],
        "message": {"text": text},
        "locations": [location],
        "partialFingerprints": {"finding/v1": f"{finding.code} {finding.home} {finding.seat}"},
        "properties": {"severity": finding.severity, "wayOut": finding.way_out},
    }


def _artifact(file: Path) -> dict[str, str]:
    """A file as SARIF names it: relative to the working directory, which is taken for the root of the repository."""
    inside = file.absolute().is_relative_to(Path.cwd())
    if not inside:
        return {"uri": file.absolute().as_uri()}
    return {"uri": quote(file.absolute().relative_to(Path.cwd()).as_posix()), "uriBaseId": "%SRCROOT%"}
