"""What both middlewares share: which requests are guarded, and that their work outlives their client."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec

from fungible.core.asgi import App, Header, Message, Receive, Scope, Send
from fungible.core.errors import SettingError
from fungible.core.routes import method_of, route_path
from fungible.idempotency.claims import Request
from fungible.idempotency.errors import IdempotencyError, MissingKeyError
from fungible.idempotency.header import key_in
from fungible.idempotency.identity import Identity
from fungible.idempotency.options import Options, Routes
from fungible.idempotency.responses import StoredResponse, problem, problem_of
from fungible.idempotency.running import LOGGER, ClientGoneError, Run, whole_body

T = TypeVar("T")


class Answer(msgspec.Struct, frozen=True):
    """What a guarded request ends in."""

    response: StoredResponse | None
    extra: tuple[Header, ...] = ()
    unguarded: bool = False
    """No answer yet: the application is to be run as if we were not there."""
    through: bool = False
    """The application's own, which is too long to be collected: it sends it itself."""


UNGUARDED = Answer(None, unguarded=True)


class Guard(ABC):
    """An ASGI middleware that answers requests with a key by the work of `answer`.

    Args:
        app: The ASGI application.
        identity: How requests are told apart.
        routes: The options of each path.
        drain_s: How long the server's shutdown waits for work whose client has gone, in seconds.
    """

    def __init__(self, app: App, *, identity: Identity, routes: Routes, drain_s: float) -> None:
        if not drain_s >= 0:
            raise SettingError(f"drain_s={drain_s!r} must be 0 or more seconds")
        self.app = app
        self._identity = identity
        self._routes = routes
        self._drain_s = drain_s
        self._running: set[asyncio.Task[Any]] = set()

    @abstractmethod
    async def answer(self, key: str, request: Request, run: Run) -> Answer:
        """Does the work of a request, or finds what was done before.

        Raises:
            IdempotencyError: it is refused.
            Exception: what the application raised.
        """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection."""
        if scope["type"] != "http":
            receive = self._draining(receive) if scope["type"] == "lifespan" else receive
            await self.app(scope, receive, send)
            return
        options = self._routes.options(route_path(scope))
        if not options.enabled or method_of(scope) not in options.methods:
            await self.app(scope, receive, send)
            return
        try:
            key = key_in(scope["headers"])
            if key is None and options.required:
                raise MissingKeyError
            body = b"" if key is None else await whole_body(scope, receive, max_bytes=options.max_body_bytes)
            request = None if key is None else self._identity.request(scope, key, body, options)
        except IdempotencyError as refusal:
            await problem_of(refusal).send(send)
            return
        except ClientGoneError:
            return
        if key is None or request is None:
            await self.app(scope, receive, send)
            return
        await self._serve(scope, receive, send, key, request, body)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, key: str, request: Request, body: bytes) -> None:
        run = Run(self.app, scope, body, max_bytes=request.options.max_response_bytes)
        work = self.track(asyncio.create_task(self._answered(key, request, run), name="fungible-idempotency"))
        try:
            # The client may go away, and this be cancelled: the work goes on, for the retry.
            answer = await asyncio.shield(work)
            if answer.through:
                await run.pass_through(send, receive)
            else:
                if answer.response is not None:
                    await answer.response.send(send, answer.extra)
                await run.refuse()
            run.release()
            if run.task is not None:
                # What the application does after its answer is part of this request, and its errors are the server's.
                await asyncio.shield(run.task)
        except BaseException:
            run.watched = False
            run.hang_up()
            if not work.done():
                work.add_done_callback(_log_unseen)
            raise
        finally:
            # Not before its answer is kept, whether or not the client is there: what follows an answer relies on it.
            if work.done():
                run.release()
            else:
                work.add_done_callback(lambda _: run.release())
        if answer.unguarded:
            await self.app(scope, replayed(body, receive), send)

    async def _answered(self, key: str, request: Request, run: Run) -> Answer:
        try:
            return await self.answer(key, request, run)
        except IdempotencyError as refusal:
            return Answer(problem_of(refusal))

    def track(self, task: asyncio.Task[T]) -> asyncio.Task[T]:
        """Keeps a task alive, and lets the server's shutdown wait for it."""
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Runs something beside the requests."""
        return self.track(asyncio.create_task(work, name=name))

    def _draining(self, receive: Receive) -> Receive:
        async def drained() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                # Before the application closes what its handlers need.
                await self.drain()
            return message

        return drained

    async def drain(self) -> None:
        """Waits until all work is done, for `drain_s` seconds at most. Servers that end call it by `lifespan`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._drain_s
        while left := {task for task in self._running if task.get_loop() is loop}:
            if loop.time() >= until:
                LOGGER.warning(
                    "%d requests are cut off, as the server ends: their keys are free after a lease", len(left)
                )
                return
            await asyncio.wait(left, timeout=until - loop.time())


def _log_unseen(work: asyncio.Task[Answer]) -> None:
    # What the application itself has raised is logged by its run.
    if not work.cancelled() and (error := work.exception()) is not None:
        LOGGER.error("a request ended without an answer, after its client had gone: %r", error)


def replayed(body: bytes, receive: Receive) -> Receive:
    """The request's messages, when its body was read already."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def away(options: Options, *, begun: bool = False) -> StoredResponse:
    """The answer while the place of the keys is away.

    Args:
        begun: Whether the handler was run, so that only a retry can tell what has become of it.
    """
    if begun:
        words = "The database failed while this was done. Please try again, with the same key: it takes effect once."
    else:
        words = "Idempotency keys are unavailable at the moment, so nothing was done: please try again, with this key."
    retry_after_s = max(1.0, options.retry_after_s)
    return problem(503, "Service Unavailable", words, code="store_unavailable", retry_after_s=retry_after_s)
