"""Runs the steps of a flow as a schedule says: which instance serves which request, and what happens in between."""

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from fungible.check.http.client import Address, Connection, Request
from fungible.check.http.jar import Jar
from fungible.check.http.template import UnboundError, captured, request_for, unmet
from fungible.check.model import Answer, Step
from fungible.check.runs.renames import Renames
from fungible.check.runs.world import World

_SHORTEST_NAMED = 6
"""A captured value shorter than this may stand in a text by chance, so it is not taken out of answers."""


@dataclass(frozen=True)
class Move:
    """One request of a run: a step, and the slot of the instance that serves it.

    `aside` requests (warming a cache) use the visitor's cookies, but leave no trace in the flow. `kill_after` ends the instance
    with -9 and wipes its disk as soon as it has answered. `with_next` starts at the same moment as the move that follows;
    `in_turn` with it: both are prepared at that moment, cookies and all, and the second is sent when the first is answered.
    """

    step: Step
    slot: int = 0
    aside: bool = False
    earlier: bool = False
    """A request of a visitor who came before: it makes the instance one that has served, and is not judged."""
    kill_after: bool = False
    wait_before_s: float = 0
    with_next: bool = False
    in_turn: bool = False
    again: bool = False
    """The very request of the move before, once more: what a client sends whose answer was lost."""
    idempotency_key: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What one move came to. `unmet` says why the step's expectation failed; `unbound` names a value nobody gave."""

    move: Move
    answer: Answer
    address: Address
    instance: int
    request: Request | None = None
    unmet: str | None = None
    unbound: str | None = None
    asked_s: float = 0.0
    """How long it was asked again and again until it met the step's expectation."""
    first: Answer | None = None
    """The first answer, where it was asked more than once."""

    @property
    def target(self) -> str:
        """Path and query as they were sent, captured values and all; of what was never sent, as the step has them."""
        return self.move.step.path if self.request is None else self.request.target


@dataclass
class Trace:
    """A whole run."""

    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    values: dict[str, str] = field(default_factory=dict[str, str])
    given: dict[str, str] = field(default_factory=dict[str, str])
    renames: "Renames | None" = None

    def plain(self, text: str) -> str:
        """`text` without what only this run has: captured values become `{{name}}`, names made unique their originals."""
        if self.renames is not None:
            text = self.renames.undo(text)
        named = {
            value: name
            for name, value in self.values.items()
            if name not in self.given and len(value) >= _SHORTEST_NAMED
        }
        if not named:
            return text
        pattern = "|".join(re.escape(value) for value in sorted(named, key=len, reverse=True))
        return re.sub(pattern, lambda match: "{{" + named[match[0]] + "}}", text)


@dataclass(frozen=True)
class Conditions:
    """What holds for every run of a flow."""

    host: str
    scheme: str = "http"
    cookies: Mapping[str, str] = field(default_factory=dict[str, str])
    names: tuple[str, ...] = ()
    timeout_s: float = 30.0
    poll_s: Mapping[str, float] = field(default_factory=dict[str, float])
    """How long steps that poll need at most, by step, where it is known."""
    extra: Mapping[str, str] = field(default_factory=dict[str, str])


class Runner:
    """Carries out the moves of one run, in order, for all visitors."""

    def __init__(
        self, world: World, conditions: Conditions, token: str, *, on_request: Callable[[], None] = lambda: None
    ) -> None:
        self._world = world
        self._conditions = conditions
        self._on_request = on_request
        self._jars: dict[str, Jar] = {}
        self._poll_s: Mapping[str, float] = {}
        given = {"host": conditions.host, "run": token, **conditions.extra}
        self.trace = Trace(values=dict(given), given=given, renames=Renames(conditions.names, token))

    def jar(self, visitor: str) -> Jar:
        """A visitor's cookies."""
        if visitor not in self._jars:
            self._jars[visitor] = Jar()
            for name, value in self._conditions.cookies.items():
                self._jars[visitor].set(name, value)
        return self._jars[visitor]

    def run(self, moves: Sequence[Move]) -> Trace:
        """Runs the moves."""
        # After a kill, work may have to wait for a lease to run out: only then has it all the time the step gives it.
        self._poll_s = {} if any(move.kill_after for move in moves) else self._conditions.poll_s
        at = 0
        while at < len(moves):
            group = [moves[at]]
            while group[-1].with_next and at + len(group) < len(moves):
                group.append(moves[at + len(group)])
            outcomes = [self._one(group[0])] if len(group) == 1 else self._race(group)
            self.trace.outcomes.extend(outcomes)
            at += len(group)
        return self.trace

    def _one(self, move: Move) -> Outcome:
        step = self._prepared(move)
        time.sleep(move.wait_before_s + step.delay_before)
        began = time.monotonic()
        end = began + (0 if move.aside else min(step.poll_seconds, self._poll_s.get(step.id, step.poll_seconds)))
        first: Answer | None = None
        while True:
            instance = self._world.instance(move.slot)
            request, unbound = (self.trace.outcomes[-1].request, None) if move.again else self._request(step)
            if request is None:
                return Outcome(
                    move,
                    Answer(error=f"{{{{{unbound}}}}} was never captured"),
                    instance.address,
                    instance.number,
                    unbound=unbound,
                )
            worker = self._world.worker(move.slot)
            answer = instance.send(request, timeout_s=self._conditions.timeout_s, worker=worker)
            self._on_request()
            why = self._take(move, step, request, answer)
            if why is None or time.monotonic() >= end:
                break
            first = first or answer
            time.sleep(0.1)
        if move.kill_after:
            self._world.crash(move.slot)
        return Outcome(
            move, answer, instance.address, instance.number, request, why, asked_s=time.monotonic() - began, first=first
        )

    def _prepared(self, move: Move) -> Step:
        assert self.trace.renames is not None
        step = self.trace.renames.apply(move.step)
        if move.idempotency_key is None or any(name.lower() == "idempotency-key" for name in step.headers):
            return step
        return msgspec.structs.replace(step, headers={**step.headers, "Idempotency-Key": move.idempotency_key})

    def _request(self, step: Step) -> tuple[Request | None, str | None]:
        jar = self.jar(step.visitor)
        try:
            return request_for(
                step, self.trace.values, host=self._conditions.host, scheme=self._conditions.scheme, cookies=jar
            ), None
        except UnboundError as error:
            return None, error.name

    def _take(self, move: Move, step: Step, request: Request, answer: Answer) -> str | None:
        """Keeps the cookies and values of an answer; gives why it is not what the step expects."""
        jar = self.jar(step.visitor)
        if move.aside:
            return None
        if not any(name.lower() == "cookie" for name in step.headers):
            for name, text in answer.headers:
                if name.lower() == "set-cookie":
                    jar.take(text, request.target)
        missing: str | None = None
        for capture in step.capture:
            value = captured(capture, answer, jar)
            if value is None:
                missing = missing or f"there is nothing to capture for {capture.name!r}"
            else:
                self.trace.values[capture.name] = value
        return unmet(step.expect, answer, self.trace.values) or missing

    def _race(self, moves: Sequence[Move]) -> list[Outcome]:
        steps = [self._prepared(move) for move in moves]
        instances = [self._world.instance(move.slot) for move in moves]
        requests = [self._request(step) for step in steps]
        answers: list[Answer] = [Answer(error="was never sent")] * len(moves)
        arrived: list[int] = []
        """Whose answer came first sets its cookies first, as in a browser."""
        barrier = threading.Barrier(1 if moves[0].in_turn else len(moves))

        def one(at: int) -> None:
            request = requests[at][0]
            if request is None:
                barrier.abort()
                return
            connection = Connection(instances[at].address, request, timeout_s=self._conditions.timeout_s)
            with instances[at].answering(connection, self._world.worker(moves[at].slot)):
                try:
                    barrier.wait(self._conditions.timeout_s)
                except threading.BrokenBarrierError:
                    connection.close()
                    return
                connection.release()
                answers[at] = connection.receive()
                arrived.append(at)
            self._on_request()

        if moves[0].in_turn:
            for at in range(len(moves)):
                one(at)
        threads = (
            []
            if moves[0].in_turn
            else [threading.Thread(target=one, args=(at,), daemon=True) for at in range(len(moves))]
        )
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        whys: dict[int, str | None] = {}
        for at in arrived + [at for at in range(len(moves)) if at not in arrived]:
            request = requests[at][0]
            whys[at] = None if request is None else self._take(moves[at], steps[at], request, answers[at])
        return [
            Outcome(
                move,
                answers[at],
                instances[at].address,
                instances[at].number,
                requests[at][0],
                whys[at],
                requests[at][1],
            )
            for at, move in enumerate(moves)
        ]


def alone(moves: Sequence[Move]) -> list[Move]:
    """The same requests on one instance that nothing happens to: what the moves are compared with."""
    return [replace(move, slot=0, kill_after=False) for move in moves]
