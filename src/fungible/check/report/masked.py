"""What is not compared, since one instance alone answers now so, now so: grouped, the most telling places first."""

from collections.abc import Sequence
from typing import Final

from fungible.check.findings.differences import place_words
from fungible.check.model import FlowRun
from fungible.check.report.words import count

_TELLING: Final = ("connection", "status", "location", "cookie", "content-type")
_MOST_LINES: Final = 8
_MOST_STEPS: Final = 3


def masked_lines(flows: Sequence[FlowRun]) -> list[str]:
    """A line for each place with the steps whose answers vary there, such as `status: step me`."""
    steps: dict[str, list[str]] = {}
    for flow in flows:
        for row in flow.masked:
            step, _, place = row.partition(": ")
            steps.setdefault(place, []).append(f"{flow.name} / {step}" if len(flows) > 1 else step)
    rows = [f"{place_words(place)}: {_some(steps[place])}" for place in sorted(steps, key=lambda at: _rank(at, steps))]
    if len(rows) <= _MOST_LINES:
        return rows
    left = len(rows) - _MOST_LINES + 1
    return [*rows[: _MOST_LINES - 1], f"and {count(left, 'place')} more, which the JSON and HTML reports have"]


def _rank(place: str, steps: dict[str, list[str]]) -> tuple[int, int]:
    about = place.split(" ")[0]
    return _TELLING.index(about) if about in _TELLING else len(_TELLING), -len(steps[place])


def _some(steps: Sequence[str]) -> str:
    more = len(steps) - _MOST_STEPS
    # One more is as short as the words that would stand in its place.
    shown = steps if more <= 1 else steps[:_MOST_STEPS]
    return (
        ("step " if len(steps) == 1 else "steps ")
        + ", ".join(shown)
        + (f" and {count(more, 'other')}" if len(shown) < len(steps) else "")
    )
