"""Puts what was found into words: witness, evidence, what was expected and seen, the way out."""

import html
import re
from collections.abc import Sequence
from dataclasses import replace

from fungible.check.findings.curl import curl
from fungible.check.findings.fixes import SEVERITY, TITLE, docs_for, fix_for
from fungible.check.http.jar import read_set_cookie
from fungible.check.model import Finding, Kind, Severity, WitnessRequest
from fungible.check.oracle.noise import Difference
from fungible.check.runs.ground import Ground, answer_words
from fungible.check.runs.runner import Outcome, Trace
from fungible.check.runs.subject import Subject
from fungible.check.schedules.drain import Dropped
from fungible.check.schedules.explore import Found
from fungible.check.schedules.race import Raced
from fungible.check.schedules.repeat import Doubled
from fungible.check.witness.evidence import is_sticky_cookie
from fungible.check.witness.witness import TIMES

_COOKIE_LIMIT = 4096
"""Bytes of name, value and attributes that a user agent must support, and browsers keep to (RFC 6265 section 6.1)."""
_OPENING = re.compile(r"<(head|style|script)\b|<")
_UNSEEN = ("head", "style", "script")
_MOST_SHOWN = 200
"""Characters of an answer's text."""
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def letter(slot: int) -> str:
    """The name of an instance in a witness."""
    return _LETTERS[slot] if slot < len(_LETTERS) else f"I{slot}"


def from_found(found: Found, subject: Subject, framework: str) -> Finding:
    """A finding of the schedules scatter, crash and warm."""
    witness = found.witness
    kind = found.diagnosis.kind
    difference = witness.found.differences[0]
    expected, saw = _both(difference, witness.ground.control.outcomes[-1], witness.found.outcome)
    return Finding(
        kind=kind,
        severity=_severity(kind, witness.ground.control.outcomes[-1], witness.found.outcome),
        flow=subject.flow.name,
        step=found.step,
        writer=found.writer,
        schedule=found.schedule,
        title=TITLE[kind],
        expected=expected,
        saw=saw,
        witness=requests(
            (found.in_one or witness.found).trace,
            witness.ground,
            subject.conditions.host,
            broken=witness.found.at,
            in_one=found.in_one is not None,
        ),
        evidence=(
            *found.diagnosis.evidence,
            *body_instead(difference, witness.found.outcome),
            *(
                (
                    f"one instance of yours is {subject.workers} processes that answer: A1, A2 are workers of one instance, and "
                    "they are enough to show it",
                )
                if found.in_one is not None
                else ()
            ),
        ),
        fix=fix_for(kind, framework),
        docs=docs_for(kind),
        racy=witness.racy,
        shown=f"{witness.broke} of {TIMES}",
        also=tuple(found.also),
    )


def _both(difference: Difference, control: Outcome, broken: Outcome) -> tuple[str, str]:
    """What one instance answers and what was seen, from the place that tells most."""
    one, other = answer_words(control.answer), answer_words(broken.answer)
    if one != other:
        return one, other
    if difference.place == "expect":
        return one, difference.saw
    return f"{one}, {difference.place}: {difference.expected}", f"{other}, {difference.place}: {difference.saw}"


def body_instead(difference: Difference, broken: Outcome) -> tuple[str, ...]:
    """What came in place of a text that the step expects: an answer that only lacks something tells little."""
    answer = broken.answer
    if difference.place != "expect" or not answer.status or answer.error or not difference.saw.startswith("the body"):
        return ()
    text = plain_text(answer.text)
    words = f"{text[:_MOST_SHOWN].rstrip()} ..." if len(text) > _MOST_SHOWN else text
    return (f"the body has {len(answer.body)} bytes" + (f": {words}" if words else ""),)


def plain_text(page: str) -> str:
    """What a page says, without markup."""
    shown: list[str] = []
    at = 0
    ends = dict.fromkeys((*(f"</{name}>" for name in _UNSEEN), ">"), 0)
    """Where each ending comes next; below 0 where none does, and none is looked for again."""
    while (tag := _OPENING.search(page, at)) is not None:
        shown.append(page[at : tag.start()])
        for ending in (f"</{tag[1]}>", ">"):
            if 0 <= ends.get(ending, -1) < tag.end():
                ends[ending] = page.find(ending, tag.end())
            if ends.get(ending, -1) >= 0:
                at = ends[ending] + len(ending)
                break
        else:
            at = tag.start()
            break
    shown.append(page[at:])
    return " ".join(html.unescape(" ".join(shown)).split())


def _severity(kind: Kind, control: Outcome, broken: Outcome) -> Severity:
    """A refusal that does not hold on every instance is BREAKING, whatever let it through."""
    refused = control.answer.status in {401, 403, 423, 429} or (
        300 <= control.answer.status < 400 and broken.answer.status < 300
    )
    return "BREAKING" if refused and broken.answer.status < 400 and broken.answer.status else SEVERITY[kind]


def requests(
    trace: Trace,
    ground: Ground | None,
    host: str,
    *,
    broken: int | None,
    events: Sequence[str] = (),
    in_one: bool = False,
) -> tuple[WitnessRequest, ...]:
    """The requests of a run, each with its instance and what one instance alone answers; `in_one`: slots are workers of one."""
    rows: list[WitnessRequest] = []
    kills = 0
    pending = ""
    for at, outcome in enumerate(trace.outcomes if broken is None else trace.outcomes[: broken + 1]):
        move = outcome.move
        name = letter(move.slot + kills)
        event = events[at] if at < len(events) else ""
        if at and trace.outcomes[at - 1].move.with_next:
            event = "at the same moment as the one above"
        control = ground.control.outcomes[at] if ground is not None and at < len(ground.control.outcomes) else None
        rows.append(
            WitnessRequest(
                instance=f"A{move.slot + 1}" if in_one else name,
                step=move.step.id,
                method=move.step.method.upper(),
                path=outcome.request.target if outcome.request is not None else move.step.path,
                curl=curl(move, outcome.request, "A" if in_one else name, host) if outcome.request is not None else "",
                answered=answer_words(outcome.answer),
                expected=_expected(control, outcome) if at == broken else "",
                event=pending or event,
                broken=at == broken,
            )
        )
        pending = ""
        if move.kill_after:
            pending = f"kill -9 {name}, wipe its disk"
            kills += 1
    return tuple(rows)


def _expected(control: Outcome | None, outcome: Outcome) -> str:
    if control is None:
        return ""
    words = answer_words(control.answer)
    return words if words != answer_words(outcome.answer) else f"{words}, with another body"


def from_doubled(doubled: Doubled, subject: Subject, framework: str) -> Finding:
    """A request that is not safe to repeat."""
    outcomes = list(doubled.trace.outcomes)
    last = next(
        (
            at
            for at, outcome in enumerate(outcomes)
            if outcome.move.step.id == doubled.shows_at and (outcome.move.aside or doubled.shows_at != doubled.step.id)
        ),
        len(outcomes) - 1,
    )
    events = [
        "the same request again, with the same Idempotency-Key" if outcome.move.aside else "" for outcome in outcomes
    ]
    return Finding(
        kind="unsafe-repeat",
        severity=SEVERITY["unsafe-repeat"],
        flow=subject.flow.name,
        step=doubled.step.id,
        writer=doubled.step.id,
        schedule="repeat",
        title=TITLE["unsafe-repeat"],
        expected=f"{doubled.difference.place}: {doubled.difference.expected}",
        saw=f"{doubled.difference.place}: {doubled.difference.saw}",
        witness=requests(doubled.trace, None, subject.conditions.host, broken=last, events=events),
        evidence=(f"{doubled.step.method} {doubled.step.path} sent twice with one Idempotency-Key took effect twice",),
        fix=fix_for("unsafe-repeat", framework),
        docs=docs_for("unsafe-repeat"),
        shown=f"{doubled.times} of 3",
        also=() if doubled.shows_at == doubled.step.id else (doubled.shows_at,),
    )


def from_raced(raced: Raced, subject: Subject, framework: str) -> Finding:
    """A pair of requests that must not meet."""
    kind: Kind = "revived-session" if raced.revived else "lost-update"
    difference = raced.found.differences[0]
    expected, saw = _both(difference, raced.ground.control.outcomes[raced.found.at], raced.found.outcome)
    pair = f"{raced.first.method} {raced.first.path} and {raced.second.method} {raced.second.path}"
    return Finding(
        kind=kind,
        severity=SEVERITY[kind],
        flow=subject.flow.name,
        step=raced.found.outcome.move.step.id,
        writer=raced.second.id if raced.revived else raced.first.id,
        schedule="race",
        title=TITLE[kind],
        expected=expected,
        saw=saw,
        witness=requests(raced.found.trace, raced.ground, subject.conditions.host, broken=raced.found.at),
        evidence=(
            f"{pair} of one visitor at the same moment: the outcome is that of neither order",
            f"seen in {raced.times} of {raced.attempts} attempts",
        ),
        fix=fix_for(kind, framework),
        docs=docs_for(kind),
        racy=raced.times < raced.attempts,
        shown=f"{raced.times} of {raced.attempts}",
    )


def from_dropped(dropped: Dropped, subject: Subject, framework: str) -> Finding:
    """Requests that an instance took and never answered."""
    move = replace(dropped.outcome.move, slot=0)
    request = dropped.outcome.request
    row = WitnessRequest(
        instance="A",
        step=dropped.step.id,
        method=dropped.step.method.upper(),
        path=request.target if request is not None else dropped.step.path,
        curl=curl(move, request, "A", subject.conditions.host) if request is not None else "",
        answered=dropped.saw,
        expected=answer_words(dropped.outcome.answer),
        event="SIGTERM to A while this is under way",
        broken=True,
    )
    return Finding(
        kind="drops-requests",
        severity=SEVERITY["drops-requests"],
        flow=subject.flow.name,
        step=dropped.step.id,
        writer=None,
        schedule="drain",
        title=TITLE["drops-requests"],
        expected=f"all {dropped.sent} requests under way answered {answer_words(dropped.outcome.answer)}",
        saw=f"{dropped.lost} of {dropped.sent} lost: {dropped.saw}",
        witness=(row,),
        evidence=("the instance had accepted these requests, whole, before SIGTERM came",),
        fix=fix_for("drops-requests", framework),
        docs=docs_for("drops-requests"),
        racy=dropped.times < TIMES,
        shown=f"{dropped.times} of {TIMES}",
    )


def from_cookies(subject: Subject, framework: str) -> list[Finding]:
    """Cookies of the baseline that are too large to come back, or that name an instance."""
    found: dict[tuple[Kind, str], Finding] = {}
    control = subject.baseline.control
    for at, outcome in enumerate(control.outcomes):
        for name, text in outcome.answer.headers:
            cookie = read_set_cookie(text) if name.lower() == "set-cookie" else None
            if cookie is None or cookie.deletes:
                continue
            size = len(text.encode())
            if size > _COOKIE_LIMIT:
                said = (
                    "a cookie of at most 4096 bytes",
                    f"cookie {cookie.name} of {size} bytes: a browser throws it away",
                )
                found.setdefault(
                    ("oversized-cookie", cookie.name), _cookie(subject, "oversized-cookie", at, said, framework)
                )
            if is_sticky_cookie(cookie.name, cookie.value):
                said = ("no cookie that names an instance", f"cookie {cookie.name}={cookie.value[:60]}")
                found.setdefault(("sticky-cookie", cookie.name), _cookie(subject, "sticky-cookie", at, said, framework))
    return list(found.values())


def _cookie(subject: Subject, kind: Kind, at: int, said: tuple[str, str], framework: str) -> Finding:
    control = subject.baseline.control
    one = Trace([control.outcomes[at]], control.values, control.given, control.renames)
    return Finding(
        kind=kind,
        severity=SEVERITY[kind],
        flow=subject.flow.name,
        step=control.outcomes[at].move.step.id,
        writer=None,
        schedule="scatter",
        title=TITLE[kind],
        expected=said[0],
        saw=said[1],
        witness=requests(one, None, subject.conditions.host, broken=0),
        evidence=("seen in the baseline, on one instance",),
        fix=fix_for(kind, framework),
        docs=docs_for(kind),
    )


def masked(subject: Subject) -> tuple[str, ...]:
    """Places that vary on one instance, and so are not compared as they stand."""
    rows = [
        f"{move.step.id}: {place}"
        for move, oracle in zip(subject.baseline.moves, subject.baseline.oracles, strict=True)
        for place in sorted(oracle.noise)
    ]
    return tuple(rows[:200])


def step_lines(subject: Subject) -> tuple[str, ...]:
    """The steps of a flow with the answers of one instance."""
    return tuple(
        f"{outcome.move.step.id}: {outcome.move.step.method.upper()} {outcome.move.step.path} → {answer_words(outcome.answer)}"
        for outcome in subject.baseline.control.outcomes
    )
