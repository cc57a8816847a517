"""Whether a response may be stored, and whether a stored one may be used: RFC 9111 as pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Final

from msgspec import Struct

from fungible.cache.directives import SAYS_NOTHING, CacheControl, cache_control, delta_seconds
from fungible.core.asgi import Header

UNDERSTOOD: Final = frozenset({200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 451, 501})
"""Statuses of responses that may be stored."""
BY_DEFAULT: Final = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 451, 501})
"""Those of them that may be given a lifetime of our own (RFC 9110 section 15.1)."""


LONGEST_DATE: Final = 64
"""Characters; the longest form, that of RFC 850, has 33."""


class Facts(Struct, frozen=True):
    """What the headers of a response say about storing it."""

    control: CacheControl = SAYS_NOTHING
    age_s: float = 0.0
    date: float | None = None
    expires: float | None = None
    """0, which is long ago, where it can't be read."""
    vary: tuple[str, ...] = ()
    """Names in lower case, sorted."""
    etag: str | None = None
    last_modified: float | None = None
    sets_cookie: bool = False
    partial: bool = False
    length: int | None = None


def facts_of(headers: Iterable[Header]) -> Facts:
    """Reads the headers of a response."""
    lines: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        lines.setdefault(name.lower(), []).append(value)
    joined = {name: b", ".join(values).decode("latin-1") for name, values in lines.items()}
    expires = joined.get(b"expires")
    length = joined.get(b"content-length", "")
    vary = {name.strip().lower() for name in joined.get(b"vary", "").split(",")}
    return Facts(
        control=cache_control(joined.get(b"cache-control", "")),
        age_s=delta_seconds(joined.get(b"age", "").partition(",")[0].strip()) or 0.0,
        date=http_date(joined.get(b"date")),
        expires=None if expires is None else http_date(expires) or 0.0,
        vary=tuple(sorted(vary - {""})),
        etag=joined.get(b"etag"),
        last_modified=http_date(joined.get(b"last-modified")),
        sets_cookie=b"set-cookie" in joined,
        partial=b"content-range" in joined,
        length=int(length) if length.isascii() and length.isdecimal() and len(length) < 16 else None,
    )


def http_date(text: str | None) -> float | None:
    """An instant in Unix seconds; None for what is no date (RFC 9110 section 5.6.7)."""
    if not text or len(text) > LONGEST_DATE:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def lifetime_s(status: int, facts: Facts, *, default_ttl_s: float, now: float) -> float | None:
    """How long a response is fresh from its making, as it says; None where it does not say, nor we.

    Source: RFC 9111 section 4.2.1; there are no heuristics (4.2.2).
    """
    control = facts.control
    if control.s_maxage is not None:
        return control.s_maxage
    if control.max_age is not None:
        return control.max_age
    if facts.expires is not None:
        return max(0.0, facts.expires - (now if facts.date is None else facts.date))
    return default_ttl_s if default_ttl_s > 0 and status in BY_DEFAULT else None


def initial_age_s(facts: Facts, *, requested_at: float, received_at: float) -> float:
    """How old a response was when it came: `corrected_initial_age`. Source: RFC 9111 section 4.2.3."""
    apparent = 0.0 if facts.date is None else max(0.0, received_at - facts.date)
    return max(apparent, facts.age_s + (received_at - requested_at))


def refusal(
    status: int, facts: Facts, request: CacheControl, *, authorized: bool, personal: bool, lifetime: float | None
) -> str | None:
    """Why a response is not stored, in a word; None where it may be. Source: RFC 9111 section 3.

    Args:
        authorized: Whether the request was, by its field or by what a middleware has found out.
        personal: Whether responses with cookies may be stored.
    """
    control = facts.control
    if status not in UNDERSTOOD or facts.partial:
        return "status"
    if request.no_store or (control.no_store and not control.must_understand):
        return "no-store"
    if control.private:
        return "private"
    if control.no_cache:
        return "no-cache"
    if authorized and not (control.public or control.must_revalidate or control.s_maxage is not None):
        return "authorization"
    if not personal and (facts.sets_cookie or "cookie" in facts.vary or "authorization" in facts.vary):
        return "cookie"
    if "*" in facts.vary:
        return "vary"
    if lifetime is None:
        return "no-freshness"
    return None


class Use(Enum):
    """What to do with a stored response."""

    FRESH = "fresh"
    STALE = "stale"
    """To be used as it is: the request allows it."""
    REFRESH = "refresh"
    """To be used, and another to be got in the background (RFC 5861 section 3)."""
    FORWARD = "forward"


class Lifetime(Struct, frozen=True):
    """For how long a stored response is good."""

    fresh_s: float
    while_s: float = 0.0
    """`stale-while-revalidate`."""
    error_s: float = 0.0
    """`stale-if-error`."""
    never_stale: bool = False
    """`must-revalidate` or `proxy-revalidate`: used fresh, or not at all (RFC 9111 sections 5.2.2.2 and 5.2.2.8)."""
    shared: bool = False
    """`s-maxage`: what a client says of stale responses does not count (5.2.2.10)."""


def lifetime_of(control: CacheControl, fresh_s: float) -> Lifetime:
    """What a response says of its being stale."""
    never_stale = control.must_revalidate or control.proxy_revalidate
    return Lifetime(
        fresh_s=fresh_s,
        while_s=0.0 if never_stale else control.stale_while_revalidate,
        error_s=0.0 if never_stale else control.stale_if_error,
        never_stale=never_stale,
        shared=control.s_maxage is not None,
    )


def use(lifetime: Lifetime, age_s: float, request: CacheControl) -> Use:
    """What a request may be answered with. Source: RFC 9111 sections 4 and 5.2.1; RFC 5861 section 3."""
    if request.no_cache or request.max_age == 0 or (request.max_age is not None and age_s > request.max_age):
        return Use.FORWARD
    left_s = lifetime.fresh_s - age_s
    if left_s > 0:
        return Use.FRESH if request.min_fresh is None or left_s >= request.min_fresh else Use.FORWARD
    if lifetime.never_stale or request.min_fresh is not None:
        return Use.FORWARD
    if -left_s < lifetime.while_s:
        return Use.REFRESH
    if request.max_stale is not None and not lifetime.shared and -left_s <= request.max_stale:
        return Use.STALE
    return Use.FORWARD


def serves_in_error(lifetime: Lifetime, age_s: float, request: CacheControl) -> bool:
    """Whether a stored response may be used because the application has failed. Source: RFC 5861 section 4."""
    if lifetime.never_stale or request.no_cache:
        return False
    return age_s - lifetime.fresh_s < max(lifetime.error_s, request.stale_if_error)
