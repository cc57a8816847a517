"""Prints what the check found in both shops, flow by flow: `before_and_after.py NAIVE.json MOVED.json`."""

import json
import sys
from collections import defaultdict
from pathlib import Path


def findings_by_flow(report: dict) -> dict[str, list[str]]:
    """Flow -> what was found in it, in words; a flow that was checked and is well has an empty list."""
    found: dict[str, list[str]] = {flow["name"]: [] for flow in report["flows"]}
    for finding in report["findings"]:
        found[finding["flow"]].append(f"{finding['kind']} (step {finding['step']})")
    return found


def main() -> int:
    """Prints the table; 0 if something was wrong before and nothing is after."""
    naive, moved = (json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:3])
    before, after = findings_by_flow(naive), findings_by_flow(moved)
    # What was not looked for was not found: say so.
    left_out = {ran["name"] for ran in naive["schedules"]} - {ran["name"] for ran in moved["schedules"]}
    nothing = f"nothing found ({', '.join(sorted(left_out))} left out)" if left_out else "nothing found"
    rows: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for flow, found in before.items():
        now = ["not moved yet"] if flow not in after else after[flow] or [nothing]
        for line in range(max(len(found), len(now))):
            rows[flow].append((found[line] if line < len(found) else "", now[line] if line < len(now) else ""))
    heading = "before: examples/shop/naive"
    width = max(len(heading), *(len(left) for lines in rows.values() for left, _ in lines))
    print(f"{'flow':18}{heading:{width + 2}}after: examples/shop/moved")
    for flow, lines in rows.items():
        for number, (left, right) in enumerate(lines):
            print(f"{flow if number == 0 else '':18}{left:{width + 2}}{right}")
    return 0 if any(before.values()) and not any(after.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
