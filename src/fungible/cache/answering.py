"""Answers with a stored response, and says in Cache-Status what the cache has done. Source: RFC 9211."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from fungible.cache.conditions import headers_of_304, is_not_modified
from fungible.cache.freshness import Facts
from fungible.cache.requests import Asked
from fungible.cache.responses import StoredResponse
from fungible.core.asgi import Header, Message, Send

CACHE_STATUS: Final = b"cache-status"


class Status:
    """Makes the Cache-Status fields of one cache."""

    def __init__(self, name: str) -> None:
        self._hit = f"{name}; hit; ttl=".encode()
        self._forwarded = f"{name}; fwd=".encode()
        self._name = name.encode()

    def hit(self, ttl_s: float) -> bytes:
        """A stored response was used, which is fresh for so long: below 0 where it is stale."""
        return self._hit + b"%d" % math.floor(ttl_s)

    def forwarded(self, why: str, *, stored: bool = False, detail: str = "") -> bytes:
        """The application was asked. Why: `uri-miss`, `vary-miss`, `stale`, `request`, `bypass` or `method`."""
        said = self._forwarded + why.encode()
        if stored:
            said += b"; stored"
        return said + b"; detail=" + detail.encode() if detail else said

    def refused(self) -> bytes:
        """Nothing usable is stored, and the application may not be asked."""
        return self._name + b"; detail=only-if-cached"


def with_status(headers: Iterable[Header], status: bytes) -> list[Header]:
    """The headers with a Cache-Status: after that of a cache behind, if there is one."""
    out = list(headers)
    for index, (name, value) in enumerate(out):
        if name.lower() == CACHE_STATUS:
            out[index] = (name, value + b", " + status)
            return out
    out.append((CACHE_STATUS, status))
    return out


async def answer(response: StoredResponse, asked: Asked, send: Send, *, age_s: float | None, status: bytes) -> None:
    """Sends a whole response; 304 where the client has it already, and no body to HEAD.

    Args:
        age_s: What the Age field says; None for a response that was made just now.
    """
    headers = [*response.headers]
    if age_s is not None:
        headers = [(name, value) for name, value in headers if name != b"age"]
        headers.append((b"age", b"%d" % int(age_s)))
    headers = with_status(headers, status)
    if response.status == 200 and is_not_modified(
        if_none_match=asked.if_none_match,
        if_modified_since=asked.if_modified_since,
        etag=response.etag,
        last_modified=response.last_modified,
    ):
        await send({"type": "http.response.start", "status": 304, "headers": headers_of_304(headers)})
        await send({"type": "http.response.body", "body": b""})
        return
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if asked.is_head else response.body})


def as_it_goes(message: Message, asked: Asked, facts: Facts, status: bytes) -> tuple[Message, bool]:
    """The start of a response that is sent as it comes, and whether its body is not sent: the client has it already.

    The application was not told what the client has, so that others could be given its answer.
    """
    headers = with_status(message["headers"], status)
    if message["status"] == 200 and is_not_modified(
        if_none_match=asked.if_none_match,
        if_modified_since=asked.if_modified_since,
        etag=facts.etag,
        last_modified=facts.last_modified,
    ):
        return {"type": "http.response.start", "status": 304, "headers": headers_of_304(headers)}, True
    return {**message, "headers": headers}, False
