"""A whole check: starts what is needed, runs the schedules on each flow, and writes down what was found."""

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fungible import __version__
from fungible.check.errors import CheckError, CheckFileError, UnjudgedError
from fungible.check.findings import words
from fungible.check.findings.frameworks import recognise
from fungible.check.findings.questions import not_exercised, questions
from fungible.check.flows.binding import confirm
from fungible.check.flows.sources import Flows, asked, crawled, discovered, written
from fungible.check.http.client import send as send_request
from fungible.check.http.jar import Jar
from fungible.check.http.template import request_for
from fungible.check.instances.opening import Opened, open_pool
from fungible.check.instances.pool import Pool
from fungible.check.model import (
    DECIDING,
    SCHEDULES,
    Answer,
    CheckFile,
    Finding,
    Flow,
    FlowRun,
    FlowSource,
    Report,
    ScheduleName,
    ScheduleRun,
    Step,
    Target,
)
from fungible.check.runs.baseline import establish, values_of
from fungible.check.runs.placement import MOST_INSTANCES
from fungible.check.runs.runner import Conditions
from fungible.check.runs.subject import Counts, Subject
from fungible.check.runs.world import World
from fungible.check.schedules.drain import drain, slowest_seconds
from fungible.check.schedules.explore import Explorer, Found
from fungible.check.schedules.race import race
from fungible.check.schedules.repeat import repeat
from fungible.check.stopping import Endings, Threads, uninterrupted

_HOST = "127.0.0.1:8000"
_SEVERITIES = ("BREAKING", "HIGH", "MEDIUM")


class Watcher:
    """What a check tells while it works; does nothing by itself."""

    def phase(self, name: str, detail: str = "") -> None:
        """A part of the check begins."""

    def started(self, number: int = 1) -> None:
        """Instances were started."""

    def found(self, finding: Finding) -> None:
        """Something was found."""

    def note(self, text: str) -> None:
        """Something worth a line."""


@dataclass
class _Tally:
    runs: int = 0
    seconds: float = 0.0
    findings: int = 0
    note: str = ""


@dataclass
class Check:
    """One check, from its file to its report."""

    check_file: CheckFile
    directory: Path
    command: str = ""
    schedules: Sequence[ScheduleName] = SCHEDULES
    only: Sequence[str] = ()
    isolation_wanted: int | None = None
    watcher: Watcher = field(default_factory=Watcher)
    seed: int = 0
    on_flows: Callable[[list[Flow], str], None] = lambda flows, host: None

    def run(self) -> Report:
        """Runs it. Never raises for what the application does: that is in the report, as findings or as the reason."""
        self._began, self._cpu = time.monotonic(), time.process_time()
        self._counts = Counts()
        self._subjects: list[Subject] = []
        self._findings: list[Finding] = []
        self._notes: list[str] = []
        self._reasons: list[str] = []
        self._tallies: dict[ScheduleName, _Tally] = {name: _Tally() for name in self.schedules}
        self._framework = ""
        self._opened: Opened | None = None
        self._flows = Flows()
        self._endings = Endings()
        base = Path(tempfile.mkdtemp(prefix="fungible-"))
        try:
            with Threads(1, stop=self._endings.close) as threads:
                work = threads.submit(self._run, base)
            work.result()
        except CheckError as error:
            self._reasons.append(str(error))
        finally:
            with uninterrupted():
                self._endings.close()
                shutil.rmtree(base, ignore_errors=True)
        return self._report()

    @property
    def _target(self) -> Target:
        return self.check_file.target

    def _run(self, base: Path) -> None:
        sources = [source for source in self.check_file.flows if not self.only or source.name in self.only]
        if self.only and not sources:
            known = ", ".join(source.name for source in self.check_file.flows)
            raise CheckFileError(f"no flow is named {' or '.join(self.only)}; the check file has: {known or 'none'}")
        self._flows, left = written(sources, self.directory)
        host = self._target.host or self._flows.host or _HOST
        self._opened = open_pool(
            self._target,
            self.directory,
            base,
            host,
            self._endings,
            wanted_level=self.isolation_wanted,
            tell=lambda doing: self.watcher.phase("prepare", doing),
        )
        if isinstance(self._opened.pool, Pool):
            self._opened.pool.on_start = lambda count: self.watcher.started()
        if left or not self._flows.flows:
            self._ask(left, host)
        self._notes += self._flows.notes
        self.on_flows(self._flows.flows, host)
        for flow in self._flows.flows:
            self._check_flow(flow, host)
        if "drain" in self.schedules:
            self._drain()

    def _ask(self, left: Sequence[FlowSource], host: str) -> None:
        """Flows that only a running instance can tell."""
        assert self._opened is not None
        self.watcher.phase("explore", "reading what the application offers")
        pool = self._opened.pool
        with World(pool, 1, reserve=self._opened.reserve) as world:  # pyright: ignore[reportArgumentType]
            jar = Jar()

            def send(step: Step) -> Answer:
                request = request_for(step, {"host": host}, host=host, scheme="http", cookies=jar.header(step.path))
                answer = send_request(world.instance(0).address, request)
                self._counts.requests += 1
                if not any(name.lower() == "cookie" for name in step.headers):
                    for name, text in answer.headers:
                        if name.lower() == "set-cookie":
                            jar.take(text, request.target)
                return answer

            if left:
                asked(self._flows, left, send)
            else:
                discovered(self._flows, send, lambda: crawled(send, host))

    def _check_flow(self, flow: Flow, host: str) -> None:
        opened = self._opened
        assert opened is not None
        subject = Subject(
            flow=flow,
            pool=opened.pool,  # pyright: ignore[reportArgumentType]
            conditions=Conditions(host=host, scheme=self._flows.scheme, cookies=flow.cookies),
            rng=random.Random(f"{self.seed}/{flow.name}"),
            counts=self._counts,
            reset=opened.reset,
            reserve=opened.reserve,
            can_kill=opened.reserve is not None,
            common_randomness=opened.common_randomness,
            has_shared=bool(self._target.shared),
            sees_files=opened.level >= 1,
        )
        self._subjects.append(subject)
        self.watcher.phase("baseline", flow.name)
        try:
            self._notes += establish(subject)
        except UnjudgedError as error:
            self._reasons.append(str(error))
            return
        if self._flows.recorded:
            subject.flow = confirm(flow, *map(values_of, subject.pair))
        self._framework = self._framework or recognise(
            [outcome.answer for outcome in subject.baseline.control.outcomes], self._target.start
        )
        for finding in words.from_cookies(subject, self._framework):
            self._add("scatter", finding)
        self._explore(subject)
        self._others(subject)

    def _explore(self, subject: Subject) -> None:
        """The schedules that decide: scatter, crash, warm."""
        places: list[int] = []

        def tell(found: Found) -> None:
            places.append(len(self._findings))
            self._add(found.schedule, words.from_found(found, subject, self._framework))

        explorer = Explorer(
            subject, tell, most_instances=max(self._target.instances, len(self._target.at), MOST_INSTANCES)
        )
        ways: dict[ScheduleName, Callable[[], None]] = {
            # A crash run also spreads the steps over fresh instances, so scatter need not do that again.
            "scatter": lambda: explorer.scatter(also_distinct="crash" not in self.schedules or not subject.can_kill),
            # What crash leaves over of the used instances serves what comes after it: so it comes last.
            "warm": explorer.warm,
            "crash": explorer.crash,
        }
        for name, way in ways.items():
            if name in self.schedules and (name != "crash" or subject.can_kill):
                self._timed(name, subject, way)
        if subject.can_kill and "scatter" in self.schedules:
            self._timed("scatter", subject, lambda: explorer.on_common_disk(warm="warm" in self.schedules))
        for found, place in zip(explorer.found, places, strict=True):
            # More steps may have turned out to have the same cause since it was first told.
            self._findings[place] = words.from_found(found, subject, self._framework)

    def _others(self, subject: Subject) -> None:
        """The schedules with a question of their own: repeat, race, drain."""
        if "repeat" in self.schedules:
            self._timed(
                "repeat",
                subject,
                lambda: [
                    self._add("repeat", words.from_doubled(found, subject, self._framework))
                    for found in repeat(subject, self._target.instances)
                ],
            )
        if "race" in self.schedules:
            self._timed(
                "race",
                subject,
                lambda: [
                    self._add("race", words.from_raced(found, subject, self._framework)) for found in race(subject)
                ],
            )

    def _drain(self) -> None:
        """Once for the whole application, with the flow that has the slowest step."""
        subjects = [subject for subject in self._subjects if subject.ground is not None and subject.can_kill]
        slowest = max(subjects, key=slowest_seconds, default=None)
        if slowest is not None:
            self._timed("drain", slowest, lambda: self._drained(slowest))

    def _drained(self, subject: Subject) -> None:
        dropped, note = drain(subject)
        self._tallies["drain"].note = note or self._tallies["drain"].note
        if dropped is not None:
            self._add("drain", words.from_dropped(dropped, subject, self._framework))

    def _timed(self, name: ScheduleName, subject: Subject, way: Callable[[], object]) -> None:
        self.watcher.phase(name, subject.flow.name)
        tally = self._tallies[name]
        runs, began = self._counts.runs, time.monotonic()
        try:
            way()
        finally:
            tally.runs += self._counts.runs - runs
            tally.seconds += time.monotonic() - began

    def _add(self, name: ScheduleName, finding: Finding) -> None:
        self._findings.append(finding)
        if name in self._tallies:
            self._tallies[name].findings += 1
        self.watcher.found(finding)

    def _report(self) -> Report:
        ran = frozenset[ScheduleName](name for name, tally in self._tallies.items() if tally.runs)
        if not self._reasons and not ran & DECIDING and DECIDING & set(self.schedules):
            self._reasons.append(
                "no flow has two requests that different instances could serve: give one that writes something and reads it "
                "again (--har recording.har, --openapi file, or --file check.toml)"
            )
        deciding = [finding for finding in self._findings if finding.schedule in DECIDING]
        verdict = "stateful" if deciding else "unjudged" if self._reasons else "stateless"
        reason = "; ".join(self._reasons)
        return Report(
            verdict=verdict,
            findings=tuple(sorted(self._findings, key=lambda finding: _SEVERITIES.index(finding.severity))),
            not_exercised=tuple(
                [*not_exercised(self._subjects, ran), *self._flows.not_hit()] if self._subjects else []
            ),
            questions=questions(self._findings, self._subjects, ran) if self._subjects else (),
            reason=reason if verdict == "unjudged" else "",
            notes=(*self._notes, *(self._reasons if verdict != "unjudged" else ())),
            command=self.command,
            framework=self._framework,
            isolation=self._opened.isolation if self._opened is not None else "",
            seed=self.seed,
            instances=len(self._target.at) or self._target.instances,
            starts=self._opened.pool.starts if self._opened is not None else 0,
            requests=self._counts.requests,
            seconds=round(time.monotonic() - self._began, 3),
            checker_cpu_seconds=round(time.process_time() - self._cpu, 3),
            flows=tuple(
                FlowRun(name=s.flow.name, steps=words.step_lines(s), masked=words.masked(s))
                for s in self._subjects
                if s.ground is not None
            ),
            schedules=tuple(
                ScheduleRun(name=name, runs=t.runs, seconds=round(t.seconds, 3), findings=t.findings, note=t.note)
                for name, t in self._tallies.items()
            ),
            version=__version__,
        )
