"""What of a flow could have broken: a write that somebody reads back, or a credential that somebody checks.

Where a flow has neither, several instances answer as one does because there is nothing that they could not know.
"""

import itertools
import json
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

from msgspec import UNSET

from fungible.check.http.template import needs
from fungible.check.model import Answer, Step
from fungible.check.oracle.places import places_of
from fungible.check.runs.ground import Ground
from fungible.check.runs.placement import closure
from fungible.check.runs.runner import Outcome, Trace
from fungible.check.runs.subject import Subject
from fungible.check.runs.world import World

MISSING = (
    "nothing that was sent could have broken: no request writes something that a later one reads back, and none is answered "
    "otherwise without its cookie or token. Give a flow that signs in, or that writes and reads again: "
    "--sign-in user:password, --begin /path, --har recording.har, --openapi file, or --file check.toml"
)
_SHORTEST = 3
"""Characters of a value that is looked for in answers: a shorter one stands there by chance."""
_MOST_ASKED = 6


def exercised(subject: Subject) -> bool:
    """Whether the flow has something that could have broken; asks more instances where its answers do not tell."""
    ground = subject.baseline
    return (
        _reads_back(ground.control)
        or _changes(ground, subject.conditions.host)
        or _checks_credentials(subject)
        or _hangs_on_what_went_before(subject)
    )


def _reads_back(trace: Trace) -> bool:
    """True where a later request gets back what a write sent, or gets on with what it gave."""
    outcomes = trace.outcomes
    for one, other in itertools.combinations(outcomes, 2):
        if one.answer.status >= 400 or other.answer.status >= 400 or not other.answer.status:
            continue
        is_written = not one.move.step.safe
        given = {capture.name for capture in one.move.step.capture}
        if given & needs(other.move.step) and (is_written or not other.move.step.safe):
            return True
        if is_written and any(
            value in other.answer.text and not _says(other, value) for value in _sent_values(one.move.step)
        ):
            return True
    return False


def _says(outcome: Outcome, value: str) -> bool:
    """True where a request holds the value itself: its answer may be no more than an echo."""
    request = outcome.request
    if request is None:
        return False
    said = f"{request.target} {request.body.decode(errors='replace')}"
    return value in said or value in urllib.parse.unquote_plus(said)


def _sent_values(step: Step) -> Iterator[str]:
    waiting: list[Any] = [
        None if step.json is UNSET else step.json,
        step.form,
        [part.content for part in step.files],
        step.body,
    ]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += cast(dict[str, Any], value).values()
        elif isinstance(value, list):
            waiting += cast(list[Any], value)
        elif isinstance(value, str) and len(value) >= _SHORTEST and "{{" not in value:
            yield value
            if value[:1] in "{[":
                try:
                    waiting.append(json.loads(value))
                except (ValueError, RecursionError):
                    continue


def _changes(ground: Ground, host: str) -> bool:
    """True where a request is answered otherwise once something was written, or was asked too often."""
    outcomes = ground.control.outcomes
    for (at, one), (later, other) in itertools.combinations(enumerate(outcomes), 2):
        same = _target(one) == _target(other) and not one.answer.error and not other.answer.error
        if same and other.answer.status in {423, 429} and one.answer.status != other.answer.status:
            return True
        written = any(not outcome.move.step.safe for outcome in outcomes[at:later])
        is_asked_alike = same and _body(one) == _body(other) and one.move.step.headers == other.move.step.headers
        if is_asked_alike and written:
            places = places_of(other.answer, host, ground.control.plain)
            if ground.oracles[at].differences(places):
                return True
    return False


def _target(outcome: Outcome) -> tuple[str, str]:
    return (outcome.move.step.method.upper(), outcome.request.target if outcome.request is not None else "")


def _body(outcome: Outcome) -> bytes:
    return outcome.request.body if outcome.request is not None else b""


def _hangs_on_what_went_before(subject: Subject) -> bool:
    """True where the reads, or the last step, are answered otherwise on an instance that has not served the writes."""
    ground = subject.baseline
    known = {"host", "run"}
    kept = closure(ground.moves, {len(ground.moves) - 1})
    for at, move in enumerate(ground.moves):
        if at in kept or (move.step.safe and needs(move.step) <= known):
            kept.add(at)
            known |= {capture.name for capture in move.step.capture}
    if len(kept) == len(ground.moves):
        return False
    moves = [ground.moves[at] for at in sorted(kept)]
    trace = subject.run(moves, used=subject.lends(moves))
    host = subject.conditions.host
    return any(
        _differs(ground, at, outcome.answer, trace, host)
        for at, outcome in zip(sorted(kept), trace.outcomes, strict=True)
        if not outcome.answer.error
    )


def _checks_credentials(subject: Subject) -> bool:
    """True where a request is answered otherwise without its cookies and tokens, on an instance that has served it with them."""
    ground = subject.baseline
    carrying = [at for at, outcome in enumerate(ground.control.outcomes) if _carries(outcome)]
    asked = sorted(carrying, key=lambda at: not ground.moves[at].step.safe)[:_MOST_ASKED]
    if not asked:
        return False
    answers: list[tuple[int, Answer, Trace]] = []

    def ask(world: World, trace: Trace) -> None:
        for at in asked:
            request = trace.outcomes[at].request
            if request is None:
                continue
            kept = tuple(
                (name, text)
                for name, text in request.headers
                if name.lower() not in {"cookie", *_credentials(trace.outcomes[at].move.step)}
            )
            subject.count()
            answer = world.instance(0).send(replace(request, headers=kept), timeout_s=subject.conditions.timeout_s)
            answers.append((at, answer, trace))

    subject.run(subject.moves, look=ask, used=subject.lends(subject.moves))
    return any(_differs(ground, at, answer, trace, subject.conditions.host) for at, answer, trace in answers)


def _differs(ground: Ground, at: int, answer: Answer, trace: Trace, host: str) -> bool:
    found = ground.oracles[at].differences(places_of(answer, host, trace.plain))
    # A cookie that is set because none came is no sign that one would have been looked at.
    return any(not difference.place.startswith("cookie ") for difference in found)


def _carries(outcome: Outcome) -> bool:
    request = outcome.request
    if request is None or outcome.answer.error or not outcome.answer.status:
        return False
    names = {name.lower() for name, _ in request.headers}
    return bool(names & {"cookie", *_credentials(outcome.move.step)})


def _credentials(step: Step) -> Sequence[str]:
    """The headers, in lower case, that say who is asking."""
    return ["authorization", *(name.lower() for name, text in step.headers.items() if "{{" in text)]
