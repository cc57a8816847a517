"""What is asked of requests with a key, for the whole application and for single routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec.structs import replace

from fungible.core.errors import SettingError
from fungible.core.routes import Pattern, methods_of
from fungible.stores.contract import MAX_TTL_S

DEFAULT_TTL_S: Final = 86_400.0
DEFAULT_LEASE_S: Final = 30.0
NOT_BEGUN: Final = frozenset({401, 413, 425})
"""Statuses of refusals that no handler answers once it has begun (RFC 9110, RFC 8470)."""
NOT_DONE: Final = NOT_BEGUN | {403, 408, 429, 503}
"""The same where the effect is undone with them: those that ask for another try (RFC 9110, RFC 6585)."""
DEFAULT_REFUSAL_TTL_S: Final = 600.0
DEFAULT_RESPONSE_BYTES: Final = 16 << 20

Remedy = Literal["keep", "free"]
AfterCrash = Literal["retry", "refuse"]
Unavailable = Literal["refuse", "open"]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How keys are treated; each of these may be set for single routes."""

    enabled: bool = True
    """Whether keys mean anything here."""
    required: bool = False
    """Whether a request without a key is refused (400)."""
    methods: frozenset[str] = frozenset({"POST", "PATCH"})
    """Of which requests: the others are safe or idempotent by themselves (RFC 9110 section 9.2.2). GET is HEAD as well."""
    ttl_s: float = DEFAULT_TTL_S
    """Seconds that an answer is kept for retries, from when it was first given."""
    refusal_ttl_s: float = DEFAULT_REFUSAL_TTL_S
    """The same for answers from 400 to 499 to callers whom nobody has authenticated before us, as any stranger can
    cause these; not where `attempt.keep()` says that work has begun, nor with `after_crash="refuse"`."""
    lease_s: float = DEFAULT_LEASE_S
    """Seconds after which the key of a crashed attempt is free. A live attempt renews it, however long it takes."""
    wait_s: float = 0.0
    """Seconds that a retry waits for an attempt under way, before it is refused (409)."""
    retry_after_s: float = 1.0
    """What `Retry-After` says in such refusals, in seconds."""
    max_body_bytes: int = 4 << 20
    """Longest body of a request with a key, in bytes (413)."""
    max_response_bytes: int = DEFAULT_RESPONSE_BYTES
    """Longest response that is kept, headers and body, in bytes, and so much of each is held in memory. A longer one is sent
    all the same, and retries are told that it was not kept (409); in a transaction its effect is undone (500)."""
    on_unavailable: Unavailable = "refuse"
    """While the store is away: `refuse` (503), or `open`: run without protection."""
    on_error: Remedy = "keep"
    """Where the handler raised: `keep` answers 500 to retries as well, `free` lets them run again."""
    after_crash: AfterCrash = "retry"
    """Where an attempt was cut off: `retry` runs again (at least once), `refuse` never does (at most once)."""
    skip_statuses: frozenset[int] = NOT_BEGUN
    """Responses that are not kept, as they say that work has not begun."""
    max_keys: int | None = None
    """How many keys a caller may begin at once (429); they come back evenly over `ttl_s`. None: any number.

    Costs one more round trip a key."""

    def __post_init__(self) -> None:
        for name, least in LEAST_S:
            value = getattr(self, name)
            if not least < value <= MAX_TTL_S:
                raise SettingError(f"{name}={value!r} must be a number of seconds, {'0 or' if least else ''} above 0")
        for name in ("max_body_bytes", "max_response_bytes"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name}={getattr(self, name)!r} must be 1 or more")
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise SettingError(f"{name}={getattr(self, name)!r} must be {' or '.join(map(repr, allowed))}")
        if self.max_keys is not None and self.max_keys < 1:
            raise SettingError(f"max_keys={self.max_keys!r} must be 1 or more, or None")

    def kept_s(self, status: int, *, proven: bool) -> float:
        """Seconds that an answer of that status is kept, if nothing else is known of it.

        Args:
            proven: Whether the caller was authenticated, or named by the application.
        """
        # At most once is at most once: there the trace of the attempt would outlive its answer, too.
        if proven or not 400 <= status < 500 or self.after_crash == "refuse":
            return self.ttl_s
        return min(self.ttl_s, self.refusal_ttl_s)


LEAST_S: Final = (("ttl_s", 0), ("refusal_ttl_s", 0), ("lease_s", 0), ("wait_s", -1e-9), ("retry_after_s", 0))
CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "on_unavailable": ("refuse", "open"),
    "on_error": ("keep", "free"),
    "after_crash": ("retry", "refuse"),
}
NAMES: Final = frozenset(Options.__struct_fields__)


def options_from(given: Mapping[str, Any], *, base: Options | None = None, seat: str = "") -> Options:
    """Options by name, upon others.

    Raises:
        SettingError: there is no such option, or one can't be taken.
    """
    unknown = sorted(given.keys() - NAMES)
    if unknown:
        raise SettingError(f"{seat}there is no option {unknown[0]!r}; there are: {', '.join(sorted(NAMES))}")
    made = dict(given)
    if "methods" in made:
        made["methods"] = methods_of(made["methods"])
    if "skip_statuses" in made:
        made["skip_statuses"] = frozenset(int(status) for status in made["skip_statuses"])
    return replace(base or Options(), **made)


class Routes:
    """Options by path.

    Args:
        base: Of paths that no pattern names.
        routes: Options by pattern: `/payments` names that path and all below it; `{…}` and `*` stand for one segment,
            as in `/orders/{id}/pay`. The pattern with the most segments decides, and among those the most literal one.
            Paths begin below what the application is mounted at.
    """

    def __init__(self, base: Options, routes: Mapping[str, Mapping[str, Any]] | None) -> None:
        self._base = base
        made = [
            (_pattern(text), options_from(options, base=base, seat=f"routes[{text!r}]: "))
            for text, options in (routes or {}).items()
        ]
        self._patterns = sorted(made, key=lambda item: (item[0].segments, item[0].literal), reverse=True)

    def options(self, path: str) -> Options:
        """Those of a request's path, as `route_path` gives it."""
        for pattern, options in self._patterns:
            if pattern.matches(path):
                return options
        return self._base

    def each(self) -> list[Options]:
        """All there are."""
        return [self._base, *(options for _, options in self._patterns)]


def _pattern(text: str) -> Pattern:
    try:
        return Pattern(text, below=True)
    except SettingError as error:
        raise SettingError(f"routes[{text!r}]: {error}") from None
