"""The report as SARIF 2.1.0, for code scanning: a rule per kind, a result per finding, the witness as a code flow."""

import hashlib
import re
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import msgspec

from fungible.check.findings.fixes import SEVERITY, TITLE, WHAT, docs_for, fix_for
from fungible.check.model import Finding, Kind, Report, Severity, WitnessRequest
from fungible.check.report.words import by_severity, lines, one_line, origin

Json: TypeAlias = dict[str, Any]

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVEL: Final[dict[Severity, str]] = {"BREAKING": "error", "HIGH": "error", "MEDIUM": "warning"}
_RULES: Final[tuple[Kind, ...]] = tuple(SEVERITY)


def to_sarif(report: Report, *, check_file: str | None = None) -> bytes:
    """The report as a SARIF 2.1.0 log.

    Args:
        report: What was found.
        check_file: Path of the check file, relative to the root of the repository where possible. Results then
            point at it: GitHub shows only results that point at a file.

    Returns:
        UTF-8 JSON. The rules are all kinds, found or not, so that they stay the same from run to run.
    """
    run: Json = {
        "tool": {"driver": _driver(report)},
        "automationDetails": {"id": "fungible-check/"},
        "invocations": [_invocation(report)],
        "results": [_result(finding, check_file) for finding in by_severity(report.findings)],
        "columnKind": "unicodeCodePoints",
        "properties": {"verdict": report.verdict, "seed": report.seed, "isolation": one_line(report.isolation)},
    }
    log: Json = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return msgspec.json.format(msgspec.json.encode(log), indent=1)


def _driver(report: Report) -> Json:
    rules = [_rule(kind, report.framework) for kind in _RULES]
    driver: Json = {"name": "fungible check", "rules": rules}
    if report.version:
        driver["version"] = one_line(report.version)
    return driver


def _rule(kind: Kind, framework: str) -> Json:
    fix = fix_for(kind, framework)
    return {
        "id": kind,
        "name": "".join(word.capitalize() for word in kind.split("-")),
        "shortDescription": {"text": TITLE[kind]},
        "fullDescription": {"text": WHAT[kind]},
        "help": {
            "text": _plain(f"{WHAT[kind]}\n\n{fix}\n\nMore: {docs_for(kind)}"),
            "markdown": f"{WHAT[kind]}\n\n**Way out.** {_markdown(fix)}\n\nMore: `{docs_for(kind)}`",
        },
        "defaultConfiguration": {"level": _LEVEL[SEVERITY[kind]]},
        "properties": {"tags": ["statelessness", SEVERITY[kind].lower()], "precision": "very-high"},
    }


def _invocation(report: Report) -> Json:
    judged = report.verdict != "unjudged"
    invocation: Json = {"executionSuccessful": judged, "exitCode": report.exit_status}
    if report.command:
        invocation["commandLine"] = one_line(report.command)
    if not judged:
        reason = report.reason or "The baseline gives no ground to judge from."
        invocation["toolExecutionNotifications"] = [{"level": "error", "message": {"text": _plain(one_line(reason))}}]
    return invocation


def _result(finding: Finding, check_file: str | None) -> Json:
    text = (
        f"{one_line(finding.title)}. Step {one_line(finding.step)} of flow {one_line(finding.flow)} answered "
        f"{one_line(finding.saw)}, where one instance alone answers {one_line(finding.expected)}."
    )
    identity = "\n".join((finding.kind, finding.flow, finding.step)).encode("utf-8", "backslashreplace")
    result: Json = {
        "ruleId": finding.kind,
        "ruleIndex": _RULES.index(finding.kind),
        "level": _LEVEL[finding.severity],
        "message": {"text": _plain(text)},
        "locations": [_location(finding.flow, finding.step, check_file)],
        "partialFingerprints": {"finding/v1": hashlib.sha256(identity).hexdigest()},
        "properties": {
            "severity": finding.severity,
            "origin": origin(finding),
            "expected": one_line(finding.expected),
            "saw": one_line(finding.saw),
            "evidence": [one_line(line) for line in finding.evidence],
            "also": [one_line(step) for step in finding.also],
            "fix": one_line(finding.fix),
            "docs": one_line(finding.docs),
            "racy": finding.racy,
        },
    }
    if finding.witness:
        steps = [_flow_step(request, finding.flow, check_file) for request in finding.witness]
        result["codeFlows"] = [{"threadFlows": [{"locations": steps}]}]
    return result


def _flow_step(request: WitnessRequest, flow: str, check_file: str | None) -> Json:
    event = f"{one_line(request.event)}; then " if request.event else ""
    sent = f"{one_line(request.method)} {one_line(request.path)} at {one_line(request.instance)}"
    expected = f", expected {one_line(request.expected)}" if request.broken and request.expected else ""
    location = _location(flow, request.step, check_file)
    location["message"] = {"text": _plain(f"{event}{sent} answered {one_line(request.answered)}{expected}")}
    return {
        "location": location,
        "importance": "essential" if request.broken else "important",
        "properties": {"curl": lines(request.curl)},
    }


def _location(flow: str, step: str, check_file: str | None) -> Json:
    name = {"name": one_line(step), "fullyQualifiedName": f"{one_line(flow)}/{one_line(step)}", "kind": "resource"}
    location: Json = {"logicalLocations": [name]}
    if check_file is not None:
        location["physicalLocation"] = {"artifactLocation": _artifact(check_file), "region": {"startLine": 1}}
    return location


def _artifact(check_file: str) -> Json:
    if Path(check_file).is_absolute():
        return {"uri": Path(check_file).as_uri()}
    return {"uri": quote(PurePosixPath(Path(check_file).as_posix()).as_posix()), "uriBaseId": "%SRCROOT%"}


def _plain(text: str) -> str:
    """Text of a message, in which braces are placeholders and `[words](target)` is a link.

    Source: SARIF 2.1.0, sections 3.11.5 (messages with placeholders) and 3.11.6 (messages with embedded links).
    """
    return text.replace("](", "\\](").replace("{", "{{").replace("}", "}}")


def _markdown(text: str) -> str:
    """Our own fix text as Markdown: what is in backquotes stays, the rest gets no accidental emphasis."""
    parts = text.split("`")
    shown = (part if index % 2 else re.sub(r"[*_<>\[\]]", r"\\\g<0>", part) for index, part in enumerate(parts))
    return "`".join(shown)
