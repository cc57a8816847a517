"""SIGTERM while requests are under way: an instance that is being replaced must still answer what it has accepted."""

import contextlib
import re
import threading
import time
from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fungible.check.http.client import Connection, Request
from fungible.check.instances.starter import Instance
from fungible.check.model import Answer, Step
from fungible.check.runs.runner import Move, Outcome, Runner
from fungible.check.runs.subject import Subject
from fungible.check.runs.world import Mode

_AT_ONCE = 6
_GRACE_S = 10.0
_CALM_ROUNDS = 5


@dataclass(frozen=True)
class Dropped:
    """Requests that an instance had accepted before SIGTERM and never answered."""

    step: Step
    outcome: Outcome
    lost: int
    sent: int
    times: int
    saw: str


def drain(subject: Subject) -> tuple[Dropped | None, str]:
    """Ends an instance gently while it works on the flow's slowest request; gives what was lost, and a note."""
    at = _slowest(subject)
    if at is None:
        return None, "no step of the flow can be asked again and again"
    first = _once(subject, at)
    if not first.answers:
        return None, "no request was under way long enough"
    failed = _lost(first.answers, set())
    if not failed:
        return None, f"{len(first.answers)} requests under way were all answered"
    # Whatever an instance answers to the same requests when nobody ends it is its habit, and no loss.
    again = [_once(subject, at, calm_rounds=_CALM_ROUNDS), _once(subject, at)]
    habits = {_failure(answer) for interrupted in again for answer in interrupted.calm}
    shown = [interrupted for interrupted in (first, *again) if _lost(interrupted.answers, habits)]
    if not shown:
        return None, f"so many requests at once fail without SIGTERM too: {_failure(failed[0])}"
    lost = _lost(shown[0].answers, habits)
    saw = lost[0].error or f"status {lost[0].status}"
    return Dropped(subject.flow.steps[at], shown[0].outcome, len(lost), len(shown[0].answers), len(shown), saw), ""


def slowest_seconds(subject: Subject) -> float:
    """How long the step takes with which `drain` would try."""
    at = _slowest(subject)
    return -1.0 if at is None else subject.baseline.control.outcomes[at].answer.seconds


def _slowest(subject: Subject) -> int | None:
    """The step that takes longest on one instance: the longer a request lasts, the likelier a replacement meets it."""
    outcomes = subject.baseline.control.outcomes
    fitting = [
        at
        for at, outcome in enumerate(outcomes)
        if outcome.answer.error is None
        and outcome.answer.status < 400
        and outcome.request is not None
        and not outcome.answer.truncated
    ]
    slow = [at for at in fitting if outcomes[at].answer.seconds >= 0.1]
    safe = [at for at in fitting if subject.flow.steps[at].safe]
    return max(slow or safe or fitting, key=lambda at: outcomes[at].answer.seconds, default=None)


@dataclass(frozen=True)
class _Interrupted:
    """What came back for requests under way when SIGTERM came, and for as many before it, when nothing happened."""

    outcome: Outcome
    answers: Sequence[Answer] = ()
    calm: Sequence[Answer] = ()


def _failure(answer: Answer) -> str | None:
    """How a request failed, without the numbers in it; None where it was answered."""
    if answer.error is None:
        return f"status {answer.status}" if answer.status >= 500 else None
    return re.sub(r"\d+", "#", answer.error)


def _lost(answers: Sequence[Answer], habits: Set[str | None]) -> list[Answer]:
    """The answers that failed as none does without the signal."""
    return [answer for answer in answers if _failure(answer) not in {None, *habits}]


def _once(subject: Subject, at: int, *, calm_rounds: int = 0) -> _Interrupted:
    """One instance, several requests under way, SIGTERM; before that, so many times the same without it."""
    subject.counts.runs += 1
    subject.on_run()
    moves = [Move(step) for step in subject.flow.steps[: at + 1]]
    with subject.world(moves, Mode(), used=subject.lends(moves, Mode())) as world:
        trace = Runner(world, subject.conditions, subject.token(), on_request=subject.count).run(moves)
        outcome = trace.outcomes[-1]
        if outcome.request is None or outcome.answer.error is not None:
            return _Interrupted(outcome)
        instance = world.instance(0)
        under_way = partial(_under_way, instance, outcome.request, outcome.answer.seconds)
        calm = [answer for _ in range(calm_rounds) for answer in under_way(signalled=False)]
        interrupted = _Interrupted(outcome, under_way(signalled=True), calm)
        world.spend(instance)
        return interrupted


def _under_way(instance: Instance, request: Request, seconds: float, *, signalled: bool) -> list[Answer]:
    """Answers to requests at once; where it is signalled, to those that were accepted and whole before SIGTERM came."""
    assert instance.process is not None
    connections = [Connection(instance.address, request, timeout_s=_GRACE_S + seconds) for _ in range(_AT_ONCE)]
    for connection in connections:
        connection.open()
    time.sleep(0.05)
    accepted = _accepted(instance.address.port)
    ours = [connection for connection in connections if accepted is None or connection.local_port in accepted]
    for connection in connections:
        if connection not in ours:
            connection.close()
    ours = ours if accepted is not None else ours[:1]
    for connection in ours:
        connection.release()
    time.sleep(min(0.25, max(0.003, seconds / 2)))
    if signalled:
        instance.process.terminate()
    return _received(ours)


def _received(connections: Sequence[Connection]) -> list[Answer]:
    answers: list[Answer] = [Answer(error="no answer")] * len(connections)

    def receive(at: int) -> None:
        answers[at] = connections[at].receive()

    threads = [threading.Thread(target=receive, args=(at,), daemon=True) for at in range(len(connections))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def _accepted(port: int) -> set[int] | None:
    """Client ports whose connections the server has accepted; None where that can't be seen.

    The kernel lists a connection that waits in the backlog with inode 0: nobody has taken it yet, so a balancer may still try
    another instance, and it does not count as lost.
    """
    found: set[int] = set()
    seen = False
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            lines = Path(name).read_text().splitlines()[1:]
            seen = True
            for line in lines:
                fields = line.split()
                if int(fields[1].rpartition(":")[2], 16) == port and fields[9] != "0" and fields[3] == "01":
                    found.add(int(fields[2].rpartition(":")[2], 16))
    return found if seen else None
