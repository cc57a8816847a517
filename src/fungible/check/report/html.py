"""The report as one HTML file: no script, nothing loaded from anywhere, readable on a phone and on paper."""

import base64
import hashlib
from collections.abc import Iterable
from importlib.resources import files

from fungible.check.findings.fixes import FRAMEWORKS, WHAT
from fungible.check.model import Finding, FlowRun, Question, Report, ScheduleRun
from fungible.check.report.lanes_html import graph_width, witness_html
from fungible.check.report.markup import escaped, escaped_lines, prose
from fungible.check.report.words import (
    SCHEDULE_WORDS,
    addresses,
    by_severity,
    count,
    duration,
    headline,
    origin,
    setting,
)

_MARKS = {"yes": "✓", "no": "✗", "not exercised": "–"}


def to_html(report: Report) -> bytes:
    """The report as a self-contained HTML document.

    Whatever came from the application is escaped, and a Content-Security-Policy that knows the hash of the one style
    sheet forbids everything else, should the escaping ever miss a place.
    """
    word, sentence = headline(report)
    findings = by_severity(report.findings)
    style = _style(findings)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    body = "".join(
        (
            _masthead(report, word, sentence),
            "<main>",
            _contents(findings),
            _findings(findings),
            '<div class="pair">',
            _questions(report.questions),
            _bullets("Not exercised", report.not_exercised),
            "</div>",
            _schedules(report.schedules),
            _flows(report.flows),
            "</main>",
            f"<footer>{' · '.join(escaped(part) for part in setting(report))}</footer>",
        )
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{escaped(word.capitalize())} - fungible check</title>\n"
        f"<style>{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    ).encode()


def _style(findings: Iterable[Finding]) -> str:
    """The style sheet, with the widths of the drawings: style attributes would need a weaker policy."""
    widths = sorted({graph_width(finding.witness) for finding in findings if finding.witness})
    return files("fungible.check.report").joinpath("report.css").read_text("utf-8") + "".join(
        f".w{w}{{width:{w}px}}" for w in widths
    )


def _masthead(report: Report, word: str, sentence: str) -> str:
    framework = FRAMEWORKS.get(report.framework, report.framework)
    command = f"<code>{escaped(report.command)}</code>" if report.command else ""
    about = f'<p class="command">{command} {escaped(framework)}</p>' if command or framework else ""
    notes = "".join(f'<div class="note">{_said(note)}</div>' for note in report.notes)
    first, _, rest = sentence.partition("\n")
    log = f"<pre>{escaped_lines(rest)}</pre>" if rest else ""
    return (
        f'<header class="{report.verdict}"><p class="tool">fungible check</p>'
        f'<h1><span class="verdict">{escaped(word.capitalize())}</span> <span class="sentence">{escaped(first)}</span></h1>'
        f"{log}{about}{notes}</header>"
    )


def _said(text: str) -> str:
    """A note; what follows its first line is the end of a log."""
    first, _, rest = text.partition("\n")
    return f"<p>{prose(first)}</p>" + (f"<pre>{escaped_lines(rest)}</pre>" if rest else "")


def _contents(findings: list[Finding]) -> str:
    if len(findings) < 2:
        return ""
    rows = "".join(
        f'<li><a href="#finding-{number}">{_badge(finding)} <span class="name">{escaped(finding.title)}</span> '
        f'<span class="where">{escaped(finding.flow)} / {escaped(finding.step)}</span></a></li>'
        for number, finding in enumerate(findings, start=1)
    )
    return f'<nav aria-label="Findings"><ol>{rows}</ol></nav>'


def _badge(finding: Finding) -> str:
    return f'<span class="badge {finding.severity.lower()}">{finding.severity}</span>'


def _findings(findings: list[Finding]) -> str:
    return "".join(_finding(number, finding) for number, finding in enumerate(findings, start=1))


def _finding(number: int, finding: Finding) -> str:
    racy = '<span class="racy">does not show every time</span>' if finding.racy else ""
    return (
        f'<article id="finding-{number}" class="{finding.severity.lower()}">'
        f'<header><p class="marks">{_badge(finding)} <code class="kind">{finding.kind}</code> {racy}</p>'
        f'<h2>{escaped(finding.title)}</h2><p class="what">{escaped(WHAT[finding.kind])}</p>'
        f'<p class="where">{escaped(origin(finding))}</p></header>'
        f'<div class="columns"><div>{_difference(finding)}{_witness(finding)}</div>'
        f"<div>{_way_out(finding)}{_evidence(finding)}</div></div>{_commands(finding)}</article>"
    )


def _difference(finding: Finding) -> str:
    rows = [("expected", "expected", escaped(finding.expected)), ("saw", "saw", escaped(finding.saw))]
    if finding.writer and finding.writer != finding.step:
        rows.append(("", "missing", f"what step <b>{escaped(finding.writer)}</b> did"))
    if finding.also:
        rows.append(("", "also broke", ", ".join(escaped(step) for step in finding.also)))
    cells = "".join(f'<div class="{style}"><dt>{label}</dt><dd>{value}</dd></div>' for style, label, value in rows)
    return f'<dl class="difference">{cells}</dl>'


def _witness(finding: Finding) -> str:
    return f"<h3>Witness</h3>{witness_html(finding.witness)}" if finding.witness else ""


def _way_out(finding: Finding) -> str:
    docs = escaped(finding.docs)
    # Only a web address becomes a link: anything else could be a `javascript:` of the application's making.
    link = (
        f'<a href="{docs}" rel="noreferrer">{docs}</a>'
        if finding.docs.startswith("https://")
        else f"<code>{docs}</code>"
    )
    more = f'<p class="docs">More: {link}</p>' if docs else ""
    return f'<section class="fix"><h3>Way out</h3><p>{prose(finding.fix)}</p>{more}</section>'


def _evidence(finding: Finding) -> str:
    if not finding.evidence:
        return ""
    rows = "".join(f"<li>{prose(line)}</li>" for line in finding.evidence)
    return f'<section class="evidence"><h3>Evidence</h3><ul>{rows}</ul></section>'


def _commands(finding: Finding) -> str:
    if not finding.witness:
        return ""
    rows = [f'<span class="said"># {escaped(addresses(finding.witness))}\n</span>']
    for number, request in enumerate(finding.witness, start=1):
        event = f"# {escaped(request.event)}\n" if request.event else ""
        said = f"# {number}: {escaped(request.step)}, at instance {escaped(request.instance)}"
        rows.append(f'<span class="said">{event}{said}\n</span><code>{escaped_lines(request.curl)}</code>')
    hint = '<span class="hint">a click selects one command</span>'
    return f'<section class="commands"><h3>By hand {hint}</h3><pre tabindex="0">{"".join(rows)}</pre></section>'


def _questions(questions: Iterable[Question]) -> str:
    rows = "".join(
        f'<li class="{question.answer.replace(" ", "-")}"><span class="mark" aria-hidden="true">{_MARKS[question.answer]}</span>'
        f'<div><b>{escaped(question.text)}</b> <span class="answer">{question.answer}</span>'
        f"<p>{prose(question.why)}</p></div></li>"
        for question in questions
    )
    return f'<section class="questions"><h2>Five questions</h2><ul>{rows}</ul></section>' if rows else ""


def _bullets(title: str, texts: Iterable[str]) -> str:
    rows = "".join(f"<li>{prose(text)}</li>" for text in texts)
    return f'<section class="bullets"><h2>{title}</h2><ul>{rows}</ul></section>' if rows else ""


def _schedules(schedules: Iterable[ScheduleRun]) -> str:
    rows = "".join(
        f'<tr><th scope="row"><b>{run.name}</b> <span>{SCHEDULE_WORDS[run.name]}</span>'
        f"{f'<em>{escaped(run.note)}</em>' if run.note else ''}</th>"
        f"<td>{run.runs}</td><td>{duration(run.seconds)}</td><td>{run.findings}</td></tr>"
        for run in schedules
    )
    head = '<tr><th scope="col">Schedule</th><th scope="col">Runs</th><th scope="col">Time</th><th scope="col">Findings</th></tr>'
    return (
        f'<section class="schedules"><h2>Schedules</h2><table><thead>{head}</thead><tbody>{rows}</tbody></table></section>'
        if rows
        else ""
    )


def _flows(flows: Iterable[FlowRun]) -> str:
    rows = "".join(
        f"<details><summary>{escaped(flow.name)} <span>{count(len(flow.steps), 'step')}</span></summary>"
        f"<ol>{''.join(f'<li><code>{escaped(step)}</code></li>' for step in flow.steps)}</ol></details>{_masked(flow)}"
        for flow in flows
    )
    return f'<section class="flows"><h2>Flows</h2>{rows}</section>' if rows else ""


def _masked(flow: FlowRun) -> str:
    if not flow.masked:
        return ""
    rows = "".join(f"<li><code>{escaped(place)}</code></li>" for place in flow.masked)
    summary = f"{escaped(flow.name)} <span>{count(len(flow.masked), 'place')} not compared: different on one instance too</span>"
    return f"<details><summary>{summary}</summary><ul>{rows}</ul></details>"
