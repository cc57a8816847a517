"""Entity tags, and whether a client has the response already. Source: RFC 9110 sections 8.8.3, 13.1.2 and 13.1.3."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final

from fungible.cache.freshness import http_date
from fungible.core.sealing import to_base64url

TAG: Final = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')
LIST: Final = re.compile(r'[ \t]*(?:(?:W/)?"[\x21\x23-\x7e\x80-\xff]*")?[ \t]*(?:,|\Z)')


def strong_etag(body: bytes, content_encoding: str) -> str:
    """The entity tag that the bytes themselves make: the same on every instance and release.

    >>> strong_etag(b"mug", "")
    '"QS3clBhvPfvP1mspkDcBB9uqJd5vfnobaniMSggArt4"'
    """
    # A compressed response is another representation, also where its bytes happen to be the same.
    digest = hashlib.sha256(content_encoding.strip().lower().encode("latin-1") + b"\0" + body)
    return f'"{to_base64url(digest.digest())}"'


def names(field: str, etag: str) -> bool:
    """Whether an If-None-Match field names an entity tag, by the weak comparison. A field that can't be read does not."""
    if field.strip(" \t") == "*":
        return True
    own = TAG.fullmatch(etag)
    if own is None:
        return False
    at, found = 0, False
    while at < len(field):
        element = LIST.match(field, at)
        if element is None or element.end() == at:
            return False
        tag = TAG.search(element[0])
        found = found or (tag is not None and tag[1] == own[1])
        at = element.end()
    return found


def is_not_modified(
    *, if_none_match: str | None, if_modified_since: str | None, etag: str | None, last_modified: float | None
) -> bool:
    """Whether 304 answers a GET or HEAD that would otherwise be answered by 200."""
    if if_none_match is not None:
        # If-Modified-Since does not count beside it.
        return names(if_none_match, etag or "")
    if if_modified_since is None or last_modified is None:
        return False
    since = http_date(if_modified_since)
    return since is not None and last_modified <= since


KEPT_IN_304: Final = frozenset(
    {
        b"cache-control",
        b"content-location",
        b"date",
        b"etag",
        b"expires",
        b"vary",
        b"last-modified",
        b"age",
        b"cache-status",
    }
)


def headers_of_304(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """What of a response's headers goes with 304. Fields that say nothing of the content go too, but what describes it.

    Source: RFC 9110 section 15.4.5.
    """
    return [
        (name, value)
        for name, value in headers
        if name in KEPT_IN_304 or not name.lower().startswith((b"content-", b"transfer-"))
    ]
