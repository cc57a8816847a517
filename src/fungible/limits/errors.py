"""What can go wrong with a limit: one class for each thing a caller does differently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fungible.core.errors import FungibleError

if TYPE_CHECKING:
    from fungible.limits.decision import Decision


class LimitError(FungibleError):
    """Base of what limits raise."""

    code = "limit"


class RateLimitedError(LimitError):
    """It would have been more than the limit allows: nothing was done. Try again after `retry_after_s` seconds.

    Within a `LimitMiddleware` it becomes the answer: 429, or 503 where the store is away and the limit is closed then.
    """

    code = "rate_limited"

    def __init__(self, *, limit: str, decision: Decision) -> None:
        cause = "is over" if decision.counted != "nowhere" else "can't be counted while its store is away"
        super().__init__(f"the limit {limit!r} {cause}; try again in {decision.retry_after_s:.1f} s")
        self.limit = limit
        """The limit's name."""
        self.decision = decision
        self.retry_after_s = decision.retry_after_s
