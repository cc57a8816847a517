"""Validators (ETag, Last-Modified) that differ between instances which have the same: a condition met at one alone."""

from typing import Final

import msgspec
from msgspec import UNSET

from fungible.check.http.template import names_in
from fungible.check.model import Step
from fungible.check.oracle.noise import Oracle
from fungible.check.oracle.places import Places, places_of
from fungible.check.runs.runner import Move
from fungible.check.runs.subject import Subject
from fungible.check.witness.shapes import bodies_of
from fungible.check.witness.witness import Witness

_CONDITIONS: Final[dict[str, tuple[frozenset[int], frozenset[int]]]] = {
    "if-none-match": (frozenset({304}), frozenset(range(200, 300))),
    "if-modified-since": (frozenset({304}), frozenset(range(200, 300))),
    "if-match": (frozenset(range(200, 400)), frozenset({412})),
    "if-unmodified-since": (frozenset(range(200, 400)), frozenset({412})),
    "if-range": (frozenset({206}), frozenset({200})),
}
"""For each condition, how it is answered where the validator is known, and where it is not (RFC 9110 section 13.1)."""


def differs(subject: Subject, witness: Witness) -> str | None:
    """The header of the condition, where both instances have the same and only its validator differs; else None.

    One more run asks both without the condition: where their bodies differ, it is the data that another instance lacks.
    """
    name = unknown_validator(witness)
    if name is None:
        return None
    plain = _unconditional(witness.last.step, name)
    before = witness.moves[:-1]
    asked = (*before, Move(plain, before[-1].slot, aside=True), Move(plain, witness.last.slot, aside=True))
    trace = subject.run(asked, used=subject.lends(asked))
    one, other = (places_of(outcome.answer, subject.conditions.host, trace.plain) for outcome in trace.outcomes[-2:])
    known = next(
        (
            oracle
            for move, oracle in zip(before, witness.ground.oracles, strict=False)
            if (move.step.method.upper(), move.step.path) == ("GET", plain.path)
        ),
        None,
    )
    found = trace.outcomes[-1].answer.status < 400 and _same(one, other, known)
    return name if found else None


def giver(witness: Witness) -> int | None:
    """The move whose answer gave the validator that another instance does not know; None where that is not the break."""
    name = unknown_validator(witness)
    names = set[str]() if name is None else names_in(witness.last.step.headers[name])
    return next(
        (
            at
            for at in reversed(range(len(witness.moves) - 1))
            if any(capture.name in names for capture in witness.moves[at].step.capture)
        ),
        None,
    )


def _unconditional(step: Step, name: str) -> Step:
    """A GET of the same without the condition."""
    headers = {key: text for key, text in step.headers.items() if key.lower() != name.lower()}
    return msgspec.structs.replace(
        step, method="GET", headers=headers, form=None, json=UNSET, body=None, body_base64=None, files=()
    )


def unknown_validator(witness: Witness) -> str | None:
    """The header of a condition that one instance finds met and another does not, where an earlier answer gave its value."""
    expected = witness.ground.control.outcomes[-1].answer.status
    saw = witness.found.outcome.answer.status
    for name, text in witness.last.step.headers.items():
        known, unknown = _CONDITIONS.get(name.lower(), (frozenset[int](), frozenset[int]()))
        if expected in known and saw in unknown and names_in(text):
            return name
    return None


def _same(one: Places, other: Places, known: Oracle | None) -> bool:
    """True where two answers hold the same, but for what is known to vary."""
    oracle = Oracle(bodies_of(one))
    if known is not None:
        oracle.inherit(known)
    return not [each for each in oracle.differences(bodies_of(other)) if each.place in one or each.place in other]
