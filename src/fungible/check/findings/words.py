"""Puts what was found into words: witness, evidence, what was expected and seen, the way out."""

from collections.abc import Sequence
from dataclasses import replace

from fungible.check.findings.curl import curl
from fungible.check.findings.differences import body_instead, both, sides
from fungible.check.findings.fixes import SEVERITY, TITLE, docs_for, fix_for
from fungible.check.findings.protocols import protocol_of
from fungible.check.http.jar import read_set_cookie
from fungible.check.model import Finding, Kind, Severity, WitnessRequest
from fungible.check.runs.ground import Break, answer_words
from fungible.check.runs.runner import Outcome, Trace
from fungible.check.runs.subject import Subject
from fungible.check.schedules.drain import Dropped
from fungible.check.schedules.explore import Found
from fungible.check.schedules.race import Raced
from fungible.check.schedules.repeat import Doubled
from fungible.check.witness.evidence import is_sticky_cookie
from fungible.check.witness.shapes import REDIRECTS
from fungible.check.witness.witness import TIMES

_COOKIE_LIMIT = 4096
"""Bytes of name, value and attributes that a user agent must support, and browsers keep to (RFC 6265 section 6.1)."""
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def letter(slot: int) -> str:
    """The name of an instance in a witness."""
    return _LETTERS[slot] if slot < len(_LETTERS) else f"I{slot}"


def from_found(found: Found, subject: Subject, framework: str) -> Finding:
    """A finding of the schedules scatter, crash and warm."""
    witness = found.witness
    kind = found.diagnosis.kind
    difference = witness.found.differences[0]
    expected, saw = both(difference, witness.ground.control.outcomes[-1], witness.found.outcome)
    return Finding(
        kind=kind,
        severity=_severity(kind, witness.ground.control.outcomes[-1], witness.found),
        flow=subject.flow.name,
        step=found.step,
        writer=found.writer,
        schedule=found.schedule,
        title=TITLE[kind],
        expected=expected,
        saw=saw,
        witness=requests(
            (found.in_one or witness.found).trace,
            subject.conditions.host,
            broken=witness.found.at,
            said=(expected, saw),
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
        fix=fix_for(kind, framework, protocol_of(witness.last.step)),
        docs=docs_for(kind),
        racy=witness.racy,
        shown=f"{witness.broke} of {TIMES}",
        also=tuple(found.also),
    )


def _severity(kind: Kind, control: Outcome, found: Break) -> Severity:
    """A refusal that does not hold on every instance is BREAKING, whatever let it through; a mere cookie never is."""
    if found.only_cookies:
        return "MEDIUM"
    saw = found.outcome.answer.status
    refused = control.answer.status in {401, 403, 423, 429} or (control.answer.status in REDIRECTS and saw < 300)
    return "BREAKING" if refused and saw < 400 and saw else SEVERITY[kind]


def requests(
    trace: Trace,
    host: str,
    *,
    broken: int | None,
    events: Sequence[str] = (),
    said: tuple[str, str] = ("", ""),
    in_one: bool = False,
) -> tuple[WitnessRequest, ...]:
    """The requests of a run, each with its instance; `said` is what was expected and seen where it broke.

    `in_one`: slots are workers of one instance.
    """
    rows: list[WitnessRequest] = []
    kills = 0
    pending = ""
    for at, outcome in enumerate(trace.outcomes if broken is None else trace.outcomes[: broken + 1]):
        move = outcome.move
        name = letter(move.slot + kills)
        event = events[at] if at < len(events) else ""
        if at and trace.outcomes[at - 1].move.with_next:
            event = "at the same moment as the one above"
        rows.append(
            WitnessRequest(
                instance=f"A{move.slot + 1}" if in_one else name,
                step=move.step.id,
                method=move.step.method.upper(),
                path=outcome.target,
                curl=curl(move, outcome.request, "A" if in_one else name, host) if outcome.request is not None else "",
                answered=(said[1] if at == broken else "") or answer_words(outcome.answer),
                expected=said[0] if at == broken else "",
                event=pending or event,
                broken=at == broken,
            )
        )
        pending = ""
        if move.kill_after:
            pending = f"kill -9 {name}, wipe its disk"
            kills += 1
    return tuple(rows)


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
    expected, saw = sides(doubled.difference)
    events = [
        "the same request again, with the same Idempotency-Key" if outcome.move.aside else "" for outcome in outcomes
    ]
    return Finding(
        kind="unsafe-repeat",
        severity="MEDIUM" if doubled.unpromised else SEVERITY["unsafe-repeat"],
        flow=subject.flow.name,
        step=doubled.step.id,
        writer=doubled.step.id,
        schedule="repeat",
        title=TITLE["unsafe-repeat"],
        expected=expected,
        saw=saw,
        witness=requests(doubled.trace, subject.conditions.host, broken=last, events=events, said=(expected, saw)),
        evidence=(_twice(doubled),),
        fix=fix_for("unsafe-repeat", framework, protocol_of(doubled.step)),
        docs=docs_for("unsafe-repeat"),
        shown=f"{doubled.times} of 3",
        also=() if doubled.shows_at == doubled.step.id else (doubled.shows_at,),
    )


def _twice(doubled: Doubled) -> str:
    sent = f"{doubled.step.method.upper()} {doubled.step.path} sent twice with one Idempotency-Key"
    if doubled.unpromised:
        return f"{sent} made a second thing with an identifier of its own: a POST promises no better, but clients that retry make doubles"
    return f"{sent} took effect twice"


def from_raced(raced: Raced, subject: Subject, framework: str) -> Finding:
    """A pair of requests that must not meet."""
    kind: Kind = "revived-session" if raced.revived else "lost-update"
    difference = raced.found.differences[0]
    expected, saw = both(difference, raced.ground.control.outcomes[raced.found.at], raced.found.outcome)
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
        witness=requests(raced.found.trace, subject.conditions.host, broken=raced.found.at, said=(expected, saw)),
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
        path=dropped.outcome.target,
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
        fix=fix_for("drops-requests", framework, protocol_of(dropped.step)),
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
        witness=requests(one, subject.conditions.host, broken=0),
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
