"""One question to the application, whose answer may be stored: under a lease, and never but whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email.utils import formatdate
from typing import Final

from fungible.cache.answering import Status, answer, as_it_goes
from fungible.cache.capture import FAILURES, Capture, Whole
from fungible.cache.conditions import strong_etag
from fungible.cache.freshness import Facts, initial_age_s, lifetime_of, lifetime_s, refusal, serves_in_error
from fungible.cache.leases import Claim
from fungible.cache.requests import CONDITIONS, Asked
from fungible.cache.responses import Found, Responses, StoredResponse
from fungible.core.asgi import App, Message, Receive, Scope, Send
from fungible.core.callers import SUBJECT, is_authenticated
from fungible.stores.errors import RecordTooLargeError, StoreUnavailableError

NOT_AS_BYTES: Final = frozenset({"http.response.pathsend", "http.response.zerocopysend", "http.response.trailers"})
"""Ways to send a body that leave nothing to keep: an application is not offered them."""
PERSONAL: Final = frozenset({"authorization", "cookie"})
"""Refusals that are because of who asked."""


class Exchange:
    """One request on its way to the application."""

    __slots__ = ("asked", "claim", "for_visitor", "found", "not_stored", "requested_at", "why")

    def __init__(self, asked: Asked, found: Found, claim: Claim | None, why: str) -> None:
        self.asked = asked
        self.found = found
        self.claim = claim
        """The lease; None where the response is not to be stored."""
        self.why = why
        self.requested_at = 0.0
        self.not_stored = False
        """Whether the response may not be stored, and those to the next requests most likely neither."""
        self.for_visitor = False
        """Whether that is because of who asked: for others it may be stored."""


class Exchanges:
    """Asks the application."""

    def __init__(
        self,
        app: App,
        responses: Responses,
        status: Status,
        *,
        max_body_bytes: int,
        default_ttl_s: float,
        key_headers: tuple[str, ...],
        personal: bool,
        now: Callable[[], float],
    ) -> None:
        self._app = app
        self._responses = responses
        self._status = status
        self._max_body_bytes = max_body_bytes
        self._default_ttl_s = default_ttl_s
        self._key_headers = key_headers
        self._personal = personal
        self._now = now

    async def run(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Asks, answers the client, and stores what may be stored. The lease is given back in any case."""
        asked, found, claim = exchange.asked, exchange.found, exchange.claim
        inner = _unconditional(scope, asked)
        exchange.requested_at = self._now()
        stale = found.response
        if stale is not None and not serves_in_error(stale.lifetime, found.age_s, asked.control):
            stale = None

        def decide(status: int, facts: Facts) -> bool:
            return not self._refuses(exchange, inner, status, facts)

        async def through(message: Message, facts: Facts) -> Message | None:
            if message["status"] not in FAILURES:
                # Whether refused, too long or broken off: nobody is to wait for the end of it.
                exchange.not_stored = True
                await self._settle(exchange)
            status = self._status.forwarded(exchange.why)
            started, without_body = as_it_goes(message, asked, facts, status)
            if without_body:
                await send(started)
                await send({"type": "http.response.body", "body": b""})
                return None
            return started

        capture = Capture(
            send, decide=decide, through=through, max_body_bytes=self._max_body_bytes, has_stale=stale is not None
        )
        if claim is not None:
            claim.hold()
        try:
            try:
                await self._app(inner, receive, capture.take)
            except Exception:
                if stale is None or capture.begun:
                    raise
                capture.failed = True
            if capture.failed and stale is not None:
                ttl_s = stale.lifetime.fresh_s - found.age_s
                await answer(stale, asked, send, age_s=found.age_s, status=self._status.hit(ttl_s))
            elif capture.whole is not None:
                await self._finish(exchange, inner, capture.whole, send)
            else:
                # Whatever the application has left unfinished.
                await capture.release()
        finally:
            if exchange.claim is not None:
                # Also where the client has gone: others wait.
                await asyncio.shield(exchange.claim.free(failed=True))

    async def run_unseen(self, exchange: Exchange, scope: Scope) -> None:
        """Asks in the background: there is no client."""

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(_: Message) -> None:
            return

        # A copy: the request that it was made for goes on, or has ended.
        await self.run(exchange, {**scope, "method": "GET"}, receive, send)

    def _refuses(self, exchange: Exchange, inner: Scope, status: int, facts: Facts) -> bool:
        """Whether the response may not be stored; the exchange is told."""
        why = self._refusal(exchange.asked, inner, status, facts)
        # A failure says nothing of the next response; all else that is not stored will most likely not be.
        exchange.not_stored = why is not None and status not in FAILURES
        exchange.for_visitor = exchange.asked.is_visitors and why in PERSONAL
        return why is not None

    def _refusal(self, asked: Asked, inner: Scope, status: int, facts: Facts) -> str | None:
        if not self._personal and getattr(inner.get("session"), "accessed", False) is True:
            return "cookie"
        # Not by the session: to look at it would make a visitor's page of each page.
        known = {name: inner[name] for name in (SUBJECT, "user") if name in inner}
        fresh_s = lifetime_s(status, facts, default_ttl_s=self._default_ttl_s, now=self._now())
        authorized = asked.authorized or is_authenticated(known)
        return refusal(status, facts, asked.control, authorized=authorized, personal=self._personal, lifetime=fresh_s)

    async def _finish(self, exchange: Exchange, inner: Scope, whole: Whole, send: Send) -> None:
        """Stores a whole response, if it still may be, and sends it."""
        facts, received_at = whole.facts, self._now()
        response = self._made(whole, facts, exchange, received_at)
        stored = False
        # Asked again: the session may have been read while the body was made.
        if not self._refuses(exchange, inner, whole.status, facts) and _lives_s(response) > 0:
            stored = await self._stored(exchange, response)
        await self._settle(exchange)
        status = self._status.forwarded(exchange.why, stored=stored)
        await answer(response, exchange.asked, send, age_s=None, status=status)

    async def _stored(self, exchange: Exchange, response: StoredResponse) -> bool:
        claim = exchange.claim
        if claim is None:
            return False
        try:
            stored = await self._responses.keep(claim, exchange.asked, exchange.found, response, response.lifetime)
        except RecordTooLargeError:
            exchange.not_stored = True
            return False
        except StoreUnavailableError:
            exchange.claim = None
            return False
        exchange.claim = None
        return stored

    async def _settle(self, exchange: Exchange) -> None:
        """Ends the lease where nothing was stored."""
        claim, exchange.claim = exchange.claim, None
        if claim is None:
            return
        if exchange.not_stored and not exchange.for_visitor and exchange.found.apart is None:
            await self._responses.remember_pass(claim, exchange.asked)
        else:
            await claim.free()

    def _made(self, whole: Whole, facts: Facts, exchange: Exchange, received_at: float) -> StoredResponse:
        headers, etag = whole.headers, facts.etag
        if etag is None and whole.status == 200:
            encoding = next((value for name, value in headers if name.lower() == b"content-encoding"), b"")
            etag = strong_etag(whole.body, encoding.decode("latin-1"))
            headers = [*headers, (b"etag", etag.encode("ascii"))]
        if facts.date is None:
            headers = [*headers, (b"date", formatdate(received_at, usegmt=True).encode("ascii"))]
        fresh_s = lifetime_s(whole.status, facts, default_ttl_s=self._default_ttl_s, now=received_at) or 0.0
        return StoredResponse(
            status=whole.status,
            headers=headers,
            body=whole.body,
            lifetime=lifetime_of(facts.control, fresh_s),
            initial_age_s=initial_age_s(facts, requested_at=exchange.requested_at, received_at=received_at),
            etag=etag,
            last_modified=facts.last_modified,
            varies=tuple(sorted({*facts.vary, *self._key_headers})),
            routes=exchange.asked.routes,
        )


def _lives_s(response: StoredResponse) -> float:
    """How long a response can be of use, stale or not."""
    life = response.lifetime
    return life.fresh_s - response.initial_age_s + max(life.while_s, life.error_s)


def _unconditional(scope: Scope, asked: Asked) -> Scope:
    """What the application is asked: without conditions, as its answer is for others too, and for a body in bytes."""
    # The same scope where it can be: what the application leaves in it is read by middleware around us.
    inner = scope
    if asked.if_none_match is not None or asked.if_modified_since is not None:
        inner = {**inner, "headers": [(name, value) for name, value in asked.headers if name not in CONDITIONS]}
    extensions = scope.get("extensions")
    if extensions and not NOT_AS_BYTES.isdisjoint(extensions):
        inner = {**inner, "extensions": {name: extensions[name] for name in extensions if name not in NOT_AS_BYTES}}
    return inner
