"""What a limit allows and costs: 100 a minute, 400 requests over three processes, Fungible on each store beside its peers.

All requests of one client leave in the same instant, spread over the processes. In the middle of some runs Redis forgets
its scripts, and it is killed and started again. Beside it, the commands and the server's CPU time for each request.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks import load, servers
from benchmarks.contestants import Contestant, LeftOut, missing, versions
from benchmarks.redis_commands import commands, words
from benchmarks.serving import Process, serving
from benchmarks.tables import spread, table, wrapped
from benchmarks.visiting import Connection

PROCESSES: Final = 3
REQUESTS: Final = 400
LIMIT: Final = 100
INTERVAL_S: Final = 60 / LIMIT
"""Seconds in which a rate gives one back: a longer run may be allowed one more for each."""
RUNS, QUICK_RUNS = 20, 2
ROUNDS, QUICK_ROUNDS = 5, 1
SECONDS: Final = 2.0
CLIENTS: Final = 256
UNLIMITED: Final = "1000000"
COUNTED: Final = 100
BACK_WITHIN_S: Final = 30.0
_REDIS_PY = ("redis", "hiredis")
_DRIVERS = {"redis": _REDIS_PY, "postgresql": ("asyncpg",), "mysql": ("asyncmy",), "sqlite": (), "memcached": ()}
BARE = Contestant("bare Starlette", "limits_fungible:bare", needs=("starlette",))
OURS = {
    store: Contestant(
        f"fungible ({store})",
        "limits_fungible:application",
        store,
        ("fungible", "starlette", *needs),
        BARE.name,
        prepare="limits_fungible:prepare",
        env=(("POLICY", "closed"),),
    )
    for store, needs in _DRIVERS.items()
}
PEERS = (
    Contestant("slowapi (Redis)", "limits_slowapi:application", "redis", ("slowapi", "starlette", "redis"), BARE.name),
    *(
        Contestant(
            f"limits, {strategy} (Redis)",
            "limits_library:application",
            "redis",
            ("limits", "starlette", *_REDIS_PY),
            BARE.name,
            env=(("STRATEGY", strategy),),
        )
        for strategy in ("fixed", "moving", "sliding")
    ),
    Contestant(
        "fastapi-limiter (Redis)",
        "limits_fastapi_limiter:application",
        "redis",
        ("fastapi-limiter", "pyrate-limiter", "fastapi", "redis"),
        BARE.name,
        note="its cost is over bare Starlette, and has FastAPI's in it",
    ),
)
Statuses = Counter[int]


@dataclass
class Run:
    """What 400 requests were answered."""

    statuses: Statuses
    elapsed_s: float

    @property
    def allowed(self) -> int:
        return self.statuses[200]

    @property
    def right(self) -> bool:
        """Whether exactly the limit was allowed, and what has come back during the run at most."""
        others = set(self.statuses) - {200, 429}
        return not others and LIMIT <= self.allowed <= LIMIT + int(self.elapsed_s / INTERVAL_S)


@dataclass
class Result:
    """All of one contestant."""

    runs: list[Run] = field(default_factory=list)
    flushed: Run | None = None
    away: Statuses = field(default_factory=Counter)
    restarted: Run | None = None
    us: list[float] = field(default_factory=list)
    commands: dict[str, float] = field(default_factory=dict)

    @property
    def right(self) -> bool:
        after = [run for run in (self.flushed, self.restarted) if run is not None]
        return all(run.right for run in (*self.runs, *after)) and not self.away[500]


async def ask_all(ports: Sequence[int], client: str, requests: int) -> Run:
    """Sends them in the same instant, over connections that are already open."""
    opened = [await Connection.open(ports[number % len(ports)]) for number in range(requests)]
    began = time.monotonic()
    for connection in opened:
        connection.send("GET", "/me", f"client={client}")
    answers = await asyncio.gather(*(connection.answer() for connection in opened))
    elapsed_s = time.monotonic() - began
    for connection in opened:
        connection.close()
    return Run(Counter(answer.status for answer in answers), elapsed_s)


def run(ports: Sequence[int], client: str, requests: int = REQUESTS) -> Run:
    """Requests of one client at once."""
    return asyncio.run(ask_all(ports, client, requests))


def run_flushed(ports: Sequence[int], client: str, home: servers.Home) -> Run:
    """The same in two halves; between them Redis forgets its scripts."""
    began = time.monotonic()
    first = run(ports, client, REQUESTS // 2)
    home.server.ask(b"SCRIPT FLUSH\r\n")
    second = run(ports, client, REQUESTS // 2)
    return Run(first.statuses + second.statuses, time.monotonic() - began)


def exactness(contestant: Contestant, runs: int) -> Result:
    """Everything that is counted of one contestant."""
    result = Result()
    with servers.running(contestant.store) as home, serving(contestant, home, processes=PROCESSES) as processes:
        ports = [process.port for process in processes]
        for number in range(runs):
            _empty(home)
            result.runs.append(run(ports, f"run-{number}"))
        if contestant.store == "redis":
            _empty(home)
            result.flushed = run_flushed(ports, "flushed", home)
            home.server.kill()
            result.away = run(ports, "away", 10 * PROCESSES).statuses
            home.server.start()
            _until_back(ports)
            result.restarted = run(ports, "restarted")
    return result


def _empty(home: servers.Home) -> None:
    # Each run has a client of its own; that is no help to whoever has one count for all clients.
    if home.store == "redis":
        home.server.reset()


def _until_back(ports: Sequence[int]) -> None:
    """Until each process answers as before, or never will."""
    until = time.monotonic() + BACK_WITHIN_S
    for port in ports:
        while time.monotonic() < until and not run([port], f"back-{time.monotonic()}", 1).allowed:
            time.sleep(0.05)


def costs(some: Sequence[Contestant], results: dict[Contestant, Result], rounds: int, left_out: LeftOut) -> Result:
    """The CPU time of a request, in turn, and its commands; gives those of the bare application."""
    bare = Result()
    with servers.running("redis") as home:
        for number in range(rounds):
            for contestant in (BARE, *some):
                print(f"cost, round {number + 1} of {rounds}: {contestant.name} ...", file=sys.stderr, flush=True)
                with left_out.instead_of_failing(contestant):
                    home.server.reset()
                    result = bare if contestant is BARE else results[contestant]
                    with serving(contestant, home, env={"LIMIT": UNLIMITED}) as [process]:
                        # Before any load: what of that is still under way would be counted, too.
                        if contestant is not BARE and not result.commands:
                            result.commands = commands(home.url, process.port, "/me", _clients(), COUNTED)
                        result.us.append(_cost_us(process))
    return bare


def _cost_us(process: Process) -> float:
    load.load(process.port, "/me", _clients(), 0.5)
    return load.cpu_us(process, "/me", _clients(), SECONDS)[0]


def _clients() -> list[str]:
    return [f"client={number}" for number in range(CLIENTS)]


def main(arguments: Sequence[str]) -> int:
    """Measures and prints; the exit status is 1 if Fungible allowed more or less than the limit, or sent more."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks limits", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS} runs and {QUICK_ROUNDS} round of costs")
    parser.add_argument("--runs", type=int, help=f"of 400 requests (default: {RUNS})")
    parser.add_argument("--only", default="", help="contestants whose names hold this")
    options = parser.parse_args(arguments)
    runs = options.runs or (QUICK_RUNS if options.quick else RUNS)
    results: dict[Contestant, Result] = {}
    left_out = LeftOut()
    for contestant in (one for one in (*OURS.values(), *PEERS) if options.only.lower() in one.name.lower()):
        if reason := missing(contestant) or servers.missing(contestant.store):
            left_out.reasons[contestant.name] = reason
            continue
        print(f"{contestant.name} ...", file=sys.stderr, flush=True)
        with left_out.instead_of_failing(contestant):
            results[contestant] = exactness(contestant, runs)
    on_redis = [one for one in results if one.store == "redis"]
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    bare = costs(on_redis, results, rounds, left_out) if on_redis else Result()
    print(
        f"{LIMIT} a minute, {REQUESTS} requests of one client over {PROCESSES} processes\n{wrapped(versions([*results]))}"
    )
    print(", ".join(servers.version(store) for store in dict.fromkeys(one.store for one in results)))
    for part in (_exact(results), _hurt(results), _costs(on_redis, results, bare), str(left_out)):
        if part:
            print(f"\n{part}")
    return _judge(results) or (1 if left_out.failed else 0)


def _exact(results: dict[Contestant, Result]) -> str:
    rows = [
        [one.name, spread([run.allowed for run in result.runs], 0), spread([run.elapsed_s for run in result.runs], 2)]
        for one, result in results.items()
    ]
    return table([f"allowed of {REQUESTS}", f"(limit {LIMIT})", "seconds"], rows) if rows else ""


def _hurt(results: dict[Contestant, Result]) -> str:
    rows = [
        [one.name, _words(result.flushed.statuses), _words(result.away), _words(result.restarted.statuses)]
        for one, result in results.items()
        if result.flushed is not None and result.restarted is not None
    ]
    return table(["answers", "SCRIPT FLUSH halfway", "Redis away", "Redis restarted"], rows) if rows else ""


def _costs(some: Sequence[Contestant], results: dict[Contestant, Result], bare: Result) -> str:
    rows = []
    for one in some:
        result = results[one]
        sent = sum(times for name, times in result.commands.items() if not name.startswith("+"))
        every = sum(result.commands.values())
        us = f"{min(result.us):.0f} ({min(result.us) - min(bare.us):+.0f})" if result.us and bare.us else "-"
        rows.append([one.name, us, f"{sent:.1f}", f"{every:.1f}", words(result.commands)])
    head = ["a request", "CPU us (over bare)", "commands", "with those in scripts", "which"]
    return table(head, rows) if rows else ""


def _words(statuses: Statuses) -> str:
    return ", ".join(f"{status} x{times}" for status, times in sorted(statuses.items()))


def _judge(results: dict[Contestant, Result]) -> int:
    """Prints what is wrong with ours; 1 if anything is."""
    wrong: defaultdict[str, list[str]] = defaultdict(list)
    for one, result in results.items():
        if not one.ours:
            continue
        if not result.right:
            wrong[one.name].append("it has allowed more or less than the limit, or failed")
        sent = sum(times for name, times in result.commands.items() if not name.startswith("+"))
        if result.commands and sent > 1.05:
            wrong[one.name].append(f"{sent:.1f} commands were sent for a request, one is allowed")
    for name, reasons in wrong.items():
        print(f"\n{name}: {'; '.join(reasons)}: that must not be")
    ours = [one for one in results if one.ours]
    if ours and not wrong:
        print(
            f"\nFungible allowed exactly the limit on each of the {len(ours)} stores measured; there are {len(OURS)}."
        )
    return 1 if wrong else 0
