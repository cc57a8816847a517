"""What a storm of refreshes loses: families, tokens that are spent twice, and reuse that nobody notices.

Three processes share a store. Eight clients of each family present its refresh token in the same instant, spread over
the processes; one response in ten is dropped and asked for again, and one request in ten is broken off in its midst.
After some rounds of this, what was spent is presented once more, long after the grace. The peers among Python's
packages rotate in one process, or leave the rotation to the application; none is measured.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

from benchmarks import servers
from benchmarks.tables import table

# After `servers`, which puts the folder of the tests on the path.
from contracts.processes import Processes  # isort: skip
from tokens.use.storm import CLIENTS, WAVE, Storm, storm  # isort: skip

PROCESSES = 3
FAMILIES, QUICK_FAMILIES = 1000, 50
ROUNDS, QUICK_ROUNDS = 3, 2
STORES = ("redis", "postgresql", "mysql", "sqlite")


def measured(store: str, families: int, rounds: int) -> tuple[Storm, float]:
    """The storm over one store, and the seconds it took."""
    with servers.running(store) as home, Processes(PROCESSES) as processes:
        url = f"{home.url}?migrate=auto" if store in ("postgresql", "mysql") else home.url
        began = time.monotonic()
        result = asyncio.run(storm(processes, url, families=families, rounds=rounds, wave=WAVE))
        return result, time.monotonic() - began


def main(arguments: Sequence[str]) -> int:
    """Runs the storm on each store and prints; the exit status is 1 if anything was wrong, and 0 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks refresh_storm", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_FAMILIES} families and {QUICK_ROUNDS} rounds")
    parser.add_argument("--families", type=int, help=f"how many (default: {FAMILIES})")
    parser.add_argument("--rounds", type=int, help=f"refreshes of each family by all its clients (default: {ROUNDS})")
    parser.add_argument("--only", default="", help="stores whose names hold this")
    options = parser.parse_args(arguments)
    families = options.families or (QUICK_FAMILIES if options.quick else FAMILIES)
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    results: dict[str, tuple[Storm, float]] = {}
    left_out: dict[str, str] = {}
    for store in (each for each in STORES if options.only.lower() in each):
        if reason := servers.missing(store):
            left_out[store] = reason
            continue
        print(f"{store} ...", file=sys.stderr, flush=True)
        results[store] = measured(store, families, rounds)
    print(f"{PROCESSES} processes, {families} families, {CLIENTS} clients of each at once, {rounds} rounds, then reuse")
    print(", ".join(servers.version(store) for store in results))
    print(f"\n{_table(results)}" if results else "")
    for store, reason in left_out.items():
        print(f"left out: {store}: {reason}")
    wrong = [store for store, (result, _) in results.items() if result.wrong]
    for store in wrong:
        print(f"\n{store}: something was lost, spent twice or let in: that must not be")
    if results and not wrong:
        print("\nNo family was lost, no token was spent twice, and every reuse was found.")
    return 1 if wrong else 0


def _table(results: dict[str, tuple[Storm, float]]) -> str:
    head = ["", *results]
    rows = [
        ["refreshes", *(str(result.refreshes) for result, _ in results.values())],
        ["of these, given again within the grace", *(str(result.repeated) for result, _ in results.values())],
        ["tokens whose winner was broken off", *(str(result.winners_unseen) for result, _ in results.values())],
        ["families lost", *(str(result.lost) for result, _ in results.values())],
        ["tokens with several successors", *(str(result.several_successors) for result, _ in results.values())],
        ["tokens spent twice", *(str(result.spent_twice) for result, _ in results.values())],
        ["reuse let in", *(str(result.let_in_after) for result, _ in results.values())],
        ["reuse not found", *(str(result.reuse_missed) for result, _ in results.values())],
        ["tokens that outlived reuse", *(str(result.survived_reuse) for result, _ in results.values())],
        ["seconds, all in all", *(f"{seconds:.0f}" for _, seconds in results.values())],
    ]
    return table(head, rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
