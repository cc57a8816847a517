"""What stands in the text report beside findings, and how its lines are broken."""

import io

import msgspec
import pytest
from rich.console import Console
from rich.text import Text
from test_reports import CLEAN, FULL, SESSION, UNJUDGED, printed

from fungible.check.model import FlowRun, Report, ScheduleRun
from fungible.check.report import print_report, to_html
from fungible.check.report.masked import masked_lines
from fungible.check.report.wrapping import hanging, wrapped
from fungible.cli.check import _print, _say


def flow(*masked: str, name: str = "shop") -> FlowRun:
    return FlowRun(name=name, steps=("login: POST /login -> 303",), masked=masked)


def section(report: Report, title: str) -> list[str]:
    """The lines below a title, up to the next empty one."""
    rows = printed(report, width=100).splitlines()
    at = next(at for at, row in enumerate(rows) if row.startswith(title))
    return rows[at + 1 : rows.index("", at)]


# Masked places


def test_a_masked_status_stands_first_then_location_and_cookies_then_what_most_steps_have():
    found = masked_lines(
        [
            flow(
                "home: html body/footer/text()",
                "home: json /b",
                "me: cookie sid",
                "me: html body/footer/text()",
                "me: location",
                "me: status",
                "out: status",
            )
        ]
    )
    assert found == [
        "status: steps me, out",
        "Location: step me",
        "cookie sid: step me",
        "text of footer in body: steps home, me",
        "b: step home",
    ]


def test_masked_places_are_grouped_and_short_however_many_there_are():
    many = flow(*(f"step-{at}: json /k{at % 20}" for at in range(200)), "me: status")
    found = masked_lines([many])
    assert len(found) == 8
    assert found[0] == "status: step me"
    assert found[1] == "k0: steps step-0, step-20, step-40 and 7 others"
    assert found[-1] == "and 14 places more, which the JSON and HTML reports have"


def test_where_there_are_several_flows_masked_steps_are_named_with_theirs():
    found = masked_lines([flow("me: status"), flow("me: status", name="blog")])
    assert found == ["status: steps shop / me, blog / me"]


def test_masked_places_stand_in_the_text_report_of_a_check_that_found_nothing():
    report = msgspec.structs.replace(CLEAN, flows=(flow("me: status"),))
    assert section(report, "Not compared") == ["–  status: step me"]
    assert "Not compared" not in printed(msgspec.structs.replace(CLEAN, flows=(flow(),)))


# Schedules


def test_each_schedule_that_did_not_run_stands_there_with_its_reason():
    skipped = (
        ScheduleRun(name="scatter", runs=2, seconds=1, findings=0),
        ScheduleRun(name="race", runs=0, seconds=0, findings=0, note="no request changes anything"),
        ScheduleRun(name="drain", runs=0, seconds=0, findings=0, note="not asked for"),
    )
    report = msgspec.structs.replace(CLEAN, schedules=skipped)
    assert section(report, "Schedules not run") == ["–  race: no request changes anything", "–  drain: not asked for"]
    assert "scatter 2 runs 1.0 s" in printed(report)


# Lines


WORDS = "several words of a text with /a/very/long/path/that/is/longer/than/any/line/of/it and more words after it"


@pytest.mark.parametrize("width", [20, 24, 33, 60, 200])
def test_text_is_broken_at_words_only_and_a_long_word_stays_whole(width: int):
    rows = [row.plain for row in wrapped(Text(WORDS), width)]
    assert " ".join(rows) == WORDS
    assert all(len(row) <= width or " " not in row for row in rows)


def test_wide_characters_count_as_two_and_styles_stay():
    rows = wrapped(Text("日本語日本語 日本語日本語 x", style="bold"), 20)
    assert [row.plain for row in rows] == ["日本語日本語", "日本語日本語 x"]
    assert {str(row.style) for row in rows} == {"bold"}


def test_line_breaks_of_a_log_stay_and_what_goes_on_hangs_under_its_beginning():
    console = Console(file=io.StringIO(), width=30)
    rows = [row.plain for row in hanging(console, Text("note: "), Text("one two three four five six seven\nlast"), 6)]
    assert rows == ["note: one two three four five", "      six seven", "      last"]
    assert [row.plain for row in hanging(console, Text(), Text("a"), 6)] == ["      a"]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_every_part_of_a_report_hangs_and_no_line_ends_in_spaces(width: int):
    long = msgspec.structs.replace(SESSION, evidence=(WORDS, WORDS), fix=WORDS, title="A title of its own " * 6)
    report = msgspec.structs.replace(FULL, findings=(long, long), notes=(WORDS,), not_exercised=(WORDS,))
    rows = printed(report, width=width).splitlines()
    assert not [row for row in rows if row != row.rstrip() and not row.startswith("curl ")]
    for label, indent in (
        ("evidence   several", 11),
        ("fix        several", 11),
        ("note: several", 6),
        ("–  several", 3),
    ):
        at = next(at for at, row in enumerate(rows) if row.startswith(label))
        assert rows[at + 1].startswith(" " * indent)
        assert rows[at + 1][indent] != " "


def test_commands_say_what_the_letters_stand_for():
    text = printed(FULL)
    assert "# by hand: A=http://127.0.0.1:8001 B=http://127.0.0.1:8002, or wherever" in text.replace("\n", " ")
    assert text.index("# by hand") < text.index("curl ")


def test_what_a_repeated_request_did_is_not_missing():
    twice = msgspec.structs.replace(SESSION, writer=SESSION.step)
    assert "missing" in printed(msgspec.structs.replace(FULL, findings=(SESSION,)))
    assert "missing" not in printed(msgspec.structs.replace(FULL, findings=(twice,)))


def test_the_reason_with_a_log_keeps_the_lines_of_the_log():
    report = msgspec.structs.replace(
        UNJUDGED, reason="Step a was answered 500.\nThe end of its log:\nTraceback\n  x = 1"
    )
    rows = [row.strip() for row in printed(report, width=100).splitlines()]
    at = rows.index("NOT JUDGED  Step a was answered 500.")
    assert rows[at + 1 : at + 4] == ["The end of its log:", "Traceback", "x = 1"]


def test_a_report_is_printed_on_a_console_without_colours_or_width():
    stream = io.StringIO()
    print_report(FULL, Console(file=stream, width=1, color_system=None))
    assert "curl -si" in stream.getvalue()


# The page


def test_the_page_shows_logs_line_by_line_and_says_what_the_letters_stand_for():
    log = "Traceback:\n  KeyError: '<b>'"
    report = msgspec.structs.replace(UNJUDGED, reason=f"Step a was answered 500.\n{log}", notes=(f"b fails\n{log}",))
    page = to_html(report).decode()
    shown = "<pre>Traceback:\n  KeyError: &#x27;&lt;b&gt;&#x27;</pre>"
    assert f"Step a was answered 500.</span></h1>{shown}" in page
    assert f'<div class="note"><p>b fails</p>{shown}</div>' in page
    assert "# A=http://127.0.0.1:8001 B=http://127.0.0.1:8002" in to_html(FULL).decode()


@pytest.mark.parametrize(("columns", "width"), [(None, 100), ("70", 70)])
def test_without_a_terminal_lines_are_as_long_as_columns_says_or_100(columns, width, monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    _print(msgspec.structs.replace(CLEAN, notes=("word " * 100,)), None)
    rows = capsys.readouterr().out.splitlines()
    assert width - 5 <= max(map(len, rows)) <= width


def test_a_message_is_broken_at_words_on_a_terminal_and_whole_in_a_file():
    for terminal in (True, False):
        stream = io.StringIO()
        _say(Console(file=stream, width=40, force_terminal=terminal, color_system=None, _environ={}), WORDS)
        rows = stream.getvalue().splitlines()
        assert " ".join(rows) == WORDS
        assert (len(rows) > 1) is terminal
