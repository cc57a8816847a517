"""Each unsafe request twice, with one Idempotency-Key: what a client does whose first answer was lost."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fungible.check.model import Step
from fungible.check.oracle.noise import Difference
from fungible.check.oracle.places import places_of
from fungible.check.runs.ground import Break
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
    if _break(subject, trace) is None and not _second_identities(subject, trace):
        return []
    if used:
        trace = subject.run(moves)
    # What varies on one instance is learned once more, before anything is blamed on a repetition.
    subject.learn(subject.baseline)
    if _break(subject, trace) is None and not _second_identities(subject, trace):
        return []
    first = trace if len(candidates) == 1 else None
    doubled = [_one(subject, at, slots, first) for at in candidates]
    return [one for one in doubled if one is not None]


def _one(subject: Subject, at: int, slots: int, first: Trace | None) -> Doubled | None:
    """One request repeated: found only if it shows three times of three."""
    shown: list[tuple[str, Difference, Trace]] = []
    for number in range(3):
        trace = first if first is not None and not number else subject.run(_moves(subject, [at], slots))
        seen = _shown(subject, trace)
        if seen is None:
            return None
        shown.append((*seen, trace))
    step, difference, trace = shown[0]
    return Doubled(subject.flow.steps[at], step, difference, trace, subject.baseline.control, len(shown))


def _shown(subject: Subject, trace: Trace) -> tuple[str, Difference] | None:
    identities = _second_identities(subject, trace)
    if identities:
        return identities[0]
    found = _break(subject, trace)
    return None if found is None else (subject.flow.steps[found.at].id, found.differences[0])


def _moves(subject: Subject, repeated: Sequence[int], slots: int) -> list[Move]:
    moves: list[Move] = []
    for at, step in enumerate(subject.flow.steps):
        if at not in repeated:
            moves.append(Move(step))
            continue
        key = f"fungible-{subject.token()}{subject.token()}{subject.token()}"
        slot = slots - 1 if not _stuck(subject, step) else 0
        moves += [Move(step, idempotency_key=key), Move(step, slot=slot, aside=True, again=True, idempotency_key=key)]
    return moves


def _stuck(subject: Subject, step: Step) -> bool:
    """A step that a known fault binds to one instance is repeated there."""
    return any(subject.glue.joined(step.id, other.id) for other in subject.flow.steps if other.id != step.id)


def _break(subject: Subject, trace: Trace) -> Break | None:
    judged = Trace(
        [outcome for outcome in trace.outcomes if not outcome.move.aside], trace.values, trace.given, trace.renames
    )
    return subject.baseline.first_break(judged)


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
