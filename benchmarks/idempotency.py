"""How many effects one idempotency key has: concurrent, repeated, failed, killed. Fungible on each store beside its peers.

Two processes of one application share a place for keys. 50 requests with one key are sent in the same instant; retries
come with another body, path or user, after an error, after the client went away, after kill -9, and while the store is
away. Then hundreds of processes are killed in mid-request, and each request is tried again at another process.
"""

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import servers
from benchmarks.contestants import Contestant, LeftOut, missing, versions
from benchmarks.idempotency_cases import AT_ONCE, CASES, Stage, Verdict, concurrent
from benchmarks.idempotency_field import AT_MOST_ONCE, FIELD, LEASE_S, PROMISES
from benchmarks.idempotency_kills import SHOWN, Kills, Promise, kills
from benchmarks.idempotency_nursery import Nursery
from benchmarks.tables import spread, table, wrapped

RUNS, PEERS_RUNS, QUICK_RUNS = 100, 20, 3
KILLS, STORED_KILLS, QUICK_KILLS = 500, 100, 10
LEGEND = """\
replay      statuses of a request and its retry; H headers, B exact bytes, M marked as a replay; - where not
body, path  the same key with another body or to another path; user: sent by another user. runs: as an operation of its
            own; REPLAY: with the first one's answer; LEAK: the same across users
raises ...  effects (and statuses of a request and its retry); client gone: (while it runs, then)
kill -9     effects (statuses of four retries within 0.2 s), after a kill between the effect and the answer
commands    sent to Redis by a first request / by a replay; in brackets with those that scripts run
store down  status while its server is away, then when it is back, and effects"""


@dataclass
class Result:
    """All of one contestant."""

    effects: list[int] = field(default_factory=list)
    """Of 50 at once, in each run."""
    statuses: Counter[int] = field(default_factory=Counter)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    kills: Kills | None = None
    wrong: list[str] = field(default_factory=list)

    def cells(self) -> list[str]:
        """For the first table."""
        return [spread(self.effects, 0), *(verdict.cell for verdict in self.verdicts.values())]


@dataclass(frozen=True)
class Counts:
    """How often each thing is done."""

    runs: int
    peers_runs: int
    kills: int
    stored_kills: int


def measured(contestant: Contestant, counts: Counts) -> Result:
    """Everything about one contestant."""
    result = Result()
    with (
        tempfile.TemporaryDirectory(prefix="fungible-bench-") as effects,
        servers.running(contestant.store) as home,
        Nursery(contestant, home, Path(effects)) as nursery,
    ):
        stage = Stage(contestant, home, nursery, nursery.hatch(), nursery.hatch(), LEASE_S)
        asyncio.run(_measure(stage, result, counts))
    return result


async def _measure(stage: Stage, result: Result, counts: Counts) -> None:
    promise = PROMISES.get(stage.contestant)
    for run in range(counts.runs if stage.contestant.ours else counts.peers_runs):
        effects, statuses, wrong = await concurrent(stage)
        result.effects.append(effects)
        result.statuses += statuses
        result.wrong += [f"run {run + 1}: {wrong}"] if wrong else []
    if promise is not None:
        count = counts.kills if promise is Promise.EXACTLY_ONCE else counts.stored_kills
        result.kills = await kills(stage, promise, count)
        result.wrong += result.kills.wrong
    for name, case in CASES.items():
        verdict = result.verdicts[name] = await case(stage)
        result.wrong += [f"{name}: {verdict.wrong}"] if verdict.wrong else []


def main(arguments: Sequence[str]) -> int:
    """Measures and prints; the exit status is 1 if Fungible has broken a promise, and 0 otherwise."""
    options = _options(arguments)
    counts = Counts(
        runs=options.runs or (QUICK_RUNS if options.quick else RUNS),
        peers_runs=min(options.runs or (QUICK_RUNS if options.quick else PEERS_RUNS), PEERS_RUNS),
        kills=options.kills or (QUICK_KILLS if options.quick else KILLS),
        stored_kills=min(options.kills or (QUICK_KILLS if options.quick else STORED_KILLS), STORED_KILLS),
    )
    results: dict[Contestant, Result] = {}
    left_out = LeftOut()
    for contestant in (one for one in FIELD if options.only.lower() in one.name.lower()):
        if reason := missing(contestant) or servers.missing(contestant.store):
            left_out.reasons[contestant.name] = reason
            continue
        print(f"{contestant.name} ...", file=sys.stderr, flush=True)
        with left_out.instead_of_failing(contestant):
            results[contestant] = measured(contestant, counts)
    print(f"two processes, one key; effects must be 1\n{wrapped(versions([*results]))}")
    print(", ".join(servers.version(store) for store in dict.fromkeys(one.store for one in results) if store))
    for part in (*_tables(results, counts), str(left_out)):
        if part:
            print(f"\n{part}")
    return _judged(results, counts) or (1 if left_out.failed else 0)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks idempotency", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS} runs and {QUICK_KILLS} kills")
    parser.add_argument("--runs", type=int, help=f"of {AT_ONCE} at once (default: {RUNS}; peers {PEERS_RUNS} at most)")
    parser.add_argument("--kills", type=int, help=f"default: {KILLS} in transactions, else {STORED_KILLS} at most")
    parser.add_argument("--only", default="", help="contestants whose names hold this")
    return parser.parse_args(arguments)


def _tables(results: dict[Contestant, Result], counts: Counts) -> list[str]:
    """What was tried, in two halves since it is wide, and the kills."""
    # Ours at most once differs in what becomes of kills alone.
    shown = {one: result for one, result in results.items() if one not in AT_MOST_ONCE}
    parts: list[str] = []
    if shown:
        head = ["", f"{AT_ONCE} at once", *CASES]
        rows = [[one.name, *result.cells()] for one, result in shown.items()]
        middle = len(head) // 2 + 1
        parts.append(table(head[:middle], [row[:middle] for row in rows]))
        parts.append(table(["", *head[middle:]], [[row[0], *row[middle:]] for row in rows]))
        parts.append(LEGEND)
    killed = [[one.name, *result.kills.cells()] for one, result in results.items() if result.kills is not None]
    if killed:
        head = [
            "killed in mid-request",
            "kills",
            "cut off",
            "0 effects",
            "1",
            "2",
            "retries end in",
            "slowest",
            "promise",
        ]
        parts.append(table(head, killed))
    return parts


def _judged(results: dict[Contestant, Result], counts: Counts) -> int:
    wrong = {one: result.wrong for one, result in results.items() if one.ours and result.wrong}
    for one, faults in wrong.items():
        print(f"\n{one.name} was wrong {len(faults)} times: that must not be")
        for fault in faults[:SHOWN]:
            print(f"  {fault}")
    ours = [one for one in results if one.ours]
    if ours and not wrong:
        exact = sum(PROMISES[one] is Promise.EXACTLY_ONCE for one in ours)
        killed = f"; killed in transactional mode: {counts.kills} of {counts.kills}, each of {exact}" if exact else ""
        print(f"\nFungible has exactly 1 effect: {counts.runs} runs of {counts.runs}, each of {len(ours)}{killed}.")
    return 1 if wrong else 0
