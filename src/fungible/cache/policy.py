"""How one value is kept, and what a read of its record found."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from fungible.cache.entries import VALUE, Kind, Meta, is_usable, left_fresh_s, meta_of
from fungible.cache.tags import Versions
from fungible.cache.values import PLAIN, UnreadableError, ValueCodec
from fungible.core.errors import SettingError
from fungible.stores.contract import MAX_TTL_S, Record

LARGEST_DRAW: Final = 37.0
"""No `-log` of a number that `random` gives is larger."""


class Policy(Struct, frozen=True):
    """How one value is kept."""

    ttl_s: float
    stale_s: float = 0.0
    tags: tuple[str, ...] = ()
    codec: ValueCodec = PLAIN

    def __post_init__(self) -> None:
        if not (0 < self.ttl_s < MAX_TTL_S / 4 and 0 <= self.stale_s < MAX_TTL_S / 4):
            raise SettingError(
                f"ttl_s={self.ttl_s!r} must be above 0 s, stale_s={self.stale_s!r} 0 s or more, and both below two years"
            )
        if isinstance(self.tags, str):
            raise SettingError(f"tags={self.tags!r} must be several: ({self.tags!r},)")


class Counts(Struct):
    """What a cache has done in this process."""

    hits: int = 0
    """Fresh values given, from the store or nearby."""
    near_hits: int = 0
    """Those of them that cost no store command."""
    stale_hits: int = 0
    """Values given that were no longer fresh, while another is computed."""
    misses: int = 0
    """Callers who had to wait for a computation, be it another's."""
    computed: int = 0
    """Computations, refreshes in the background among them."""
    failed: int = 0
    """Computations that raised an error."""
    refreshed: int = 0
    """Computations in the background, of values that were still there."""
    discarded: int = 0
    """Computed values that were not stored, as they were invalidated meanwhile or the lease was lost."""
    too_large: int = 0
    """Computed values that the store does not take."""
    away: int = 0
    """Reads that were answered without the store, as it does not answer."""


class _Nothing:
    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final = _Nothing()
"""No value; None is one."""


class Look:
    """What a read found."""

    __slots__ = ("as_of", "away", "data", "left_s", "meta", "passes", "record", "value", "versions")

    def __init__(self, as_of: int, record: Record | None, versions: Versions, *, away: bool = False) -> None:
        self.as_of = as_of
        """The turn at which it was asked for."""
        self.record = record
        self.versions = versions
        self.away = away
        self.value: Any = NOTHING
        self.data = b""
        self.meta: Meta | None = None
        self.left_s = 0.0
        """Seconds for which the value stays fresh."""
        self.passes = False
        """Whether what is computed can't be kept."""


def judged(look: Look, codec: ValueCodec, now: float) -> Look:
    """Takes from the record the value that may be used, if there is one."""
    record = look.record
    meta = None if record is None else meta_of(record)
    if record is None or meta is None or not is_usable(record, meta, now):
        return look
    if meta.kind is not Kind.KEPT:
        look.passes = meta.kind is Kind.PASS
        return look
    data = record.fields.get(VALUE)
    if data is None or meta.tags != look.versions:
        return look
    try:
        look.value = codec.decode(data)
    except UnreadableError:
        # Of another release, whose function returns something else: computed anew.
        return look
    look.data, look.meta, look.left_s = data, meta, left_fresh_s(record, meta, now)
    return look


def is_early(left_s: float, meta: Meta, beta: float, random: Callable[[], float]) -> bool:
    """Whether to compute the next value although this one is fresh for `left_s` seconds.

    The closer the end and the longer a computation takes, the likelier; so that with many readers one begins before the
    end, and not all at it. Never before half of the fresh time is over.

    Args:
        random: Draws from [0, 1).
    Source: Vattani, Chierichetti, Lowenstein: Optimal probabilistic cache stampede prevention, VLDB 2015 (XFetch).
    """
    gap_s = meta.took_s * beta
    if left_s > gap_s * LARGEST_DRAW or left_s > (meta.life_s - meta.grace_s - meta.stale_s) / 2:
        return False
    return left_s <= -gap_s * math.log(1.0 - random())
