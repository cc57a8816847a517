"""Tries placements until none breaks any more: each fault found is named, then kept from hiding the next."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from fungible.check.http.template import needs
from fungible.check.model import ScheduleName
from fungible.check.runs.ground import Break, Ground
from fungible.check.runs.placement import Glue, crashed, distinct, robin, slots_of
from fungible.check.runs.runner import Move
from fungible.check.runs.steadiness import unsteady
from fungible.check.runs.subject import Subject
from fungible.check.runs.world import Mode
from fungible.check.schedules.refusals import asked_again
from fungible.check.schedules.visits import earlier_visits
from fungible.check.witness.diagnose import Diagnosing, Diagnosis
from fungible.check.witness.witness import Shrinker, Witness
from fungible.check.witness.writers import with_writer

_MOST_ROUNDS = 12
_MOST_WARMING = 40
_MORE_RUNS = 4
Placement = Callable[[Glue], Sequence[Move]]


@dataclass
class Found:
    """A fault with its witness and kind, before it is put into words."""

    schedule: ScheduleName
    witness: Witness
    diagnosis: Diagnosis
    also: list[str] = field(default_factory=list[str])
    in_one: Break | None = None
    """The same break where the requests go to several workers of one instance, if it shows that way too."""

    @property
    def writer(self) -> str | None:
        """The step whose effect was missed."""
        return None if self.witness.writer is None else self.witness.moves[self.witness.writer].step.id

    @property
    def cause(self) -> tuple[str, ...]:
        """What makes two faults the same one: the kind, and the request whose effect was missed."""
        if self.witness.writer is None:
            return (self.diagnosis.kind, self.step)
        writer = self.witness.moves[self.witness.writer].step
        return (self.diagnosis.kind, writer.method.upper(), writer.path.partition("?")[0])

    @property
    def step(self) -> str:
        """The step that broke."""
        return self.witness.last.step.id


class Explorer:
    """Finds the faults of one flow that show when its steps are served by several instances."""

    def __init__(self, subject: Subject, on_found: Callable[[Found], None], *, most_instances: int) -> None:
        self._subject = subject
        self._most = most_instances
        self._on_found = on_found
        self.found: list[Found] = []
        self._suspects: list[Placement] = []
        """Placements that break on instances which have served others, and on no fresh ones."""

    def scatter(self, *, also_distinct: bool) -> None:
        """Two instances in turn, then in pairs of steps (the other parity), then each step on an instance of its own.

        The first time on fresh instances, whatever marks the writes: what is left by others is not there at all.
        """
        self._explore("scatter", lambda glue: robin(self._subject.moves, 2, glue), fresh_first=True)
        if len(self._subject.moves) > 2:
            self._explore("scatter", lambda glue: robin(self._subject.moves, 2, glue, stride=2))
            if also_distinct:
                self._explore("scatter", lambda glue: distinct(self._subject.moves, glue, self._most))

    def crash(self) -> None:
        """Each instance is killed with -9 after it has answered something that may matter later."""
        leaves = [self._subject.leaves(at) for at in range(len(self._subject.moves))]
        self._explore("crash", lambda glue: crashed(self._subject.moves, glue, leaves))

    def warm(self) -> None:
        """Reads on one instance that has read the same before, writes on another."""
        moves = warming(self._subject)
        ground: Ground | None = None

        asked = asked_again(self._subject)
        places = [apart_by_safety(moves, self._subject.glue, asking) for asking in (frozenset[str](), *asked)]
        if any(move.aside for move in moves) and any(slots_of(placed) > 1 for placed in places):
            ground = self._subject.ground_for(moves, used=self._subject.lends(moves, Mode()))
            self._subject.learn(ground)
        self._explore("warm", lambda glue: apart_by_safety(moves, glue), ground)
        for asking in asked:
            self._explore("warm", lambda glue, asking=asking: apart_by_safety(moves, glue, asking), ground)
        if ground is not None:
            self._subject.unsteady += unsteady(ground, self._subject.flow.name)
        self._after_others()

    def _after_others(self) -> None:
        """The flow on instances that have served it to others: what they learned from those is not to be stale."""
        subject = self._subject
        if not subject.can_kill or subject.mode != Mode():
            return

        def in_turn(glue: Glue) -> Sequence[Move]:
            return robin(subject.moves, 2, glue)

        moves = in_turn(subject.glue)
        if slots_of(moves) < 2:
            return
        if subject.suspicious(moves):
            self._suspects.insert(0, in_turn)
        suspect = self._suspects[0] if self._suspects else None
        slots = 0 if suspect is None else slots_of(suspect(subject.glue))
        if suspect is None or slots < 2:
            return
        before = earlier_visits(subject, range(slots))
        ground = subject.ground_for([*before, *subject.moves])
        self._explore("warm", lambda glue: [*before, *suspect(glue)], ground)

    def on_common_disk(self, *, warm: bool) -> None:
        """What breaks still, once the faults of private disks are healed by one disk for all."""
        if not any(found.diagnosis.on_disk for found in self.found):
            return
        mode, glue = self._subject.mode, self._subject.glue
        self._subject.mode = replace(mode, common_disk=True)
        self._subject.glue = Glue()
        for found in self.found:
            if not found.diagnosis.on_disk:
                self._neutralise(found)
        self._explore("scatter", lambda glue: robin(self._subject.moves, 2, glue))
        if warm:
            self.warm()
        self._subject.mode, self._subject.glue = mode, glue

    def between_workers(self) -> None:
        """Each step at another worker of one instance, where it has several."""
        if self._subject.workers < 2:
            return
        mode = self._subject.mode
        self._subject.mode = replace(mode, one_instance=True)
        self._explore("scatter", lambda glue: distinct(self._subject.moves, glue, self._subject.workers))
        self._subject.mode = mode

    def _explore(
        self, schedule: ScheduleName, placement: Placement, ground: Ground | None = None, *, fresh_first: bool = False
    ) -> None:
        seen: set[str] = set()
        for turn in range(_MOST_ROUNDS):
            moves = placement(self._subject.glue)
            if len({move.slot for move in moves if not move.earlier}) < 2 and not any(
                move.kill_after for move in moves
            ):
                return
            used = self._subject.lends(moves) and not (fresh_first and not turn)
            if used and not self._subject.suspicious(moves, ground=ground):
                return
            found = self._subject.broken(moves, ground=ground)
            if used and found is None:
                self._suspects.append(placement)
            while found is not None and moves[found.at].step.id not in seen:
                # The same fault again? Then it is gone once the step is served where that fault's writer is.
                again = self._same_cause(moves, found, ground, placement)
                if again is None:
                    break
                moves, found = again
            if found is None:
                return
            self._handle(schedule, moves, found, ground or self._subject.baseline, seen)

    def _handle(
        self, schedule: ScheduleName, moves: Sequence[Move], found: Break, ground: Ground, seen: set[str]
    ) -> None:
        step = moves[found.at].step.id
        if step in seen:
            # Known, and still in the way: everything up to here goes to one instance.
            self._subject.glue.join([move.step.id for move in moves[: found.at + 1] if not move.earlier])
            return
        seen.add(step)
        self._subject.suspect = step
        moves, found, ground = self._without_kill(moves, found, ground)
        witness = Shrinker(self._subject, moves, found.at).shrink((ground, found))
        if self._is_noise(witness, found, ground):
            seen.discard(step)
            self._subject.suspect = ""
            return
        witness = with_writer(self._subject, witness)
        diagnosis = Diagnosing(self._subject, witness).kind()
        fault = Found(schedule, witness, diagnosis)
        twin = next((old for old in self.found if old.cause == fault.cause), None)
        if twin is not None:
            if step not in {twin.step, *twin.also}:
                twin.also.append(step)
        else:
            fault.in_one = self._in_one(witness)
            self.found.append(fault)
            self._on_found(fault)
        self._subject.suspect = ""
        self._neutralise(fault)

    def _in_one(self, witness: Witness) -> Break | None:
        """The witness at several workers of one instance, where it breaks there as well."""
        if self._subject.workers < 2 or any(move.kill_after for move in witness.moves):
            return None
        if self._subject.mode.one_instance:
            return witness.found
        trace = self._subject.run(witness.moves, replace(self._subject.mode, one_instance=True))
        found = witness.ground.first_break(trace)
        return found if found is not None and found.at == len(witness.moves) - 1 else None

    def _is_noise(self, witness: Witness, found: Break, ground: Ground) -> bool:
        """A break that comes and goes, or needs no earlier request, may be chance: more runs on one instance tell.

        An advertisement drawn from three is the same in two runs of a baseline one time in three.
        """
        if found.certain or (len(witness.moves) > 1 and not witness.racy):
            return False
        for _ in range(_MORE_RUNS):
            ground.learn(self._subject.control(ground.moves))
        again = ground.first_break(found.trace)
        if again is not None and again.at == found.at and len(witness.moves) == 1:
            # Two fresh instances that answer their very first request differently have no state to differ in.
            ground.allow(found)
            return True
        return again is None or again.at != found.at

    def _same_cause(
        self, moves: Sequence[Move], found: Break, ground: Ground | None, placement: Placement
    ) -> tuple[Sequence[Move], Break | None] | None:
        """The run with a step joined to a known fault's writer, where that mends the step; None where no known fault does."""
        step = moves[found.at].step.id
        for known in reversed(self.found[-3:]):
            healed = known.diagnosis.on_disk and self._subject.mode.common_disk
            if healed or known.writer is None or self._subject.glue.joined(known.writer, step):
                continue
            trial = self._subject.glue.copy()
            trial.join([known.writer, step])
            placed = placement(trial)
            again = None
            if not self._subject.lends(placed) or self._subject.suspicious(placed, ground=ground):
                again = self._subject.broken(placed, ground=ground)
            if again is None or again.at > found.at:
                self._subject.glue = trial
                if step not in {known.step, *known.also}:
                    known.also.append(step)
                return placed, again
        return None

    def _without_kill(
        self, moves: Sequence[Move], found: Break, ground: Ground
    ) -> tuple[Sequence[Move], Break, Ground]:
        """The same break without killing anything, where it shows that way too: that is easier to reason about."""
        if not any(move.kill_after for move in moves):
            return moves, found, ground
        glue, last = self._subject.glue, moves[found.at].step.id
        spread = [
            replace(move, slot=int(glue.joined(move.step.id, last)), kill_after=False) for move in moves[: found.at + 1]
        ]
        if len({move.slot for move in spread}) < 2 or not self._subject.suspicious(spread):
            return moves, found, ground
        other = self._subject.broken(spread)
        return (
            (spread, other, self._subject.baseline)
            if other is not None and other.at == found.at
            else (moves, found, ground)
        )

    def _neutralise(self, fault: Found) -> None:
        """Keeps a known fault from breaking the flow again."""
        subject = self._subject
        if (
            fault.diagnosis.kind == "per-instance-secret"
            and subject.common_randomness
            and not subject.mode.common_randomness
        ):
            subject.mode = replace(subject.mode, common_randomness=True)
            return
        steps = [move.step.id for move in fault.witness.moves if not move.aside and not move.earlier]
        together = {fault.step, fault.writer or steps[0]}
        if fault.diagnosis.kind in {"session", "per-instance-secret"}:
            ids = [step.id for step in subject.flow.steps]
            begins = ids.index(fault.writer) if fault.writer in ids else 0
            visitor = fault.witness.last.step.visitor
            together |= {step.id for step in subject.flow.steps[begins:] if step.visitor == visitor}
        elif fault.diagnosis.kind == "rate-limit":
            together |= set(steps)
        subject.glue.join(sorted(together))


def apart_by_safety(moves: Sequence[Move], glue: Glue, asking: frozenset[str] = frozenset()) -> list[Move]:
    """Writes on one instance, reads and steps that are `asking` on another; joined steps follow the first of them."""
    where: dict[str, int] = {}
    for move in moves:
        if not move.aside:
            reads = move.step.safe or move.step.id in asking
            where.setdefault(glue.leader(move.step.id), 1 if reads else 0)
    return [replace(move, slot=where.get(glue.leader(move.step.id), 1)) for move in moves]


def warming(subject: Subject) -> list[Move]:
    """The flow, with each read that follows a write asked once before every write: so that a copy, if one is kept, is kept."""
    steps = subject.flow.steps
    # As they were sent: two steps at `/notes/{{note}}` may read two notes, and `{{location}}` may be one of them again.
    targets = [outcome.target for outcome in subject.baseline.control.outcomes]
    moves: list[Move] = []
    known: set[str] = {"host", "run"}
    read: set[str] = set()
    asked = 0
    for at, step in enumerate(steps):
        if step.safe:
            read.add(targets[at])
        else:
            given: set[str] = set()
            """What is captured anew from here on: it is not yet what the read will send."""
            for number in range(at, len(steps)):
                other = steps[number]
                fits = other.method.upper() == "GET" and not other.poll_seconds and needs(other) <= known - given
                if fits and targets[number] not in read and asked < _MOST_WARMING:
                    moves.append(Move(other, aside=True))
                    read.add(targets[number])
                    asked += 1
                given |= {capture.name for capture in other.capture}
        moves.append(Move(step))
        known |= {capture.name for capture in step.capture}
    return moves
