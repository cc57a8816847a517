"""What one instance answers to a sequence of requests, and where a run on several instances first departs from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fungible.check.model import Answer
from fungible.check.oracle.noise import Difference, Oracle
from fungible.check.oracle.places import Places, places_of
from fungible.check.runs.runner import Move, Outcome, Trace


def answer_words(answer: Answer) -> str:
    """An answer in a few words: `303 to /login`."""
    if not answer.status:
        return answer.error or "no answer"
    where = answer.header("location")
    words = f"{answer.status} to {where}" if where and 300 <= answer.status < 400 else str(answer.status)
    return f"{words}, but {answer.error}" if answer.error else words


@dataclass(frozen=True)
class Break:
    """The first answer of a run that one instance would not have given: what follows it is wreckage."""

    at: int
    trace: Trace
    differences: tuple[Difference, ...]

    @property
    def outcome(self) -> Outcome:
        """The move that broke, and its answer."""
        return self.trace.outcomes[self.at]

    @property
    def only_cookies(self) -> bool:
        """True where nothing but a cookie differs: the visitor has lost nothing yet."""
        return all(difference.about_cookies for difference in self.differences)

    @property
    def certain(self) -> bool:
        """True where the step's own expectation was missed: that is no noise."""
        return self.differences[0].place == "expect"


class Ground:
    """The answers of one instance to a sequence of moves, and what is known to vary in them."""

    def __init__(self, moves: Sequence[Move], control: Trace, host: str) -> None:
        self.moves = list(moves)
        self.control = control
        self._host = host
        self.oracles = [Oracle(self._places(outcome, control)) for outcome in control.outcomes]
        self._unmet = [outcome.unmet is not None or outcome.unbound is not None for outcome in control.outcomes]

    def oracle_of(self, step_id: str) -> Oracle | None:
        """The oracle of the first judged move of a step."""
        for move, oracle in zip(self.moves, self.oracles, strict=False):
            if move.step.id == step_id and not move.aside and not move.earlier:
                return oracle
        return None

    def inherit(self, known: Callable[[str], Oracle | None]) -> None:
        """Takes over what is known to vary in the same steps of another sequence."""
        for move, oracle in zip(self.moves, self.oracles, strict=False):
            other = known(move.step.id)
            if other is not None and other is not oracle:
                oracle.inherit(other)

    def learn(self, trace: Trace) -> dict[str, list[str]]:
        """Takes in another run on one instance; gives the places that vary, by step."""
        varied: dict[str, list[str]] = {}
        for move, oracle, outcome in zip(self.moves, self.oracles, trace.outcomes, strict=False):
            places = oracle.learn(self._places(outcome, trace))
            if places:
                varied[move.step.id] = places
        for at, outcome in enumerate(trace.outcomes):
            self._unmet[at] = self._unmet[at] or outcome.unmet is not None
        return varied

    def allow(self, found: Break) -> None:
        """Takes the answer of a break for noise."""
        self.oracles[found.at].learn(self._places(found.outcome, found.trace))

    def first_break(self, trace: Trace) -> Break | None:
        """Where a run first answers otherwise; None where it never does.

        That an instance merely sets a cookie of its own comes last: the visitor loses nothing there, but perhaps later.
        """
        cookie: Break | None = None
        for at, outcome in enumerate(trace.outcomes[: len(self.oracles)]):
            if outcome.move.aside or outcome.move.earlier or outcome.unbound is not None:
                continue
            differences = self.differences(at, trace)
            if not differences:
                continue
            found = Break(at, trace, tuple(differences))
            if not found.only_cookies:
                return found
            cookie = cookie or found
        return cookie

    def differences(self, at: int, trace: Trace) -> list[Difference]:
        """Where the answer to one move is not what one instance gives."""
        outcome = trace.outcomes[at]
        found = self.oracles[at].differences(self._places(outcome, trace))
        loose = len(outcome.move.step.expect.status) > 1
        if loose and outcome.unmet is None and outcome.answer.status != self.control.outcomes[at].answer.status:
            # The step itself says that either status will do, so neither says anything about the rest.
            found = []
        if outcome.unmet is not None and not self._unmet[at]:
            expected = answer_words(self.control.outcomes[at].answer)
            found.insert(0, Difference("expect", expected, outcome.unmet))
        return found

    def _places(self, outcome: Outcome, trace: Trace) -> Places:
        return places_of(outcome.answer, self._host, trace.plain)
