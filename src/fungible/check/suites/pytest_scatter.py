"""The part of the pytest plugin that acts: each test on one instance, then with its requests on several.

All fixtures, of whatever scope, are set up anew for each run: what they did was done on instances that are gone.
"""

import importlib.util
import shutil
import tempfile
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest
from _pytest.runner import runtestprotocol

from fungible.check.errors import CheckError
from fungible.check.instances.opening import Opened, open_pool
from fungible.check.runs.world import World
from fungible.check.stopping import Endings, uninterrupted
from fungible.check.suites.pytest_routing import Router, Run, Sent
from fungible.check.suites.pytest_settings import Settings
from fungible.check.suites.pytest_words import (
    FINDING,
    JUDGED,
    NOT_JUDGED,
    UNTOUCHED,
    advice,
    attach,
    difference_words,
    first_difference,
    section,
    summary,
)

_PREFIX = "fungible: "
_FAILS_ALONE = "fails on one instance alone"
_FAILS_AGAIN = (
    "passes once on one instance, and not again: it leaves something behind, which a `reset` command could clean"
)


@dataclass(frozen=True)
class Attempt:
    """One run of a test: what pytest says of it, and the requests it sent."""

    reports: list[pytest.TestReport]
    sent: list[Sent]

    @property
    def passed(self) -> bool:
        """Passed in all phases; what was expected to fail, or skipped, did not."""
        return all(report.passed and not hasattr(report, "wasxfail") for report in self.reports)

    @property
    def skipped(self) -> bool:
        """Skipped, or failed as was expected."""
        return any(report.skipped or hasattr(report, "wasxfail") for report in self.reports)


@dataclass(frozen=True)
class Verdict:
    """What is told of a test, and why."""

    reports: list[pytest.TestReport]
    name: str
    why: str = ""


class Scatter:
    """Takes the place of pytest's own run of each test."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._router = Router(settings.base_url, any_local=settings.any_local)
        self._opened: Opened | None = None
        self._base: Path | None = None
        self._endings = Endings()
        self._undo: list[Callable[[], None]] = []
        self._told: list[dict[str, str]] = []
        self._properties: list[tuple[str, object]] = []

    # --- the session ---------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Opens the pool where there is something to run: not to list tests, not in the controller of xdist."""
        option = session.config.option
        if getattr(session, "items", None) and not option.collectonly and not option.setuponly:
            # Whatever ends the session, also an interrupt, pytest does this last.
            session.config.add_cleanup(self._close)
            try:
                self._open()
            except CheckError as error:
                _give_up(session, error)
        try:
            return (yield)
        except KeyboardInterrupt as stopped:
            # That is how xdist's controller puts it that a worker has given up.
            if str(stopped).startswith(_PREFIX):
                raise pytest.UsageError(str(stopped)) from None
            raise

    def _open(self) -> None:
        self._base = Path(tempfile.mkdtemp(prefix="fungible-"))
        settings = self.settings
        self._opened = open_pool(settings.target, settings.directory, self._base, settings.host, self._endings)
        if importlib.util.find_spec("httpx") is not None:
            from fungible.check.suites.pytest_httpx import route_httpx

            self._undo.append(route_httpx(self._router))
        if importlib.util.find_spec("requests") is not None:
            from fungible.check.suites.pytest_requests import route_requests

            self._undo.append(route_requests(self._router))

    def _close(self) -> None:
        self._opened = None
        with uninterrupted():
            while self._undo:
                self._undo.pop()()
            self._endings.close()
            if self._base is not None:
                shutil.rmtree(self._base, ignore_errors=True)

    # --- one test ------------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Runs a test as often as it takes to judge it, and reports one of the runs."""
        if self._opened is None:
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        self._properties = list(item.user_properties)
        try:
            verdict = self._judged(item)
        except CheckError as error:
            _give_up(item.session, error)
        last = cast(Any, verdict.reports[-1])
        # A plain dict on the report: that is how it gets from a worker of xdist to its controller.
        last.fungible = {
            "test": item.nodeid,
            "verdict": verdict.name,
            "why": verdict.why,
            "isolation": self._opened.isolation,
        }
        for report in verdict.reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _judged(self, item: pytest.Item) -> Verdict:
        one = self._attempt(item, several=0)
        if one.skipped:
            return Verdict(one.reports, NOT_JUDGED, "skipped or expected to fail")
        if not one.passed:
            for report in one.reports:
                if report.failed:
                    attach(report, "Not judged: it fails on one instance alone.")
            return Verdict(one.reports, NOT_JUDGED, _FAILS_ALONE)
        if len(one.sent) < 2:
            what = "sends one request only" if one.sent else "sends no request to the base URL over httpx or requests"
            return Verdict(one.reports, UNTOUCHED, what)
        scattered = self._attempt(item, several=len(one.sent))
        if scattered.passed:
            return Verdict(scattered.reports, JUDGED)
        # Held against a second run of each kind: a test that can't run twice, or fails now and then, is no finding.
        again = self._attempt(item, several=0)
        if not again.passed:
            return Verdict(one.reports, NOT_JUDGED, _FAILS_AGAIN)
        more = self._attempt(item, several=len(one.sent))
        return self._found(one, again, scattered, broke=1 + (not more.passed))

    def _found(self, one: Attempt, again: Attempt, scattered: Attempt, *, broke: int) -> Verdict:
        at = first_difference(one.sent, again.sent, scattered.sent)
        text = section(at, one.sent, scattered.sent, schedule=self.settings.schedule, broke=broke)
        blamed = next(report for report in scattered.reports if not report.passed or hasattr(report, "wasxfail"))
        if not blamed.failed:
            # Skipped where one instance alone passes: no test may get out of it that way.
            blamed.longrepr = f"skipped: {blamed.longrepr}"
            blamed.outcome = "failed"
        attach(blamed, f"{text}\n\n{advice(self.settings.command, self.settings.schedule)}")
        why = difference_words(at, one.sent, scattered.sent)
        return Verdict(scattered.reports, FINDING, why if broke == 2 else f"{why} (not every time: 1 of 2 runs)")

    def _attempt(self, item: pytest.Item, *, several: int) -> Attempt:
        """Runs a test on one fresh instance, or with `several` requests to come scattered over fresh ones."""
        assert self._opened is not None
        spread = self.settings.instances if several else 1
        killing = several > 0 and self.settings.schedule == "crash"
        # What an earlier run of the same test has noted on it is not this one's.
        item.user_properties[:] = self._properties
        cast(Any, item)._report_sections.clear()
        if self._opened.reset is not None:
            self._opened.reset()
        pool = cast(Any, self._opened.pool)
        with World(pool, min(spread, max(1, several))) as world:
            run = Run(world, spread=spread, killing=killing)
            with self._router.serving(run):
                # Without a next item everything is torn down, wider fixtures included.
                reports = runtestprotocol(item, log=False, nextitem=None)
            if run.failed is not None:
                raise run.failed
        return Attempt(reports, run.sent)

    # --- what is told --------------------------------------------------------------------------------------------

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collects what became of each test, from workers too."""
        told = getattr(report, "fungible", None)
        if told is not None:
            self._told.append(told)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A run that has judged nothing has proven nothing: it does not end with 0."""
        judged = any(one["verdict"] in {JUDGED, FINDING} for one in self._told)
        if self._told and not judged and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Instances, tests judged, findings."""
        if not self._told:
            return
        terminalreporter.section("fungible")
        for line in summary(
            self._told,
            instances=self.settings.instances,
            source=self.settings.target.start or " ".join(self.settings.target.at),
            schedule=self.settings.schedule,
        ):
            terminalreporter.line(line)


def _give_up(session: pytest.Session, error: CheckError) -> NoReturn:
    """Ends the session, in a worker of xdist all of them."""
    text = f"{_PREFIX}{error}"
    if hasattr(session.config, "workerinput"):
        session.shouldstop = text
        pytest.exit(text, returncode=pytest.ExitCode.USAGE_ERROR)
    raise pytest.UsageError(text) from None
