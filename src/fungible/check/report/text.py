"""The report on a terminal: the verdict first, then what broke, the way to see it again, and the way out."""

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from fungible.check.model import Finding, Question, Report, Severity
from fungible.check.report.lanes_text import Glyphs, witness_lines
from fungible.check.report.words import by_severity, count, duration, headline, lines, one_line, origin, setting

_VERDICT_STYLE = {"stateless": "bold green", "stateful": "bold red", "unjudged": "bold yellow"}
_BADGE_STYLE: dict[Severity, str] = {"BREAKING": "bold red", "HIGH": "bold yellow", "MEDIUM": "bold cyan"}
_LABEL_WIDTH = 10


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
            self._line(self._text(f"{one_line(report.command)}{framework}", "dim"))
        for note in report.notes:
            self._line(self._text(f"note: {one_line(note)}", "yellow"))
        findings = by_severity(report.findings)
        if len(findings) > 1:
            self._contents(findings)
        for number, finding in enumerate(findings, start=1):
            self._finding(number, finding)
        self._section("Five questions", [self._question(question) for question in report.questions])
        self._section("Not exercised", [self._bullet(one_line(line)) for line in report.not_exercised])
        self._schedules()
        self._line(self._text(f" {self._glyphs.dot} ".join(setting(report)), "dim"))
        if findings:
            # Once more, since the end of a long report is what stands on the screen.
            self._line()
            self._verdict()

    def _verdict(self) -> None:
        word, sentence = headline(self._report)
        self._line(Text.assemble((f"{word}  ", _VERDICT_STYLE[self._report.verdict]), self._text(sentence)))

    def _contents(self, findings: list[Finding]) -> None:
        """One line a finding, as what a hurried reader takes away."""
        self._line()
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        table.add_column(overflow="fold", style="dim")
        for finding in findings:
            badge = self._text(finding.severity, _BADGE_STYLE[finding.severity])
            place = self._text(f"{one_line(finding.flow)} / {one_line(finding.step)}")
            table.add_row(badge, self._text(one_line(finding.title)), place)
        self._line(table)

    def _finding(self, number: int, finding: Finding) -> None:
        self._line()
        self._line(
            Rule(
                self._text(f"{number} of {len(self._report.findings)}"),
                align="left",
                style="dim",
                characters=self._glyphs.rule,
            )
        )
        badge = (finding.severity, _BADGE_STYLE[finding.severity])
        self._line(Text.assemble(badge, "  ", self._text(one_line(finding.title), "bold")))
        facts = _grid()
        for label, value, style in self._facts(finding):
            facts.add_row(self._text(label, "dim"), self._text(value, style))
        self._line(facts)
        if finding.witness:
            self._witness(finding)
        after = _grid()
        for position, line in enumerate(finding.evidence):
            after.add_row(self._text("" if position else "evidence", "dim"), self._text(one_line(line)))
        after.add_row(self._text("fix", "dim"), self._text(one_line(finding.fix)))
        after.add_row(self._text("docs", "dim"), self._text(one_line(finding.docs)))
        self._line(after)

    def _facts(self, finding: Finding) -> list[tuple[str, str, str]]:
        facts = [
            ("kind", finding.kind, ""),
            ("found in", origin(finding), ""),
            ("expected", one_line(finding.expected), "green"),
            ("saw", one_line(finding.saw), "bold red"),
            ("missing", f"what step {one_line(finding.writer)} did" if finding.writer else "", ""),
            ("also broke", ", ".join(one_line(step) for step in finding.also), ""),
        ]
        return [fact for fact in facts if fact[1]]

    def _witness(self, finding: Finding) -> None:
        self._line()
        for line in witness_lines(finding.witness, width=min(self._console.width, 110) - 2, glyphs=self._glyphs):
            self._line(Padding(self._safe(line), (0, 0, 0, 2)))
        self._line()
        for position, request in enumerate(finding.witness, start=1):
            if request.event:
                self._line(self._text(f"# {one_line(request.event)}", "dim"))
            self._line(
                self._text(f"# {position}: {one_line(request.step)}, at instance {one_line(request.instance)}", "dim")
            )
            # Soft: rich neither cuts nor breaks the line, so that it is copied whole.
            self._console.print(self._text(lines(request.curl)), soft_wrap=True, highlight=False)
        self._line()

    def _question(self, question: Question) -> RenderableType:
        glyph, style = {
            "yes": (self._glyphs.yes, "green"),
            "no": (self._glyphs.no, "bold red"),
            "not exercised": (self._glyphs.unknown, "dim"),
        }[question.answer]
        row = _grid(2)
        why = f" - {one_line(question.why)}" if question.why else ""
        asked = Text.assemble(
            self._text(one_line(question.text)), " ", self._text(question.answer, style), self._text(why, "dim")
        )
        row.add_row(self._text(glyph, style), asked)
        return row

    def _bullet(self, line: str) -> RenderableType:
        row = _grid(2)
        row.add_row(self._text(self._glyphs.unknown, "dim"), self._text(line))
        return row

    def _section(self, title: str, rows: list[RenderableType]) -> None:
        if rows:
            self._line()
            self._line(self._text(title, "bold"))
            for row in rows:
                self._line(row)

    def _schedules(self) -> None:
        self._line()
        ran = [
            f"{run.name} {count(run.runs, 'run')} {duration(run.seconds)}{f' ({one_line(run.note)})' if run.note else ''}"
            for run in self._report.schedules
        ]
        if any(run.runs for run in self._report.schedules):
            self._line(self._text(f" {self._glyphs.dot} ".join(ran), "dim"))

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

    def _line(self, renderable: RenderableType = "") -> None:
        self._console.print(renderable, highlight=False, markup=False, emoji=False)


def _grid(label_width: int = _LABEL_WIDTH) -> Table:
    """Two columns without lines: a label, and a text that folds under itself."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=label_width, no_wrap=True)
    grid.add_column(overflow="fold")
    return grid
