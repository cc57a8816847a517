"""What a session costs: the server's CPU time for each request, over the same application without sessions.

Each contestant is one uvicorn worker; it shares a core with its load and its store. Bare applications and contestants take turns, in several rounds. Beside it, the
commands that Redis is sent for each request; and on SQL, an application that makes the bare driver calls.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks import load, servers
from benchmarks.contestants import (
    BARE,
    FLOORS,
    OURS,
    PEERS,
    SNAPSHOT,
    STARLETTE,
    Contestant,
    LeftOut,
    missing,
    versions,
)
from benchmarks.load import cpu_us
from benchmarks.redis_commands import commands, words
from benchmarks.serving import Process, serving
from benchmarks.tables import median, table, wrapped
from benchmarks.visiting import check_fit, sign_in

READ, WRITE, VISITOR = KINDS = ("read", "write", "visitor")
PATHS = {READ: "/me", WRITE: "/write", VISITOR: "/me"}
VISITORS = 256
ROUNDS, QUICK_ROUNDS = 7, 2
SECONDS = 2.0
WARM_UP_S = 1.0
COUNTED = 100
MOST_US = {(OURS["redis"], READ): 25, (OURS["redis"], WRITE): 45, (OURS["redis"], VISITOR): 5}
MOST_US |= {(SNAPSHOT["redis"], READ): 15}
NO_COMMANDS = ((OURS["redis"], VISITOR), (SNAPSHOT["redis"], READ))
GROUPS = {
    "redis": (*BARE, OURS["redis"], SNAPSHOT["redis"], FLOORS[0], *PEERS),
    "postgresql": (BARE[0], OURS["postgresql"], FLOORS[1]),
    "mysql": (BARE[0], OURS["mysql"], FLOORS[2]),
    "sqlite": (BARE[0], OURS["sqlite"], FLOORS[3]),
}


@dataclass
class Costs:
    """CPU microseconds of one contestant by kind, a figure a round, and the commands of a request."""

    us: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    commands: dict[str, dict[str, float]] = field(default_factory=dict)

    def added(self, bare: "Costs", kind: str) -> float:
        """By the least of all rounds: whatever disturbs a round only adds to it."""
        return min(self.us[kind]) - min(bare.us[kind])

    def added_median(self, bare: "Costs", kind: str) -> float:
        """By the median of the rounds' own differences."""
        return median([one - other for one, other in zip(self.us[kind], bare.us[kind], strict=True)])


Results = dict[Contestant, Costs]


def measured(store: str, some: Sequence[Contestant], rounds: int, seconds: float, left_out: LeftOut) -> Results:
    """All contestants on one store, in turn."""
    results: Results = {}
    with ExitStack() as stack:
        home = stack.enter_context(servers.running(store))
        processes: dict[Contestant, Process] = {}
        for contestant in some:
            with left_out.instead_of_failing(contestant):
                process = stack.enter_context(serving(contestant, home))[0]
                if contestant.over:
                    check_fit(process.port, process.last_words)
                _round(contestant, process, WARM_UP_S)
                processes[contestant] = process
                results[contestant] = Costs()
        for number in range(rounds):
            for contestant, process in list(processes.items()):
                print(f"{store}, round {number + 1} of {rounds}: {contestant.name} ...", file=sys.stderr)
                with left_out.instead_of_failing(contestant):
                    for kind, us in _round(contestant, process, seconds).items():
                        results[contestant].us[kind].append(us)
                    continue
                del processes[contestant], results[contestant]
        if store == "redis":
            for contestant, process in processes.items():
                if contestant.over:
                    cookies = _cookies(contestant, process)
                    results[contestant].commands = {
                        kind: commands(home.url, process.port, PATHS[kind], cookies[kind], COUNTED) for kind in KINDS
                    }
    return results


def _round(contestant: Contestant, process: Process, seconds: float) -> dict[str, float]:
    """Each kind once. Visitors sign in anew for each round: a snapshot in a cookie is good for a minute only."""
    cookies = _cookies(contestant, process)
    return {kind: cpu_us(process, PATHS[kind], cookies[kind], seconds)[0] for kind in KINDS}


def _cookies(contestant: Contestant, process: Process) -> dict[str, list[str]]:
    """Whom the requests of each kind come from."""
    # Bare applications get a cookie as well: its bytes are not what a session costs.
    known = (
        sign_in(process.port, VISITORS) if contestant.over else [f"session={number:064x}" for number in range(VISITORS)]
    )
    return {READ: known, WRITE: known, VISITOR: [""]}


def main(arguments: Sequence[str]) -> int:
    """Measures and prints; the exit status is 1 if Fungible is over one of its limits, and 0 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks sessions_cost", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds instead of {ROUNDS}")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of each measurement (default: {SECONDS:g})")
    parser.add_argument("--store", choices=GROUPS, action="append", help="this store alone; may be repeated")
    parser.add_argument("--only", default="", help="contestants whose names hold this, and the bare applications")
    options = parser.parse_args(arguments)
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    left_out, over = LeftOut(), 0
    load.on_one_core()
    how = f"{rounds} rounds of {options.seconds:g} s with {load.NAME}, {load.CONNECTIONS} connections, all on one core"
    print(f"CPU us of a request by {how}")
    for store in options.store or GROUPS:
        chosen = _chosen(store, options.only, left_out)
        if not any(one.over for one in chosen):
            continue
        results = measured(store, chosen, rounds, options.seconds, left_out)
        print(f"\n{wrapped(f'{servers.version(store)}; {versions([*results])}')}\n\n{_costs(results)}")
        if store == "redis":
            print(f"\n{_commands(results)}\n")
            over += _judge(results)
    if str(left_out):
        print(f"\n{left_out}")
    return 1 if over or left_out.failed else 0


def _chosen(store: str, only: str, left_out: LeftOut) -> list[Contestant]:
    """Who can take part, with only those bare applications that somebody is held against."""
    if reason := servers.missing(store):
        left_out.reasons[store] = reason
        return []
    chosen = [one for one in GROUPS[store] if not one.over or only.lower() in one.name.lower()]
    for one in chosen:
        if reason := missing(one):
            left_out.reasons[one.name] = reason
    able = [one for one in chosen if not missing(one)]
    names = {one.name for one in able}
    able = [one for one in able if not one.over or one.over in names]
    wanted = {one.over for one in able}
    return [one for one in able if one.over or one.name in wanted]


def _costs(results: Results) -> str:
    bare = {one.name: costs for one, costs in results.items() if not one.over}

    def cell(one: Contestant, costs: Costs, kind: str) -> str:
        least = f"{min(costs.us[kind]):.0f}"
        if not one.over:
            return least
        under = bare[one.over]
        return f"{least} ({costs.added(under, kind):+.0f}, {costs.added_median(under, kind):+.0f})"

    rows = [
        [one.name, *(cell(one, costs, kind) for kind in KINDS), one.over.removeprefix("bare ") or "-"]
        for one, costs in results.items()
    ]
    return table(["least (added: by least, by median)", *KINDS, "over bare"], rows)


def _commands(results: Results) -> str:
    rows = [
        [one.name, *(words(costs.commands[kind]) for kind in KINDS)]
        for one, costs in results.items()
        if one.store and costs.commands
    ]
    return table(["commands a request (within a script)", *KINDS], rows)


def _judge(results: Results) -> int:
    """Prints each limit beside what was measured; gives how many are exceeded."""
    bare = next((costs for one, costs in results.items() if one.name == STARLETTE), Costs())
    over = 0
    for (one, kind), most in MOST_US.items():
        if one in results:
            added = results[one].added(bare, kind)
            over += added > most
            print(f"{one.name}, {kind}: {added:+.1f} us, at most +{most}: {'ok' if added <= most else 'over'}")
    for one, kind in NO_COMMANDS:
        if one in results:
            sent = results[one].commands[kind]
            over += bool(sent)
            print(f"{one.name}, {kind}: {words(sent)} sent to Redis, none allowed: {'over' if sent else 'ok'}")
    return over
