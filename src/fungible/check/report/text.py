"""The report on a terminal: the verdict first, then what broke, the way to see it again, and the way out."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from fungible.check.model import Finding, Question, Report, Severity
from fungible.check.report.lanes_text import Glyphs, witness_lines
from fungible.check.report.masked import masked_lines
from fungible.check.report.words import (
    addresses,
    by_severity,
    headline,
    lines,
    one_line,
    origin,
    schedules_run,
    setting,
    unrun,
)
from fungible.check.report.wrapping import hanging, wrapped

_VERDICT_STYLE = {"stateless": "bold green", "stateful": "bold red", "unjudged": "bold yellow"}
_BADGE_STYLE: dict[Severity, str] = {"BREAKING": "bold red", "HIGH": "bold yellow", "MEDIUM": "bold cyan"}
_LABEL_WIDTH = 11
_MARK_WIDTH = 3


def print_report(report: Report, console: Console) -> None:
    """Prints the whole report. Commands are never cut or broken: the terminal wraps them itself."""
    _Printer(report, console).print()


class _Printer:
    """One report on one console; knows which characters the console can show."""

    def __init__(self, report: Report, console: Console) -> None:
        self._report = report
        self._console = console
        self._glyphs = Glyphs.fitting(console.encoding)

    def print(self) -> None:
        report = self._report
        self._verdict()
        if report.command:
            framework = f"  ({one_line(report.framework)})" if report.framework else ""
            self._whole(self._text(f"{one_line(report.command)}{framework}", "dim"))
        for note in report.notes:
            self._labelled(self._text("note: ", "yellow"), self._text(lines(note), "yellow"), 6)
        findings = by_severity(report.findings)
        if len(findings) > 1:
            self._contents(findings)
        for number, finding in enumerate(findings, start=1):
            self._finding(number, finding)
        self._section("Five questions", report.questions)
        self._bullets("Not exercised", report.not_exercised)
        self._bullets("Not compared, since one instance alone answers now so, now so", masked_lines(report.flows))
        self._bullets("Schedules not run", unrun(report))
        self._setting()
        if findings:
            # Once more, since the end of a long report is what stands on the screen.
            self._line()
            self._verdict()

    def _verdict(self) -> None:
        word, sentence = headline(self._report)
        label = self._text(f"{word}  ", _VERDICT_STYLE[self._report.verdict])
        self._labelled(label, self._text(sentence), label.cell_len)

    def _contents(self, findings: list[Finding]) -> None:
        """One line a finding, as what a hurried reader takes away."""
        self._line()
        titles = max(cell_len(finding.title) for finding in findings)
        for finding in findings:
            badge = self._text(finding.severity, _BADGE_STYLE[finding.severity])
            place = f"{one_line(finding.flow)} / {one_line(finding.step)}"
            title = one_line(finding.title)
            text = self._text(f"{title}{' ' * max(0, titles - cell_len(title))}  ")
            self._labelled(badge, text + self._text(place, "dim"), 10)

    def _finding(self, number: int, finding: Finding) -> None:
        self._line()
        at = f"{number} of {len(self._report.findings)} "
        rule = self._glyphs.rule * max(0, min(self._console.width, 100) - len(at))
        self._line(self._text(at + rule, "dim"))
        badge = self._text(finding.severity, _BADGE_STYLE[finding.severity])
        self._labelled(badge, self._text(one_line(finding.title), "bold"), len(finding.severity) + 2)
        for label, value, style in self._facts(finding):
            self._fact(label, value, style)
        if finding.witness:
            self._witness(finding)
        for position, line in enumerate(finding.evidence):
            self._fact("" if position else "evidence", one_line(line))
        self._fact("fix", one_line(finding.fix))
        self._fact("docs", one_line(finding.docs))

    def _facts(self, finding: Finding) -> list[tuple[str, str, str]]:
        missing = finding.writer if finding.writer != finding.step else None
        facts = [
            ("kind", finding.kind, ""),
            ("found in", origin(finding), ""),
            ("expected", one_line(finding.expected), "green"),
            ("saw", one_line(finding.saw), "bold red"),
            ("missing", f"what step {one_line(missing)} did" if missing else "", ""),
            ("also broke", ", ".join(one_line(step) for step in finding.also), ""),
        ]
        return [fact for fact in facts if fact[1]]

    def _witness(self, finding: Finding) -> None:
        self._line()
        for line in witness_lines(finding.witness, width=min(self._console.width, 110) - 2, glyphs=self._glyphs):
            self._whole(Text("  ") + self._safe(line))
        self._line()
        self._line(self._text(f"# by hand: {addresses(finding.witness)}", "dim"))
        for position, request in enumerate(finding.witness, start=1):
            if request.event:
                self._line(self._text(f"# {one_line(request.event)}", "dim"))
            self._line(
                self._text(f"# {position}: {one_line(request.step)}, at instance {one_line(request.instance)}", "dim")
            )
            self._whole(self._text(lines(request.curl)))
        self._line()

    def _section(self, title: str, questions: Sequence[Question]) -> None:
        if questions:
            self._line()
            self._line(self._text(title, "bold"))
        for question in questions:
            glyph, style = {
                "yes": (self._glyphs.yes, "green"),
                "no": (self._glyphs.no, "bold red"),
                "not exercised": (self._glyphs.unknown, "dim"),
            }[question.answer]
            why = f" - {one_line(question.why)}" if question.why else ""
            asked = Text.assemble(
                self._text(one_line(question.text)), " ", self._text(question.answer, style), self._text(why, "dim")
            )
            self._labelled(self._text(glyph, style), asked, _MARK_WIDTH)

    def _bullets(self, title: str, rows: Sequence[str]) -> None:
        if rows:
            self._line()
            self._line(self._text(title, "bold"))
        for row in rows:
            self._labelled(self._text(self._glyphs.unknown, "dim"), self._text(one_line(row)), _MARK_WIDTH)

    def _setting(self) -> None:
        self._line()
        for parts in (schedules_run(self._report), setting(self._report)):
            # A part is broken only where it is longer than a line.
            for row in _joined(parts, f" {self._glyphs.dot} ", self._console.width):
                self._line(self._text(row, "dim"))

    def _fact(self, label: str, value: str, style: str = "") -> None:
        self._labelled(self._text(label, "dim"), self._text(value, style), _LABEL_WIDTH)

    def _labelled(self, label: Text, text: Text, indent: int) -> None:
        for row in hanging(self._console, label, text, indent):
            self._whole(row)

    def _text(self, text: str, style: str = "") -> Text:
        return self._safe(Text(text, style=style))

    def _safe(self, text: Text) -> Text:
        """The text without characters that the console's encoding lacks: they would end the check with an error."""
        encoding = self._console.encoding
        try:
            text.plain.encode(encoding)
        except UnicodeEncodeError:
            return Text(text.plain.encode(encoding, "backslashreplace").decode(encoding), style=text.style)
        return text

    def _line(self, text: Text | None = None) -> None:
        for row in wrapped(text or Text(), self._console.width):
            self._whole(row)

    def _whole(self, text: Text) -> None:
        # Soft: rich neither cuts nor breaks the line, so that a command or a path is copied whole.
        self._console.print(text, soft_wrap=True, highlight=False, markup=False, emoji=False)


def _joined(parts: Sequence[str], dot: str, width: int) -> list[str]:
    rows: list[str] = []
    for part in parts:
        if rows and cell_len(rows[-1]) + cell_len(dot) + cell_len(part) <= width:
            rows[-1] += dot + part
        else:
            rows.append(part)
    return rows
