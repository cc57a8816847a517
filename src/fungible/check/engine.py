"""A whole check: starts what is needed, runs the schedules on each flow, and writes down what was found."""

import math
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fungible import __version__
from fungible.check.errors import CheckError, CheckFileError, StartError, UnjudgedError
from fungible.check.findings import words
from fungible.check.findings.frameworks import recognise
from fungible.check.findings.questions import not_exercised, questions, sent
from fungible.check.findings.unrun import why_not_run
from fungible.check.flows.binding import confirm
from fungible.check.flows.sources import Flows, asked, discovered, distinctly_named, written
from fungible.check.http.jar import Jar
from fungible.check.http.template import request_for
from fungible.check.instances.opening import Opened, open_pool
from fungible.check.instances.pool import Pool
from fungible.check.instances.worker_options import asked_for
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
from fungible.check.runs.budget import Agenda, cut_words, in_turn
from fungible.check.runs.exercise import MISSING, exercised
from fungible.check.runs.placement import MOST_INSTANCES
from fungible.check.runs.runner import Conditions
from fungible.check.runs.steadiness import reason as unsteady_reason
from fungible.check.runs.steadiness import unsteady
from fungible.check.runs.subject import Counts, Subject
from fungible.check.runs.world import World
from fungible.check.schedules.drain import drain, slowest_seconds
from fungible.check.schedules.explore import Explorer, Found
from fungible.check.schedules.race import race
from fungible.check.schedules.repeat import repeat
from fungible.check.stopping import Endings, SecondInterrupt, Threads, TimeIsUpError, uninterrupted
from fungible.check.watcher import Watcher

_HOST = "127.0.0.1:8000"
_SEVERITIES = ("BREAKING", "HIGH", "MEDIUM")


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
    budget_s: float = math.inf
    jobs: int | None = None

    def __post_init__(self) -> None:
        self._began, self._cpu = time.monotonic(), time.process_time()
        self._counts = Counts()
        self._subjects: list[Subject] = []
        self._findings: list[Finding] = []
        self._notes: list[str] = []
        self._reasons: list[str] = []
        self._tallies: dict[ScheduleName, _Tally] = {name: _Tally() for name in SCHEDULES}
        self._framework = ""
        self._opened: Opened | None = None
        self._flows = Flows()
        self._endings = Endings()
        self._agenda = Agenda(self.schedules)
        self._cut: Literal["", "budget", "interrupt"] = ""

    def run(self) -> Report:
        """Runs it. Never raises for what the application does: that is in the report, as findings or as the reason.

        Raises:
            KeyboardInterrupt: it was stopped; `report` tells what was found until then.
        """
        self.watcher.phase("prepare")
        base = Path(tempfile.mkdtemp(prefix="fungible-"))
        try:
            with Threads(1, stop=self._endings.close, until=self._began + self.budget_s) as threads:
                work = threads.submit(self._run, base)
            work.result()
        except TimeIsUpError:
            self._cut = "budget"
        except KeyboardInterrupt:
            self._cut = "interrupt"
            raise
        except CheckError as error:
            self._reasons.append(str(error))
        finally:
            with uninterrupted() as came:
                self._endings.close()
                shutil.rmtree(base, ignore_errors=True)
            if came and self._cut == "interrupt":
                raise SecondInterrupt
        return self.report()

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
            jobs=self.jobs,
            on_ready=self.watcher.ready,
            tell=lambda doing: self.watcher.phase("prepare", doing),
        )
        if isinstance(self._opened.pool, Pool):
            self._opened.pool.on_start = lambda count: self.watcher.started()
        if left or not self._flows.flows:
            self._ask(left, host)
        self._notes += self._flows.notes
        flows = distinctly_named(self._flows.flows)
        self.on_flows(flows, host)
        self._agenda.flows += [flow.name for flow in flows]
        if not isinstance(self._opened.pool, Pool):
            self._agenda.leave_out("crash", "drain")
        in_turn(self._check_flow(flow, host) for flow in flows)
        if "drain" in self.schedules:
            self._drain()
        self._refuse_luck()

    def _refuse_luck(self) -> None:
        """Where nothing was found: reasons why that says nothing."""
        judged = [subject for subject in self._subjects if subject.ground is not None]
        decided = any(tally.runs for name, tally in self._tallies.items() if name in DECIDING)
        if not judged or not decided or any(finding.schedule in DECIDING for finding in self._findings):
            return
        varied = [row for one in judged for row in [*unsteady(one.baseline, one.flow.name), *one.unsteady]]
        if varied:
            self._reasons.append(unsteady_reason(list(dict.fromkeys(varied))))
        asked, option = asked_for(self._target)
        missed = any(subject.missed_workers for subject in judged)
        if missed or (asked > 1 and max(subject.workers for subject in judged) < 2):
            self._reasons.append(
                f"one instance of yours is several processes{f' ({option})' if option else ''}, and which of them answered "
                "could not be seen, so state in one of them may have been missed: start each instance with one process"
            )
        if not any(exercised(subject) for subject in judged):
            self._reasons.append(MISSING)

    def _ask(self, left: Sequence[FlowSource], host: str) -> None:
        """Flows that only a running instance can tell."""
        assert self._opened is not None
        self.watcher.phase("explore", "reading what the application offers")
        pool = self._opened.pool
        with World(pool, 1, reserve=self._opened.reserve) as world:  # pyright: ignore[reportArgumentType]
            jar = Jar()

            def send(step: Step) -> Answer:
                request = request_for(step, {"host": host}, host=host, scheme="http", cookies=jar)
                answer = world.instance(0).send(request)
                self._counts.requests += 1
                if not any(name.lower() == "cookie" for name in step.headers):
                    for name, text in answer.headers:
                        if name.lower() == "set-cookie":
                            jar.take(text, request.target)
                return answer

            if left:
                asked(self._flows, left, send)
            else:
                given = self.check_file
                discovered(self._flows, send, host, begin=given.begin, sign_in=given.sign_in)

    def _check_flow(self, flow: Flow, host: str) -> Generator[None]:
        """All that is run on one flow, with a pause after each schedule."""
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
        try:
            with self._doing("baseline", flow.name):
                self._notes += establish(subject)
        except UnjudgedError as error:
            self._refuse_when_ended()
            self._reasons.append(str(error))
            self._agenda.drop(flow.name)
            return
        if self._flows.recorded:
            subject.flow = confirm(subject.flow, *map(values_of, subject.pair))
        self._framework = self._framework or recognise(
            [outcome.answer for outcome in subject.baseline.control.outcomes], self._target.start
        )
        self._tell_workers(subject)
        for finding in words.from_cookies(subject, self._framework):
            self._add("scatter", finding)
        yield from self._explore(subject)
        yield from self._others(subject)

    def _tell_workers(self, subject: Subject) -> None:
        """That one instance is several processes, and what of that is not under control."""
        asked, option = asked_for(self._target)
        if subject.workers > 1:
            note = (
                f"one instance of yours is {max(subject.workers, asked)} processes that answer"
                + (f" ({option})" if option else "")
                + ": each run kept to one of them, and one run went through several of them in turn"
            )
            self._notes += [] if note in self._notes else [note]

    def _explore(self, subject: Subject) -> Generator[None]:
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
                yield
        if subject.can_kill and "scatter" in self.schedules:
            self._timed("scatter", subject, lambda: explorer.on_common_disk(warm="warm" in self.schedules))
        if {"scatter", "crash"} & set(self.schedules):
            self._timed("scatter", subject, explorer.between_workers)
        for found, place in zip(explorer.found, places, strict=True):
            # More steps may have turned out to have the same cause since it was first told.
            self._findings[place] = words.from_found(found, subject, self._framework)

    def _others(self, subject: Subject) -> Generator[None]:
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
            yield
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
        tally = self._tallies[name]
        runs, began = self._counts.runs, time.monotonic()
        try:
            with self._doing(name, subject.flow.name):
                way()
        finally:
            tally.runs += self._counts.runs - runs
            tally.seconds += time.monotonic() - began

    def _doing(self, part: str, flow: str) -> AbstractContextManager[None]:
        assert self._opened is not None
        pool = self._opened.pool
        self.watcher.phase(part, flow)
        self.watcher.expects(self._agenda.starts_left())
        return self._agenda.doing(flow, part, lambda: pool.starts)

    def _refuse_when_ended(self) -> None:
        """What instances answer that are being ended proves nothing."""
        if self._endings.closed:
            raise StartError("stopped")

    def _add(self, name: ScheduleName, finding: Finding) -> None:
        self._refuse_when_ended()
        self._findings.append(finding)
        self._tallies[name].findings += 1
        self.watcher.found(finding)

    def _why_not_run(self, name: ScheduleName, *, cut: bool) -> str:
        runs = self._tallies[name].runs
        if cut:
            return "cut short" if runs else "the check ended before it came to it"
        return "" if runs else why_not_run(name, self.schedules, self._subjects)

    def report(self) -> Report:
        """What is known so far."""
        reasons, notes = [*self._reasons], [*self._notes]
        unfinished = self._agenda.unfinished() if self._cut else frozenset[ScheduleName]()
        ran = frozenset[ScheduleName](
            name for name, tally in self._tallies.items() if tally.runs and name not in unfinished
        )
        if unfinished:
            (reasons if unfinished & DECIDING else notes).append(cut_words(self._cut, self.budget_s, self._subjects))
        elif not reasons and not ran & DECIDING and DECIDING & set(self.schedules):
            reasons.append(
                "no flow has two requests that different instances could serve: give one that writes something and reads it "
                "again (--har recording.har, --openapi file, or --file check.toml)"
            )
        deciding = [finding for finding in self._findings if finding.schedule in DECIDING]
        verdict = "stateful" if deciding else "unjudged" if reasons else "stateless"
        return Report(
            verdict=verdict,
            findings=tuple(sorted(self._findings, key=lambda finding: _SEVERITIES.index(finding.severity))),
            not_exercised=(
                *(self._agenda.left_out() if self._cut else ()),
                *(not_exercised(self._subjects, ran | unfinished, self.schedules) if self._subjects else ()),
                *(self._flows.not_hit(sent(self._subjects)) if self._subjects else ()),
            ),
            questions=questions(self._findings, self._subjects, ran, judged=verdict != "unjudged"),
            reason="; ".join(reasons) if verdict == "unjudged" else "",
            cut=self._cut,
            notes=(*notes, *(reasons if verdict != "unjudged" else ())),
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
                ScheduleRun(
                    name=name,
                    runs=t.runs,
                    seconds=round(t.seconds, 3),
                    findings=t.findings,
                    note=t.note or self._why_not_run(name, cut=name in unfinished),
                )
                for name, t in self._tallies.items()
            ),
            version=__version__,
        )
