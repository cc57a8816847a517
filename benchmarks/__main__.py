"""Runs benchmarks by name; all of them where none is named.

python -m benchmarks --list
python -m benchmarks check --quick
"""

import argparse
import sys
from types import ModuleType

from benchmarks import (
    cache,
    check,
    idempotency,
    limits,
    refresh_storm,
    sessions_cost,
    sessions_growth,
    sessions_lost_updates,
    tokens,
)

BENCHMARKS: dict[str, ModuleType] = {
    "check": check,
    "sessions_lost_updates": sessions_lost_updates,
    "sessions_cost": sessions_cost,
    "sessions_growth": sessions_growth,
    "tokens": tokens,
    "refresh_storm": refresh_storm,
    "idempotency": idempotency,
    "cache": cache,
    "limits": limits,
}
"""By name; each has a docstring, whose first line is listed, and `main(arguments)`, which gives an exit status, or None for 0."""


def main() -> None:
    listed = "\n".join(f"  {name:22}{(module.__doc__ or '').splitlines()[0]}" for name, module in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures what Fungible costs. Options that are not listed here go to the benchmark: --quick.",
        epilog=f"benchmarks:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to measure (default: all)")
    parser.add_argument("--list", action="store_true", help="list the benchmarks and end")
    options, rest = parser.parse_known_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    if options.list:
        print(listed)
        return
    sys.exit(max([BENCHMARKS[name].main(rest) or 0 for name in options.names or BENCHMARKS]))


if __name__ == "__main__":
    main()
