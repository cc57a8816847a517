"""Kinds that the answers of a witness tell by themselves, without another run: limits, jobs, caches, revoked sign-ins."""

import json
import re
from collections.abc import Iterable
from typing import Final

from fungible.check.http.template import needs
from fungible.check.model import Answer, Step
from fungible.check.oracle.places import Places, places_of
from fungible.check.runs.ground import Ground
from fungible.check.runs.placement import closure
from fungible.check.runs.runner import Outcome
from fungible.check.witness.witness import Witness

_TOO_MANY = 429
_LIMITED = frozenset({401, 403, 423, 503})
_REFUSED = frozenset({401, 403})
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_SIGN_IN = re.compile(r"(sign|log)[-_]?(in|on)\b|/auth\b|/sso\b", re.IGNORECASE)

_JOB_PATH = re.compile(r"(job|task|export|import|progress|status|report|queue|render|worker|batch)", re.IGNORECASE)
_JOB_NUMBERS = frozenset({"progress", "percent", "percentage"})
_JOB_WORDS = re.compile(
    r"\b(pending|queued|waiting|running|processing|in[ _-]progress|working|started|done|finished|completed?|succe(?:ss|eded)|failed|\d+ ?%)",
    re.IGNORECASE,
)

_CACHES: Final[dict[str, re.Pattern[str]]] = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        "age": r"[1-9]\d*",
        "cache-status": r".*;\s*hit\b.*",
        "cf-cache-status": r"hit|stale|updating|revalidated",
        "x-cache": r".*\bhit\b.*",
        "x-cache-hits": r".*[1-9].*",
        "x-cache-status": r"hit|stale|updating",
        "x-drupal-cache": r"hit",
        "x-drupal-dynamic-cache": r"hit",
        "x-litespeed-cache": r"hit.*",
        "x-magento-cache-debug": r"hit",
        "x-nextjs-cache": r"hit|stale|prerender",
        "x-nextjs-prerender": r"1.*",
        "x-proxy-cache": r"hit|stale",
        "x-rack-cache": r".*\b(fresh|valid)\b.*",
        "x-symfony-cache": r".*\b(fresh|stale)\b.*",
        "x-varnish": r"\d+ \d+",
        "x-vercel-cache": r"hit|stale|prerender",
    }.items()
}
"""Headers by which a cache says that it, and not the application, gives the answer (Age, Cache-Status: RFC 9111, 9211)."""


def is_limit(witness: Witness) -> bool:
    """The same request again and again is refused by one instance, and answered where instances share the counting."""
    expected, saw = _statuses(witness)
    if expected == saw or not saw:
        return False
    if _TOO_MANY in (expected, saw):
        return True  # a status that says nothing else (RFC 6585 section 4)
    if expected not in _LIMITED:
        return False
    last = witness.last.step
    given = closure(witness.moves, {len(witness.moves) - 1}) if needs(last) else set[int]()
    others = [
        at
        for at, move in enumerate(witness.moves[:-1])
        if at not in given and (last.safe or not move.step.safe)  # a form is fetched before each attempt
    ]
    outcomes = witness.ground.control.outcomes
    same = [at for at in others if _asked(outcomes[at]) == _asked(outcomes[-1])]
    answered = any(outcomes[at].answer.status != expected for at in same)
    return answered and (len(same) == len(others) or expected not in _REFUSED)


def is_accepted(witness: Witness) -> bool:
    """What one instance refuses, since something that went before has revoked it, is accepted."""
    expected, saw = _statuses(witness)
    if witness.writer is None or not 200 <= saw < 400:
        return False
    if expected in _REFUSED:
        return not _asks_to_sign_in(witness.found.outcome.answer)
    return saw < 300 and _asks_to_sign_in(witness.ground.control.outcomes[-1].answer)


def cache_header(witness: Witness) -> str | None:
    """`x-cache: HIT`, where a cache says that the wrong answer is its own; None where nothing says so."""
    if not 200 <= _statuses(witness)[0] < 300:
        return None
    for name, text in witness.found.outcome.answer.headers:
        pattern = _CACHES.get(name.lower())
        if pattern is not None and pattern.fullmatch(text.strip()):
            return f"{name.lower()}: {text.strip()}"
    return None


def job(witness: Witness, baseline: Ground, host: str) -> str | None:
    """What shows that work goes on after its answer; None where nothing does."""
    answers = witness.ground.control.outcomes
    last = answers[-1]
    step = last.move.step
    writer = answers[witness.writer] if witness.writer is not None else None
    if writer is not None and writer.answer.status == 202:
        return "it was accepted with 202, to be done later"
    asked = [last, *(outcome for outcome in baseline.control.outcomes if outcome.move.step.id == step.id)]
    if any(outcome.answer.header("retry-after") and outcome.answer.status < 400 for outcome in asked):
        return "the answer says when to ask again (Retry-After)"
    if any(outcome.first is not None and _turns(outcome.first, outcome.answer, host) for outcome in asked) or _turning(
        baseline, step, host
    ):
        return "what one instance answers changes, with nothing sent in between, until it is final"
    if step.safe and last.answer.media_type == "text/event-stream" and writer is not None and not writer.move.step.safe:
        return "its progress is a stream of events"
    named = _JOB_PATH.search(_bare(last.target)) is not None or step.poll_seconds > 0
    return "the answer tells how far the work is" if named and _tells_progress(last.answer) else None


def bodies_of(places: Places) -> Places:
    """The places of an answer's body."""
    return {place: values for place, values in places.items() if place.startswith(("json", "html", "text", "body"))}


def _statuses(witness: Witness) -> tuple[int, int]:
    """What one instance answers last, and what was seen."""
    return witness.ground.control.outcomes[-1].answer.status, witness.found.outcome.answer.status


def _asks_to_sign_in(answer: Answer) -> bool:
    return answer.status in REDIRECTS and _SIGN_IN.search(_bare(answer.header("location") or "")) is not None


def _turning(baseline: Ground, step: Step, host: str) -> bool:
    """Whether the flow reads the same several times in a row, and is answered otherwise in the end."""
    outcomes = baseline.control.outcomes
    at = next((at for at, outcome in enumerate(outcomes) if outcome.move.step.id == step.id), None)
    if at is None or not step.safe:
        return False
    row = [outcomes[at]]
    for outcome in outcomes[at + 1 :]:
        if not outcome.move.step.safe:
            break
        if _asked(outcome) == _asked(row[0]):
            row.append(outcome)
    return any(_turns(row[0].answer, outcome.answer, host) for outcome in row[1:])


def _turns(first: Answer, last: Answer, host: str) -> bool:
    """True where both are answers, and a word in the one is another in the other: numbers alone may count the readers."""
    if not (200 <= first.status < 300 and 200 <= last.status < 300):
        return False
    one, other = bodies_of(places_of(first, host)), bodies_of(places_of(last, host))
    return any(_words(one[place]) != _words(other[place]) for place in one.keys() & other.keys())


def _words(values: Iterable[str]) -> list[str]:
    return sorted(re.sub(r"[\d.:%TZ+-]+", "", value) for value in values)


def _asked(outcome: Outcome) -> tuple[str, str]:
    return outcome.move.step.method.upper(), _bare(outcome.target)


def _bare(path: str) -> str:
    return path.partition("?")[0]


def _tells_progress(answer: Answer) -> bool:
    """An answer that says how far something is: a state in JSON, under whatever name, or `running` and `40 %` in a page."""
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        return answer.media_type.startswith("text/") and _JOB_WORDS.search(answer.text[:20_000]) is not None
    if not isinstance(document, dict):
        return False
    return any(
        (isinstance(value, str) and _JOB_WORDS.fullmatch(value) is not None)
        or (isinstance(value, int | float) and str(key).lower() in _JOB_NUMBERS)  # pyright: ignore
        for key, value in document.items()  # pyright: ignore
    )
