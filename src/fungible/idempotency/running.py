"""One run of the application: it is given the whole request, and its response is collected before any of it is sent.

Source: the ASGI specification, HTTP message format and its extensions.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from fungible.core.asgi import App, Message, Receive, Scope
from fungible.idempotency.errors import RequestTooLargeError, ResponseTooLargeError
from fungible.idempotency.responses import StoredResponse

LOGGER: Final = logging.getLogger("fungible.idempotency")
UNWIND_S: Final = 5.0
"""How long an application may take to end once its response was refused, before it is cancelled."""
MAX_DIGITS: Final = 18
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
        self._released = asyncio.Event()
        self._whole: asyncio.Future[StoredResponse | None] = asyncio.get_running_loop().create_future()

    def start(self) -> asyncio.Task[None]:
        """Starts the application."""
        self.task = asyncio.create_task(self._run(), name="fungible-idempotent-request")
        self.task.add_done_callback(self._ended)
        return self.task

    async def _run(self) -> None:
        await self._app(self.scope, self._receive, self._send)

    async def response(self) -> StoredResponse:
        """The whole response, once it is there. The application goes on after `release`.

        Raises:
            ResponseTooLargeError: it is too long. The application has ended.
            Exception: what the application raised before its response was whole.
        """
        response = await self._whole
        if response is not None:
            return response
        assert self.task is not None
        if self._over:
            done, _ = await asyncio.wait({self.task}, timeout=UNWIND_S)
            if not done:
                self.task.cancel()
                await asyncio.wait({self.task})
            raise ResponseTooLargeError(max_bytes=self._max_bytes)
        if self.task.cancelled():
            raise RuntimeError("the application cancelled itself before its response was whole")
        self.task.result()
        raise RuntimeError("the application ended before its response was whole")

    def release(self) -> None:
        """Lets the application go on: with what it does after its response was sent."""
        self._released.set()

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
        await self._released.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._over:
            raise OSError("the response is refused, as it is too long to be kept")
        kind = message["type"]
        if kind == "http.response.start":
            self._status = message["status"]
            self._headers = tuple((bytes(name), bytes(value)) for name, value in message.get("headers", ()))
            self._grow(sum(len(name) + len(value) + 8 for name, value in self._headers))
        elif kind == "http.response.body" and not self._whole.done():
            body: bytes = message.get("body", b"")
            self._grow(len(body))
            self._parts.append(bytes(body))
            if not message.get("more_body"):
                self._whole.set_result(StoredResponse(self._status, self._headers, b"".join(self._parts)))
                self._parts = []
                # As a server does: once this returns, the client has its answer.
                await self._released.wait()

    def _grow(self, by: int) -> None:
        self._size += by
        if self._size > self._max_bytes:
            self._over = True
            self._parts = []
            self._whole.set_result(None)
            raise OSError("the response is refused, as it is too long to be kept")


def without_bypasses(scope: Scope) -> Scope:
    """The scope without those extensions of the server by which a response would not be collected."""
    extensions: dict[str, Any] = scope.get("extensions") or {}
    if not any(name in extensions for name in BYPASSES):
        return scope
    return {**scope, "extensions": {name: each for name, each in extensions.items() if name not in BYPASSES}}
