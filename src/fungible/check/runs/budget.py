"""What a check has to run, how much of it is left, and what was left out where it had to end before it was through."""

import contextlib
import re
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field

from fungible.check.errors import CheckFileError
from fungible.check.model import SCHEDULES, ScheduleName
from fungible.check.runs.subject import Subject

_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_WEIGHTS: dict[str, float] = {
    "baseline": 2,
    "scatter": 3,
    "crash": 2,
    "warm": 2,
    "repeat": 2,
    "race": 2,
    "drain": 1,
}
"""Roughly how many starts each takes where nothing is found; what it really takes is learned as the check goes on."""
_TRUST = 4.0
"""How many starts it takes until what was learned counts for more than what was guessed."""


def seconds(text: str) -> float:
    """The seconds in `60s`, `5m`, `1h` or `90`.

    Raises:
        CheckFileError: It is no time, or none at all.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|min|h)?\s*", text)
    found = float(match[1]) * _SECONDS[match[2] or "s"] if match else 0.0
    if not found:
        raise CheckFileError(f"the budget {text!r} is no time: it should look like 60s or 5m")
    return found


def in_turn(works: Iterable[Generator[None]]) -> None:
    """Does the first part of each work, then the second of each, to the end: what tells most comes first in each."""
    going = list(works)
    while going:
        going = [work for work in going if next(work, False) is None]


def cut_words(cut: str, budget_s: float, subjects: Iterable[Subject]) -> str:
    """Why a check has ended before it was through, and what it was looking into."""
    why = f"the budget of {budget_s:g} s was used up" if cut == "budget" else "the check was stopped"
    open_questions = "".join(
        f"; step {subject.suspect} of the flow {subject.flow.name!r} was answered otherwise than by one instance alone, "
        "and there was no time to confirm it"
        for subject in subjects
        if subject.suspect
    )
    return f"{why} before all was run (see what was not exercised){open_questions}"


@dataclass
class Agenda:
    """The schedules to run on each flow, and how far they are.

    `drain` is run once, with one of the flows. Before all of them each flow has its baseline.
    """

    schedules: Sequence[ScheduleName]
    flows: list[str] = field(default_factory=list[str])
    _begun: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    _done: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    """How many starts each part has taken."""

    @contextlib.contextmanager
    def doing(self, flow: str, part: str, starts: Callable[[], int]) -> Generator[None]:
        """One part is worked on; where that ends with an error it is not done."""
        task = self._task(flow, part)
        before = self._done.pop(task, 0) - starts()
        self._begun.add(task)
        yield
        self._done[task] = before + starts()

    def drop(self, flow: str) -> None:
        """A flow that can't be judged has nothing more to run."""
        self.flows.remove(flow)

    def leave_out(self, *schedules: ScheduleName) -> None:
        """These can't be run on what is checked."""
        self.schedules = [name for name in self.schedules if name not in schedules]

    def starts_left(self) -> float:
        """About how many instances are still to be started."""
        expected = sum(_WEIGHTS[part] for _, part in self._done)
        ratio = (sum(self._done.values()) + _TRUST) / (expected + _TRUST)
        return ratio * sum(_WEIGHTS[part] for flow, part in self._tasks() if (flow, part) not in self._done)

    def unfinished(self) -> frozenset[ScheduleName]:
        """The schedules that were not brought to their end for every flow; all of them where no flow is known yet."""
        left = {part for _, part in self._left()}
        return frozenset(name for name in self.schedules if name in left or not self.flows)

    def left_out(self) -> list[str]:
        """What was not run or cut short, one sentence a schedule."""
        if not self.flows:
            return ["nothing was run: the check ended while it was being prepared"]
        left = self._left()
        told: list[str] = []
        for part in ("baseline", *SCHEDULES):
            cut = [flow for flow, name in left if name == part and (flow, name) in self._begun]
            never = [flow for flow, name in left if name == part and (flow, name) not in self._begun]
            told += [f"{part} was cut short{self._of(cut)}"] if cut else []
            told += [f"{part} was not run{self._of(never)}"] if never else []
        return told

    def _tasks(self) -> list[tuple[str, str]]:
        parts = ("baseline", *(name for name in self.schedules if name != "drain"))
        last = [("", "drain")] if "drain" in self.schedules and self.flows else []
        return [(flow, part) for part in parts for flow in self.flows] + last

    def _of(self, flows: Sequence[str]) -> str:
        """In which flows, unless it is said of all."""
        if flows == [""] or len(flows) == len(self.flows) > 1:
            return ""
        return f" (flow{'s' * (len(flows) > 1)} {', '.join(flows)})"

    def _left(self) -> list[tuple[str, str]]:
        return [task for task in self._tasks() if task not in self._done]

    @staticmethod
    def _task(flow: str, part: str) -> tuple[str, str]:
        return ("" if part == "drain" else flow, part)
