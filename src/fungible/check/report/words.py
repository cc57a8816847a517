"""What all forms of the report say alike: the verdict in a sentence, order, and text that is safe to show.

Everything in a report may come from the application under test. `one_line` and `lines` make control characters
visible, so that no answer moves a terminal's cursor, breaks an XML document or turns the reading direction.
"""

import re
from collections.abc import Iterable
from typing import Final

from fungible.check.model import DECIDING, SCHEDULES, Finding, Report, Severity, WitnessRequest

RANK: Final[dict[Severity, int]] = {"BREAKING": 0, "HIGH": 1, "MEDIUM": 2}
SCHEDULE_WORDS: Final[dict[str, str]] = {
    "scatter": "each request on another instance",
    "crash": "kill -9 and an empty disk between requests",
    "warm": "read on another instance, write, read again",
    "repeat": "each unsafe request sent again",
    "race": "two requests at the same moment",
    "drain": "SIGTERM with requests under way",
}

# C0 and C1 controls, line and paragraph separators, marks that turn the reading direction, lone surrogates,
# and the two code points that XML forbids.
_UNSHOWABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)
_SHORT: Final[dict[str, str]] = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def one_line(text: str) -> str:
    """The text in one line, with everything that can't be seen written as an escape."""
    return _UNSHOWABLE.sub(lambda match: _escape(match[0]), text)


def lines(text: str) -> str:
    """As `one_line`, with line breaks and tabs left as they are: for commands, which may span lines."""
    return _UNSHOWABLE.sub(lambda match: match[0] if match[0] in "\n\t" else _escape(match[0]), text)


def _escape(character: str) -> str:
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters, with an ellipsis where the middle was."""
    if len(text) <= limit:
        return text
    head = (limit - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (limit - 1 - head) :]}"


def count(number: int, noun: str) -> str:
    """`1 finding`, `2 findings`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first; in the order found within a severity."""
    return sorted(findings, key=lambda finding: RANK[finding.severity])


def tally(findings: Iterable[Finding]) -> str:
    """`2 breaking, 1 medium`."""
    found = [finding.severity for finding in findings]
    return ", ".join(f"{found.count(severity)} {severity.lower()}" for severity in RANK if severity in found)


def headline(report: Report) -> tuple[str, str]:
    """The verdict: in one or two words, and the sentence after them."""
    number = len(report.findings)
    if report.verdict == "unjudged":
        return "NOT JUDGED", lines(report.reason) or "The baseline gives no ground to judge from."
    ran = {schedule.name for schedule in report.schedules if schedule.runs}
    if report.schedules and not ran & DECIDING:
        found = f": {tally(report.findings)}" if number else ""
        return (
            "NO VERDICT",
            f"None of scatter, crash and warm, which decide, was run; {count(number, 'finding')}{found}.",
        )
    if report.verdict == "stateful":
        return (
            "STATEFUL",
            f"The instances are not interchangeable: {count(number, 'finding')} ({tally(report.findings)}).",
        )
    if number:
        rest = "there is 1 finding to mend" if number == 1 else f"there are {number} findings to mend"
        return (
            "STATELESS",
            f"Any instance can serve any request that was checked, but {rest} ({tally(report.findings)}).",
        )
    return "STATELESS", "Any instance served any request that was checked, and losing one lost nothing."


def setting(report: Report) -> list[str]:
    """How the check was done, in short parts: time, size, seed, isolation, version."""
    parts = [
        duration(report.seconds),
        f"checker {duration(report.checker_cpu_seconds)} CPU" if report.checker_cpu_seconds else "",
        count(report.instances, "instance") if report.instances else "",
        count(report.starts, "start") if report.starts else "",
        count(report.requests, "request") if report.requests else "",
        f"seed {report.seed}",
        f"isolation: {one_line(report.isolation)}" if report.isolation else "",
        f"fungible {one_line(report.version)}" if report.version else "",
    ]
    return [part for part in parts if part]


def origin(finding: Finding) -> str:
    """Where and how it was found: `flow shop, step cart, schedule scatter, shown 3 of 3`."""
    racy = ", does not show every time" if finding.racy else ""
    place = f"flow {one_line(finding.flow)}, step {one_line(finding.step)}"
    return f"{place}, schedule {finding.schedule}, shown {one_line(finding.shown)}{racy}"


def lanes(witness: Iterable[WitnessRequest]) -> list[str]:
    """The instances of a witness in order, each once; also those that only an event names."""
    requests = tuple(witness)
    named = {request.instance for request in requests}
    return sorted(named.union(*(struck(request.event) for request in requests)))


def addresses(witness: Iterable[WitnessRequest]) -> str:
    """What the letters in the commands stand for: `A=http://127.0.0.1:8001 B=http://127.0.0.1:8002, fresh instances`."""
    used = list(dict.fromkeys(one_line(request.instance) for request in witness))
    named = " ".join(f"{name}=http://127.0.0.1:{8001 + at}" for at, name in enumerate(used))
    return f"{named}, or wherever {'instances of yours run' if len(used) > 1 else 'an instance of yours runs'}"


def schedules_run(report: Report) -> list[str]:
    """What each schedule cost: `crash 3 runs 10 s`."""
    return [
        f"{run.name} {count(run.runs, 'run')} {duration(run.seconds)}{f' ({one_line(run.note)})' if run.note else ''}"
        for run in report.schedules
        if run.runs
    ]


def unrun(report: Report) -> list[str]:
    """The schedules that did not run, each with the reason: `race: no request changes anything`."""
    return [f"{run.name}: {run.note or 'no reason is known'}" for run in report.schedules if not run.runs]


def struck(event: str) -> set[str]:
    """The instances that an event kills, stops or wipes."""
    if not re.search(r"\b(?:kill|wipe|stop|restart|SIGTERM|SIGKILL)", event, re.IGNORECASE):
        return set()
    return set(re.findall(r"\b([A-Z])\b", event))


def together(event: str) -> bool:
    """True if the request after this event goes out together with the one before."""
    return "same moment" in event or "at once" in event


def schedule_rank(name: str) -> int:
    """The place of a schedule in the usual order."""
    return SCHEDULES.index(name) if name in SCHEDULES else len(SCHEDULES)
