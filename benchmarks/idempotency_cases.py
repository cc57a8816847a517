"""What is tried with one key, on two processes: each case gives a cell for the table, and says whether that is right."""

import asyncio
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit
from uuid import uuid4

from benchmarks.contestants import Contestant
from benchmarks.idempotency_client import Answer, Request, ask, at_once, get, send
from benchmarks.idempotency_nursery import Instance, Nursery
from benchmarks.servers import Home

AT_ONCE: Final = 50
WORK_MS: Final = 20
RETRIES: Final = 4
PAUSE_S: Final = 0.05
SLACK_S: Final = 5.0
"""By which a retry may be answered later than a lease after a crash, on a busy machine."""
SETTLE_S: Final = 0.2
ANSWERED: Final = range(200, 300)
_MONITORED = re.compile(rb'\+[\d.]+ \[\d+ (lua|\S+)\] "(\w+)"')


class Verdict(NamedTuple):
    """Of one case."""

    cell: str
    wrong: str = ""
    """Why it must not be so; empty if it is right."""


@dataclass
class Stage:
    """Two processes of a contestant, and where they keep keys."""

    contestant: Contestant
    home: Home
    nursery: Nursery
    a: Instance
    b: Instance
    lease_s: float

    async def effects(self, request: Request) -> int:
        """How many there are, as the second process counts them."""
        return int(await get(self.b.port, f"/effects/{request.effect}"))

    async def plan(self, at: Instance, request: Request, query: str) -> None:
        """Says to a process what shall become of that request."""
        await get(at.port, f"/plan/{quote(request.effect)}?{query}")

    async def twice(self, path: str) -> tuple[Request, Answer, Answer, int]:
        """A request, and its retry at the other process; and the effects."""
        request = Request.new(path)
        first, second = await ask(self.a.port, request), await ask(self.b.port, request)
        return request, first, second, await self.effects(request)


Case = Callable[[Stage], Awaitable[Verdict]]


async def until_answered(
    stage: Stage, request: Request, *, within_s: float, not_yet: tuple[int, ...] = (0, 409, 503)
) -> list[Answer]:
    """Retries at the second process, for as long as the answer asks for it or is lost."""
    loop = asyncio.get_running_loop()
    until, answers = loop.time() + within_s, [await ask(stage.b.port, request)]
    while answers[-1].status in not_yet and not answers[-1].outcome_unknown and loop.time() < until:
        await asyncio.sleep(PAUSE_S)
        answers.append(await ask(stage.b.port, request))
    return answers


async def concurrent(stage: Stage) -> tuple[int, Counter[int], str]:
    """50 requests with one key in the same instant: effects, statuses, and what is wrong with them."""
    request = Request.new()
    for instance in (stage.a, stage.b):
        await stage.plan(instance, request, f"work_ms={WORK_MS}")
    ports = (stage.a.port, stage.b.port)
    sent = await at_once([(ports[number % 2], request) for number in range(AT_ONCE)])
    answers = await asyncio.gather(*(each.answer() for each in sent))
    answers.append(await ask(stage.b.port, request))
    orders = {answer.order for answer in answers if answer.status == 201}
    effects = await stage.effects(request)
    statuses = Counter(answer.status for answer in answers)
    wrong = ""
    if effects != 1:
        wrong = f"{effects} effects of one key"
    elif len(orders) != 1:
        wrong = f"{len(orders)} different answers to one key"
    elif unknown := set(statuses) - {201, 409}:
        wrong = f"answered by {sorted(unknown)}"
    elif answers[-1].status != 201:
        wrong = f"after completion still {answers[-1].status}"
    elif any(not answer.header("retry-after") for answer in answers if answer.status == 409):
        wrong = "409 without Retry-After"
    return effects, statuses, wrong


async def replay(stage: Stage) -> Verdict:
    """A retry after completion: status, headers, bytes, and a mark."""
    _, first, second, effects = await stage.twice("/orders")
    named = [name for name, _ in first.headers if name in ("location", "content-type", "x-total", "set-cookie")]
    headers = all(first.header(name) == second.header(name) for name in named)
    kept = {"H": headers, "B": first.body == second.body, "M": second.marked and not first.marked}
    cell = f"{first.status}/{second.status} {''.join(letter if yes else '-' for letter, yes in kept.items())}"
    cell += "" if effects == 1 else f", {effects} effects"
    right = first.status == second.status == 201 and all(kept.values()) and effects == 1
    return Verdict(cell, "" if right else f"a replay is {cell}")


async def other_body(stage: Stage) -> Verdict:
    """The same key with another body."""
    request, first = Request.new(), ""
    first = (await ask(stage.a.port, request)).order
    second = await ask(stage.b.port, request.but(body=b'{"item":"coffee","count":2}'))
    cell = _other(second, first)
    return Verdict(cell, "" if second.status == 422 else f"another body under the key: {cell}")


async def other_path(stage: Stage) -> Verdict:
    """The same key to another path: an operation of its own, or refused."""
    request = Request.new()
    first = (await ask(stage.a.port, request)).order
    second = await ask(stage.b.port, request.but(path="/refunds"))
    effects = await stage.effects(request)
    cell = _other(second, first)
    right = second.status == 422 or (second.status == 201 and second.order != first and effects == 2)
    return Verdict(cell, "" if right else f"another path under the key: {cell}")


async def other_user(stage: Stage) -> Verdict:
    """Another user with the same key and body: must never be handed the first one's answer."""
    request = Request.new()
    first = (await ask(stage.a.port, request)).order
    second = await ask(stage.b.port, request.but(user="bob"))
    effects = await stage.effects(request)
    leaks = second.order == first != ""
    cell = "LEAK" if leaks else _other(second, first)
    right = second.status == 201 and not leaks and effects == 2
    return Verdict(cell, "" if right else f"another user with the same key: {cell}, {effects} effects")


def _other(second: Answer, first: str) -> str:
    if second.status == 201:
        return "REPLAY" if second.order == first else "runs"
    return str(second.status)


async def fails(stage: Stage) -> Verdict:
    """The handler raises after its effect; sent again."""
    _, first, second, effects = await stage.twice("/fails")
    cell = f"{effects} ({first.status}/{second.status})"
    right = effects == 1 and first.status == 500 and second.status in (500, 201)
    return Verdict(cell, "" if right else f"after a handler's error: {cell}")


async def stream(stage: Stage) -> Verdict:
    """A streamed answer, sent twice."""
    return _same(*(await stage.twice("/stream"))[1:], "a stream")


async def large(stage: Stage) -> Verdict:
    """An answer of 2 MB, sent twice: kept, or refused loudly, both times; then its effect may be undone."""
    return _same(*(await stage.twice("/large"))[1:], "2 MB", refusal=500)


def _same(first: Answer, second: Answer, effects: int, what: str, *, refusal: int = 201) -> Verdict:
    cell = f"{effects} ({first.status}/{second.status})"
    kept = first.status == 201 and first.body == second.body and effects == 1
    refused = first.status == refusal != 201 and effects <= 1
    right = second.status == first.status and (kept or refused)
    return Verdict(cell, "" if right else f"{what}: {cell}")


async def client_gone(stage: Stage) -> Verdict:
    """The client goes away in mid-request, and retries at the other process."""
    request = Request.new()
    await stage.plan(stage.a, request, "hold=1")
    sent = await send(stage.a.port, request)
    await get(stage.a.port, f"/held/{request.effect}")
    sent.give_up()
    early = await ask(stage.b.port, request)
    await get(stage.a.port, f"/release/{request.effect}")
    answers = await until_answered(stage, request, within_s=2)
    effects = await stage.effects(request)
    cell = f"{effects} ({early.status}, then {answers[-1].status})"
    right = effects == 1 and early.status == 409 and answers[-1].status == 201
    return Verdict(cell, "" if right else f"a client that went away: {cell}")


async def killed(stage: Stage) -> Verdict:
    """kill -9 after the effect and before the answer; four retries at the other process.

    What is right then depends on the mode, and is judged over many kills (`idempotency_kills`).
    """
    request = Request.new()
    await stage.plan(stage.a, request, "hold=1")
    sent = await send(stage.a.port, request)
    await get(stage.a.port, f"/held/{request.effect}")
    stage.a.kill()
    await sent.answer()
    statuses: list[str] = []
    for _ in range(RETRIES):
        statuses.append(str((await ask(stage.b.port, request)).status))
        await asyncio.sleep(PAUSE_S)
    effects = await stage.effects(request)
    stage.a = await asyncio.to_thread(stage.nursery.hatch)
    seen = statuses[0] if len(set(statuses)) == 1 else " ".join(statuses)
    return Verdict(f"{effects} ({seen})")


async def store_down(stage: Stage) -> Verdict:
    """Its server is killed; then it is there again."""
    server = stage.home.server
    if server is None:
        return Verdict("-")
    request = Request.new()
    server.kill()
    try:
        down = await ask(stage.a.port, request)
    finally:
        server.start()
    within_s = stage.lease_s + SLACK_S
    answers = await until_answered(stage, request, within_s=within_s, not_yet=(0, 409, 500, 503))
    effects = await stage.effects(request)
    cell = f"{down.status}, back {answers[-1].status}, {effects}"
    right = down.status == 503 and down.header("retry-after") and answers[-1].status == 201 and effects == 1
    return Verdict(cell, "" if right else f"its server killed: {cell}")


async def commands(stage: Stage) -> Verdict:
    """Commands that Redis is sent by a first request, and by a replay; in brackets with those that scripts run."""
    if stage.home.store != "redis":
        return Verdict("-")
    await stage.twice("/orders")
    request, counts = Request.new(), list[str]()
    for _ in range(2):
        async with _monitored(stage.home.url) as counted:
            await ask(stage.b.port, request)
            # Some store the answer after they have sent it.
            await asyncio.sleep(SETTLE_S)
        sent = counted["sent"]
        counts.append(f"{sent}" if not counted["by script"] else f"{sent} ({sent + counted['by script']})")
    return Verdict("/".join(counts))


@asynccontextmanager
async def _monitored(url: str) -> AsyncIterator[Counter[str]]:
    """Counts what a Redis runs during the block."""
    where = urlsplit(url)
    assert where.hostname is not None
    counted: Counter[str] = Counter()
    with socket.create_connection((where.hostname, where.port or 6379), timeout=30) as monitor:
        monitor.sendall(b"MONITOR\r\n")
        lines = monitor.makefile("rb")
        lines.readline()
        yield counted
        # Ours comes last: then all of theirs has been seen.
        mark = uuid4().hex.encode()
        with socket.create_connection((where.hostname, where.port or 6379), timeout=30) as marker:
            marker.sendall(b"ECHO %b\r\n" % mark)
            for line in lines:
                if mark in line:
                    break
                if found := _MONITORED.match(line):
                    counted["by script" if found[1] == b"lua" else "sent"] += 1


CASES: Final[dict[str, Case]] = {
    "replay": replay,
    "body": other_body,
    "path": other_path,
    "user": other_user,
    "raises": fails,
    "stream": stream,
    "2 MB": large,
    "client gone": client_gone,
    "kill -9": killed,
    "commands": commands,
    "store down": store_down,
}
"""By column. The last one is the hardest on those under test: it comes last."""
