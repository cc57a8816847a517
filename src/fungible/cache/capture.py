"""An application's response on its way to the client: kept back while it may be stored, let through where it may not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

from fungible.cache.freshness import Facts, facts_of
from fungible.core.asgi import Header, Message, Send

BODY: Final = "http.response.body"
START: Final = "http.response.start"
FAILURES: Final = frozenset({500, 502, 503, 504})


class Whole(Struct, frozen=True):
    """A whole response, of which the client has seen nothing yet."""

    status: int
    headers: list[Header]
    body: bytes
    facts: Facts


class Capture:
    """Takes what the application sends.

    Args:
        send: To the client.
        decide: Says of status and headers whether the response is to be kept back. Called once.
        through: Makes of the start of a response that is not kept back what is sent; None where it was dealt with, and
            nothing more of it is sent.
        max_body_bytes: A longer one is let through.
        has_stale: Whether a failure is to be kept from the client, who gets a stored response instead.
    """

    def __init__(
        self,
        send: Send,
        *,
        decide: Callable[[int, Facts], bool],
        through: Callable[[Message, Facts], Awaitable[Message | None]],
        max_body_bytes: int,
        has_stale: bool,
    ) -> None:
        self._send = send
        self._decide = decide
        self._through = through
        self._max_body_bytes = max_body_bytes
        self._has_stale = has_stale
        self._start: Message | None = None
        self._facts = Facts()
        self._chunks: list[bytes] = []
        self._size = 0
        self._holds = False
        self._drops = False
        self.begun = False
        """Whether the client has been sent anything."""
        self.failed = False
        """Whether the application has answered with a failure that is kept from the client."""
        self.let_through = False
        """Whether the response was not kept back, or not to its end."""
        self.whole: Whole | None = None

    async def take(self, message: Message) -> None:
        """Takes the next message."""
        kind = message["type"]
        if self._drops:
            return
        if kind == START and self._start is None:
            await self._begin(message)
        elif kind == BODY and self._holds:
            await self._hold(message)
        elif self._holds and kind not in ("http.response.push", "http.response.early_hint", "http.response.debug"):
            # A body that is not sent as bytes, or trailers: not ours to keep.
            await self.release()
            await self._send(message)
        else:
            await self._send(message)

    async def _begin(self, message: Message) -> None:
        status: int = message["status"]
        # A list: it is read more than once.
        message = self._start = {**message, "headers": list(message.get("headers", ()))}
        self._facts = facts_of(message["headers"])
        if self._has_stale and status in FAILURES:
            self.failed = self._drops = True
            return
        longer = self._facts.length is not None and self._facts.length > self._max_body_bytes
        if not longer and not message.get("trailers") and self._decide(status, self._facts):
            self._holds = True
            return
        await self._go(message)

    async def _go(self, message: Message) -> None:
        """Begins to send what is not kept back."""
        self.let_through = True
        started = await self._through(message, self._facts)
        if started is None:
            self._drops = self.begun = True
            return
        self.begun = True
        await self._send(started)

    async def _hold(self, message: Message) -> None:
        chunk: bytes = message.get("body", b"")
        self._chunks.append(chunk)
        self._size += len(chunk)
        if message.get("more_body"):
            if self._size > self._max_body_bytes:
                await self.release()
            return
        length = self._facts.length
        if self._size > self._max_body_bytes or (length is not None and length != self._size):
            await self.release(more=False)
            return
        self._holds = False
        assert self._start is not None
        headers = [(bytes(name), bytes(value)) for name, value in self._start["headers"]]
        self.whole = Whole(self._start["status"], headers, b"".join(self._chunks), self._facts)

    async def release(self, *, more: bool = True) -> None:
        """Lets through what was kept back, and all that follows."""
        if not self._holds or self._start is None:
            return
        self._holds = False
        body, self._chunks = b"".join(self._chunks), []
        await self._go(self._start)
        if not self._drops:
            await self._send({"type": BODY, "body": body, "more_body": more})
