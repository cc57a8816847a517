"""What clients are told: the fields `RateLimit-Policy`, `RateLimit` and `Retry-After`.

Source: draft-ietf-httpapi-ratelimit-headers-11, sections 3, 4 and 6; RFC 9110 section 10.2.3 (Retry-After).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from fungible.core.asgi import Header
from fungible.limits.decision import Decision
from fungible.limits.limit import Limit

QUOTA_EXCEEDED: Final = "https://iana.org/assignments/http-problem-types#quota-exceeded"
REDUCED_CAPACITY: Final = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
Counts = Sequence[tuple[Limit, Decision]]


def rate_limit_fields(policies: Sequence[Limit], counts: Counts) -> list[Header]:
    """`RateLimit-Policy` with the limits that a request is under, and `RateLimit` with what is left of them.

    Partition keys are left out: they would tell by what requests are counted.
    """
    policy = ", ".join([limit.policy for limit in policies])
    # Nobody has counted while the store was away: nothing is known to be left.
    left = ", ".join([_left(limit, found) for limit, found in counts if found.counted != "nowhere"])
    fields = [(b"ratelimit-policy", policy.encode("ascii"))]
    if left:
        fields.append((b"ratelimit", left.encode("ascii")))
    return fields


def _left(limit: Limit, found: Decision) -> str:
    return f"{limit.label};r={found.remaining};t={effective_window_s(limit, found)}"


def effective_window_s(limit: Limit, found: Decision) -> int:
    """Whole seconds in which a client does well to use no more than what is left.

    As long as the rate needs to give that much, so that a client which divides one by the other keeps to the rate
    (section 8.5); where nothing is left, until something is.
    """
    if not found.allowed:
        return whole_seconds(found.retry_after_s)
    if found.remaining:
        return whole_seconds(found.remaining * limit.interval_s)
    return whole_seconds(found.reset_after_s - (limit.burst - 1) * limit.interval_s)


def refusal_fields(policies: Sequence[Limit], counts: Counts, *, jitter_s: int = 0) -> list[Header]:
    """The same for a refusal, with `Retry-After`; the last of `counts` has refused.

    Of the others only what is left is told: `Retry-After` should not be earlier than the end of any window (section 6).
    """
    limit, refused = counts[-1]
    told = [f"{each.label};r={found.remaining}" for each, found in counts[:-1] if found.counted != "nowhere"]
    if refused.counted != "nowhere":
        told.append(_left(limit, refused))
    fields = [(b"retry-after", str(whole_seconds(refused.retry_after_s) + jitter_s).encode("ascii"))]
    fields.append((b"ratelimit-policy", ", ".join([each.policy for each in policies]).encode("ascii")))
    if told:
        fields.append((b"ratelimit", ", ".join(told).encode("ascii")))
    return fields


def whole_seconds(seconds: float) -> int:
    """Rounded up: who comes back then is not too early. At least 1."""
    return max(1, math.ceil(seconds))
