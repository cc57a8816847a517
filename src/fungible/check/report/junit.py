"""The report as JUnit XML: a test suite per schedule, a test case per step, as Jenkins and GitLab read it."""

import xml.etree.ElementTree as ET  # writes only; nothing is parsed here
from collections.abc import Iterable

from fungible.check.model import Finding, Report
from fungible.check.report.words import by_severity, count, lines, one_line, origin, schedule_rank

_FRAME = "fungible"


def to_junit(report: Report) -> bytes:
    """The report as JUnit XML.

    A finding fails the test case of its step; further findings of one step join it, since readers take one failure
    a case. Steps that broke by the same cause are skipped, not failed: one cause is one failure. A check that could
    not judge is one error.
    """
    root = ET.Element("testsuites", name="fungible check")
    if report.verdict == "unjudged":
        root.append(_unjudged_suite(report))
    seconds = {run.name: run.seconds for run in report.schedules}
    names = {run.name for run in report.schedules if run.runs} | {finding.schedule for finding in report.findings}
    for name in sorted(names, key=schedule_rank):
        found = [finding for finding in report.findings if finding.schedule == name]
        root.append(_suite(name, report, found, seconds.get(name, 0.0)))
    for total in ("tests", "failures", "errors", "skipped"):
        root.set(total, str(sum(int(suite.get(total, "0")) for suite in root)))
    root.set("time", f"{report.seconds:.3f}")
    ET.indent(root, " ")
    return ET.tostring(root, encoding="utf-8", xml_declaration=True)


def _suite(schedule: str, report: Report, findings: list[Finding], seconds: float) -> ET.Element:
    suite = ET.Element("testsuite", name=f"{_FRAME}.{schedule}")
    properties = ET.SubElement(suite, "properties")
    for key, value in (("seed", str(report.seed)), ("isolation", report.isolation), ("version", report.version)):
        ET.SubElement(properties, "property", name=key, value=one_line(value))
    for flow, step in _places(report, findings):
        case = ET.SubElement(suite, "testcase", classname=f"{_FRAME}.{schedule}.{one_line(flow)}", name=one_line(step))
        own = by_severity(finding for finding in findings if (finding.flow, finding.step) == (flow, step))
        cause = next((f for f in findings if f.flow == flow and step in f.also), None)
        if own:
            case.append(_failure(own))
        elif cause is not None:
            ET.SubElement(case, "skipped", message=f"broken by the same cause as step {one_line(cause.step)}")
    return _counted(suite, seconds)


def _places(report: Report, findings: Iterable[Finding]) -> list[tuple[str, str]]:
    """Flow and step of each test case: all that the baseline knows, then any that only a finding names."""
    known = [(flow.name, line.split(":", 1)[0].strip()) for flow in report.flows for line in flow.steps]
    named = [(f.flow, step) for f in findings for step in (f.step, *f.also)]
    return list(dict.fromkeys([*known, *named]))


def _failure(findings: list[Finding]) -> ET.Element:
    message = "; ".join(f"{finding.severity} {finding.kind}: {one_line(finding.title)}" for finding in findings)
    failure = ET.Element("failure", type=findings[0].kind, message=message)
    failure.text = "\n\n".join(_told(finding) for finding in findings)
    return failure


def _told(finding: Finding) -> str:
    rows = [
        f"{finding.severity} {finding.kind}: {one_line(finding.title)}",
        origin(finding),
        f"expected: {one_line(finding.expected)}",
        f"saw:      {one_line(finding.saw)}",
    ]
    if finding.writer and finding.writer != finding.step:
        rows.append(f"missing:  what step {one_line(finding.writer)} did")
    rows.append(f"witness ({count(len(finding.witness), 'request')}):")
    for request in finding.witness:
        rows += [f"  # {one_line(request.event)}"] if request.event else []
        rows.append(f"  # {one_line(request.instance)}: {one_line(request.step)} answered {one_line(request.answered)}")
        rows.append(f"  {lines(request.curl)}")
    rows += [f"evidence: {one_line(line)}" for line in finding.evidence]
    rows += [f"fix: {one_line(finding.fix)}", f"docs: {one_line(finding.docs)}"]
    return "\n".join(rows)


def _unjudged_suite(report: Report) -> ET.Element:
    suite = ET.Element("testsuite", name=f"{_FRAME}.baseline")
    case = ET.SubElement(suite, "testcase", classname=f"{_FRAME}.baseline", name="can be judged")
    reason = report.reason or "The baseline gives no ground to judge from."
    error = ET.SubElement(case, "error", type="unjudged", message=one_line(reason))
    error.text = lines("\n".join((reason, *report.notes)))
    return _counted(suite, 0.0)


def _counted(suite: ET.Element, seconds: float) -> ET.Element:
    suite.set("tests", str(len(suite.findall("testcase"))))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("time", f"{seconds:.3f}")
    return suite
