"""One run of the application: it is given the whole request, and its response is collected before any of it is sent.

Source: the ASGI specification, HTTP message format and its extensions.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from fungible.core.asgi import App, Message, Receive, Scope, Send
from fungible.idempotency.errors import RequestTooLargeError, ResponseTooLargeError
from fungible.idempotency.responses import StoredResponse

LOGGER: Final = logging.getLogger("fungible.idempotency")
UNWIND_S: Final = 5.0
"""How long an application may take to end once its response was refused, before it is cancelled."""
MAX_DIGITS: Final = 18
TOO_LONG: Final = "the response is too long to be kept, and its client has gone or gets another answer"
# Extensions by which bytes would go past the spool, and others that would be lost by it.
BYPASSES: Final = (
    "http.response.pathsend",
    "http.response.zerocopysend",
    "http.response.trailers",
    "http.response.push",
    "http.response.early_hint",
)


class ClientGoneError(Exception):
    """The client went away before it had sent the whole body."""


async def whole_body(scope: Scope, receive: Receive, *, max_bytes: int) -> bytes:
    """The request's body.

    Raises:
        RequestTooLargeError: it is longer than that.
        ClientGoneError: it never came.
    """
    for name, value in scope["headers"]:
        # By its digits first: a number of thousands of them is not even read.
        if name == b"content-length" and value.isdigit() and (len(value) > MAX_DIGITS or int(value) > max_bytes):
            raise RequestTooLargeError(max_bytes=max_bytes)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGoneError
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            raise RequestTooLargeError(max_bytes=max_bytes)
        parts.append(part)
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


class Run:
    """The application, run in a task of its own, so that a client that goes away does not end it.

    Args:
        max_bytes: Longest response that is collected, headers and body.
    """

    def __init__(self, app: App, scope: Scope, body: bytes, *, max_bytes: int) -> None:
        self.task: asyncio.Task[None] | None = None
        self.watched = True
        """Whether somebody waits for what becomes of the task."""
        self._app = app
        self.scope = without_bypasses(scope)
        """What the application is given."""
        self._body: bytes | None = body
        self._max_bytes = max_bytes
        self._size = 0
        self._status = 0
        self._headers: tuple[tuple[bytes, bytes], ...] = ()
        self._parts: list[bytes] = []
        self._over = False
        """Whether its response is too long, and what becomes of it is to be decided, or was."""
        self._refused = False
        self._more = True
        self._decided = asyncio.Event()
        self._through: Send | None = None
        self._client: Receive | None = None
        self._released = asyncio.Event()
        self._heard = asyncio.Event()
        """Whether the application may be told that its client has gone."""
        self._whole: asyncio.Future[StoredResponse | None] = asyncio.get_running_loop().create_future()

    def start(self) -> asyncio.Task[None]:
        """Starts the application."""
        self.task = asyncio.create_task(self._run(), name="fungible-idempotent-request")
        self.task.add_done_callback(self._ended)
        return self.task

    @property
    def status(self) -> int:
        """The status of the response, once it has begun."""
        return self._status

    async def _run(self) -> None:
        await self._app(self.scope, self._receive, self._send)

    async def response(self) -> StoredResponse:
        """The whole response, once it is there. The application goes on after `release`.

        Raises:
            ResponseTooLargeError: it is too long. The application waits for `pass_through` or `refuse`.
            Exception: what the application raised before its response was whole.
        """
        response = await self._whole
        if response is not None:
            return response
        assert self.task is not None
        if self._over:
            raise ResponseTooLargeError(max_bytes=self._max_bytes)
        if self.task.cancelled():
            raise RuntimeError("the application cancelled itself before its response was whole")
        self.task.result()
        raise RuntimeError("the application ended before its response was whole")

    async def pass_through(self, send: Send, receive: Receive) -> None:
        """Sends what was collected of a response that is too long, and lets the application send the rest, to its end.

        From here on the application has its client as if we were not there.
        """
        assert self.task is not None
        self._client = receive
        self._heard.set()
        await send({"type": "http.response.start", "status": self._status, "headers": list(self._headers)})
        parts, self._parts = self._parts, []
        for number, part in enumerate(parts, 1):
            more = self._more or number < len(parts)
            await send({"type": "http.response.body", "body": part, "more_body": more})
        self._through = send
        self._decided.set()
        await asyncio.wait({self.task})

    async def refuse(self) -> None:
        """Ends an application whose response is too long, and is not sent."""
        if not self._over or self._decided.is_set():
            return
        self.hang_up()
        task, self.task = self.task, None
        assert task is not None
        done, _ = await asyncio.wait({task}, timeout=UNWIND_S)
        if not done:
            task.cancel()
            await asyncio.wait({task})

    def hang_up(self) -> None:
        """The client has gone, or gets another answer: whatever of a long response is still to be sent is an error."""
        self._refused = True
        self._decided.set()

    def release(self) -> None:
        """Lets the application go on: with what it does after its response was sent."""
        self._released.set()
        self._heard.set()
        self._decided.set()

    async def abandon(self) -> None:
        """Ends the application: what it answered is not sent, so it must not go on as if it were."""
        task, self.task = self.task, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=UNWIND_S)

    def failed_with(self, error: Exception) -> bool:
        """Whether that is what the application has raised."""
        task = self.task
        return task is not None and task.done() and not task.cancelled() and task.exception() is error

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not self._whole.done():
            self._whole.set_result(None)
        if not task.cancelled() and (error := task.exception()) is not None and not self.watched:
            LOGGER.error("a request failed whose client had gone", exc_info=error)

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        # That the client went away is kept from the application: its retry shall have the answer.
        await self._heard.wait()
        while self._client is not None and not self._released.is_set():
            if (await self._client())["type"] == "http.disconnect":
                break
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._over:
            await self._send_on(message)
            return
        kind = message["type"]
        if kind == "http.response.start":
            self._status = message["status"]
            self._headers = tuple((bytes(name), bytes(value)) for name, value in message.get("headers", ()))
            await self._grow(sum(len(name) + len(value) + 8 for name, value in self._headers))
        elif kind == "http.response.body" and not self._whole.done():
            body: bytes = message.get("body", b"")
            self._parts.append(bytes(body))
            self._more = bool(message.get("more_body"))
            if await self._grow(len(body)):
                return
            if not self._more:
                self._whole.set_result(StoredResponse(self._status, self._headers, b"".join(self._parts)))
                self._parts = []
                # As a server does: once this returns, the client has its answer.
                await self._released.wait()

    async def _grow(self, by: int) -> bool:
        """Whether the response has become too long, and what there was of it is sent."""
        self._size += by
        if self._size <= self._max_bytes:
            return False
        self._over = True
        self._whole.set_result(None)
        # What is not collected any more must not be made either, until somebody takes it.
        await self._decided.wait()
        if self._through is None:
            raise OSError(TOO_LONG)
        return True

    async def _send_on(self, message: Message) -> None:
        if self._refused or self._through is None:
            raise OSError(TOO_LONG)
        await self._through(message)


def without_bypasses(scope: Scope) -> Scope:
    """The scope without those extensions of the server by which a response would not be collected."""
    extensions: dict[str, Any] = scope.get("extensions") or {}
    if not any(name in extensions for name in BYPASSES):
        return scope
    return {**scope, "extensions": {name: each for name, each in extensions.items() if name not in BYPASSES}}
