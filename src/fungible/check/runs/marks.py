"""What marks the writes of one run, so that whatever an instance holds from earlier runs can't answer for this one.

An instance that has served other runs may hide a fault: a value that it was never told of in this run may stand there from
an earlier one. It can't where each request that may leave something behind carries something of this run alone: a
name made unique, an identifier that an answer of this run gave, the visitor's own cookie.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec

from fungible.check.http.jar import read_set_cookie
from fungible.check.http.template import needs
from fungible.check.runs.runner import Move, Outcome, Trace


@dataclass(frozen=True)
class Marks:
    """What is new in each run of a flow: captured values, by name, and steps whose answer gives a cookie or such a value."""

    values: frozenset[str]
    givers: frozenset[str]
    names: tuple[str, ...] = ()

    def hold(self, moves: Sequence[Move]) -> bool:
        """True where every unsafe request of the moves is marked as this run's own."""
        known: set[str] = set()
        for move in moves:
            step = move.step
            own = step.visitor in known and not any(name.lower() == "cookie" for name in step.headers)
            gives = step.id in self.givers
            if not step.safe and not (own or gives or self._carried(move)):
                return False
            if gives and not move.aside:
                known.add(step.visitor)
        return True

    def _carried(self, move: Move) -> bool:
        """Something that no other run sends stands in the request."""
        if needs(move.step) & (self.values | {"run"}):
            return True
        if not self.names:
            return False
        sent = msgspec.json.encode(
            {**msgspec.to_builtins(move.step), "id": "", "expect": None, "capture": None}
        ).decode()
        return any(re.search(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", sent) for name in self.names)


def marks_of(first: Trace, second: Trace, names: Collection[str]) -> Marks:
    """What two runs, each on an instance that had served nothing, did not have in common."""
    values = frozenset(
        name
        for name, value in first.values.items()
        if name not in first.given and name in second.values and second.values[name] != value
    )
    givers = frozenset(
        one.move.step.id
        for one, other in zip(first.outcomes, second.outcomes, strict=False)
        if any(capture.name in values for capture in one.move.step.capture) or _gives_own_cookie(one, other)
    )
    return Marks(values, givers, tuple(names))


def _gives_own_cookie(one: Outcome, other: Outcome) -> bool:
    mine, others = _cookies(one), _cookies(other)
    return any(name in others and others[name] != value for name, value in mine.items())


def _cookies(outcome: Outcome) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, text in outcome.answer.headers:
        cookie = read_set_cookie(text) if name.lower() == "set-cookie" else None
        if cookie is not None and cookie.value and not cookie.deletes:
            found[cookie.name] = cookie.value
    return found
