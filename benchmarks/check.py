"""What `fungible check` costs: time, starts and requests by the length of the flow, and what a finding adds.

The application is apps/slow_start.py, half a second to start. Each measurement is one run of the command line, as a
user would run it.
"""

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.processes import Cost, run
from benchmarks.tables import median, spread, table
from fungible.check.model import SCHEDULES, Capture, CheckFile, FlowSource, Report, Step, Target

LENGTHS = (5, 6, 10, 20, 40)
QUICK_LENGTHS = (5, 6, 10)
ROUNDS = 3
CORES = 2
MOST_SECONDS = 15.0
"""What the default check of a flow of `JUDGED` steps may take on two cores."""
JUDGED = 6
MOST_SHARE = 0.2
"""What the checker itself may use, of the wall time."""
QUIET = 0.1
"""Cores that others may use before times say more about them than about us."""
_APPS = Path(__file__).with_name("apps")
_MEMORY = Path("/dev/shm")
Measure = Callable[["Run"], float]


@dataclass(frozen=True)
class Case:
    """What is checked: the length of the flow, and what is special about the application.

    `declared` is a store that the check knows, as `shared`: each run of the flow then has its own copy of it, and its own
    instances. Otherwise it is one that it does not see, like a database server, and unused instances serve the next run.
    """

    steps: int
    faulty: bool = False
    declared: bool = True

    def __str__(self) -> str:
        fault = ", session in a dict" if self.faulty else ""
        return f"{self.steps} steps{fault}{'' if self.declared else ', store not declared'}"


@dataclass(frozen=True)
class Run:
    """One measurement."""

    cost: Cost
    report: Report

    def seconds(self, schedule: str) -> float:
        return next((one.seconds for one in self.report.schedules if one.name == schedule), 0.0)

    @property
    def rest_s(self) -> float:
        """Baseline, probing what isolation there can be, ending what was started, importing."""
        return self.cost.wall_s - sum(one.seconds for one in self.report.schedules)

    @property
    def runs(self) -> int:
        return sum(one.runs for one in self.report.schedules)

    @property
    def checker_s(self) -> float:
        """CPU of the process and of its helpers."""
        return (self.cost.own_cpu_s or self.report.checker_cpu_seconds) + (self.cost.helpers_cpu_s or 0.0)

    @property
    def all_cpu_s(self) -> float:
        return self.checker_s + (self.cost.application_cpu_s or 0.0)


def steps(count: int) -> tuple[Step, ...]:
    """A visitor who signs in, then fills the cart, looks, orders, looks at the order, again and again; writes and reads in equal parts."""
    flow = [Step(id="sign-in", method="POST", path="/login", json={"user": "ada"})]
    for turn in range(1, (count - 1) // 4 + 1):
        order = f"order_{turn}"
        flow += [
            Step(id=f"put-{turn}", method="PUT", path=f"/cart/mug-{turn}", json={"quantity": turn}),
            Step(id=f"cart-{turn}", path="/cart"),
            Step(
                id=f"order-{turn}",
                method="POST",
                path="/orders",
                capture=(Capture(name=order, source="json", path="id"),),
            ),
            Step(id=f"look-{turn}", path=f"/orders/{{{{{order}}}}}"),
        ]
    return (*flow, *(Step(id=f"cart-again-{at}", path="/cart") for at in range(count - len(flow))))


def check_file(case: Case, state: Path) -> CheckFile:
    """The application and its flow."""
    env = {"STATE": str(state / "shop.db")} | ({"FAULT": "session"} if case.faulty else {})
    target = Target(
        start=f"{shlex.quote(sys.executable)} slow_start.py {{port}}",
        directory=str(_APPS),
        env=env,
        shared=(str(state),) if case.declared else (),
    )
    return CheckFile(target=target, flows=(FlowSource(name="shop", steps=steps(case.steps)),), seed=1)


def measured(case: Case) -> Run:
    """One check.

    Raises:
        RuntimeError: it did not find what is there, so its times mean nothing.
    """
    # A store that is not declared must lie where no instance has a view of its own.
    with tempfile.TemporaryDirectory(prefix="fungible-bench-", dir=None if case.declared else _MEMORY) as folder:
        base = Path(folder)
        state = base / "state"
        state.mkdir()
        file, output = base / "check.json", base / "report.json"
        file.write_bytes(msgspec.json.encode(check_file(case, state)))
        cost = run(
            [
                *(sys.executable, "-m", "fungible.cli.main", "check", "--quiet", "--file", str(file)),
                *("--format", "json", "--output", str(output)),
            ]
        )
        if not output.exists():
            raise RuntimeError(f"{case}: fungible check ended with status {cost.status} and wrote no report")
        report = msgspec.json.decode(output.read_bytes(), type=Report)
    kinds = [finding.kind for finding in report.findings]
    if report.verdict == "unjudged" or set(kinds) != ({"session"} if case.faulty else set()):
        raise RuntimeError(f"{case}: {report.verdict} {report.reason}, findings: {', '.join(kinds) or 'none'}")
    return Run(cost, report)


def main(arguments: Sequence[str]) -> None:
    """Measures, and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks check", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="once instead of three times, and no long flow")
    options = parser.parse_args(arguments)
    lengths, rounds = (QUICK_LENGTHS, 1) if options.quick else (LENGTHS, ROUNDS)
    print(_machine())
    cases = [*map(Case, lengths), *(Case(length, faulty=True) for length in lengths)]
    if _MEMORY.is_dir():
        cases.append(Case(JUDGED, declared=False))
    runs: dict[Case, list[Run]] = {case: [] for case in cases}
    # In turn, so that a noisy minute does not fall on one case alone.
    for number in range(rounds):
        for case in cases:
            print(f"round {number + 1} of {rounds}: {case} ...", end="", file=sys.stderr, flush=True)
            runs[case].append(measured(case))
            print(f" {runs[case][-1].cost.wall_s:.1f} s", file=sys.stderr)
    flows = {length: runs[Case(length)] for length in lengths}
    for part in (_starts(runs, lengths), _costs(flows), _growth(flows), _finding(runs), _verdicts(runs), _noise(runs)):
        print(f"\n{part}")


def _machine() -> str:
    """Keeps all of it to two cores, and says what it runs on."""
    cores = os.cpu_count() or 1
    kept = ""
    if hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > CORES:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
        kept = f", {CORES} of them used"
    return f"{cores} cores{kept}; Python {sys.version.split()[0]}; an application that takes 0.5 s to start"


_TIMES: dict[str, Measure] = {
    "wall time, s": lambda run: run.cost.wall_s,
    **{f"  {name}": (lambda run, name=name: run.seconds(name)) for name in SCHEDULES},
    "  baseline and the rest": lambda run: run.rest_s,
}
_COUNTS: dict[str, Measure] = {
    "runs of the flow": lambda run: run.runs,
    "starts": lambda run: run.report.starts,
    "requests": lambda run: run.report.requests,
}
_CPU: dict[str, Measure] = {
    "checker's CPU, as reported, s": lambda run: run.report.checker_cpu_seconds,
    "  its process, from start to end": lambda run: run.cost.own_cpu_s or 0.0,
    "  its helpers (launchers)": lambda run: run.cost.helpers_cpu_s or 0.0,
    "application's CPU, s": lambda run: run.cost.application_cpu_s or 0.0,
}
_SHARES: dict[str, Measure] = {
    "checker's share of the wall time, %": lambda run: 100 * run.report.checker_cpu_seconds / run.report.seconds,
    "  process and helpers, %": lambda run: 100 * run.checker_s / run.cost.wall_s,
}


def _costs(flows: dict[int, list[Run]]) -> str:
    rows = [
        [name, *(spread([measure(run) for run in runs], digits) for runs in flows.values())]
        for measures, digits in ((_TIMES, 1), (_COUNTS, 0), (_CPU, 2), (_SHARES, 1))
        for name, measure in measures.items()
    ]
    return table(["median (range)", *(f"{length} steps" for length in flows)], rows)


def _starts(runs: dict[Case, list[Run]], lengths: Sequence[int]) -> str:
    """How many instances are started, by the length of the flow; counts do not depend on how busy the machine is."""
    rows = [
        [name, *(spread([float(run.report.starts) for run in runs[Case(length, faulty)]], 0) for length in lengths)]
        for name, faulty in (("nothing to find", False), ("session in a dict", True))
    ]
    return table(["starts", *(f"{length} steps" for length in lengths)], rows)


def _growth(flows: dict[int, list[Run]]) -> str:
    """How each measure grows: how often that of the shortest flow, and how much a step."""
    shortest = min(flows)

    def cell(measure: Measure, length: int) -> str:
        value, first = (median([measure(run) for run in flows[at]]) for at in (length, shortest))
        ratio = f"x{value / first:.1f}" if first else "-"
        return f"{ratio}, {value / length:.2f}"

    rows = [[name, *(cell(measure, length) for length in flows)] for name, measure in (_TIMES | _COUNTS | _CPU).items()]
    return table([f"times that of {shortest} steps, a step", *(f"{length} steps" for length in flows)], rows)


def _finding(runs: dict[Case, list[Run]]) -> str:
    """What it costs to shrink and to name one fault, beside the same flow without it."""
    without, faulty = runs[Case(JUDGED)], runs[Case(JUDGED, faulty=True)]
    rows = [
        [
            name,
            *(spread([measure(run) for run in some], digits) for some in (without, faulty)),
            f"{median([measure(run) for run in faulty]) - median([measure(run) for run in without]):+.{digits}f}",
        ]
        for measures, digits in ((_TIMES, 1), (_COUNTS, 0), (_CPU, 2))
        for name, measure in measures.items()
    ]
    return table([f"{JUDGED} steps", "stateless", "session in a dict", "one finding"], rows)


def _verdicts(runs: dict[Case, list[Run]]) -> str:
    lines: list[str] = []
    for case in (Case(JUDGED), Case(JUDGED, declared=False)):
        if case in runs:
            seconds = [run.cost.wall_s for run in runs[case]]
            floor = median([run.all_cpu_s for run in runs[case]]) / CORES
            lines.append(
                f"default check, {case}: {spread(seconds)} s, at most {MOST_SECONDS:g} s: {_judged(median(seconds), MOST_SECONDS)}"
                f" (the CPU time of all of it on {CORES} cores: {floor:.1f} s)"
            )
    for name, measure in _SHARES.items():
        # Against each run's own wall time; the worst of them counts.
        worst = max(measure(run) for some in runs.values() for run in some)
        lines.append(
            f"{name.strip(' ,%')}: {worst:.1f} % at worst, under {100 * MOST_SHARE:g} %: {_judged(worst, 100 * MOST_SHARE)}"
        )
    return "\n".join(lines)


def _judged(value: float, most: float) -> str:
    return "ok" if value <= most else "over"


def _noise(runs: dict[Case, list[Run]]) -> str:
    elsewhere = [
        run.cost.busy_elsewhere for some in runs.values() for run in some if run.cost.busy_elsewhere is not None
    ]
    if not elsewhere:
        return "How busy this machine was otherwise is not known: the times may be those of its other work."
    words = f"Other processes used {spread(elsewhere, 2)} cores meanwhile"
    return f"{words}: times are noisy, CPU times and counts less so." if max(elsewhere) > QUIET else f"{words}: quiet."
