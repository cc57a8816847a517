"""Requests that were accepted first and refused later: no instance that remembers the first may accept the second."""

import json
from collections.abc import Sequence

import msgspec

from fungible.check.http.template import without_names
from fungible.check.model import Step
from fungible.check.runs.runner import Outcome
from fungible.check.runs.subject import Subject

_NOT_SENT = frozenset({"id", "visitor", "expect", "capture", "recorded_status", "poll_seconds", "delay_before"})


def asked_again(subject: Subject) -> list[frozenset[str]]:
    """Sets of steps that ask whether they may, rather than change something: accepted earlier, refused when sent again.

    A sign-in is such a request, whatever its method, where its password is changed meanwhile. To see whether an instance
    still accepts it, that instance must serve it both times, and must not serve the change. Which step that is nobody says:
    where no request like the refused one was accepted, the visitor's first step stands for it, then all but the last write.
    """
    outcomes = subject.baseline.control.outcomes
    near: set[str] = set()
    wide: set[str] = set()
    for at, outcome in enumerate(outcomes):
        earlier = [] if outcome.move.step.safe else _accepted(outcomes[:at], outcome)
        if earlier:
            ids = [outcome.move.step.id, *(one.move.step.id for one in earlier)]
            near |= set(ids if _place(earlier[-1]) == _place(outcome) else ids[:2])
            wide |= set(ids)
    return [frozenset(ids) for ids in ([near] if near == wide else [near, wide]) if ids]


def _accepted(earlier: Sequence[Outcome], later: Outcome) -> list[Outcome]:
    """What shows that the credentials of a refused request were good before: the very request, one like it, or any."""
    same = [one for one in earlier if _sent(one.move.step) == _sent(later.move.step)]
    if any(one.answer.status != later.answer.status for one in same):
        return same
    if not _is_refused(later):
        return []
    there = [one for one in earlier if _place(one) == _place(later)]
    if not all(map(_is_refused, there)):
        return there
    taken = [one for one in earlier if not _is_refused(one)]
    writes = [at for at, one in enumerate(taken) if not one.move.step.safe]
    return [one for one in taken[: writes[-1] if writes else 0] if one.move.step.visitor == later.move.step.visitor]


def _is_refused(outcome: Outcome) -> bool:
    return 400 <= outcome.answer.status < 500


def _place(outcome: Outcome) -> tuple[str, str]:
    return outcome.move.step.method.upper(), outcome.target.partition("?")[0]


def _sent(step: Step) -> str:
    """What a step sends but for captured values: a CSRF token differs in each form."""
    kept = {key: value for key, value in msgspec.to_builtins(step).items() if key not in _NOT_SENT}
    return without_names(json.dumps(kept, sort_keys=True))
