"""What a session's home and cookie are like; what browsers would reject is refused here."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from fungible.core.errors import SettingError

TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
DAY_S: Final = 86_400.0
MAX_COOKIE_BYTES: Final = 4000
"""Name and value. Browsers keep 4096 (RFC 6265 section 6.1), and some count attributes too."""
MOST_SESSIONS: Final = 10_000
"""Of one subject. A record of the store has room for more: it must never be full, or nobody could sign in any more."""

SameSite = Literal["lax", "strict", "none"]


class CookiePolicy(Struct, frozen=True, kw_only=True):
    """How the cookie is set. Source: RFC 6265, and draft-ietf-httpbis-rfc6265bis sections 4.1.3 and 5.6."""

    name: str | None = None
    """By default `__Host-session`, or without what that asks for `__Secure-session` or `session`."""
    path: str = "/"
    domain: str | None = None
    secure: bool = True
    """Browsers send it over HTTPS only, and to localhost. False: for a plain HTTP server in development."""
    same_site: SameSite = "lax"
    partitioned: bool = False
    """A cookie jar of its own for each site that embeds this one (CHIPS)."""
    persistent: bool = True
    """It outlives the browser's end."""

    def __post_init__(self) -> None:
        if self.name is not None and not TOKEN.fullmatch(self.name):
            raise SettingError(f"the cookie's name {self.name!r} has characters that RFC 6265 does not allow")
        if not self.path.startswith("/") or re.search(r"[^\x21-\x3a\x3c-\x7e]", self.path):
            raise SettingError(f"the cookie's path {self.path!r} must begin with /, and be ASCII without ; or spaces")
        if self.domain is not None and not re.fullmatch(r"\.?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", self.domain):
            raise SettingError(f"the cookie's domain {self.domain!r} is no host name")
        if self.same_site not in ("lax", "strict", "none"):
            raise SettingError(f"same_site={self.same_site!r} must be 'lax', 'strict' or 'none'")
        # Browsers heed these prefixes in any case.
        prefixed = self.full_name.lower()
        if not self.secure:
            for found, words in (
                (self.same_site == "none", "same_site='none'"),
                (self.partitioned, "partitioned=True"),
                (prefixed.startswith(("__host-", "__secure-", "__http-")), f"the name {self.full_name!r}"),
            ):
                if found:
                    raise SettingError(f"browsers reject a cookie with {words} that is not secure: set secure=True")
        if prefixed.startswith("__host-") and (self.path != "/" or self.domain is not None):
            raise SettingError(
                f"browsers reject {self.full_name!r} with a path other than / or with a domain: take a name with "
                "__Secure- instead, or leave both out"
            )

    @property
    def full_name(self) -> str:
        """The name, with its default."""
        if self.name is not None:
            return self.name
        if not self.secure:
            return "session"
        return "__Host-session" if self.path == "/" and self.domain is None else "__Secure-session"

    def attributes(self, max_age_s: float | None) -> str:
        """What follows the value: `; Path=/; HttpOnly; …`."""
        parts = ["", f"Path={self.path}"]
        if self.domain is not None:
            parts.append(f"Domain={self.domain}")
        if max_age_s is not None:
            parts.append(f"Max-Age={int(max_age_s)}")
        parts.append("HttpOnly")
        if self.secure:
            parts.append("Secure")
        parts.append(f"SameSite={self.same_site.capitalize()}")
        if self.partitioned:
            parts.append("Partitioned")
        return "; ".join(parts)


def ignore(event: str, details: Mapping[str, Any]) -> None:
    """What is done with events where nobody asked for them: nothing."""


class SessionSettings(Struct, frozen=True, kw_only=True):
    """How sessions are kept. Times in seconds."""

    cookie: CookiePolicy = CookiePolicy()
    idle_timeout_s: float = 14 * DAY_S
    """A session that nobody used for that long ends."""
    absolute_timeout_s: float = 90 * DAY_S
    """A session ends then at the latest, however much it is used."""
    rotation_grace_s: float = 10
    """How long the old ID still shows what it showed before a rotation, for requests that were under way."""
    tombstone_s: float = 300
    """How long a request may run that began before its session was ended or rotated."""
    max_sessions: int = 100
    """Live sessions of one subject: who signs in once more ends the oldest of them, and `on_event` is told
    `oldest_ended`. At most 10,000, as a subject's index is read with each sign-in."""
    conflicts: Literal["merge", "raise"] = "merge"
    """What becomes of two changes that can't be merged: the later writer's stands, or `SessionConflict`."""
    subject_key: str | None = None
    """The value that says who is signed in, such as `user_id`: when it changes, the session is given a new ID."""
    freshness_s: float = 60
    """Snapshots: how long a request that only reads may go by what the cookie says."""
    revocation_bound_s: float = 1
    """Snapshots: how long an ended session may live on at another instance."""
    max_cookie_bytes: int = MAX_COOKIE_BYTES
    on_event: Callable[[str, Mapping[str, Any]], None] = ignore
    """Is told what happened, for metrics: `cookie_refused`, `merged`, `overwritten`, `revival_refused`, …"""

    def __post_init__(self) -> None:
        for name in ("idle_timeout_s", "absolute_timeout_s", "freshness_s", "revocation_bound_s", "tombstone_s"):
            if not 0 < _number(name, getattr(self, name)) <= 3660 * DAY_S:
                raise SettingError(f"{name}={getattr(self, name)!r} must be above 0 and at most ten years")
        _number("max_cookie_bytes", self.max_cookie_bytes)
        if not 0 <= _number("rotation_grace_s", self.rotation_grace_s) <= self.tombstone_s:
            raise SettingError(
                f"rotation_grace_s={self.rotation_grace_s!r} must be 0 to {self.tombstone_s} (tombstone_s)"
            )
        if not 1 <= self.max_sessions <= MOST_SESSIONS:
            raise SettingError(f"max_sessions={self.max_sessions!r} must be 1 to {MOST_SESSIONS}")
        if self.idle_timeout_s > self.absolute_timeout_s:
            raise SettingError("idle_timeout_s must not be longer than absolute_timeout_s")
        if self.conflicts not in ("merge", "raise"):
            raise SettingError(f"conflicts={self.conflicts!r} must be 'merge' or 'raise'")
        if not callable(self.on_event):
            raise SettingError(f"on_event={self.on_event!r} must be a function of an event's name and its details")


def _number(name: str, value: object) -> float:
    """A setting that is a number.

    Raises:
        SettingError: it is none, such as what an environment variable holds.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingError(f"{name}={value!r} must be a number")
    return value
