"""kill -9 in the middle of requests, hundreds of times, each at a process of its own; then a retry at another.

A third of the processes die at a moment with a name (before and after the effect, the commit, the answer), a third
before a suspension of the request's tasks drawn from all there are, a third are killed from outside at a random time.
Some retries come before the kill.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from benchmarks.contestants.idempotency_plans import MOMENTS
from benchmarks.idempotency_cases import ANSWERED, PAUSE_S, SLACK_S, Stage, until_answered
from benchmarks.idempotency_client import Answer, Request, ask, get, send

VISITORS: Final = 6
"""Who are killed at the same time."""
EARLY: Final = 0.3
"""How many retries come while the first request may still be under way."""
LATE_S: Final = 1.0
"""By which a retry may be answered later than a lease after the kill, since the machine is busy."""
SHOWN: Final = 3


class Promise(Enum):
    """How often an effect takes place whose process is killed."""

    EXACTLY_ONCE = "exactly once"
    AT_LEAST_ONCE = "at least once"
    AT_MOST_ONCE = "at most once"


@dataclass
class Kills:
    """What became of all of them."""

    promise: Promise
    count: int = 0
    cut_off: int = 0
    """How many first requests got no answer."""
    effects: Counter[int] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    """What the retries ended in."""
    slowest_s: float = 0.0
    """From a kill to the answer of its retry."""
    wrong: list[str] = field(default_factory=list)

    def cells(self) -> list[str]:
        """For the table."""
        effects = [str(self.effects[number]) for number in (0, 1, 2)]
        answers = ", ".join(f"{name} x{times}" for name, times in sorted(self.answers.items()))
        return [str(self.count), str(self.cut_off), *effects, answers, f"{self.slowest_s:.2f} s", self.promise.value]


async def kills(stage: Stage, promise: Promise, count: int, *, seed: int = 1) -> Kills:
    """So many of them."""
    result, chance, numbers = Kills(promise), random.Random(seed), iter(range(count))
    steps, usual_s = await _measured(stage)

    async def visit() -> None:
        for _ in numbers:
            await _kill(stage, result, chance, steps, usual_s)

    await asyncio.gather(*(visit() for _ in range(VISITORS)))
    return result


async def _measured(stage: Stage) -> tuple[int, float]:
    """How often a request suspends, and how long it takes, when nothing disturbs it."""
    for _ in range(3):
        request = Request.new()
        await stage.plan(stage.a, request, f"steps={10**9}")
        began = asyncio.get_running_loop().time()
        await ask(stage.a.port, request)
        usual_s = asyncio.get_running_loop().time() - began
    return max(1, int(await get(stage.a.port, f"/steps/{request.effect}"))), usual_s


async def _kill(stage: Stage, result: Kills, chance: random.Random, steps: int, usual_s: float) -> None:
    request, loop = Request.new(), asyncio.get_running_loop()
    victim = await asyncio.to_thread(stage.nursery.hatch)
    how = chance.choice(("moment", "step", "outside"))
    if how == "outside":
        words = f"after {(delay_s := chance.uniform(0, 2 * usual_s)) * 1000:.1f} ms"
    else:
        delay_s = 0.0
        words = f"die={chance.choice(MOMENTS)}" if how == "moment" else f"steps={chance.randint(1, steps)}"
        await stage.plan(victim, request, words)
    early: asyncio.Task[Answer] | None = None
    sent = await send(victim.port, request)
    if chance.random() < EARLY:
        early = asyncio.create_task(ask(stage.b.port, request))
    if how == "outside":
        await asyncio.sleep(delay_s)
        victim.kill()
    first = await sent.answer()
    # If it has outlived its plan, or its answer.
    victim.kill()
    began = loop.time()
    answers = await until_answered(stage, request, within_s=stage.lease_s + SLACK_S)
    took_s = loop.time() - began
    again = await ask(stage.b.port, request)
    effects = await stage.effects(request)
    seen = [first, *([await early] if early else []), *answers, again]
    result.count += 1
    result.cut_off += not first.status
    result.effects[effects] += 1
    final = answers[-1]
    result.answers["unknown" if final.outcome_unknown else str(final.status)] += 1
    result.slowest_s = max(result.slowest_s, took_s)
    if fault := _fault(result.promise, seen, final, again, effects) or _late(took_s, stage.lease_s):
        statuses = " ".join(str(answer.status) for answer in seen)
        result.wrong.append(f"killed {words}: {fault} (answers: {statuses})")


def _fault(promise: Promise, seen: list[Answer], final: Answer, again: Answer, effects: int) -> str:
    """What is against the promise; empty if nothing is."""
    orders = {answer.order for answer in seen if answer.status in ANSWERED}
    fault = ""
    if len(orders) > 1:
        fault = f"{len(orders)} different answers"
    elif strange := {answer.status for answer in seen} - {0, 201, 409, 503}:
        fault = f"answered by {sorted(strange)}"
    elif (final.status, final.body) != (again.status, again.body):
        fault = f"a retry is answered by {final.status}, and the next one otherwise ({again.status})"
    elif effects != 1 and orders and promise is not Promise.AT_LEAST_ONCE:
        fault = f"answered, and {effects} effects"
    elif promise is Promise.AT_MOST_ONCE:
        fault = f"{effects} effects" if effects > 1 else "" if orders or final.outcome_unknown else "no outcome"
    elif not orders:
        fault = f"no retry was answered but by {final.status}"
    elif promise is Promise.EXACTLY_ONCE or effects not in (1, 2):
        fault = "" if effects == 1 else f"{effects} effects"
    if not fault and seen[0].status in ANSWERED and effects != 1:
        fault = f"the first was answered, and there are {effects} effects"
    return fault


def _late(took_s: float, lease_s: float) -> str:
    return f"answered after {took_s:.1f} s" if took_s > lease_s + LATE_S + PAUSE_S else ""
