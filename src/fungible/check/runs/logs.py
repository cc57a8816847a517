"""The ends of the logs of instances that answered with an error: what the application itself says about it."""

import time

from fungible.check.model import Answer
from fungible.check.runs.runner import Trace
from fungible.check.runs.world import World

_LINES = 30
_PAUSE_S = 0.05
_PAUSES = 20
"""How often a log is looked at again: some servers write down what went wrong after they have answered."""


def failed(answer: Answer) -> bool:
    """True for an answer by which the application says that something is wrong with itself, and for none at all."""
    return answer.error is not None or answer.status >= 500


class Logs:
    """Looks into the logs of a run before its instances end."""

    def __init__(self) -> None:
        self._ends: dict[str, str] = {}

    def look(self, world: World, trace: Trace) -> None:
        """Keeps the end of the log for each step that was answered with an error."""
        for outcome in trace.outcomes:
            if failed(outcome.answer) and outcome.unbound is None and outcome.move.step.id not in self._ends:
                self._ends[outcome.move.step.id] = _settled(world, outcome.move.slot)

    def words(self, step_id: str) -> str:
        """What to say below a message about a step; empty where it was not answered with an error."""
        text = self._ends.get(step_id)
        if text is None:
            return ""
        return f"\nThe end of the application's log:\n{text}" if text else "\nThe application's log is empty."


def _settled(world: World, slot: int) -> str:
    """The end of an instance's log, once nothing more comes."""
    instance = world.instances.get(slot)
    if instance is None or instance.process is None:
        return ""
    seen: list[str] = []
    for _ in range(_PAUSES):
        seen.append(instance.process.log_tail(_LINES).strip())
        if len(seen) > 2 and seen[-1] and seen[-3] == seen[-2] == seen[-1]:
            break
        time.sleep(_PAUSE_S)
    return seen[-1]
