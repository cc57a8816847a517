"""What issuing and verifying a token costs over the bare primitive: Fungible beside PyJWT, joserfc and pyseto.

CPU time of one thread in this process, in microseconds. Rounds take the contestants in turn, so that what else the
machine does meets all of them; the limits are held against the least of the rounds, which that disturbs the least.
"""

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.contestants import Contestant, LeftOut, missing, versions
from benchmarks.tables import median, table, wrapped
from fungible.tokens.algorithms import ALGORITHMS, draw

VERIFY_LIMIT_US: Final = 12.0
ISSUE_LIMIT_US: Final = 10.0
ROUNDS, QUICK_ROUNDS = 500, 60
BATCH_US: Final = 800.0
"""How long a batch takes at least: short, so that some of them are disturbed by nothing."""
MEASURED: Final = ("EdDSA", "ES256", "RS256", "HS256", "v4.public", "v4.local")
PRIMITIVE = Contestant("bare primitive", "tokens_primitive", needs=("cryptography",))
OURS = Contestant("fungible", "tokens_fungible", needs=("fungible", "cryptography", "msgspec"))
PEERS = (
    Contestant("PyJWT", "tokens_pyjwt", needs=("PyJWT",)),
    Contestant("joserfc", "tokens_joserfc", needs=("joserfc",)),
    Contestant("pyseto", "tokens_pyseto", needs=("pyseto",)),
)
CLAIMS: Final = {
    "iss": "https://issuer.example",
    "aud": "https://api.example",
    "sub": "8f14e45f-ceea-467f-9d1b-5b1b0c9f3a2e",
    "client_id": "shop",
    "scope": "orders:read orders:write profile",
}


@dataclass
class Cost:
    """Microseconds of one call, by round."""

    call: Callable[[], Any]
    count: int = 1
    rounds: list[float] = field(default_factory=list)

    def fit(self) -> None:
        """Finds how many calls make a batch."""
        while self._batch() * self.count < BATCH_US and self.count < 1 << 14:
            self.count *= 2

    def measure(self) -> None:
        self.rounds.append(self._batch())

    def _batch(self) -> float:
        call = self.call
        began = time.thread_time_ns()
        for _ in range(self.count):
            call()
        return (time.thread_time_ns() - began) / 1000 / self.count

    @property
    def least(self) -> float:
        return min(self.rounds)

    @property
    def median(self) -> float:
        return median(self.rounds)


Costs = dict[str, tuple[Cost, Cost]]
"""Issuing and verifying, by contestant."""


def prepared(algorithm: str, contestants: Sequence[Contestant], left_out: LeftOut) -> Costs:
    """The calls that are measured, each tried: a token is taken, and one that was changed is refused."""
    material = draw(ALGORITHMS[algorithm])
    costs: Costs = {}
    for contestant in contestants:
        module = importlib.import_module(f"benchmarks.contestants.{contestant.factory}")
        bare = contestant is PRIMITIVE
        with left_out.instead_of_failing(contestant):
            sides = module.sides(algorithm, material, _message(algorithm, material) if bare else CLAIMS)
            if sides is None:
                continue
            issue, verify = sides
            token = issue()
            verify(token)
            if not bare and _taken(verify, token[:-6] + ("AAAAAA" if token[-6:] != "AAAAAA" else "BBBBBB")):
                raise RuntimeError(f"{algorithm}: a token that was changed is taken")
            costs[contestant.name] = (Cost(issue), Cost(lambda verify=verify, token=token: verify(token)))
    return costs


def _message(algorithm: str, material: Any) -> bytes:
    """As many bytes as are signed in our token, or encrypted."""
    sides = importlib.import_module(f"benchmarks.contestants.{OURS.factory}").sides(algorithm, material, CLAIMS)
    token: str = sides[0]()
    if algorithm == "v4.local":
        # Its nonce and its tag are 32 bytes each.
        return os.urandom(len(token.split(".")[2]) * 3 // 4 - 64)
    return os.urandom(len(token.rpartition(".")[0]))


def _taken(verify: Callable[[str], Any], token: str) -> bool:
    try:
        verify(token)
    except Exception:
        return False
    return True


def main(arguments: Sequence[str]) -> int:
    """Measures and prints; the exit status is 1 where a limit is exceeded or something was wrong, and 0 otherwise."""
    options = _options(arguments)
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    left_out = LeftOut()
    contestants: list[Contestant] = []
    for contestant in (PRIMITIVE, OURS, *PEERS):
        if reason := missing(contestant):
            left_out.reasons[contestant.name] = reason
        else:
            contestants.append(contestant)
    results: dict[str, Costs] = {}
    for algorithm in MEASURED:
        if options.only.lower() in algorithm.lower():
            print(f"{algorithm} ...", file=sys.stderr, flush=True)
            results[algorithm] = costs = prepared(algorithm, contestants, left_out)
            calls = [cost for both in costs.values() for cost in both]
            for cost in calls:
                cost.fit()
            for _ in range(rounds):
                for cost in calls:
                    cost.measure()
    libraries = Contestant("", "", needs=("PyNaCl",))
    print(wrapped(f"{rounds} rounds, a token of {len(json.dumps(CLAIMS))} bytes of claims and exp, iat, jti"))
    print(wrapped(versions([*contestants, libraries])))
    for part in (_table(results, 0, "issue"), _table(results, 1, "verify"), str(left_out)):
        if part:
            print(f"\n{part}")
    over = _over(results)
    print("\n" + ("\n".join(over) if over else "every algorithm is within its limits"))
    return 1 if over or left_out.failed else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks tokens", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds")
    parser.add_argument("--rounds", type=int, help=f"(default: {ROUNDS})")
    parser.add_argument("--only", default="", help="algorithms whose names hold this")
    return parser.parse_args(arguments)


def _table(results: dict[str, Costs], side: int, what: str) -> str:
    """For each algorithm the primitive, and what each contestant adds to it: by the least, by the median."""
    names = list(dict.fromkeys(name for costs in results.values() for name in costs))
    rows: list[list[str]] = []
    for algorithm, costs in results.items():
        bare = costs[PRIMITIVE.name][side]
        row = [algorithm, f"{bare.least:.1f}, {bare.median:.1f}"]
        for name in names[1:]:
            if name in costs:
                cost = costs[name][side]
                row.append(f"+{cost.least - bare.least:.1f}, +{cost.median - bare.median:.1f}".replace("+-", "-"))
            else:
                row.append("")
        rows.append(row)
    return table([f"{what}, us: by least, by median", *names], rows)


def _over(results: dict[str, Costs]) -> list[str]:
    found: list[str] = []
    for algorithm, costs in results.items():
        for side, what, limit in ((0, "issue", ISSUE_LIMIT_US), (1, "verify", VERIFY_LIMIT_US)):
            if OURS.name in costs:
                added = costs[OURS.name][side].least - costs[PRIMITIVE.name][side].least
                if added > limit:
                    found.append(
                        f"over: {what} {algorithm} adds {added:.1f} us to the primitive; {limit:g} us is the limit"
                    )
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
