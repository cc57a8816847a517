"""By what requests are counted: each function gives who or what a request is counted with, or None to leave it out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from fungible.core.asgi import Scope, header
from fungible.core.callers import subject_of
from fungible.core.errors import SettingError
from fungible.core.routes import route_path

By = Callable[[Scope], str | None]
LONGEST_KEY: Final = 128
DIGEST: Final = "#"
"""Begins a key that is a digest; what begins so itself is digested too, so that none can be mistaken for another."""


def by_subject(scope: Scope) -> str | None:
    """A limit for each authenticated subject. Who is not authenticated is not counted: limit them by address as well.

    The middleware must stand inside the one that authenticates.
    """
    return subject_of(scope)


def by_route(scope: Scope) -> str:
    """One limit for everybody at each method and route: `GET /products/{id}` where the router has left it, else the path.

    Middleware around a router runs before it, and sees paths only: a limit there names those it is for in `paths`.
    """
    route = getattr(scope.get("route"), "path", None) or scope.get("path_template")
    if route is None:
        # However it is spelled, it is one route: else each spelling would have a limit of its own.
        route = route_path(scope).rstrip("/") or "/"
    method = str(scope.get("method", "WEBSOCKET")).upper()
    # With what it is mounted at: two mounts may have routes of one name. HEAD is served by what serves GET.
    return f"{'GET' if method == 'HEAD' else method} {scope.get('root_path') or ''}{route}"


def by_header(name: str) -> By:
    """A limit for each value of a header, such as an API key. Requests without it are not counted.

    Clients send whatever they like: use it for what is checked before, or what your gateway sets. The value itself is
    not kept, only a digest.

    Raises:
        SettingError: no header can be called so.
    """
    if not name or not name.isascii():
        raise SettingError(f"by_header({name!r}): that is no header's name")
    wanted = name.lower().encode("ascii")

    def by(scope: Scope) -> str | None:
        value = header(scope["headers"], wanted)
        return None if value is None else _digest(value)

    return by


def first_of(*bys: By) -> By:
    """By the first of several that gives something: `first_of(by_subject, by_address)`.

    A subject that is called like an address is not counted with it.
    """
    if not bys:
        raise SettingError("first_of needs one function or more")

    def by(scope: Scope) -> str | None:
        for place, each in enumerate(bys):
            key = each(scope)
            if key is not None:
                return f"{place}:{key}"
        return None

    return by


def all_of(*bys: By) -> By:
    """A limit for each combination: `all_of(by_address, by_route)`. Not counted where one of them gives nothing."""
    if not bys:
        raise SettingError("all_of needs one function or more")

    def by(scope: Scope) -> str | None:
        keys: list[str] = []
        for each in bys:
            key = each(scope)
            if key is None:
                return None
            # Length first: "a" with "b:c" and "a:b" with "c" must not meet.
            keys.append(f"{len(key)}:{key}")
        return "".join(keys)

    return by


def safe(key: object) -> str:
    """The key as a store takes it: itself if it is short and plain ASCII, else its digest.

    Raises:
        SettingError: it is no text.
    """
    if not isinstance(key, str):
        raise SettingError(f"a limit was given the key {key!r}; it must be a string, or from `by` None")
    if len(key) <= LONGEST_KEY and key.isascii() and key.isprintable() and not key.startswith(DIGEST):
        return key
    return _digest(key)


def _digest(text: str) -> str:
    return DIGEST + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
