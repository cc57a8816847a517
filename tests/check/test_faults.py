"""The engine against the zoo: each planted fault is found where it is, with a witness; each mended twin is left in peace."""

from typing import Any

import msgspec
import pytest
from apps.catalogue import APPS, BY_NAME, App

from fungible.check.engine import Check
from fungible.check.model import DECIDING, SCHEDULES, CheckFile, Finding, Report, ScheduleName

FAULTY = [pytest.param(app, id=app.name) for app in APPS if app.kind is not None]
NOISY = [pytest.param(app, id=app.name) for app in APPS if app.kind is None]


def schedules_for(app: App) -> tuple[ScheduleName, ...]:
    """Those that the fault shows under; what decides between the verdicts always includes `scatter`."""
    if not app.schedules:
        return ("scatter",)
    shows = {*app.schedules, *(("scatter",) if DECIDING & {*app.schedules} else ())}
    return tuple(name for name in SCHEDULES if name in shows)


def checked(app: App, tmp_path, *, mended=False, schedules: tuple[ScheduleName, ...] = SCHEDULES, **how: Any) -> Report:
    """A whole check of the application, in this process."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "app").mkdir()
    target = {
        "start": app.command,
        "directory": str(tmp_path / "app"),
        "shared": [str(tmp_path / "shared")],
        "env": {"SHARED_DIR": str(tmp_path / "shared"), **(app.env_mended if mended else {})},
    }
    document = {"target": target, "flows": [{"name": app.name, "steps": app.steps}]}
    check_file = msgspec.convert(document, CheckFile)
    return Check(check_file=check_file, directory=tmp_path, schedules=schedules, **how).run()


def told(report: Report) -> str:
    """What a failed test should show of a report."""
    found = [
        f"{one.kind} at {one.step} (also {', '.join(one.also) or 'none'}) of {one.writer}, {one.schedule}, {one.shown}: "
        f"expected {one.expected[:200]}, saw {one.saw[:200]}; {'; '.join(one.evidence)[:600]}"
        for one in report.findings
    ]
    return "\n".join([f"{report.verdict} {report.reason}", *found, *report.notes])


def planted(app: App, report: Report) -> Finding:
    """The finding of the planted fault; there is none of any other kind."""
    assert report.findings, told(report)
    assert {found.kind for found in report.findings} <= {app.kind, *app.also_kinds}, told(report)
    at_step = [found for found in report.findings if app.step in {found.step, *found.also}]
    assert at_step, told(report)
    return at_step[0]


@pytest.mark.parametrize("app", FAULTY)
def test_the_planted_fault_is_found_where_it_is(app, tmp_path):
    report = checked(app, tmp_path, schedules=schedules_for(app))
    found = planted(app, report)
    if found.step == app.step and app.writer is not None:
        assert found.writer == app.writer, told(report)
    deciding = [one for one in report.findings if one.schedule in DECIDING]
    assert report.verdict == ("stateful" if deciding else "stateless"), told(report)
    assert bool(deciding) == (not app.schedules or bool(DECIDING & {*app.schedules})), told(report)
    assert report.exit_status == 1
    for one in deciding:
        assert (one.shown, one.racy) == ("3 of 3", False), told(report)


@pytest.mark.parametrize("app", FAULTY)
def test_the_mended_twin_is_left_in_peace(app, tmp_path):
    report = checked(app, tmp_path, mended=True, schedules=schedules_for(app))
    assert (report.verdict, report.findings) == ("stateless" if app.exercises else "unjudged", ()), told(report)


@pytest.mark.parametrize("app", NOISY)
def test_an_application_that_never_answers_alike_is_left_in_peace_by_every_schedule(app, tmp_path):
    report = checked(app, tmp_path)
    assert (report.verdict, report.findings) == ("stateless", ()), told(report)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("python_session", {"session"}),
        ("node_signed_cookie", {"per-instance-secret"}),
        ("python_signed_cookie", {"per-instance-secret"}),
        ("python_sqlite", {"data-on-local-disk"}),
        ("python_upload", {"upload"}),
        ("python_cache", {"cache"}),
    ],
)
def test_faults_are_found_without_namespaces_too(name, kinds, tmp_path):
    app = BY_NAME[name]
    report = checked(app, tmp_path, schedules=schedules_for(app), isolation_wanted=0)
    found = planted(app, report)
    assert found.kind in kinds, told(report)
    assert report.isolation.startswith("level 0"), report.isolation


@pytest.mark.parametrize("name", ["python_session", "python_signed_cookie", "python_upload"])
def test_mended_twins_are_left_in_peace_without_namespaces_too(name, tmp_path):
    app = BY_NAME[name]
    report = checked(app, tmp_path, mended=True, schedules=schedules_for(app), isolation_wanted=0)
    assert (report.verdict, report.findings) == ("stateless", ()), told(report)
