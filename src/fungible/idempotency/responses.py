"""A whole response as bytes: kept for retries, and sent again exactly."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import Any, Final, TypeVar, cast

import msgspec

from fungible.core.asgi import Header, Receive, Scope, Send
from fungible.idempotency.errors import AnswerUnreadableError, IdempotencyError

R = TypeVar("R")

REPLAYED: Final[Header] = (b"idempotent-replayed", b"true")
"""On each answer that was kept, as Stripe marks it."""


class StoredResponse(msgspec.Struct, frozen=True, array_like=True):
    """A response as it was first sent. It is an ASGI application that sends it."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    """Name and value of each, in order; a name may come several times."""
    body: bytes

    @property
    def size_bytes(self) -> int:
        """Headers and body, as `max_response_bytes` counts them."""
        return sum(len(name) + len(value) + 8 for name, value in self.headers) + len(self.body)

    async def send(self, send: Send, extra: Iterable[Header] = ()) -> None:
        """Sends it, with further headers."""
        await send({"type": "http.response.start", "status": self.status, "headers": [*self.headers, *extra]})
        await send({"type": "http.response.body", "body": self.body})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it as it is."""
        await self.send(send)

    def with_headers(self, extra: Iterable[Header]) -> StoredResponse:
        """The same with further headers."""
        return StoredResponse(self.status, (*self.headers, *extra), self.body)

    def as_response(self, kind: Callable[..., R]) -> R:
        """The same as a response of a framework.

        Args:
            kind: Starlette's or FastAPI's `Response`, or what takes `content` and `status_code` and has `raw_headers`.
        """
        made = kind(content=self.body, status_code=self.status)
        cast(Any, made).raw_headers = list(self.headers)
        return made


def encoded(response: StoredResponse) -> bytes:
    """The response as MessagePack."""
    return _encoder.encode(response)


def decoded(data: bytes) -> StoredResponse:
    """The response that `encoded` made these bytes from.

    Raises:
        AnswerUnreadableError: another release has made them.
    """
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError:
        raise AnswerUnreadableError from None


def encoded_headers(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """Headers alone, for a column of their own."""
    return _encoder.encode(headers)


def decoded_headers(data: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """What `encoded_headers` made these bytes from.

    Raises:
        AnswerUnreadableError: another release has made them.
    """
    try:
        return _headers_decoder.decode(data)
    except msgspec.DecodeError:
        raise AnswerUnreadableError from None


def stored_form(response: object) -> StoredResponse:
    """What is kept of a response that a handler gives: ours, Starlette's, or (status, headers, body).

    Raises:
        TypeError: it is none of these, or one that streams.
    """
    if isinstance(response, StoredResponse):
        return response
    if isinstance(response, tuple):
        status, headers, body = cast(tuple[int, Iterable[tuple[bytes, bytes]], bytes], response)
        return StoredResponse(status, tuple((bytes(name), bytes(value)) for name, value in headers), bytes(body))
    found: Any = response
    try:
        return StoredResponse(found.status_code, tuple(found.raw_headers), bytes(found.body))
    except AttributeError:
        raise TypeError(
            f"a response with status_code, raw_headers and body can be kept, or (status, headers, body); "
            f"not {type(response).__name__!r}"
        ) from None


def problem(status: int, title: str, detail: str, *, code: str, retry_after_s: float | None = None) -> StoredResponse:
    """A problem document as a response. Source: RFC 9457."""
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code}
    body = json.dumps(document).encode()
    headers: list[Header] = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if retry_after_s is not None and math.isfinite(retry_after_s):
        headers.append((b"retry-after", str(max(1, math.ceil(retry_after_s))).encode()))
    return StoredResponse(status, tuple(headers), body)


def problem_of(error: IdempotencyError) -> StoredResponse:
    """The answer to a request that ended in one of our errors."""
    return problem(error.status, error.title, str(error), code=error.code, retry_after_s=error.retry_after_s)


async def answer_refusal(request: object, error: IdempotencyError) -> StoredResponse:
    """An exception handler for Starlette and FastAPI: `app.add_exception_handler(IdempotencyError, answer_refusal)`."""
    return problem_of(error)


def expires_header(expires_at: float) -> Header:
    """Until when a retry gets the same answer.

    Args:
        expires_at: Unix seconds.
    Source: IMF-fixdate, RFC 9110 section 5.6.7.
    """
    # Rounded down: it must not promise more than there is.
    return b"idempotency-key-expires", formatdate(math.floor(expires_at), usegmt=True).encode()


def expires_in(ttl_s: float, now: Callable[[], float] = time.time) -> Header:
    """The same for what begins to live now."""
    return expires_header(now() + ttl_s)


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(StoredResponse)
_headers_decoder: Final = msgspec.msgpack.Decoder(tuple[tuple[bytes, bytes], ...])
