"""One flow of the application under test, with what one instance answers to it: what every schedule works on."""

import contextlib
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fungible.check.instances.pool import Pool
from fungible.check.instances.reserve import Reserve
from fungible.check.model import Flow
from fungible.check.runs.ground import Break, Ground
from fungible.check.runs.marks import Marks
from fungible.check.runs.placement import Glue, slots_of
from fungible.check.runs.runner import Conditions, Move, Runner, Trace, alone
from fungible.check.runs.world import Mode, World
from fungible.check.stopping import Threads


@dataclass
class Counts:
    """What a check has cost so far."""

    requests: int = 0
    runs: int = 0


@dataclass
class Subject:
    """A flow, the means to run it, and what is known about it.

    `glue` joins steps that a finding has shown to need one instance; `mode` holds what was made common because a
    finding has shown that its lack breaks the flow. Both keep a fault that is known from hiding the next one.
    """

    flow: Flow
    pool: Pool
    conditions: Conditions
    rng: random.Random
    counts: Counts
    glue: Glue = field(default_factory=Glue)
    mode: Mode = field(default_factory=Mode)
    ground: Ground | None = None
    pair: tuple[Trace, ...] = ()
    """The two runs of the baseline, each on an instance that had served nothing."""
    marks: Marks | None = None
    reserve: Reserve | None = None
    """Instances that have served earlier runs; without it every run has fresh ones."""
    on_run: Callable[[], None] = lambda: None
    reset: Callable[[], None] | None = None
    """Cleans the backing services; where it is needed, runs can't be side by side."""
    can_kill: bool = True
    common_randomness: bool = False
    has_shared: bool = False
    sees_files: bool = False
    """True where every file that an instance writes is seen."""
    workers: int = 0
    """How many processes of one instance answer; 0 until it is known."""
    missed_workers: int = 0
    """Requests of which it could not be seen, nor said, which worker of its instance answered."""
    unsteady: list[str] = field(default_factory=list[str])
    """What one instance answered now so, now so, in sequences that are not the flow itself."""
    suspect: str = ""
    """The step whose departure is being looked into, and is no finding yet."""

    def __post_init__(self) -> None:
        self._turn = threading.Lock()
        self._grounds: dict[tuple[object, ...], Ground] = {}

    @property
    def moves(self) -> list[Move]:
        """The flow's steps, all on one instance."""
        return [Move(step) for step in self.flow.steps]

    @property
    def baseline(self) -> Ground:
        """What one instance answers to the whole flow."""
        assert self.ground is not None, "the baseline comes first"
        return self.ground

    def token(self) -> str:
        """What makes the names of one run unique: four letters and digits, a letter first."""
        first = self.rng.choice("bcdfghjklmnpqrstvwxz")
        return first + "".join(self.rng.choice("0123456789bcdfghjkmnpqrstvwxz") for _ in range(4))

    def run(
        self,
        moves: Sequence[Move],
        mode: Mode | None = None,
        *,
        used: bool = False,
        look: Callable[[World, Trace], None] = lambda world, trace: None,
    ) -> Trace:
        """Runs the moves on as many fresh instances as they name, or on `used` ones as far as there are any.

        `look` sees the instances before the run is over.
        """
        token = self.token()
        self.counts.runs += 1
        self.on_run()
        with self._turn if self.reset is not None else contextlib.nullcontext():
            if self.reset is not None:
                self.reset()
            with self.world(moves, mode, used=used) as world:
                runner = Runner(world, self.conditions, token, on_request=self.count)
                trace = runner.run(moves)
                look(world, trace)
                self._see_workers(world)
                return trace

    def _see_workers(self, world: World) -> None:
        """Counts the processes that answer, once; where there is one only, nothing is asked for that."""
        several = [(one, one.workers) for one in world.instances.values() if one.workers is not None]
        for instance, workers in several:
            self.missed_workers += workers.missed
            if not self.workers:
                self.workers = workers.count(instance.address)
        self.workers = self.workers or 1

    def world(self, moves: Sequence[Move], mode: Mode | None = None, *, used: bool = False) -> World:
        """The instances for a run of these moves."""
        mode = self.mode if mode is None else mode
        kills = sum(move.kill_after for move in moves)
        return World(self.pool, slots_of(moves), mode, kills=kills, reserve=self.reserve, used=used)

    def lends(self, moves: Sequence[Move], mode: Mode | None = None) -> bool:
        """True where used instances can hide nothing from a run of these moves: all that it leaves behind is marked as its own.

        So must be all that the flow leaves elsewhere, or a read would meet what no mark tells apart.
        """
        mode = self.mode if mode is None else mode
        if self.reserve is None or self.marks is None:
            return False
        if mode.common_disk or mode.common_randomness or mode.one_instance or any(move.earlier for move in moves):
            return False
        return self.marks.hold(self.moves) and self.marks.hold(moves)

    def control(self, moves: Sequence[Move], *, used: bool = False) -> Trace:
        """The same requests on one instance."""
        return self.run(alone(moves), Mode(), used=used)

    def ground_for(self, moves: Sequence[Move], *, used: bool = False) -> Ground:
        """What one instance answers to a sequence that is not the flow itself."""
        if [move.step for move in moves] == list(self.flow.steps) and not any(_aside(move) for move in moves):
            return self.baseline
        key = tuple((move.step.id, move.aside, move.earlier, move.again) for move in moves)
        fresh, known = self._grounds.get((*key, False)), self._grounds.get((*key, used))
        if fresh is not None or known is not None:
            return fresh or known  # pyright: ignore[reportReturnType]
        ground = Ground(moves, self.control(moves, used=used), self.conditions.host)
        ground.inherit(self.baseline.oracle_of)
        self._grounds[*key, used] = ground
        return ground

    def compare(
        self, moves: Sequence[Move], mode: Mode | None = None, used: bool = False
    ) -> tuple[Ground, Break | None]:
        """Runs moves alone and as placed, and gives the first departure."""
        if used:
            # One after the other: both on the instances that are there.
            ground = self.ground_for(moves, used=True)
            return ground, ground.first_break(self.run(moves, mode, used=True))
        with Threads(2) as threads:
            ground = threads.submit(self.ground_for, moves)
            trace = threads.submit(self.run, moves, mode)
            found = ground.result()
            return found, found.first_break(trace.result())

    def suspicious(self, moves: Sequence[Move], mode: Mode | None = None, *, ground: Ground | None = None) -> bool:
        """False where used instances, which can hide nothing, answer these moves as one does. What they show counts for nothing."""
        if not self.lends(moves, mode):
            return True
        return (ground or self.baseline).first_break(self.run(moves, mode, used=True)) is not None

    def broken(self, moves: Sequence[Move], mode: Mode | None = None, *, ground: Ground | None = None) -> Break | None:
        """Runs moves as placed; a departure that one more run on one instance also shows is noise, and is learned."""
        ground = ground or self.baseline
        trace = self.run(moves, mode)
        found = ground.first_break(trace)
        for _ in range(3):
            if found is None or found.certain:
                return found
            self.learn(ground)
            again = ground.first_break(trace)
            if again is not None and again.at == found.at and again.differences == found.differences:
                return again
            found = again
        return found

    def learn(self, ground: Ground) -> None:
        """One more run on one instance, for what varies there; what an earlier run has left is not to be taken for noise."""
        if self.lends(ground.moves, Mode()):
            trace = self.control(ground.moves, used=True)
            if ground.first_break(trace) is None:
                return
        ground.learn(self.control(ground.moves))

    def leaves(self, at: int) -> bool:
        """True where a step may leave something behind: a write, or an answer that sets a cookie or a value."""
        step = self.flow.steps[at]
        answer = self.baseline.control.outcomes[at].answer
        return not step.safe or bool(step.capture) or answer.header("set-cookie") is not None

    def count(self) -> None:
        """One more request was sent."""
        self.counts.requests += 1


def _aside(move: Move) -> bool:
    return move.aside or move.earlier or move.again or move.idempotency_key is not None
