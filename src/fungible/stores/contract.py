"""The store contract: records of named fields, changed by compare-and-set per field, by any number of instances."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Final, Literal, Protocol

from msgspec import Struct

from fungible.stores.errors import InvalidRecordError, RecordTooLargeError

MAX_NAME_BYTES: Final = 512
MAX_RECORD_BYTES: Final = 1 << 20
MAX_TTL_S: Final = 10 * 366 * 86_400.0
MAX_TAKEN: Final = 999_999_999_999_999
"""Of limits and bursts: the largest integer of a structured field (RFC 9651 section 3.3.1)."""
MAX_BURST_S: Final = 100 * 365.25 * 86_400
"""In which a whole burst must be there again: in microseconds from now, exact in a double and far from 64 bits."""
MAX_GOOD_NAMES: Final = 1000
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Reach(StrEnum):
    """Who sees what was written."""

    PROCESS = "process"
    MACHINE = "machine"
    FLEET = "fleet"


class Survives(StrEnum):
    """Whose end a record outlives: nothing's, this process's, or the machine's (a power cut)."""

    NOTHING = "nothing"
    PROCESS = "process"
    MACHINE = "machine"


class Lack(StrEnum):
    """What a store can't promise, although its contract holds otherwise."""

    EVICTS = "evicts"
    """It may drop live records and tombstones when its memory is full."""
    RECENT_WRITES = "recent-writes"
    """A power cut, a crash of its server, or a failover to a replica may lose the last second's writes."""
    COMMON_CLOCK = "common-clock"
    """Expiry and rates go by the instances' own clocks, which must be kept in step (NTP)."""
    RESTART = "restart"
    """It forgets everything when its server restarts, unless its operator has made it persistent."""
    STALE_READS = "stale-reads"
    """A read may not see what another instance has just written: a replica may answer it. Writes compare with what stands."""


class Guarantees(Struct, frozen=True, kw_only=True):
    """What a backend promises, as data: a start-up check compares it with what a kind of state needs."""

    reach: Reach
    survives: Survives
    max_record_bytes: int = MAX_RECORD_BYTES
    lacks: frozenset[Lack] = frozenset()


class _Special(Enum):
    ANY = "any"
    ABSENT = "absent"
    REMOVED = "removed"


ANY: Final = _Special.ANY
"""`put` whatever stands."""
ABSENT: Final = _Special.ABSENT
"""`put` only where no live record stands."""
REMOVED: Final = _Special.REMOVED
"""In `change`: the field goes. Removing a field that was not there when read guards that it still is not there."""

Fields = Mapping[str, bytes]
Changes = Mapping[str, bytes | Literal[_Special.REMOVED]]
Expect = Literal[_Special.ANY, _Special.ABSENT]


class Record(Struct, frozen=True, gc=False):
    """A record as it was read. It holds bytes and names alone, so the garbage collector need not look at it."""

    key: str
    fields: Fields
    expires_at: float
    """Unix seconds."""
    incarnation: bytes = b""
    """Drawn where a record comes into being: tells a record from an earlier one that was deleted."""

    def changed(self, changes: Changes, *, expires_at: float | None = None) -> Record:
        """The record with the changes made to it."""
        fields = dict(self.fields)
        for name, value in changes.items():
            if value is REMOVED:
                fields.pop(name, None)
            else:
                fields[name] = value
        return Record(self.key, fields, self.expires_at if expires_at is None else expires_at, self.incarnation)


class Rate(Struct, frozen=True, kw_only=True):
    """How much may be taken: `limit` in each `period_s` on average, `burst` at once (by default `limit`).

    All stores count the same rates, exactly: limits and bursts up to 999,999,999,999,999, whose whole burst is there again
    within a hundred years. What comes back faster than one in a microsecond comes back at that speed.

    Raises:
        InvalidRecordError: it is none of these.
    """

    limit: int
    period_s: float
    burst: int = 0

    def __post_init__(self) -> None:
        counts = 1 <= self.limit <= MAX_TAKEN and 0 <= self.burst <= MAX_TAKEN
        if not (counts and 0 < self.period_s <= MAX_BURST_S * self.limit and self.tolerance_us <= MAX_BURST_S * 1e6):
            raise InvalidRecordError(
                f"a rate needs a limit from 1 to {MAX_TAKEN}, a period above 0 s, and a burst that is there again "
                f"within 100 years: {self}"
            )

    @property
    def interval_us(self) -> int:
        """Microseconds in which one becomes available again: rounded up, so that a rate is never exceeded."""
        return math.ceil(self.period_s * 1e6 / self.limit)

    @property
    def tolerance_us(self) -> int:
        """Microseconds of the future that may be used up at once: the burst."""
        return self.interval_us * (self.burst or self.limit)

    def wanted_us(self, cost: int) -> int:
        """Microseconds that a cost uses up; for any cost above the burst one more than the burst has, and no more."""
        return min(cost * self.interval_us, self.tolerance_us + 1)


class Taken(Struct, frozen=True):
    """What `take` answered."""

    allowed: bool
    remaining: int
    """How many could be taken now, at once."""
    retry_after_s: float
    """Seconds until the same cost would be allowed: 0 if it was, infinity if it never will be."""
    reset_after_s: float
    """Seconds until the whole burst is there again."""


class Page(Struct, frozen=True):
    """What a feed held after a cursor."""

    items: tuple[bytes, ...]
    cursor: str
    """Where the next `since` goes on."""


class Store(Protocol):
    """A place for small state. Every verb is one atomic step for all instances, and has a deadline.

    Every verb may raise `StoreUnavailableError`, and `InvalidRecordError` for arguments that break the rules: keys,
    topics and field names are 1-512 bytes of UTF-8 without control characters, times to live above 0 s and at most ten
    years. A cancelled call may have happened or not; it never disturbs another. A store opens its connections at its
    first use, in each event loop that uses it, and again after they were lost.
    """

    @property
    def guarantees(self) -> Guarantees:
        """What this backend promises, as it was opened."""
        ...

    @property
    def home(self) -> str:
        """Its URL for messages: without user name, password and options."""
        ...

    async def get(self, key: str) -> Record | None:
        """The live record, or None. One round trip; never an expired record."""
        ...

    async def put(self, key: str, fields: Fields, *, ttl_s: float, expect: Expect | Record = ANY) -> Record:
        """Writes the whole record, to live for `ttl_s` seconds from now.

        Args:
            expect: `ABSENT`: only where no live record stands, so that of N instances exactly one succeeds. A
                record read earlier: only if all its fields stand as they were read, and no others.
        Raises:
            ConflictError: `expect` does not hold; it has the record that stands.
            GoneError: the key has a tombstone, or the record given as `expect` was deleted or has expired.
            RecordTooLargeError: names and values together exceed `guarantees.max_record_bytes`.
        """
        ...

    async def change(self, record: Record, changes: Changes, *, ttl_s: float | None = None) -> Record:
        """Sets and removes fields of a record read earlier: all of them or, if one has changed since, none.

        Only the fields named in `changes` must hold what `record` has; others may have been changed meanwhile, and
        stay so. To guard a field without changing it, name it with the value it had, or with `REMOVED` if it was
        not there. With `ttl_s` the record lives at least that many seconds from now; its life is never shortened.

        Returns:
            `record` with the changes: other fields are as they were read.
        Raises:
            ConflictError: a named field holds something else; it has the record that stands.
            GoneError: the record was deleted or has expired since it was read, even if another has the key now.
            RecordTooLargeError: names and values together would exceed `guarantees.max_record_bytes`. Where others have
                added fields since, a store may let the record pass the limit by these; the next writer is refused.
        """
        ...

    async def delete(self, key: str, *, tombstone_s: float = 0) -> None:
        """Deletes the record, if there is one. For `tombstone_s` seconds the key can't be written.

        A tombstone is never shortened by another `delete`.
        """
        ...

    async def touch(self, key: str, *, ttl_s: float) -> float | None:
        """Makes the record live at least `ttl_s` seconds from now; its life is never shortened.

        Returns:
            When it expires, in Unix seconds; None if there is no live record.
        """
        ...

    async def take(self, key: str, rate: Rate, *, cost: int = 1) -> Taken:
        """Takes `cost` from a rate; all instances together never exceed rate and burst. One round trip.

        Keys of rates, of records and of feeds are apart. What was refused has taken nothing.
        Source: the generic cell rate algorithm, ITU-T I.371, annex A.
        """
        ...

    async def append(self, topic: str, item: bytes, *, ttl_s: float) -> None:
        """Adds an item to a feed. It is live for `ttl_s` seconds."""
        ...

    async def since(self, topic: str, cursor: str | None = None) -> Page:
        """The live items after the cursor, or all live items: in order, each at least once on every instance."""
        ...

    async def ping(self) -> None:
        """Raises an error unless the store is there, lets us in, and has its tables."""
        ...

    async def aclose(self) -> None:
        """Closes the connections of this event loop."""
        ...


def check_name(name: str, what: str = "key") -> None:
    """Refuses a key, topic or field name that breaks the rules.

    Raises:
        InvalidRecordError: it is not 1-512 bytes of UTF-8 without control characters.
    """
    if name.isascii() and name.isprintable() and 0 < len(name) <= MAX_NAME_BYTES:
        return
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= MAX_NAME_BYTES or CONTROL.search(name):
        shown = name if len(name) <= 80 else f"{name[:80]}..."
        raise InvalidRecordError(
            f"a {what} must be 1-{MAX_NAME_BYTES} bytes of UTF-8, no control characters: {shown!r}"
        )


def check_ttl(ttl_s: float) -> None:
    """Refuses a time to live that is not above 0 and at most ten years."""
    if not 0 < ttl_s <= MAX_TTL_S:
        raise InvalidRecordError(f"a time to live must be above 0 s and at most ten years: {ttl_s!r}")


_good_names: set[str] = set()
"""Field names that were looked at: an application uses the same few all the time."""


def check_fields(key: str, fields: Mapping[str, bytes | Literal[_Special.REMOVED]], *, max_bytes: int) -> None:
    """Refuses fields with bad names, values that are no bytes, and more than `max_bytes` in all.

    Raises:
        InvalidRecordError: a name or a value breaks the rules.
        RecordTooLargeError: it is too much.
    """
    size = 0
    for name, value in fields.items():
        if name not in _good_names:
            check_name(name, "field name")
            if len(_good_names) < MAX_GOOD_NAMES:
                _good_names.add(name)
        if value is REMOVED:
            continue
        if type(value) is not bytes:
            raise InvalidRecordError(f"the field {name!r} must be bytes, not {type(value).__name__}")
        size += len(value) + len(name)
    if size > max_bytes:
        raise RecordTooLargeError(key=key, size_bytes=size, max_bytes=max_bytes)


def conflicting(read: Record, current: Record, changes: Changes) -> bool:
    """Whether a field named in `changes` holds something else than what was read."""
    return any(current.fields.get(name) != read.fields.get(name) for name in changes)


def gcra(tat_us: int, now_us: int, rate: Rate, cost: int) -> tuple[int, Taken]:
    """One step of the generic cell rate algorithm, for backends that compute it here.

    Args:
        tat_us: The theoretical arrival time that is kept, in microseconds; 0 where none is.
        now_us: Now, by the same clock.
    Returns:
        The theoretical arrival time to keep, and the answer.
    Source: ITU-T I.371, annex A (virtual scheduling).
    """
    interval, tolerance = rate.interval_us, rate.tolerance_us
    tat = max(tat_us, now_us)
    wanted = tat + cost * interval
    allowed = wanted - now_us <= tolerance
    if allowed:
        tat = wanted
    retry_us = 0.0 if allowed else math.inf if cost * interval > tolerance else wanted - tolerance - now_us
    return tat, Taken(allowed, max(0, (tolerance - (tat - now_us)) // interval), retry_us / 1e6, (tat - now_us) / 1e6)


def check_cost(cost: int) -> None:
    """Refuses a cost below 1."""
    if cost < 1:
        raise InvalidRecordError(f"a cost must be 1 or more: {cost!r}")
