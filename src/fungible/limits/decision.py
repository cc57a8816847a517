"""What a limiter answers."""

from typing import Literal

from msgspec import Struct

Counted = Literal["everywhere", "here", "nowhere"]


class Decision(Struct, frozen=True):
    """Whether it may be done, and what is left."""

    allowed: bool
    remaining: int
    """How many could be taken now, at once."""
    retry_after_s: float
    """Seconds until the same cost would be allowed: 0 if it was, infinity if it is more than the burst."""
    reset_after_s: float
    """Seconds until the whole burst is there again."""
    counted: Counted = "everywhere"
    """By all instances together; while the store is away `here`, by this instance's share, or `nowhere`."""
