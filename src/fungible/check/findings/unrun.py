"""Why a schedule did not run."""

from collections.abc import Collection, Sequence
from typing import Final

from fungible.check.model import ScheduleName
from fungible.check.runs.subject import Subject

_NOTHING_TO_DO: Final[dict[ScheduleName, str]] = {
    "scatter": "no flow has two requests that different instances could serve",
    "crash": "no flow has a request after one that may leave something behind",
    "warm": "no flow has two requests that different instances could serve",
    "repeat": "no request that changes something was answered with success",
    "race": "no request that changes something has one after it that would show the effect",
    "drain": "no request could be asked again and again",
}


def why_not_run(name: ScheduleName, asked: Collection[ScheduleName], subjects: Sequence[Subject]) -> str:
    """Why a schedule came to no run, in words.

    Args:
        name: The schedule.
        asked: Those that the check was to run.
        subjects: The flows, as far as the check came to them.
    """
    if name not in asked:
        return "not asked for"
    judged = [subject for subject in subjects if subject.ground is not None]
    if not judged:
        return "no flow passed on one instance" if subjects else "the check did not come to it"
    if name in {"crash", "drain"} and not any(subject.can_kill for subject in judged):
        return "instances that somebody else runs are not ended"
    if name in {"repeat", "race"} and all(step.safe for subject in judged for step in subject.flow.steps):
        return "no flow has a request that changes something"
    return _NOTHING_TO_DO[name]
