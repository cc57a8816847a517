"""Runs benchmarks by name; all of them where none is named.

python -m benchmarks --list
python -m benchmarks check --quick
"""

import argparse
from types import ModuleType

from benchmarks import check

BENCHMARKS: dict[str, ModuleType] = {"check": check}
"""By name; each has a docstring, whose first line is listed, and `main(arguments)`."""


def main() -> None:
    listed = "\n".join(f"  {name:10}{(module.__doc__ or '').splitlines()[0]}" for name, module in BENCHMARKS.items())
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
    for name in options.names or BENCHMARKS:
        BENCHMARKS[name].main(rest)


if __name__ == "__main__":
    main()
