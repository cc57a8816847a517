"""SIGTERM while requests are under way: an instance that is being replaced must still answer what it has accepted."""

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fungible.check.http.client import Connection, Request
from fungible.check.instances.starter import Instance
from fungible.check.model import Answer, Step
from fungible.check.runs.runner import Move, Outcome, Runner
from fungible.check.runs.subject import Subject
from fungible.check.runs.world import Mode

_AT_ONCE = 6
_GRACE_S = 10.0


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
    results = [_once(subject, at)]
    if results[0][1] and not results[0][0]:
        return None, f"{results[0][1]} requests under way were all answered"
    if not results[0][1]:
        return None, "no request was under way long enough"
    results += [_once(subject, at) for _ in range(2)]
    times = sum(bool(lost) for lost, *_ in results)
    lost, sent, answer, outcome = results[0]
    saw = answer.error or f"status {answer.status}"
    return Dropped(subject.flow.steps[at], outcome, lost, sent, times, saw), ""


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


def _once(subject: Subject, at: int) -> tuple[int, int, Answer, Outcome]:
    """One instance, several requests under way, SIGTERM: how many of the accepted ones were lost."""
    subject.counts.runs += 1
    subject.on_run()
    moves = [Move(step) for step in subject.flow.steps[: at + 1]]
    with subject.world(moves, Mode(), used=subject.lends(moves, Mode())) as world:
        trace = Runner(world, subject.conditions, subject.token(), on_request=subject.count).run(moves)
        outcome = trace.outcomes[-1]
        if outcome.request is None or outcome.answer.error is not None:
            return 0, 0, outcome.answer, outcome
        instance = world.instance(0)
        answers = _interrupted(instance, outcome.request, outcome.answer.seconds)
        world.spend(instance)
        lost = [answer for answer in answers if answer.error is not None or answer.status >= 500]
        return len(lost), len(answers), (lost or answers or [outcome.answer])[0], outcome


def _interrupted(instance: Instance, request: Request, seconds: float) -> list[Answer]:
    """Answers to requests that were accepted and whole before SIGTERM came."""
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
