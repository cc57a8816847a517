"""With `FUNGIBLE_REQUIRE=all` in the environment, as in CI, nothing is skipped: what is missing fails, by name."""

import os
from collections.abc import Generator

import pytest


def refused(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turns a skip into a failure that gives the reason; an expected failure is no skip."""
    if os.environ.get("FUNGIBLE_REQUIRE") != "all" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"FUNGIBLE_REQUIRE=all lets nothing be skipped: {reason.removeprefix('Skipped: ')}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    refused(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refused(report)
    return report
