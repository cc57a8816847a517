"""What concurrent requests of one visitor lose, and whether a sign-out stays: Fungible on each store beside its peers.

Three processes of one application share a store. One visitor sends 50 additions in the same instant, spread over the
processes; what is in the session afterwards is counted. Then a slow request races a sign-out on another process.
"""

import argparse
import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks import servers
from benchmarks.contestants import DJANGO, OURS, PEERS, Contestant, LeftOut, missing, versions
from benchmarks.contestants.routes import KEY, KINDS
from benchmarks.serving import serving
from benchmarks.tables import spread, table, wrapped
from benchmarks.visiting import Connections, Visitor, check_fit, signed_in

PROCESSES = 3
ADDITIONS = 50
WORK_MS = (0, 20)
RUNS, QUICK_RUNS = 20, 3
RACES, QUICK_RACES = 1000, 50
PEERS_RACES = 20
VISITORS = 10
"""Who race at the same time, each with a session of their own."""
CLOSE_MS = 5
CONTESTANTS = (*OURS.values(), *PEERS, *DJANGO)


@dataclass
class Kept:
    """Of one kind of addition, how many each run kept; `refused` were answered otherwise than by 200."""

    runs: list[int] = field(default_factory=list)
    refused: int = 0

    @property
    def all(self) -> bool:
        return set(self.runs) == {ADDITIONS} and not self.refused

    def __str__(self) -> str:
        return spread(self.runs, 0) + (f", {self.refused} refused" if self.refused else "")


@dataclass
class Races:
    """How many sign-outs did not last: the old cookie works again, or the browser was given one that does."""

    count: int = 0
    old: int = 0
    browser: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    """What the slow request was answered."""

    def __str__(self) -> str:
        return f"{self.old}, {self.browser} of {self.count}"


@dataclass
class Result:
    """All of one contestant."""

    kept: dict[tuple[str, int], Kept]
    held: Races = field(default_factory=Races)
    close: Races = field(default_factory=Races)

    @property
    def lost_nothing(self) -> bool:
        revived = self.held.old + self.held.browser + self.close.old + self.close.browser
        return all(kept.all for kept in self.kept.values()) and not revived


async def additions(ports: Sequence[int], kind: str, work_ms: int) -> tuple[int, int]:
    """One run: how many of the additions are kept, and how many were refused."""
    connections = Connections()
    visitor = Visitor(connections)
    (await visitor.ask(ports[0], "POST", "/login")).good()
    answers = await visitor.ask_at_once(
        [(ports[item % len(ports)], "POST", f"/add/{kind}/{item}/{work_ms}") for item in range(ADDITIONS)]
    )
    kept = await visitor.ask(ports[0], "GET", "/count")
    connections.close()
    return json.loads(kept.good().body)[kind], sum(answer.status != 200 for answer in answers)


async def race_held(ports: Sequence[int], connections: Connections, name: str) -> tuple[Visitor, str, int]:
    """A request that reads the session before the sign-out and writes to it after: as late as can be."""
    visitor = Visitor(connections)
    (await visitor.ask(ports[0], "POST", "/login")).good()
    old = visitor.cookie
    slow = asyncio.create_task(connections.ask(ports[1], "POST", f"/slow/{name}", old))
    (await connections.ask(ports[1], "GET", f"/loaded/{name}")).good()
    (await visitor.ask(ports[2], "POST", "/logout")).good()
    (await connections.ask(ports[1], "POST", f"/release/{name}")).good()
    status = visitor.keep(await slow).status
    return visitor, old, status


async def race_close(ports: Sequence[int], connections: Connections, chance: random.Random) -> tuple[Visitor, str, int]:
    """A request and a sign-out in the same few milliseconds, in whatever order."""
    visitor = Visitor(connections)
    (await visitor.ask(ports[0], "POST", "/login")).good()
    old = visitor.cookie
    path = f"/add/{KEY}/late/{chance.randint(0, CLOSE_MS)}"

    async def sign_out() -> None:
        await asyncio.sleep(chance.uniform(0, CLOSE_MS / 1000))
        # With the cookies of before: the browser sent it before the other answer arrived.
        visitor.keep(await connections.ask(ports[2], "POST", "/logout", old)).good()

    async def write() -> int:
        return visitor.keep(await connections.ask(ports[1], "POST", path, old)).status

    status, _ = await asyncio.gather(write(), sign_out())
    return visitor, old, status


async def races(ports: Sequence[int], count: int, *, held: bool) -> Races:
    """That many races, a few visitors at a time; afterwards the old cookie is tried, and what the browser has now."""
    result, connections, chance = Races(count), Connections(), random.Random(1)
    waiting = iter(range(count))

    async def visit() -> None:
        for number in waiting:
            if held:
                visitor, old, status = await race_held(ports, connections, f"race-{number}")
            else:
                visitor, old, status = await race_close(ports, connections, chance)
            result.answers[status] += 1
            then, now = [await signed_in(ports[0], connections, cookie) for cookie in (old, visitor.cookie)]
            result.old += then
            result.browser += now

    await asyncio.gather(*(visit() for _ in range(VISITORS)))
    connections.close()
    return result


def measured(contestant: Contestant, runs: int, race_count: int) -> Result:
    """Everything about one contestant."""
    kinds = KINDS if contestant.ours else (KEY,)
    result = Result({(kind, work_ms): Kept() for kind in kinds for work_ms in WORK_MS})
    with (
        servers.running(contestant.store) as home,
        serving(contestant, home, processes=PROCESSES, env={"EXTRA": "1"}) as processes,
    ):
        check_fit(processes[0].port, processes[0].last_words)
        ports = [process.port for process in processes]
        for _ in range(runs):
            for (kind, work_ms), kept in result.kept.items():
                counted, refused = asyncio.run(additions(ports, kind, work_ms))
                kept.runs.append(counted)
                kept.refused += refused
        result.held = asyncio.run(races(ports, race_count, held=True))
        result.close = asyncio.run(races(ports, race_count, held=False))
    return result


def main(arguments: Sequence[str]) -> int:
    """Measures and prints; the exit status is 1 if Fungible has lost anything, and 0 otherwise."""
    options = _options(arguments)
    runs = options.runs or (QUICK_RUNS if options.quick else RUNS)
    our_races = options.races or (QUICK_RACES if options.quick else RACES)
    results: dict[Contestant, Result] = {}
    left_out = LeftOut()
    for contestant in (one for one in CONTESTANTS if options.only.lower() in one.name.lower()):
        if reason := missing(contestant) or servers.missing(contestant.store):
            left_out.reasons[contestant.name] = reason
            continue
        print(f"{contestant.name} ...", file=sys.stderr, flush=True)
        with left_out.instead_of_failing(contestant):
            results[contestant] = measured(
                contestant, runs, our_races if contestant.ours else min(our_races, PEERS_RACES)
            )
    print(
        f"{PROCESSES} processes, one visitor, {ADDITIONS} additions in the same instant\n{wrapped(versions([*results]))}"
    )
    print(", ".join(servers.version(store) for store in dict.fromkeys(one.store for one in results) if store))
    parts = (_survivors(results, runs), _within(results), _sign_outs(results)) if results else ()
    for part in (*parts, str(left_out)):
        if part:
            print(f"\n{part}")
    lost = [one.name for one, result in results.items() if one.ours and not result.lost_nothing]
    ours = [one for one in results if one.ours]
    if not lost and ours:
        print(f"\nFungible lost nothing on any of the {len(ours)} stores measured; there are {len(OURS)}.")
    for name in lost:
        print(f"\n{name} has lost something: that must not be")
    return 1 if lost or left_out.failed else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks sessions_lost_updates", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS} runs and {QUICK_RACES} races")
    parser.add_argument("--runs", type=int, help=f"of each kind of addition (default: {RUNS})")
    parser.add_argument("--races", type=int, help=f"of each kind (default: {RACES}; peers {PEERS_RACES} at most)")
    parser.add_argument("--only", default="", help="contestants whose names hold this")
    return parser.parse_args(arguments)


def _survivors(results: dict[Contestant, Result], runs: int) -> str:
    rows = [[one.name, *(str(result.kept[KEY, work_ms]) for work_ms in WORK_MS)] for one, result in results.items()]
    return table([f"survivors of {ADDITIONS} keys, {runs} runs", *(_work(work_ms) for work_ms in WORK_MS)], rows)


def _within(results: dict[Contestant, Result]) -> str:
    """The same for what is not a key of its own."""
    ours = {one: result for one, result in results.items() if one.ours}
    if not ours:
        return ""
    rows = [
        [f"{kind}, {_work(work_ms)}", *(str(result.kept[kind, work_ms]) for result in ours.values())]
        for kind in KINDS
        if kind != KEY
        for work_ms in WORK_MS
    ]
    return table([f"of {ADDITIONS} to one", *(one.name for one in ours)], rows)


def _sign_outs(results: dict[Contestant, Result]) -> str:
    head = ["sign-outs undone: old cookie, browser", "slow request", "answered", f"within {CLOSE_MS} ms", "answered"]
    rows = [
        [one.name, str(result.held), _answers(result.held), str(result.close), _answers(result.close)]
        for one, result in results.items()
    ]
    return table(head, rows)


def _answers(races_run: Races) -> str:
    return ", ".join(f"{status} x{times}" for status, times in sorted(races_run.answers.items()))


def _work(milliseconds: int) -> str:
    return f"{milliseconds} ms of work" if milliseconds else "at once"
