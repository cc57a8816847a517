"""A check that ends before it is through: by its budget, or because somebody stops it."""

import json
import signal
from pathlib import Path

import pytest
from apps.catalogue import BY_NAME
from command_line import CommandLine

from fungible.check.errors import CheckFileError
from fungible.check.flows.sources import distinctly_named
from fungible.check.model import Flow
from fungible.check.runs.budget import Agenda, in_turn, seconds

PATIENCE_S = 60.0
APP = BY_NAME["python_session"]


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.mark.parametrize(
    ("text", "found"), [("60s", 60), ("5m", 300), ("5 min", 300), ("1h", 3600), ("90", 90), ("1.5m", 90)]
)
def test_a_budget_is_a_time(text: str, found: float) -> None:
    assert seconds(text) == found


@pytest.mark.parametrize("text", ["", "soon", "5 days", "-3s", "0s", "1e3"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(CheckFileError, match="it should look like 60s or 5m"):
        seconds(text)


def test_the_first_part_of_each_work_comes_before_the_second_of_any() -> None:
    done: list[str] = []

    def work(name: str, parts: int):
        for part in range(parts):
            done.append(f"{name}{part}")
            yield

    in_turn([work("a", 2), work("b", 1), work("c", 3)])
    assert done == ["a0", "b0", "c0", "a1", "c1", "c2"]


def begun_agenda() -> Agenda:
    agenda = Agenda(["scatter", "crash", "repeat", "drain"], ["cart", "order"])
    for flow, part in (("cart", "baseline"), ("cart", "scatter"), ("order", "baseline")):
        with agenda.doing(flow, part, lambda: 0):
            pass
    return agenda


def test_what_was_left_out_is_told_by_schedule_and_flow() -> None:
    agenda = begun_agenda()
    with pytest.raises(KeyError), agenda.doing("order", "scatter", lambda: 0):
        raise KeyError
    assert agenda.left_out() == [
        "scatter was cut short (flow order)",
        "crash was not run",
        "repeat was not run",
        "drain was not run",
    ]
    assert agenda.unfinished() == {"scatter", "crash", "repeat", "drain"}


def test_nothing_is_left_out_once_all_is_done() -> None:
    agenda = begun_agenda()
    agenda.leave_out("crash")
    for flow, part in (("order", "scatter"), ("cart", "repeat"), ("order", "repeat"), ("", "drain")):
        assert agenda.left_out()
        with agenda.doing(flow, part, lambda: 0):
            pass
    assert (agenda.left_out(), agenda.unfinished(), agenda.starts_left()) == ([], frozenset(), 0)


def test_a_flow_that_has_no_ground_has_nothing_more_to_run() -> None:
    agenda = begun_agenda()
    agenda.drop("order")
    assert agenda.left_out() == ["crash was not run (flow cart)", "repeat was not run (flow cart)", "drain was not run"]


def test_the_starts_expected_follow_what_was_seen() -> None:
    count = 0

    def agenda_with(starts: int) -> Agenda:
        nonlocal count
        count = 0
        agenda = Agenda(["scatter", "crash"], ["cart"])
        with agenda.doing("cart", "baseline", lambda: count):
            count = starts
        return agenda

    cheap, dear = agenda_with(2).starts_left(), agenda_with(40).starts_left()
    assert 0 < cheap < dear


def test_flows_of_one_name_can_be_told_apart() -> None:
    flows = [Flow(name=name, steps=()) for name in ("flow", "flow", "flow-2", "other")]
    assert [flow.name for flow in distinctly_named(flows)] == ["flow", "flow-2", "flow-2-2", "other"]


def never_ending(cli: CommandLine) -> list[object]:
    """A check with a fault in its first flow, and a second flow that waits for ever."""
    waits = [APP.steps[0], *({**step, "delay_before": 600} for step in APP.steps[1:])]
    flows = [{"name": "faulty", "steps": APP.steps}, {"name": "waits", "steps": waits}]
    path = cli.write("two.json", {"target": {}, "flows": flows})
    reports = [part for kind in ("json", "html") for part in (f"--{kind}", cli.folder / f"report.{kind}")]
    shared = ["--env", f"SHARED_DIR={cli.app}", "--env", f"MARK={cli.mark}"]
    return ["--start", APP.command, *shared, "--directory", cli.app, "--file", path, *reports]


def report_of(cli: CommandLine) -> dict[str, object]:
    assert "<html" in (cli.folder / "report.html").read_text()
    return json.loads((cli.folder / "report.json").read_text())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_who_stops_a_check_gets_what_was_found(number: int, cli: CommandLine) -> None:
    process = cli.begin(*never_ending(cli))
    assert process.stderr is not None
    assert process.stderr.readline() == "fungible check: preparing\n"
    while "1 finding" not in (line := process.stderr.readline()):
        assert line, "it ended before it found anything"
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, out + err
    cli.is_clean()
    assert "STATEFUL" in out
    report = report_of(cli)
    assert (report["verdict"], report["cut"]) == ("stateful", "interrupt")
    assert {finding["kind"] for finding in report["findings"]} == {APP.kind}
    assert any("crash was not run" in line for line in report["not_exercised"])
    assert any("the check was stopped before all was run" in note for note in report["notes"])


def test_a_budget_that_is_used_up_leaves_no_verdict_where_nothing_was_found(cli: CommandLine) -> None:
    waits = [{**step, "delay_before": 600} for step in APP.steps]
    path = cli.write("waits.json", {"budget": "6s", "target": {}, "flows": [{"name": "waits", "steps": waits}]})
    shared = ["--env", f"SHARED_DIR={cli.app}", "--directory", cli.app]
    ended = cli.run("--start", APP.command, *shared, "--file", path, "--format", "json")
    report = json.loads(ended.out)
    assert (ended.status, report["verdict"], report["cut"]) == (2, "unjudged", "budget")
    assert report["reason"].startswith("the budget of 6 s was used up before all was run")
    assert {"crash was not run (flow waits)", "drain was not run"} <= set(report["not_exercised"])
    assert 5 < report["seconds"] < 60


def test_a_budget_that_is_enough_changes_nothing(cli: CommandLine) -> None:
    shared = ["--env", f"SHARED_DIR={cli.app}", "--directory", cli.app]
    quick = ["--schedules", "scatter", "--budget", "1h", "--jobs", "1"]
    ended = cli.run("--start", APP.command, *shared, "--file", cli.flow(APP.steps), "--format", "json", *quick)
    assert (ended.status, ended.report["cut"]) == (1, "")


@pytest.mark.parametrize(("option", "words"), [("--budget=soon", "is no time"), ("--jobs=0", "at least one instance")])
def test_options_that_make_no_sense_are_refused_at_once(option: str, words: str, cli: CommandLine) -> None:
    ended = cli.run("--start", APP.command, option)
    assert ended.status == 2
    assert words in ended.said


SLOW_TO_END = """
import time
import fungible.check.stopping as stopping

def close(self, whole=stopping.Endings.close):
    if not self.closed:
        print("ending", flush=True)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            time.sleep(0.1)
    whole(self)

stopping.Endings.close = close
"""


def test_a_second_interrupt_ends_at_once_and_leaves_nothing(cli: CommandLine) -> None:
    process = cli.begin(*never_ending(cli), before=SLOW_TO_END)
    cli.wait_for(Path(APP.command.split()[1]).name, besides=process.pid)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "ending\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (130, "")
    assert err.endswith("fungible: stopped\n")
    assert not (cli.folder / "report.json").exists()
    cli.is_clean()
