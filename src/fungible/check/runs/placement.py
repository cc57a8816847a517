"""Which instance serves which step: the placements that schedules try, with steps known to belong together kept together."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fungible.check.http.template import needs
from fungible.check.runs.runner import Move

MOST_INSTANCES = 8


class Glue:
    """Steps that are known to need one instance: once a fault is found, it is kept from hiding the next one."""

    def __init__(self) -> None:
        self._leader: dict[str, str] = {}

    def join(self, steps: Iterable[str]) -> None:
        """These steps, and all that were joined to any of them, go to one instance."""
        leaders = [self.leader(step) for step in steps]
        for other in leaders[1:]:
            if self.leader(other) != self.leader(leaders[0]):
                self._leader[self.leader(other)] = self.leader(leaders[0])

    def leader(self, step: str) -> str:
        """The step that stands for all that are joined."""
        while self._leader.get(step, step) != step:
            step = self._leader[step]
        return step

    def joined(self, one: str, other: str) -> bool:
        """True where both go to one instance."""
        return self.leader(one) == self.leader(other)

    def copy(self) -> "Glue":
        """A glue of its own that joins the same steps."""
        other = Glue()
        other._leader = dict(self._leader)
        return other


def slots_of(moves: Sequence[Move]) -> int:
    """How many instances a sequence of moves uses."""
    return max((move.slot for move in moves), default=0) + 1


def _placed(moves: Sequence[Move], glue: Glue, wanted: Sequence[int]) -> list[Move]:
    """The moves at the wanted slots, but joined steps where the first of them is; slots are renumbered by first use."""
    where: dict[str, int] = {}
    slots = [where.setdefault(glue.leader(move.step.id), slot) for move, slot in zip(moves, wanted, strict=True)]
    numbers: dict[int, int] = {}
    return [replace(move, slot=numbers.setdefault(slot, len(numbers))) for move, slot in zip(moves, slots, strict=True)]


def robin(moves: Sequence[Move], instances: int, glue: Glue, *, stride: int = 1) -> list[Move]:
    """Step i on instance i modulo `instances`; with `stride` 2, two steps in a row stay together."""
    return _placed(moves, glue, [(at // stride) % instances for at in range(len(moves))])


def distinct(moves: Sequence[Move], glue: Glue, most: int = MOST_INSTANCES) -> list[Move]:
    """Each step on an instance that served none of the earlier ones, as far as `most` instances go; then the one idle longest."""
    return _placed(moves, glue, [at % most for at in range(len(moves))])


def apart(moves: Sequence[Move], at: int) -> list[Move]:
    """Everything on one instance but the move `at`, which another one serves."""
    return [replace(move, slot=1 if number == at else 0, kill_after=False) for number, move in enumerate(moves)]


def crashed(moves: Sequence[Move], glue: Glue, leaves: Sequence[bool]) -> list[Move]:
    """Each instance is killed, its disk wiped, as soon as it has answered a move that leaves something behind.

    Args:
        moves: The steps.
        glue: Joined steps keep their instance alive until the last of them.
        leaves: Which moves may leave something behind: writes, and answers that set cookies or values.
    """
    last = {glue.leader(move.step.id): at for at, move in enumerate(moves)}
    needed_until = -1
    placed: list[Move] = []
    for at, move in enumerate(moves):
        needed_until = max(needed_until, last[glue.leader(move.step.id)])
        placed.append(replace(move, slot=0, kill_after=leaves[at] and at >= needed_until and at + 1 < len(moves)))
    return placed


def closure(moves: Sequence[Move], kept: set[int]) -> set[int]:
    """`kept`, and the moves that give the values those need."""
    todo = sorted(kept)
    kept = set(kept)
    while todo:
        at = todo.pop()
        for name in needs(moves[at].step):
            giver = next(
                (
                    i
                    for i in range(at - 1, -1, -1)
                    if any(c.name == name for c in moves[i].step.capture) and not moves[i].aside
                ),
                None,
            )
            if giver is not None and giver not in kept:
                kept.add(giver)
                todo.append(giver)
    return kept
