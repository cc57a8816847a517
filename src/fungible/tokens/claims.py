"""The claims that every token has: written in both forms of token, and judged.

Source: RFC 7519 section 4.1 (claims), RFC 8725 sections 3.8 to 3.11 (what must be checked), RFC 9068 sections 2.2 and 4;
for PASETO its specification, docs/02-Implementation-Guide/04-Claims.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, cast

from fungible.core.errors import SettingError
from fungible.tokens.errors import InvalidTokenError
from fungible.tokens.token import Token

OURS: Final = frozenset({"iss", "sub", "aud", "exp", "iat", "jti"})
"""Claims that the issuer writes and no caller."""
RFC_3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
MAX_LEEWAY_S: Final = 600.0
"""By how much the clocks of issuer and verifier may differ at most: no verifier allows for more."""
OUTLIVES_EXP_S: Final = 2 * MAX_LEEWAY_S
"""So long after its `exp` a token may still be taken somewhere, by the clock of whoever reckons here: a verifier allows
for clocks that differ, and its own may be behind by as much. What a token needs, or what ends it, is kept that long."""
LAST_INSTANT: Final = 253_402_300_800
"""The year 10000: no time is later."""


def refuse_ours(claims: Mapping[str, Any]) -> None:
    """Refuses claims that the issuer writes itself.

    Raises:
        SettingError: one of them is among these.
    """
    if not OURS.isdisjoint(claims):
        name = min(OURS.intersection(claims))
        raise SettingError(f"the claim {name!r} is the issuer's: subject, ttl_s and token_id are arguments of issue()")


@lru_cache(maxsize=1024)
def date_time(at: int) -> str:
    """An instant as PASETO writes it: `2026-11-21T13:49:00+00:00`."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def numeric_date(claims: Mapping[str, Any], name: str) -> float | None:
    """An instant of a JWT, in Unix seconds; None where it has none. Source: RFC 7519 section 2, NumericDate."""
    found = claims.get(name)
    if found is None and name not in claims:
        return None
    # Not a bool, which is an int to Python; and not an integer too large for a float.
    if (type(found) is int or type(found) is float) and 0 <= found < LAST_INSTANT:
        return found
    raise InvalidTokenError("claims", f"its claim {name!r} is no time in Unix seconds")


def read_date_time(claims: Mapping[str, Any], name: str) -> float | None:
    """An instant of a PASETO, in Unix seconds; None where it has none. Source: RFC 3339, as PASETO asks."""
    found = claims.get(name)
    if found is None and name not in claims:
        return None
    at = _instant(found) if type(found) is str else None
    if at is None:
        raise InvalidTokenError("claims", f"its claim {name!r} is no date and time with a time zone")
    return at


@lru_cache(maxsize=1024)
def _instant(text: str) -> float | None:
    # More than RFC 3339 has can be read as a date and time: what two readers might read in two ways is refused.
    if RFC_3339.fullmatch(text):
        with suppress(ValueError, OverflowError):
            return datetime.fromisoformat(text).timestamp()
    return None


class Rules:
    """What the claims of a token must say.

    Args:
        issuer: Whose tokens are taken.
        audience: For whom they may be: one of these is enough.
        leeway_s: Seconds by which clocks may differ.
    """

    __slots__ = ("_audience", "_issuer", "_leeway_s")

    def __init__(self, *, issuer: str, audience: Collection[str], leeway_s: float) -> None:
        self._issuer = issuer
        self._audience = frozenset(audience)
        self._leeway_s = leeway_s

    def judge(self, claims: Mapping[str, Any], kid: str, now: float, *, dates: bool) -> Token:
        """The token that these claims make.

        Args:
            dates: Whether instants are dates and times, as in PASETO, and not numbers.
        Raises:
            InvalidTokenError: a claim is missing, is of another type, or lets nobody in here and now.
        """
        get = claims.get
        expires_at, issued_at, not_before = get("exp"), get("iat"), get("nbf")
        # The usual case without a call: numbers, which are integers, and no `nbf`.
        if dates or type(expires_at) is not int or type(issued_at) is not int or not_before is not None:
            instant = read_date_time if dates else numeric_date
            expires_at, issued_at, not_before = instant(claims, "exp"), instant(claims, "iat"), instant(claims, "nbf")
        elif not (0 <= expires_at < LAST_INSTANT and 0 <= issued_at < LAST_INSTANT) or "nbf" in claims:
            raise InvalidTokenError("claims", "its 'exp', 'iat' or 'nbf' is no time in Unix seconds")
        subject, issuer, token_id = get("sub"), get("iss"), get("jti", "")
        if expires_at is None:
            raise InvalidTokenError("claims", "it has no 'exp', and would be good for ever")
        if type(subject) is not str or type(token_id) is not str or not subject:
            raise InvalidTokenError("claims", "its 'sub' is no text, or its 'jti' is none")
        if now >= expires_at + self._leeway_s:
            raise InvalidTokenError("expired", f"it has expired {now - expires_at:.0f} s ago")
        if not_before is not None and now < not_before - self._leeway_s:
            raise InvalidTokenError("not-yet", f"it is good in {not_before - now:.0f} s only")
        if issuer != self._issuer:
            raise InvalidTokenError("issuer", "it was issued by another issuer than the one trusted here")
        return Token(
            subject, self._issuer, self._for_us(get("aud")), issued_at or 0.0, expires_at, token_id, claims, kid
        )

    def _for_us(self, audience: object) -> tuple[str, ...]:
        if type(audience) is str:
            if audience in self._audience:
                return (audience,)
        elif type(audience) is list:
            listed = tuple(cast(list[object], audience))
            if all(type(each) is str for each in listed):
                words = cast(tuple[str, ...], listed)
                if not self._audience.isdisjoint(words):
                    return words
            else:
                raise InvalidTokenError("claims", "its 'aud' is no list of texts")
        elif audience is not None:
            raise InvalidTokenError("claims", "its 'aud' is neither a text nor a list of texts")
        raise InvalidTokenError("audience", "it is for others than those that are served here")
