"""Each unsafe request twice, with one Idempotency-Key: what a client does whose first answer was lost."""

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass

from fungible.check.http.template import needs
from fungible.check.model import Step
from fungible.check.oracle.noise import Difference
from fungible.check.oracle.places import places_of
from fungible.check.runs.ground import Break, Ground
from fungible.check.runs.runner import Move, Outcome, Trace
from fungible.check.runs.subject import Subject

_IDENTITY = re.compile(r"^(location$|json .*/(id|uuid|guid|pk|number|ref|reference|\w+_id|\w+Id)$)")


@dataclass(frozen=True)
class Doubled:
    """A request whose repetition has a second effect: where that shows, and the run that showed it."""

    step: Step
    shows_at: str
    difference: Difference
    trace: Trace
    ground: Trace
    times: int
    unpromised: bool = False
    """True for a second thing made by a POST that nobody promised to be idempotent: no key of the client's own."""


def repeat(subject: Subject, instances: int) -> list[Doubled]:
    """The requests of a flow that are not safe to repeat, on one instance and, where that is silent, on two."""
    candidates = [at for at, step in enumerate(subject.flow.steps) if _worth_repeating(subject, at, step)]
    if not candidates:
        return []
    for slots in (1, 2) if instances > 1 else (1,):
        found = _doubled(subject, candidates, slots)
        if found:
            return found
    return []


def _worth_repeating(subject: Subject, at: int, step: Step) -> bool:
    answer = subject.baseline.control.outcomes[at].answer
    return not step.safe and answer.error is None and answer.status < 400


def _doubled(subject: Subject, candidates: Sequence[int], slots: int) -> list[Doubled]:
    moves = _moves(subject, candidates, slots)
    used = subject.lends(moves)
    trace = subject.run(moves, used=used)
    if _break(subject.baseline, trace) is None and not _second_identities(subject, trace):
        return []
    if used:
        trace = subject.run(moves)
    # What varies on one instance, or with one request more, is learned before anything is blamed on a repetition.
    ground = copy.deepcopy(subject.baseline)
    subject.learn(ground)
    ground.learn(_judged(subject.control(_moves(subject, candidates, 1, harmless=True))))
    if _break(ground, trace) is None and not _second_identities(subject, trace):
        return []
    first = trace if len(candidates) == 1 else None
    doubled = [_one(subject, ground, at, slots, first) for at in candidates]
    return [one for one in doubled if one is not None]


def _one(subject: Subject, ground: Ground, at: int, slots: int, first: Trace | None) -> Doubled | None:
    """One request repeated: found only if it shows three times of three."""
    shown: list[tuple[str, Difference, Trace]] = []
    for number in range(3):
        trace = first if first is not None and not number else subject.run(_moves(subject, [at], slots))
        seen = _shown(subject, ground, trace)
        if seen is None:
            return None
        shown.append((*seen, trace))
    step, difference, trace = shown[0]
    repeated = subject.flow.steps[at]
    created = any(outcome.move.again and outcome.answer.status == 201 for outcome in trace.outcomes)
    made = created or bool(_second_identities(subject, trace))
    keyed = any(name.lower() == "idempotency-key" for name in repeated.headers)
    unpromised = made and repeated.method.upper() == "POST" and not keyed
    return Doubled(repeated, step, difference, trace, subject.baseline.control, len(shown), unpromised)


def _shown(subject: Subject, ground: Ground, trace: Trace) -> tuple[str, Difference] | None:
    identities = _second_identities(subject, trace)
    if identities:
        return identities[0]
    found = _break(ground, trace)
    return None if found is None else (subject.flow.steps[found.at].id, found.differences[0])


def _moves(subject: Subject, repeated: Sequence[int], slots: int, *, harmless: bool = False) -> list[Move]:
    """The flow with some requests sent twice; `harmless`: with a request that changes nothing in place of the second."""
    moves: list[Move] = []
    for at, step in enumerate(subject.flow.steps):
        if at not in repeated:
            moves.append(Move(step))
            continue
        key = f"fungible-{subject.token()}{subject.token()}{subject.token()}"
        slot = slots - 1 if not _stuck(subject, step) else 0
        if harmless:
            moves += [Move(step, idempotency_key=key), Move(_harmless(subject, at), aside=True)]
            continue
        moves += [Move(step, idempotency_key=key), Move(step, slot=slot, aside=True, again=True, idempotency_key=key)]
    return moves


def _harmless(subject: Subject, at: int) -> Step:
    """A read that can be sent after a step: the latest of the flow whose values are known by then, else the front page."""
    steps = subject.flow.steps
    known = {"host", "run"} | {capture.name for step in steps[: at + 1] for capture in step.capture}
    reads = [step for step in (*steps[at:], *steps[:at]) if step.method.upper() == "GET" and needs(step) <= known]
    return reads[-1] if reads else Step(id=steps[at].id, path="/", visitor=steps[at].visitor)


def _stuck(subject: Subject, step: Step) -> bool:
    """A step that a known fault binds to one instance is repeated there."""
    return any(subject.glue.joined(step.id, other.id) for other in subject.flow.steps if other.id != step.id)


def _judged(trace: Trace) -> Trace:
    """The run without the requests that are not of the flow."""
    outcomes = [outcome for outcome in trace.outcomes if not outcome.move.aside]
    return Trace(outcomes, trace.values, trace.given, trace.renames)


def _break(ground: Ground, trace: Trace) -> Break | None:
    """The first answer after a repetition that tells of a second effect.

    What a process measures of itself (Prometheus, OpenMetrics) counts each request, and counting is no effect: there only a
    missed expectation tells.
    """
    judged = _judged(trace)
    for at in range(len(judged.outcomes)):
        differences = ground.differences(at, judged) if judged.outcomes[at].unbound is None else []
        if differences and (differences[0].place == "expect" or not _measures(judged.outcomes[at])):
            return Break(at, judged, tuple(differences))
    return None


def _measures(outcome: Outcome) -> bool:
    """True for the exposition formats of measurements."""
    kind = outcome.answer.header("content-type") or ""
    return outcome.answer.media_type == "application/openmetrics-text" or (
        outcome.answer.media_type == "text/plain" and re.search(r";\s*version=0\.0\.4\b", kind) is not None
    )


def _second_identities(subject: Subject, trace: Trace) -> list[tuple[str, Difference]]:
    """Repetitions that were answered with another thing created: another Location, another id."""
    found: list[tuple[str, Difference]] = []
    for first, second in zip(trace.outcomes, trace.outcomes[1:], strict=False):
        if (
            second.move.aside
            and first.answer.status in {200, 201, 202, 301, 302, 303, 307, 308}
            and second.answer.status == first.answer.status
        ):
            difference = _other_identity(subject, first, second)
            if difference is not None:
                found.append((first.move.step.id, difference))
    return found


def _other_identity(subject: Subject, first: Outcome, second: Outcome) -> Difference | None:
    host = subject.conditions.host
    one, other = places_of(first.answer, host), places_of(second.answer, host)
    for place in sorted(one.keys() & other.keys()):
        if _IDENTITY.match(place) and one[place] != other[place]:
            return Difference(place, next(iter(one[place])), next(iter(other[place])))
    return None
