"""Establishes what one instance answers: the flow runs twice, each time on a fresh instance, before anything is judged.

What an earlier run leaves in a database is there in the next one: a name that can be taken only once is made unique for each
run, found by trying; what still differs between the two runs is noise.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import msgspec

from fungible.check.errors import UnjudgedError
from fungible.check.model import Flow, Step
from fungible.check.runs.ground import Ground, answer_words
from fungible.check.runs.logs import Logs, failed
from fungible.check.runs.marks import Marks, marks_of
from fungible.check.runs.names import candidates, chosen
from fungible.check.runs.runner import Outcome, Trace
from fungible.check.runs.subject import Subject

_MOST_NAMES = 4


def establish(subject: Subject) -> list[str]:
    """Runs the baseline, gives the subject its ground, and returns notes for the report.

    Raises:
        UnjudgedError: the flow does not do on one instance what it expects, or never twice the same.
    """
    if not subject.flow.steps:
        raise UnjudgedError(f"the flow {subject.flow.name!r} has no step")
    notes: list[str] = []
    logs = Logs()
    first = _run_fresh(subject, _as_recorded, notes, logs)
    _refuse_unmet(subject, first, logs)
    notes += _departures(first)
    notes += _failures(first, logs)
    subject.flow = _with_refusals(subject.flow, first)
    statuses = {outcome.move.step.id: outcome.answer.status for outcome in first.outcomes}
    named = subject.conditions.names
    second = _run_fresh(subject, lambda outcome: outcome.answer.status == statuses[outcome.move.step.id], notes, logs)
    if subject.conditions.names != named:
        # The names were not yet unique in the first run: both runs of the baseline are to be alike.
        first = subject.run(subject.moves)
    _refuse_unrepeatable(subject, first, second, logs)
    subject.ground = Ground(subject.moves, first, subject.conditions.host)
    subject.ground.learn(second)
    subject.pair = (first, second)
    subject.conditions = replace(subject.conditions, timeout_s=_patience(first, second), poll_s=_polls(first, second))
    subject.marks = _marked(subject, marks_of(first, second, subject.conditions.names))
    return notes


def _with_refusals(flow: Flow, trace: Trace) -> Flow:
    """The flow with what was refused in its recording, and is refused here, expected to be refused by every instance."""

    def step_of(outcome: Outcome, step: Step) -> Step:
        status = outcome.answer.status
        if step.expect.status or status != step.recorded_status or not 400 <= status < 500:
            return step
        return msgspec.structs.replace(step, expect=msgspec.structs.replace(step.expect, status=(status,)))

    return msgspec.structs.replace(flow, steps=tuple(map(step_of, trace.outcomes, flow.steps)))


def _marked(subject: Subject, marks: Marks | None) -> Marks | None:
    """What tells the flow's runs apart, so that used instances may serve it; None where nothing does.

    Tried where it costs no start: an instance that has served the flow must answer it once more as it did before. Where names
    are taken, or writes carry nothing of their own, the names in these are made unique; and where the instance still answers
    otherwise (a user who is known, a page that lists them all), names stay as they are.
    """
    if subject.reserve is None or marks is None:
        return None
    before = subject.conditions
    if marks.hold(subject.moves) and subject.baseline.first_break(subject.run(subject.moves, used=True)) is None:
        return marks
    wanted = [chosen(step) for step in subject.flow.steps]
    for _ in range(2 * _MOST_NAMES):
        names = tuple(dict.fromkeys([*before.names, *(name for names in wanted for name in names)]))
        unique = replace(marks, names=names)
        if names == before.names or not unique.hold(subject.moves):
            return None
        subject.conditions = replace(before, names=names)
        found = subject.baseline.first_break(subject.run(subject.moves, used=True))
        if found is None:
            return unique
        subject.conditions = before
        # What the step that broke has sent of its own goes first; where that is nothing, what is least likely a name.
        sent = wanted[found.at] or {name: False for names in wanted for name, telling in names.items() if not telling}
        if not sent:
            return None
        wanted = [{name: telling for name, telling in names.items() if name not in sent} for names in wanted]
    return None


def _patience(*traces: Trace) -> float:
    """How long an answer is waited for, now that it is known how long one instance takes: a hang should not cost 30 s each time."""
    slowest = max(outcome.answer.seconds for trace in traces for outcome in trace.outcomes)
    return min(30.0, max(8.0, 5 * slowest))


def _polls(*traces: Trace) -> dict[str, float]:
    """How long steps that poll are asked again: several times what one instance needed."""
    found: dict[str, float] = {}
    for trace in traces:
        for outcome in trace.outcomes:
            if outcome.move.step.poll_seconds:
                step = outcome.move.step.id
                found[step] = max(found.get(step, 0.0), 1.0, 3 * outcome.asked_s)
    return found


def _run_fresh(subject: Subject, good: Callable[[Outcome], bool], notes: list[str], logs: Logs) -> Trace:
    """One run; where a step is not good because a name is taken, with that name made unique."""
    trace = subject.run(subject.moves, look=logs.look)
    for _ in range(_MOST_NAMES):
        at = _first_bad(trace, good)
        if at is None or trace.outcomes[at].answer.error is not None:
            break  # a name that is taken is answered
        better = _renamed(subject, at, good)
        if better is None:
            break
        name = subject.conditions.names[-1]
        notes.append(
            f"{subject.flow.name}: {name!r} can be used only once (step {trace.outcomes[at].move.step.id}), so each run uses a name of its own in its place"
        )
        trace = better
    return trace


def _first_bad(trace: Trace, good: Callable[[Outcome], bool]) -> int | None:
    return next((at for at, outcome in enumerate(trace.outcomes) if not _holds(outcome, good)), None)


def _holds(outcome: Outcome, good: Callable[[Outcome], bool]) -> bool:
    return outcome.unmet is None and outcome.unbound is None and good(outcome)


def _as_recorded(outcome: Outcome) -> bool:
    recorded = outcome.move.step.recorded_status
    return recorded is None or outcome.answer.status // 100 == recorded // 100


def _renamed(subject: Subject, at: int, good: Callable[[Outcome], bool]) -> Trace | None:
    """A run that gets past a step by a new name for something in it; the subject keeps the name."""
    before = subject.conditions
    for name in candidates(subject.flow.steps[at], subject.flow.steps[:at]):
        if name in before.names:
            continue
        subject.conditions = replace(before, names=(*before.names, name))
        head = subject.run(subject.moves[: at + 1], used=True)
        if _first_bad(head, good) is None:
            return subject.run(subject.moves)
    subject.conditions = before
    return None


def _refuse_unmet(subject: Subject, trace: Trace, logs: Logs) -> None:
    for outcome in trace.outcomes:
        why = outcome.unmet or (
            f"it needs {{{{{outcome.unbound}}}}}, which no earlier step gave" if outcome.unbound else None
        )
        if why is not None:
            raise UnjudgedError(
                f"one instance alone does not do what the flow {subject.flow.name!r} expects: step {outcome.move.step.id} "
                f"({outcome.move.step.method} {outcome.target}) was answered {_answered_words(outcome, why)}. "
                f"Mend the step or what it expects: a flow must pass on one instance before several can be judged{logs.words(outcome.move.step.id)}"
            )
    if all(outcome.answer.error is not None or outcome.answer.status >= 500 for outcome in trace.outcomes):
        worst = trace.outcomes[0]
        raise UnjudgedError(
            f"one instance alone answers every step of the flow {subject.flow.name!r} with an error ({worst.move.step.id}: {answer_words(worst.answer)}){logs.words(worst.move.step.id)}"
        )


def _answered_words(outcome: Outcome, why: str) -> str:
    words = answer_words(outcome.answer)
    return words if why in words else f"{words}: {why}"


def _refuse_unrepeatable(subject: Subject, first: Trace, second: Trace, logs: Logs) -> None:
    """A second run that misses its expectations may do so only where nothing hangs on it."""
    for one, other in zip(first.outcomes, second.outcomes, strict=True):
        if other.unbound is not None or (other.unmet is not None and _hangs_on(one, other)):
            raise UnjudgedError(
                f"the flow {subject.flow.name!r} does not do the same twice on one instance: step {other.move.step.id} was answered "
                f"{answer_words(one.answer)}, then {answer_words(other.answer)}. An earlier run has left something behind: use {{{{run}}}} in names "
                f"that must be new, or give `reset` commands that clean the backing services{logs.words(other.move.step.id)}"
            )


def _hangs_on(one: Outcome, other: Outcome) -> bool:
    return (
        other.answer.error is not None
        or other.answer.status >= 500
        or one.answer.status // 100 != other.answer.status // 100
    )


def _departures(trace: Trace) -> list[str]:
    """Where one instance answers otherwise than the recording did."""
    return [
        f"{outcome.move.step.id} answers {outcome.answer.status} here and {outcome.move.step.recorded_status} in the recording; judged is what happens here"
        for outcome in trace.outcomes
        if not _as_recorded(outcome)
    ]


def _failures(trace: Trace, logs: Logs) -> list[str]:
    """Errors that one instance alone answers with, and that no step forbids: compared like any answer, but seldom meant."""
    return [
        f"{outcome.move.step.id} is answered {answer_words(outcome.answer)} by one instance alone{logs.words(outcome.move.step.id)}"
        for outcome in trace.outcomes
        if failed(outcome.answer) and outcome.unbound is None
    ]


def values_of(trace: Trace) -> Mapping[str, str]:
    """The captured values of a run."""
    return {name: value for name, value in trace.values.items() if name not in trace.given}
