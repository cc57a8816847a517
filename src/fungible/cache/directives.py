"""The Cache-Control field, read and written. What can't be read is never an error.

Source: RFC 9111 section 5.2; RFC 5861 for `stale-while-revalidate` and `stale-if-error`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from msgspec import Struct

NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
SEPARATORS: Final = re.compile(r"[ \t,]*")
DIRECTIVE: Final = re.compile(rf'({NAME})(?:=(?:({NAME})|"((?:[^"\\]|\\.)*)"))?[ \t]*(?=,|\Z)', re.DOTALL)
QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
STOP: Final = re.compile(r'[,"]')
ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
TOKEN: Final = re.compile(NAME)
LARGEST_S: Final = float(1 << 31)
"""A larger number of seconds means that one (RFC 9111 section 1.2.2)."""


def parse(text: str) -> dict[str, str | None]:
    """The directives of a field by their names in lower case, each with its argument, if it has one.

    Of several with one name the first counts. Whatever words are in something that is no directive count as directives
    whose argument can't be read: a missing comma must not let a private response out.

    >>> parse('max-age=60, private="x, y", No-Store')
    {'max-age': '60', 'private': 'x, y', 'no-store': None}
    """
    found: dict[str, str | None] = {}
    at = 0
    while True:
        separators = SEPARATORS.match(text, at)
        at = at if separators is None else separators.end()
        if at == len(text):
            return found
        directive = DIRECTIVE.match(text, at)
        if directive is None:
            end = _next_comma(text, at)
            for word in TOKEN.findall(text, at, end):
                found.setdefault(word.lower(), "")
            at = end
            continue
        name, token, quoted = directive.groups()
        argument = token if quoted is None else ESCAPED.sub(r"\1", quoted)
        found.setdefault(name.lower(), argument)
        at = directive.end()


def _next_comma(text: str, at: int) -> int:
    """Where the next comma is that stands in no quotes; the end where there is none."""
    is_open = False
    while (stop := STOP.search(text, at)) is not None:
        if stop[0] == ",":
            return stop.start()
        quoted = None if is_open else QUOTED.match(text, stop.start())
        # A quote that nothing closes stands for itself, and so do all that follow it: they are not looked at again.
        is_open = quoted is None
        at = stop.end() if quoted is None else quoted.end()
    return len(text)


class CacheControl(Struct, frozen=True):
    """What a Cache-Control field says, of a request or of a response. Times in seconds."""

    no_store: bool = False
    no_cache: bool = False
    private: bool = False
    public: bool = False
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    must_understand: bool = False
    only_if_cached: bool = False
    max_age: float | None = None
    s_maxage: float | None = None
    min_fresh: float | None = None
    max_stale: float | None = None
    """Infinity where any age will do."""
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 0.0


SAYS_NOTHING: Final = CacheControl()


@lru_cache(maxsize=512)
def cache_control(text: str) -> CacheControl:
    """What the field says. A lifetime that can't be read is 0 (RFC 9111 section 4.2.1): the response is stale."""
    said = parse(text)
    return CacheControl(
        no_store="no-store" in said,
        # With field names in it, the response as a whole would be good: not worth the risk.
        no_cache="no-cache" in said,
        private="private" in said,
        public="public" in said,
        must_revalidate="must-revalidate" in said,
        proxy_revalidate="proxy-revalidate" in said,
        must_understand="must-understand" in said,
        only_if_cached="only-if-cached" in said,
        max_age=_seconds(said, "max-age"),
        s_maxage=_seconds(said, "s-maxage"),
        min_fresh=_seconds(said, "min-fresh"),
        max_stale=math.inf if said.get("max-stale", "") is None else _seconds(said, "max-stale"),
        stale_while_revalidate=_seconds(said, "stale-while-revalidate") or 0.0,
        stale_if_error=_seconds(said, "stale-if-error") or 0.0,
    )


def _seconds(said: Mapping[str, str | None], name: str) -> float | None:
    if name not in said:
        return None
    return delta_seconds(said[name] or "") or 0.0


def delta_seconds(text: str) -> float | None:
    """A number of seconds as fields have it; None for anything else (RFC 9111 section 1.2.2)."""
    if not (text.isascii() and text.isdecimal()):
        return None
    return LARGEST_S if len(text) > 10 else min(float(text), LARGEST_S)
