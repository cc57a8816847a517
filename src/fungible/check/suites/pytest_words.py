"""What the pytest plugin says: the requests of a test that broke, and the summary of a session."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from fungible.check.findings.words import letter
from fungible.check.suites.pytest_routing import Sent

JUDGED, FINDING, NOT_JUDGED, UNTOUCHED = "judged", "finding", "not judged", "untouched"
"""What became of a test; `untouched` ones have too few requests for two instances."""


def first_difference(one: Sequence[Sent], again: Sequence[Sent], scattered: Sequence[Sent]) -> int | None:
    """The place of the first request that was answered otherwise than on one instance; None where it can't be told.

    Status first; then what two runs on one instance had in common: where a redirect leads, and what the body holds.
    """
    both = list(zip(one, scattered, strict=False))
    for at, (known, seen) in enumerate(both):
        if known.status != seen.status:
            return at
    for at, (known, seen) in enumerate(both):
        if at < len(again) and known.words == again[at].words != seen.words:
            return at
    for at, (known, seen) in enumerate(both):
        bodies = [sent.body(sent.response) for sent in (known, again[at], seen)] if at < len(again) else [None]
        if None not in bodies and bodies[0] == bodies[1] != bodies[2]:
            return at
    return None


def difference_words(at: int | None, one: Sequence[Sent], scattered: Sequence[Sent]) -> str:
    """One line for the summary: `B answered GET /me with 401, one instance alone with 200`."""
    if at is None:
        return "no single answer tells: what they hold differs"
    sent, known = scattered[at], one[at]
    start = f"{letter(sent.slot)} answered {sent.method} {sent.target} with {sent.words}"
    return f"{start}, one instance alone with {_known_words(known, sent)}"


def _known_words(known: Sent, sent: Sent) -> str:
    return "another body" if known.words == sent.words else known.words


def section(at: int | None, one: Sequence[Sent], scattered: Sequence[Sent], *, schedule: str, broke: int) -> str:
    """The requests of a test, each with the instance that served it and the answer."""
    how = {
        "scatter": "each of its requests on another instance",
        "crash": "the instance killed, and its disk wiped, after each answer",
    }[schedule]
    lines = [f"It passes on one instance and fails with {how} ({broke} of 2 runs):", ""]
    wide = min(60, max((len(f"{sent.method} {sent.target}") for sent in scattered), default=0))
    for place, sent in enumerate(scattered):
        mark = f"  <-- one instance alone answers {_known_words(one[place], sent)}" if place == at else ""
        asked = f"{sent.method} {sent.target}".ljust(wide)
        lines.append(f"  {letter(sent.slot)}  {asked}  {sent.words}{mark}")
    return "\n".join(lines)


def advice(command: str, schedule: str) -> str:
    """What to do about a finding."""
    where = {
        "scatter": "is known to the instance that served it, and to no other",
        "crash": "has died with its instance",
    }
    return (
        f"What an earlier request left behind {where[schedule]}.\n"
        f"To learn which kind of state it is, and the way out, check the same requests as a flow:\n  {command}"
    )


def summary(told: Sequence[dict[str, str]], *, instances: int, source: str, schedule: str) -> list[str]:
    """The lines of the terminal summary; `told` says of each test what became of it."""
    verdicts = Counter(one["verdict"] for one in told)
    turns = "took turns" if schedule == "scatter" else "were killed, one after each answer"
    number = f"{instances} instances" if schedule == "scatter" else "Instances"
    lines = [f"{number} {turns}: {source}"]
    lines += [f"isolation: {text}" for text in dict.fromkeys(one["isolation"] for one in told) if text]
    parts = [_number(verdicts[JUDGED] + verdicts[FINDING], "test") + " judged", _number(verdicts[FINDING], "finding")]
    lines.append(", ".join(parts))
    for one in told:
        if one["verdict"] == FINDING:
            lines += [f"FINDING {one['test']}", f"  {one['why']}"]
    for verdict, head in ((NOT_JUDGED, "not judged"), (UNTOUCHED, "nothing to scatter")):
        reasons = Counter(one["why"] for one in told if one["verdict"] == verdict)
        lines += [f"{head}: {_number(count, 'test')}: {why}" for why, count in reasons.items()]
    if not verdicts[JUDGED] + verdicts[FINDING]:
        lines.append("NOTHING WAS JUDGED: this run says nothing about several instances.")
    return lines


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def attach(report: pytest.TestReport, text: str) -> None:
    """Adds a section `fungible` to a report, where it shows whatever is shown of captured output."""
    longrepr: Any = report.longrepr
    if hasattr(longrepr, "addsection"):
        longrepr.addsection("fungible", text)
    else:
        report.longrepr = f"{longrepr or ''}\n{'-' * 30} fungible {'-' * 30}\n{text}".lstrip("\n")
