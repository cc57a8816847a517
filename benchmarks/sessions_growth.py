"""What a session costs among 10, 1,000 and 1,000,000 others, and what it takes in each store.

The same application as in sessions_cost, on each store; beside it the CPU time of the store's own server.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks import load, servers
from benchmarks.contestants import BARE, OURS, LeftOut, missing, versions
from benchmarks.filling import fill, size_bytes
from benchmarks.load import cpu_us, on_one_core
from benchmarks.serving import Process, serving
from benchmarks.tables import median, table, wrapped
from benchmarks.visiting import sign_in

SIZES, QUICK_SIZES = (10, 1_000, 1_000_000), (10, 1_000, 20_000)
ROUNDS, QUICK_ROUNDS = 5, 2
SECONDS = 2.0
VISITORS = 256
CONNECTIONS = 4
"""Fewer than the fewest sessions: no two requests are to write to one session at the same time."""
PATHS = {"read": "/me", "write": "/write"}


@dataclass
class Costs:
    """Of one store with so many sessions: CPU microseconds of a request by kind, a figure a round."""

    bare: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """To the application without sessions."""
    own: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """To the application."""
    server: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """To the store's server."""
    bytes_each: float = 0.0

    def added(self, kind: str) -> str:
        """To the application over the bare one: by the least of all rounds, and by the median of each round's."""
        by_median = median([own - bare for own, bare in zip(self.own[kind], self.bare[kind], strict=True)])
        return f"{min(self.own[kind]) - min(self.bare[kind]):.0f}, {by_median:.0f}"

    def at_server(self, kind: str) -> str:
        """To the store's server: the least of all rounds, and the median."""
        return f"{min(self.server[kind]):.0f}, {median(self.server[kind]):.0f}"


def measured(store: str, sizes: Sequence[int], rounds: int, seconds: float) -> dict[int, Costs]:
    """One store, which grows."""
    results: dict[int, Costs] = {}
    with (
        servers.running(store) as home,
        serving(BARE[0], home) as [bare],
        serving(OURS[store], home) as [process],
    ):
        empty, cookies = size_bytes(home), list[str]()
        for size in sizes:
            there = max(results, default=0)
            signed_in = min(size, VISITORS) - len(cookies)
            cookies += sign_in(process.port, signed_in)
            if size > there + signed_in:
                _tell(f"{store}: filling to {size:,} sessions")
                fill(home, there + signed_in + 1, size)
            costs = results[size] = Costs(bytes_each=(size_bytes(home) - empty) / size)
            # Warm, and with all connections open: databases serve each by a process.
            load.load(process.port, PATHS["write"], cookies, seconds, CONNECTIONS)
            clock = server_clock(home)
            for number in range(rounds):
                _tell(f"{store}, {size:,} sessions, round {number + 1} of {rounds}")
                _round(bare, process, cookies, seconds, clock, costs)
    return results


def _round(
    bare: Process, process: Process, cookies: list[str], seconds: float, clock: Callable[[], float], costs: Costs
) -> None:
    for kind, path in PATHS.items():
        under = cpu_us(bare, path, cookies, seconds, connections=CONNECTIONS)[0]
        own, server = cpu_us(process, path, cookies, seconds, connections=CONNECTIONS, clocks=[clock])
        costs.bare[kind].append(under)
        costs.own[kind].append(own)
        costs.server[kind].append(server)


def server_clock(home: servers.Home) -> Callable[[], float]:
    """Tells the CPU seconds of the processes that the home's server has now: 0 for a file."""
    processes: list[int] = home.server._processes() if home.server else []
    seen = dict.fromkeys(processes, 0.0)

    def clock() -> float:
        for pid in processes:
            try:
                seen[pid] = time.clock_gettime((~pid << 3) | 2)
            except OSError:
                continue  # A database ends some of its processes: what they had used stays counted.
        return sum(seen.values())

    return clock


def main(arguments: Sequence[str]) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks sessions_growth", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help=f"at most {QUICK_SIZES[-1]:,} sessions, {QUICK_ROUNDS} rounds"
    )
    parser.add_argument("--sizes", type=int, nargs="+", help=f"numbers of sessions (default: {SIZES})")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of each measurement (default: {SECONDS:g})")
    parser.add_argument("--store", choices=servers.STORES, action="append", help="this store alone; may be repeated")
    options = parser.parse_args(arguments)
    sizes = sorted(options.sizes or (QUICK_SIZES if options.quick else SIZES))
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    results: dict[str, dict[int, Costs]] = {}
    left_out = LeftOut()
    on_one_core()
    for store in options.store or servers.STORES:
        if reason := missing(OURS[store]) or servers.missing(store):
            left_out.reasons[store] = reason
            continue
        with left_out.instead_of_failing(OURS[store]):
            results[store] = measured(store, sizes, rounds, options.seconds)
    print(
        f"CPU us of a request, {rounds} rounds of {options.seconds:g} s with {load.NAME}, {CONNECTIONS} connections, all on one core"
    )
    print(wrapped(versions([OURS[store] for store in results])))
    print(wrapped(", ".join(map(servers.version, results))), end="\n\n")
    for kind in PATHS:
        print(_costs(results, kind, sizes), end="\n\n")
    print(_sizes(results, sizes))
    if str(left_out):
        print(f"\n{left_out}")
    return 1 if left_out.failed else 0


def _costs(results: dict[str, dict[int, Costs]], kind: str, sizes: Sequence[int]) -> str:
    rows: list[list[str]] = []
    for store, by_size in results.items():
        rows.append([f"{store}: application, over bare", *(by_size[size].added(kind) for size in sizes)])
        if store != "sqlite":
            rows.append([f"{store}: its server", *(by_size[size].at_server(kind) for size in sizes)])
    return table([f"{kind}: by least, by median, among", *(f"{size:,}" for size in sizes)], rows)


def _sizes(results: dict[str, dict[int, Costs]], sizes: Sequence[int]) -> str:
    rows = [[store, *(f"{by_size[size].bytes_each:,.0f}" for size in sizes)] for store, by_size in results.items()]
    return table(["bytes a session among", *(f"{size:,}" for size in sizes)], rows)


def _tell(words: str) -> None:
    print(f"{words} ...", file=sys.stderr, flush=True)
