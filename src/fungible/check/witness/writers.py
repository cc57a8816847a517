"""Which step's effect is missed, where several write: the one that mends the break when the reader's instance serves it."""

from collections.abc import Sequence
from dataclasses import replace

from fungible.check.runs.runner import Move
from fungible.check.runs.subject import Subject
from fungible.check.witness.validators import giver
from fungible.check.witness.witness import Witness

_MOST_RUNS = 3


def with_writer(subject: Subject, witness: Witness) -> Witness:
    """The witness with its writer found by trying, where more than one step could be it.

    From the last write backwards, all from there on is served where the reader is. The first that mends it is the
    writer: a value that passes through several steps is lost where it was put, not where it was used last.
    """
    validator = giver(witness)
    if validator is not None:
        return replace(witness, writer=validator)
    moves = witness.moves
    reader = witness.last.slot
    writes = [at for at, move in enumerate(moves[:-1]) if not move.step.safe and not move.aside and move.slot != reader]
    if len(writes) < 2 or any(move.kill_after for move in moves):
        return witness
    for at in list(reversed(writes[1:]))[:_MOST_RUNS]:
        served = _served_by(moves, at, reader)
        found = witness.broken_by(subject.run(served, used=subject.lends(served)))
        if found is None:
            return replace(witness, writer=at)
        if found.at < len(moves) - 1:
            # This step is itself tied to the one before it, which is a fault of its own: nothing can be told apart.
            return witness
    return replace(witness, writer=writes[0]) if len(writes) <= _MOST_RUNS + 1 else witness


def _served_by(moves: Sequence[Move], since: int, slot: int) -> list[Move]:
    return [replace(move, slot=slot) if at >= since and not move.aside else move for at, move in enumerate(moves)]
