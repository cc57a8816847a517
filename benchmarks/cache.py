"""How often concurrent misses compute, what a hit costs, and what clients see of an outage: Fungible beside its peers.

Two processes of one application share a store. 100 requests for one value that is not there leave in the same instant;
how often it was computed is counted. Then hits are counted in commands and CPU time; then the store is killed under load.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks import load, redis_commands, servers
from benchmarks.contestants import Contestant, LeftOut, missing, versions
from benchmarks.serving import Process, serving
from benchmarks.tables import spread, table, wrapped
from benchmarks.visiting import Connections

PROCESSES = 2
MISSES = 100
RUNS, QUICK_RUNS = 20, 2
SECONDS, QUICK_SECONDS = 3.0, 1.0
ROUNDS, QUICK_ROUNDS = 5, 2
CLIENTS = 8
BEFORE, DURING = 50, 200
"""Requests of each client before the store is killed, and after it."""
BACK_S = 30
_REDIS_PY = ("redis",)
_STARLETTE = ("starlette",)


def _ours(store: str, needs: tuple[str, ...] = (), near: bool = False) -> Contestant:
    return Contestant(
        f"fungible {'near ' if near else ''}({store})",
        "cache_fungible:application",
        store,
        ("fungible", *_STARLETTE, *needs),
        prepare="cache_fungible:prepare",
        env=(("NEAR", "1" if near else ""),),
    )


BARE = Contestant("no cache", "cache_bare:application", needs=_STARLETTE)
CONTESTANTS = (
    _ours("redis", ("hiredis",)),
    _ours("redis", ("hiredis",), near=True),
    _ours("postgresql", ("asyncpg",)),
    _ours("mysql", ("asyncmy",)),
    _ours("sqlite"),
    _ours("memcached"),
    Contestant("cashews (Redis)", "cache_cashews:application", "redis", ("cashews", *_STARLETTE, *_REDIS_PY)),
    Contestant("cashews lock (Redis)", "cache_cashews:locked", "redis", ("cashews", *_STARLETTE, *_REDIS_PY)),
    Contestant(
        "cashews lock, client side (Redis)",
        "cache_cashews:client_side",
        "redis",
        ("cashews", *_STARLETTE, *_REDIS_PY),
    ),
    Contestant("aiocache (Redis)", "cache_aiocache:application", "redis", ("aiocache", *_STARLETTE, *_REDIS_PY)),
    Contestant("aiocache stampede (Redis)", "cache_aiocache:stampede", "redis", ("aiocache", *_STARLETTE, *_REDIS_PY)),
    Contestant(
        "fastapi-cache2 (Redis)",
        "cache_fastapi_cache2:application",
        "redis",
        ("fastapi-cache2", *_STARLETTE, "jinja2", *_REDIS_PY),
    ),
)


@dataclass
class Result:
    """All of one contestant."""

    computed: list[int] = field(default_factory=list)
    """Computations of each run."""
    refused: int = 0
    """Misses that were not answered by 200."""
    commands: str = "-"
    cpu_us: list[float] = field(default_factory=list)
    outage: Counter[str] = field(default_factory=Counter)
    """What clients were answered before, during and after the outage."""
    is_back: str = "-"

    @property
    def errors(self) -> int:
        return sum(times for answer, times in self.outage.items() if answer != "200")

    @property
    def good(self) -> bool:
        return set(self.computed) == {1} and not self.refused and not self.errors and self.is_back in ("yes", "-")


async def misses(ports: Sequence[int], key: str) -> tuple[int, int]:
    """So many requests for one value at once: computations, and answers other than 200."""
    connections = Connections()
    before = await computations(ports, connections)
    opened = [await connections.take(ports[number % len(ports)]) for number in range(MISSES)]
    for connection in opened:
        connection.send("GET", f"/value/{key}")
    answers = await asyncio.gather(*(connection.answer() for connection in opened))
    after = await computations(ports, connections)
    connections.close()
    for connection in opened:
        connection.close()
    return after - before, sum(answer.status != 200 for answer in answers)


async def computations(ports: Sequence[int], connections: Connections) -> int:
    """How often all processes have computed so far."""
    return sum([int((await connections.ask(port, "GET", "/computed")).good().body) for port in ports])


async def outage(ports: Sequence[int], home: servers.Home, result: Result) -> None:
    """Clients go on asking while the store is killed: for a value that was there, and for others that were not."""
    ready, killed = asyncio.Barrier(CLIENTS + 1), asyncio.Event()

    async def client(number: int) -> None:
        connections = Connections()
        for turn in range(BEFORE + DURING):
            if turn == BEFORE:
                await ready.wait()
                await killed.wait()
            path = "/hit" if turn % 10 else f"/value/outage-{number}-{turn}"
            try:
                async with asyncio.timeout(20):
                    answer = await connections.ask(ports[turn % len(ports)], "GET", path)
                result.outage[str(answer.status)] += 1
            except TimeoutError:
                result.outage["no answer"] += 1
                connections = Connections()
            except (OSError, EOFError):
                result.outage["cut off"] += 1
        connections.close()

    async def kill() -> None:
        await ready.wait()
        await asyncio.to_thread(home.server.kill)
        killed.set()

    await asyncio.gather(kill(), *(client(number) for number in range(CLIENTS)))
    await asyncio.to_thread(home.server.revive)
    result.is_back = "yes" if await is_back(ports) else "no"


async def is_back(ports: Sequence[int]) -> bool:
    """Whether values are cached again: what one process has computed is not computed by the other."""
    connections = Connections()
    try:
        for attempt in range(BACK_S):
            path = f"/value/back-{attempt}"
            before = await computations(ports, connections)
            statuses = [(await connections.ask(port, "GET", path)).status for port in ports]
            if statuses == [200] * len(ports) and await computations(ports, connections) - before == 1:
                return True
            await asyncio.sleep(1 - 2 * 0.3)
        return False
    finally:
        connections.close()


def measured(contestant: Contestant, options: argparse.Namespace) -> Result:
    """Everything about one contestant."""
    result = Result()
    with servers.running(contestant.store) as home, serving(contestant, home, processes=PROCESSES) as processes:
        ports = [process.port for process in processes]
        for run in range(options.runs or (QUICK_RUNS if options.quick else RUNS)):
            computed, refused = asyncio.run(misses(ports, f"run-{run}"))
            result.computed.append(computed)
            result.refused += refused
        result.cpu_us = hits(processes[0], options)
        if contestant.store == "redis":
            counted = redis_commands.commands(home.url, ports[0], "/hit", [""], 100)
            result.commands = redis_commands.words(counted)
        if home.server is not None:
            asyncio.run(outage(ports, home, result))
    return result


def hits(process: Process, options: argparse.Namespace) -> list[float]:
    """CPU microseconds of a request for a value that is there, round by round."""
    seconds = QUICK_SECONDS if options.quick else SECONDS
    load.load(process.port, "/hit", [""], 1.0)
    rounds = range(QUICK_ROUNDS if options.quick else ROUNDS)
    return [load.cpu_us(process, "/hit", [""], seconds)[0] for _ in rounds]


def main(arguments: Sequence[str]) -> int:
    """Measures and prints; the exit status is 1 if Fungible has computed more than once, or a client has seen an error."""
    options = _options(arguments)
    results: dict[Contestant, Result] = {}
    left_out = LeftOut()
    for contestant in (one for one in CONTESTANTS if options.only.lower() in one.name.lower()):
        if reason := missing(contestant) or servers.missing(contestant.store):
            left_out.reasons[contestant.name] = reason
            continue
        print(f"{contestant.name} ...", file=sys.stderr, flush=True)
        with left_out.instead_of_failing(contestant):
            results[contestant] = measured(contestant, options)
    with serving(BARE, servers.Home("", "")) as [process]:
        bare = hits(process, options)
    print(f"{PROCESSES} processes, {MISSES} misses in the same instant\n{wrapped(versions([*results]))}")
    print(", ".join(servers.version(store) for store in dict.fromkeys(one.store for one in results) if store))
    print(f"\n{_table(results, bare)}")
    if str(left_out):
        print(f"\n{left_out}")
    wrong = [one.name for one, result in results.items() if one.ours and not result.good]
    for name in wrong:
        print(f"\n{name}: more than one computation, an error, or no cache after the outage: that must not be")
    return 1 if wrong or left_out.failed else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks cache", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS} runs, {QUICK_ROUNDS} rounds of hits")
    parser.add_argument("--runs", type=int, help=f"of misses (default: {RUNS})")
    parser.add_argument("--only", default="", help="contestants whose names hold this")
    return parser.parse_args(arguments)


def _table(results: dict[Contestant, Result], bare: Sequence[float]) -> str:
    head = [
        "",
        "computations",
        "refused",
        "a hit's commands",
        "CPU us (over no cache)",
        "outage: errors",
        "answers",
        "back",
    ]
    rows = [
        [
            one.name,
            spread(result.computed, 0),
            str(result.refused),
            result.commands,
            f"{min(result.cpu_us):.0f} ({min(result.cpu_us) - min(bare):+.0f})",
            str(result.errors) if result.outage else "-",
            ", ".join(f"{answer} x{times}" for answer, times in sorted(result.outage.items())) or "-",
            result.is_back,
        ]
        for one, result in results.items()
    ]
    return table(head, [*rows, ["no cache", "-", "-", "-", f"{min(bare):.0f}", "-", "-", "-"]])
