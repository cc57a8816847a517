"""What was refused is remembered until it may be allowed: a flood of requests over a limit costs the store nothing."""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from fungible.core.recent import Recent
from fungible.limits.decision import Decision

MOST: Final = 4096
"""Keys that are remembered; beyond that the oldest are forgotten, and the store is asked again."""


class _Refusal(Struct, frozen=True):
    decision: Decision
    cost: int
    from_s: float
    until_s: float


class Refusals:
    """Keys that are over their limit, for so long as that is certain.

    What others take only puts off when a key may come back, so that a refusal holds until the time it names, at every
    instance and whoever asks. That time is counted from before the store was asked: never later than the store's own.
    """

    def __init__(self) -> None:
        # One limiter may serve several event loops and threads.
        self._known: Recent[_Refusal] = Recent(MOST)

    def find(self, name: str, cost: int, now_s: float) -> Decision | None:
        """The refusal that still holds for that cost."""
        known = self._known.get(name)
        if known is None:
            return None
        if known.until_s <= now_s:
            self._known.forget(name)
            return None
        if cost < known.cost:
            return None
        passed_s = now_s - known.from_s
        answer = known.decision
        return replace(
            answer, retry_after_s=known.until_s - now_s, reset_after_s=max(answer.reset_after_s - passed_s, 0)
        )

    def add(self, name: str, cost: int, refused: Decision, *, asked_at_s: float) -> None:
        """Remembers what the store has refused."""
        self._known.add(name, _Refusal(refused, cost, asked_at_s, asked_at_s + refused.retry_after_s))
