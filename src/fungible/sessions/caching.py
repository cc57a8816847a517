"""What shared caches may do with a response, and how one that carries a session's cookie is kept from them.

A cache stores `Set-Cookie` with the rest of a response and gives it to everybody (RFC 9111 section 7.3): the next visitor
would be signed in as the one before. Pure functions over a response's fields, for all frameworks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from fungible.core.asgi import Header, list_elements

CACHE_CONTROL: Final = b"cache-control"
EXPIRES: Final = b"expires"
TARGETED: Final = frozenset({b"surrogate-control", b"edge-control", b"x-accel-expires"})
"""Fields that go before `Cache-Control` for caches in front of servers, beside those whose names end as that of RFC 9213
does: `CDN-Cache-Control`, `Cloudflare-CDN-Cache-Control`."""
KEPT_OUT: Final = frozenset({"private", "no-store"})
FOR_ALL: Final = frozenset({"public", "s-maxage", "private"})
"""What goes where a response becomes private: of `private`, the form that names fields and leaves the rest for all."""


def is_targeted(name: bytes) -> bool:
    """Whether a field, by its name in lower case, tells caches in front of servers what others read elsewhere."""
    return name.endswith(b"-cache-control") or name in TARGETED


def is_shared(headers: Iterable[Header], *, now: float) -> bool:
    """Whether a response says that a cache may give it to other visitors without asking.

    Args:
        now: In Unix seconds.
    Source: RFC 9111 sections 3 and 4.2.1, RFC 9213 section 2.
    """
    headers = [*headers]
    names = b"\n".join([name for name, _ in headers]).lower()
    if b"control" not in names and b"expires" not in names:
        return False  # as with most responses
    control: list[str] = []
    expires = ""
    for name, value in headers:
        name = name.lower()
        if name == CACHE_CONTROL:
            control += list_elements(value.decode("latin-1"))
        elif name == EXPIRES:
            expires = value.decode("latin-1")
        elif is_targeted(name) and _lasts(_directives(list_elements(value.decode("latin-1"))), name):
            return True
    said = _directives(control)
    if control:
        return _lasts(said, CACHE_CONTROL) or ("max-age" not in said and _is_later(expires, said, now))
    return _is_later(expires, said, now)


def kept_private(headers: Iterable[Header]) -> dict[bytes, bytes | None]:
    """The fields that a response needs so that no shared cache stores it: new values, None for what is to go.

    What browsers are told stays: `public, max-age=60` becomes `max-age=60, private`. A response that says nothing is
    not to be stored at all.
    """
    control: list[str] = []
    changes: dict[bytes, bytes | None] = {}
    for name, value in headers:
        name, elements = name.lower(), list_elements(value.decode("latin-1"))
        if name == CACHE_CONTROL:
            control += elements
        elif is_targeted(name) and not _keeps_out(_directives(elements)):
            changes[name] = None
    said = _directives(control)
    if not control:
        changes[CACHE_CONTROL] = b"no-store"
    elif not _keeps_out(said):
        kept = [element for element in control if _name(element) not in FOR_ALL]
        changes[CACHE_CONTROL] = ", ".join([*kept, "private"]).encode("latin-1")
    return changes


def _lasts(said: Mapping[str, str | None], field: bytes) -> bool:
    """Whether directives let a response be given to others as it is, for any time at all."""
    if _keeps_out(said) or "no-cache" in said:
        return False
    if field == b"x-accel-expires":
        return "0" not in said
    for name in ("s-maxage", "max-age"):
        if name in said:
            return (said[name] or "").strip('" \t').strip("0") != ""
    # Edge-Control and Surrogate-Control have words of their own.
    return "public" in said or field in TARGETED


def _keeps_out(said: Mapping[str, str | None]) -> bool:
    return any(name in said and said[name] is None for name in KEPT_OUT)


def _directives(elements: Iterable[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for element in elements:
        _, equals, argument = element.partition("=")
        # Of several the strictest: `private` alone counts for more than `private="set-cookie"`.
        if found.get(_name(element), "") is not None:
            found[_name(element)] = argument if equals else None
    return found


def _name(element: str) -> str:
    return element.partition("=")[0].strip(" \t").lower()


def _is_later(expires: str, said: Mapping[str, str | None], now: float) -> bool:
    if not expires or _keeps_out(said) or "no-cache" in said:
        return False
    try:
        return parsedate_to_datetime(expires).timestamp() > now
    except (ValueError, TypeError, IndexError, OverflowError):
        # "0" and the like: long ago (RFC 9111 section 5.3).
        return False
