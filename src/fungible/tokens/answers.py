"""Answers over HTTP, read whole and within bounds: of time, for everything together, and of bytes.

A library's time limits are for each read: a server that sends a byte now and then would hold its reader for ever.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, Final

from msgspec import Struct

from fungible.core.redaction import Redacted

if TYPE_CHECKING:
    import httpx

MAX_BYTES: Final = 1 << 20


class Answer(Redacted, Struct, frozen=True):
    """What a server answered."""

    _hidden: ClassVar = ("body",)
    status: int
    body: bytes
    """Tokens, it may be."""


async def answer_to(client: httpx.AsyncClient, method: str, url: str, *, timeout_s: float, **options: Any) -> Answer:
    """Sends a request, and reads the answer.

    Args:
        timeout_s: Seconds for all of it, from the connection to the last byte.
        options: For `client.stream`; `headers` among them.
    Raises:
        TimeoutError: the time is over.
        ValueError: the answer has more than `MAX_BYTES`, or is compressed, which was not asked for.
        httpx.HTTPError: there is none.
    """
    # What is compressed has no bound: a kilobyte may become a gigabyte before anybody can count it.
    options["headers"] = {**options.get("headers", {}), "accept-encoding": "identity"}
    body = bytearray()
    async with asyncio.timeout(timeout_s), client.stream(method, url, **options) as response:
        if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise ValueError("its answer is compressed, which was not asked for")
        async for part in response.aiter_raw():
            body += part
            if len(body) > MAX_BYTES:
                raise ValueError(f"its answer has more than {MAX_BYTES} bytes")
    return Answer(response.status_code, bytes(body))
