"""Two requests of one visitor at the same moment: allowed is what either order, one after the other, would give."""

import copy
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fungible.check.http.template import needs
from fungible.check.model import Step
from fungible.check.runs.ground import Break, Ground
from fungible.check.runs.runner import Move, Runner, Trace
from fungible.check.runs.subject import Subject
from fungible.check.runs.world import Mode

ATTEMPTS = 10
_SECONDS = 5.0
"""After this long, three attempts will do: a flow with slow steps is not to race for minutes."""
_MOST_PAIRS = 3


@dataclass(frozen=True)
class Raced:
    """A pair of requests that together left what neither order leaves."""

    first: Step
    second: Step
    moves: tuple[Move, ...]
    ground: Ground
    found: Break
    times: int
    attempts: int
    revived: bool


def race(subject: Subject) -> list[Raced]:
    """The pairs of a flow that lose an update, or undo a sign-out, when they race."""
    found: dict[tuple[str, bool], Raced] = {}
    for first, second in _pairs(subject):
        raced = _race(subject, first, second)
        if raced is not None:
            # Pairs that show at one step have one cause; the last pair is the plainest, a request beside itself.
            found[raced.found.outcome.move.step.id, raced.revived] = raced
    return list(found.values())


def _pairs(subject: Subject) -> list[tuple[int, int]]:
    """Writes of one visitor that follow each other, and single writes beside themselves."""
    steps = subject.flow.steps
    outcomes = subject.baseline.control.outcomes
    writes = [
        at
        for at, step in enumerate(steps)
        if not step.safe and outcomes[at].answer.error is None and outcomes[at].answer.status < 400
    ]
    pairs = [
        (one, other)
        for one, other in itertools.pairwise(writes)
        if steps[one].visitor == steps[other].visitor
        and not (needs(steps[other]) & {capture.name for capture in steps[one].capture})
    ]
    alone = [(at, at) for at in writes]
    return (pairs[-2:] + alone[-1:])[:_MOST_PAIRS]


def _sequence(
    subject: Subject, first: int, second: int, *, turned: bool = False, raced: bool = False, slot: int = 0
) -> list[Move]:
    """The flow up to `first`, the pair, and what shows its effect afterwards."""
    steps = subject.flow.steps
    one, other = Move(steps[first]), Move(steps[second], slot=slot)
    if turned:
        one, other = replace(other, slot=0), replace(one, slot=slot)
    # In either order, too, both requests are prepared before the first is answered: they carry the cookies that the racers do.
    one = replace(one, with_next=True, in_turn=not raced)
    before = [Move(step) for step in steps[:first]]
    between = [Move(step) for step in steps[first + 1 : second] if not step.safe]
    after = [Move(step) for step in steps[second + 1 :]]
    watched = after if any(move.step.safe for move in after) else after + _observers(subject, first)
    return [*before, *between, one, other, *watched]


def _observers(subject: Subject, before: int) -> list[Move]:
    """Reads from earlier in the flow, asked again: for a flow that does not look at what it has done."""
    outcomes = subject.baseline.control.outcomes[:before]
    reads = {outcome.target: outcome.move.step for outcome in outcomes if outcome.move.step.safe}
    return [Move(step) for step in list(reads.values())[-2:]]


def _race(subject: Subject, first: int, second: int) -> Raced | None:
    stuck = subject.glue.joined(subject.flow.steps[first].id, subject.flow.steps[second].id) and first != second
    slot = 0 if stuck or not _free(subject, second) else 1
    moves = _sequence(subject, first, second, raced=True, slot=slot)
    pair = next(at for at, move in enumerate(moves) if move.with_next)
    if not any(move.step.safe for move in moves[pair + 2 :]):
        return None
    orders = [_sequence(subject, first, second), _sequence(subject, first, second, turned=True)][
        : 1 if first == second else 2
    ]
    grounds = [_ground(subject, order) for order in orders]
    if any(outcome.unbound for ground in grounds for outcome in ground.control.outcomes):
        return None
    return _attempts(subject, moves, pair, grounds)


def _ground(subject: Subject, order: Sequence[Move]) -> Ground:
    """What one instance answers to an order; where that is the flow itself, cookies and all, the baseline has told."""
    first = next(at for at, move in enumerate(order) if move.with_next)
    answer = subject.baseline.control.outcomes[min(first, len(subject.flow.steps) - 1)].answer
    if [move.step for move in order] != list(subject.flow.steps) or answer.header("set-cookie") is not None:
        return copy.deepcopy(subject.ground_for(order, used=subject.lends(order, Mode())))
    ground = copy.deepcopy(subject.baseline)
    ground.moves = list(order)
    return ground


def _free(subject: Subject, at: int) -> bool:
    """False for a step that a known fault binds to the instance of others."""
    step = subject.flow.steps[at]
    return not any(subject.glue.joined(step.id, other.id) for other in subject.flow.steps if other.id != step.id)


def _attempts(subject: Subject, moves: Sequence[Move], pair: int, grounds: Sequence[Ground]) -> Raced | None:
    """Several visitors race on the same two instances, after some have done the same one after the other.

    What those leave behind for all visitors is learned as noise, so that only what belongs to the one visitor is judged.
    """
    times, shown = 0, None
    subject.counts.runs += 1
    mode = subject.mode if subject.can_kill else Mode()
    with subject.world(moves, mode, used=subject.lends(moves, mode)) as world:

        def visit(sequence: Sequence[Move]) -> Trace:
            subject.on_run()
            return Runner(world, subject.conditions, subject.token(), on_request=subject.count).run(sequence)

        serial = visit([replace(move, in_turn=move.with_next) for move in moves])
        if _later_break(serial, pair, grounds[0]) is not None:
            return None  # it breaks one after the other too: that is for scatter to tell
        first = visit(moves)
        for ground in grounds:
            for _ in range(2):
                ground.learn(visit([replace(move, slot=0) for move in ground.moves]))
        end = time.monotonic() + _SECONDS
        trace, attempts = first, 0
        while True:
            attempts += 1
            found = _outside(trace, pair, grounds)
            if found is not None and _as_in_turn(trace, pair, grounds):
                times += 1
                shown = shown or (trace, *found)
            if attempts >= ATTEMPTS or (attempts >= 3 and time.monotonic() > end):
                break
            trace = visit(moves)
    if shown is None:
        return None
    trace, ground, found = shown
    if not found.certain and _is_noise(subject, trace, pair, grounds):
        return None
    kept = moves[: found.at + 1]
    return Raced(
        moves[pair].step, moves[pair + 1].step, tuple(kept), ground, found, times, attempts, _revived(ground, found)
    )


def _is_noise(subject: Subject, trace: Trace, pair: int, grounds: Sequence[Ground]) -> bool:
    """True where more runs on one instance show that the departure is chance."""
    for ground in grounds:
        for _ in range(3):
            ground.learn(subject.control(ground.moves))
    return _outside(trace, pair, grounds) is None


def _outside(trace: Trace, pair: int, grounds: Sequence[Ground]) -> tuple[Ground, Break] | None:
    """The departure from the nearest serial order, where the outcome is that of none."""
    breaks: list[tuple[Ground, Break]] = []
    for ground in grounds:
        found = _later_break(trace, pair, ground)
        if found is None:
            return None
        breaks.append((ground, found))
    return max(breaks, key=lambda row: row[1].at)


def _as_in_turn(trace: Trace, pair: int, grounds: Sequence[Ground]) -> bool:
    """False where one of the pair was refused although neither order refuses it: its visitor was told, so nothing is lost."""
    for outcome in trace.outcomes[pair : pair + 2]:
        step = outcome.move.step.id
        allowed = {
            one.answer.status // 100
            for ground in grounds
            for one in ground.control.outcomes[pair : pair + 2]
            if one.move.step.id == step
        }
        refused = outcome.answer.error is not None or outcome.answer.status >= 400
        if refused and outcome.answer.status // 100 not in allowed:
            return False
    return True


def _later_break(trace: Trace, pair: int, ground: Ground) -> Break | None:
    """The first departure after the pair; the answers to the pair itself may be those of either order."""
    for at in range(pair + 2, len(trace.outcomes)):
        if trace.outcomes[at].unbound is None:
            differences = ground.differences(at, trace)
            if differences:
                return Break(at, trace, tuple(differences))
    return None


def _revived(ground: Ground, found: Break) -> bool:
    """True where the visitor was refused after either order, and is let in after the race."""
    expected = ground.control.outcomes[found.at].answer
    saw = found.outcome.answer
    return saw.status < 300 and (expected.status in {401, 403, 419} or 300 <= expected.status < 400)
