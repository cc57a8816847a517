"""What each kind of state needs of its home, as a table: what happens where the home does not give it, and how bad it is."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

from fungible.stores.contract import Lack


class Severity(StrEnum):
    """How bad it is, worst first; sorts so too."""

    BREAKING = "BREAKING"
    """Wrong for visitors in ordinary operation, or silently not what the state is kept for: not started."""
    HIGH = "HIGH"
    """Somebody will notice: thrown out, or left without a result."""
    MEDIUM = "MEDIUM"
    """Uneven, repeated or late; or wrong only after an accident."""


class Needs(Struct, frozen=True, kw_only=True):
    """What a kind of state needs of its home, by what happens where the home does not give it."""

    apart: Severity
    """How bad it is where some instances do not see the home."""
    differs: str = "would differ on each {unit}"
    """What happens then; `{unit}` is `instance` or `machine`."""
    way_out: str = "use redis:, postgresql: or mysql:"
    lasting: bool = True
    """Whether it must outlive the instance that wrote it: what can be made again need not."""
    lacks: Mapping[Lack, tuple[Severity, str]] = {}
    """How bad it is where the home can't promise something, and what happens then."""


WITHOUT: Final[dict[Lack, str]] = {
    Lack.EVICTS: "use redis: with maxmemory-policy noeviction, postgresql: or mysql:",
    Lack.RESTART: (
        "make its server keep what it holds (redis: appendonly yes, and say so by ?persistence=aof), or use postgresql: "
        "or mysql:"
    ),
    Lack.RECENT_WRITES: "use postgresql: or mysql: with full durability",
    Lack.STALE_READS: "have the primary answer the store's reads too (and leave out ?reads=replica)",
    Lack.COMMON_CLOCK: "keep the clocks in step (NTP), or use redis:, postgresql: or mysql:",
}
"""The way out where a home lacks something."""

_BREAKING, _HIGH, _MEDIUM = Severity.BREAKING, Severity.HIGH, Severity.MEDIUM
_SKEWED: Final = (_MEDIUM, "would expire early or late where a machine's clock is wrong")

# What an eviction costs decides how bad it is. A session that is dropped is noticed, and its owner signs in again. An
# idempotency key or a revocation that is dropped does in silence the one thing that it is kept to prevent, whenever
# memory is short: such a home does not do the job at all. A restart does the same, but is an event that operators
# see; a lost second needs a power cut or a failover as well.
NEEDS: Final[dict[str, Needs]] = {
    "session": Needs(
        apart=_BREAKING,
        lacks={
            Lack.EVICTS: (_HIGH, "may sign people out when its memory is full"),
            Lack.RESTART: (_MEDIUM, "may sign everybody out when its server restarts"),
            Lack.STALE_READS: (_HIGH, "may be as it was before a sign-in, or before a sign-out, in the next request"),
            Lack.COMMON_CLOCK: _SKEWED,
        },
    ),
    "refresh-family": Needs(
        apart=_BREAKING,
        lacks={
            Lack.EVICTS: (_HIGH, "may sign clients out when its memory is full"),
            Lack.RESTART: (_MEDIUM, "may sign every client out when its server restarts"),
            Lack.RECENT_WRITES: (_MEDIUM, "may sign a client out, or miss a reuse, after a power cut or a failover"),
            Lack.STALE_READS: (_HIGH, "may refuse a client the token that it was just given"),
            Lack.COMMON_CLOCK: _SKEWED,
        },
    ),
    "revocation": Needs(
        apart=_BREAKING,
        differs="would be unknown on every other {unit}",
        lacks={
            Lack.EVICTS: (_BREAKING, "may let in again what was revoked when its memory is full"),
            Lack.RESTART: (_HIGH, "may let in again what was revoked when its server restarts"),
            Lack.RECENT_WRITES: (_MEDIUM, "may let in again what was just revoked after a power cut or a failover"),
            Lack.STALE_READS: (_HIGH, "may let in for a while what was just revoked"),
            Lack.COMMON_CLOCK: _SKEWED,
        },
    ),
    "dpop-proof": Needs(
        apart=_BREAKING,
        differs="would be good once more on every other {unit}",
        lacks={
            Lack.EVICTS: (_HIGH, "may be good twice when its memory is full"),
            Lack.RESTART: (_MEDIUM, "may be good twice when its server restarts"),
            Lack.COMMON_CLOCK: _SKEWED,
        },
    ),
    "token-claims": Needs(
        apart=_BREAKING,
        lacks={
            Lack.EVICTS: (_HIGH, "may be gone before their token when its memory is full"),
            Lack.RESTART: (_MEDIUM, "may be gone before their token when its server restarts"),
            Lack.STALE_READS: (_MEDIUM, "may be missing when their token is first used"),
            Lack.COMMON_CLOCK: _SKEWED,
        },
    ),
    "idempotency-key": Needs(
        apart=_BREAKING,
        differs="would let a retry take effect again on every other {unit}",
        lacks={
            Lack.EVICTS: (_BREAKING, "may let a retry take effect again when its memory is full"),
            Lack.RESTART: (_HIGH, "may let a retry take effect again when its server restarts"),
            Lack.RECENT_WRITES: (_MEDIUM, "may let a retry take effect again after a power cut or a failover"),
            Lack.STALE_READS: (_MEDIUM, "may refuse a retry of what was just done, instead of answering it"),
            Lack.COMMON_CLOCK: _SKEWED,
        },
    ),
    "portal-storage": Needs(
        apart=_BREAKING,
        way_out="use postgresql: or mysql:",
        lacks={Lack.RECENT_WRITES: (_MEDIUM, "may lose what was just registered after a power cut or a failover")},
    ),
    "signing-key": Needs(
        apart=_BREAKING,
        differs="would sign what every other {unit} refuses",
        way_out="give all instances one key ring, from a secret, a shared file or a store",
        lacks={
            Lack.EVICTS: (_BREAKING, "may be lost, and all that it signed with it, when its memory is full"),
            Lack.RESTART: (_HIGH, "may be lost, and all that it signed with it, when its server restarts"),
        },
    ),
    "upload": Needs(
        apart=_BREAKING,
        differs="would be missing on every other {unit}",
        way_out="use object storage (s3:), or a volume that all instances share",
    ),
    "notifier": Needs(
        apart=_HIGH,
        differs="would leave messages where only one {unit} sees them",
        way_out="use smtp: or another notifier that delivers",
    ),
    "users": Needs(
        apart=_MEDIUM,
        way_out="keep users in LDAP or a database, or give every instance the same read-only file",
    ),
    "cache": Needs(
        apart=_MEDIUM,
        differs="would be filled, and go stale, on each {unit} by itself",
        way_out="use redis:, memcached:, postgresql: or mysql:",
        lasting=False,
        lacks={Lack.STALE_READS: (_MEDIUM, "may give once more what was just invalidated")},
    ),
    "rate-limit": Needs(
        apart=_MEDIUM,
        differs="would allow as much again on each {unit}",
        lasting=False,
        lacks={Lack.COMMON_CLOCK: (_MEDIUM, "would allow more or less where a machine's clock is wrong")},
    ),
}
"""Every kind of state that is judged; a kind is added by an entry here and nowhere else."""
