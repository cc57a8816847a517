"""Which route a request is for, matched in one way wherever paths or methods are named in settings.

Frameworks route what looks like another path to the same handler: Litestar takes `//login` and `/login/` for `/login`, and
Starlette `/login` with an encoded newline behind it. What is limited or guarded must not be escaped so. Names are matched
as routers match them otherwise: by letter case, and with `.` and `..` as segments like others, as no server or router
resolves them.

Source: the ASGI specification, HTTP connection scope (`path`, `root_path`, `method`); RFC 9110 section 9.3.2 (HEAD).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from fungible.core.asgi import Scope
from fungible.core.errors import SettingError

SLASHES: Final = re.compile(r"/{2,}")
ODD: Final = re.compile(r"//|/\.{1,2}(?:/|\Z)|[\x00-\x1f\x7f\\]")
WILD: Final = re.compile(r"(\{[^{}/]*\})")
ONE: Final = "[^/]+"
ANY_DEPTH: Final = ":path}"
"""Ends a parameter that stands for any number of segments, as Starlette writes it."""


def route_path(scope: Scope) -> str:
    """The path of a request below what the application is mounted at, however it is spelled.

    Servers differ in whether `path` has `root_path` in it: it is taken off where it is there, as routers do.

    >>> route_path({"path": "/shop//login", "root_path": "/shop"})
    '/login'
    """
    path = SLASHES.sub("/", scope["path"])
    root = SLASHES.sub("/", scope.get("root_path") or "").rstrip("/")
    path = path.removesuffix("\n")
    if root and path.startswith(root) and path[len(root) :][:1] in ("", "/"):
        path = path[len(root) :]
    return path or "/"


def plain_path(scope: Scope) -> str | None:
    """The same, where it is spelled as paths are; else None.

    For what is let pass by its path: a spelling that could be meant to look like another path is no reason to.

    >>> plain_path({"path": "/public/../admin"}) is None
    True
    """
    path: str = scope["path"]
    return None if ODD.search(path) else route_path(scope)


def method_of(scope: Scope) -> str:
    """The method of a request, in upper case. A WebSocket's handshake is a GET."""
    method: str = scope.get("method", "GET")
    return method.upper()


def methods_of(names: Iterable[str]) -> frozenset[str]:
    """The methods that are meant where some are named: GET is HEAD as well, as whatever serves one serves the other."""
    found = {str(name).upper() for name in names}
    return frozenset(found | {"HEAD"} if "GET" in found else found)


class Pattern:
    """A path, or several that look alike.

    Args:
        text: `/login` is that path; `{…}` stands for one segment or a part of one, `{…:path}` for any number, `*` for one
            segment, and at the end for whatever is below: `/orders/{id}/pay`, `/api/*`. A slash at the end means
            nothing.
        below: Whether the pattern also names whatever is below it. A `*` at its end is then one segment like others.
    Raises:
        SettingError: it can't be read.
    """

    def __init__(self, text: str, *, below: bool = False) -> None:
        if not text.startswith("/"):
            raise SettingError(f"{text!r}: a path must begin with /, such as '/payments'")
        segments = [segment for segment in text.split("/") if segment]
        ending = r"(?:/|\Z)" if below else r"/?\Z"
        last = segments[-1] if segments else ""
        if last.endswith("*") and not (below and last == "*"):
            segments[-1] = last[:-1]
            ending = ".*"
        self.segments = len(segments)
        """How many there are, with those that stand for others."""
        self.literal = sum(not _is_wild(segment) for segment in segments)
        """How many of them stand for themselves alone."""
        parts = "".join(f"/{_expression(segment, text)}" for segment in segments)
        self._match = re.compile(parts + ending if segments or not below else "", re.DOTALL).match

    def matches(self, path: str) -> bool:
        """Whether a path, as `route_path` gives it, is one of these."""
        return self._match(path) is not None


def _is_wild(segment: str) -> bool:
    return segment == "*" or WILD.fullmatch(segment) is not None


def _expression(segment: str, text: str) -> str:
    if segment == "*":
        return ONE
    if "*" in segment:
        raise SettingError(f"{text!r} must have no * but at the end, or for a whole segment")
    return "".join(
        re.escape(part) if not place % 2 else ".*" if part.endswith(ANY_DEPTH) else ONE
        for place, part in enumerate(WILD.split(segment))
    )
