"""The middleware for any ASGI application: refuses what is over a limit, and tells clients what is left.

Source: draft-ietf-httpapi-ratelimit-headers-11; the ASGI specification, HTTP and WebSocket message formats, and its
extension "WebSocket Denial Response".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from secrets import randbelow
from typing import Any, Final

from fungible.core.asgi import App, Header, Message, Receive, Scope, Send, send_problem
from fungible.core.errors import SettingError
from fungible.core.startup import ends_the_server
from fungible.limits.addresses import ADDRESSES, Addresses, ProxyHeader
from fungible.limits.decision import Decision
from fungible.limits.errors import RateLimitedError
from fungible.limits.fields import (
    QUOTA_EXCEEDED,
    REDUCED_CAPACITY,
    Counts,
    rate_limit_fields,
    refusal_fields,
    whole_seconds,
)
from fungible.limits.limit import Limit
from fungible.limits.limiter import Limiter, ignore
from fungible.limits.outages import OnEvent
from fungible.limits.requests import COUNTING, Counting
from fungible.stores.contract import Store
from fungible.stores.postures import Home

TRY_AGAIN_LATER: Final = 1013
"""The WebSocket close code for a server that can't serve now. Source: the IANA registry of close codes."""
DENIAL: Final = "websocket.http.response"
BEGINNINGS: Final = frozenset({"http.response.start", "websocket.accept"})


class LimitMiddleware:
    """Counts each request by all limits that it is under, in their order, until one refuses it.

    A request that a limit has refused is not counted by those after it, but has been by those before. So the limit that
    concerns the fewest comes first: who is over it can't use up what all share.

    Args:
        app: The ASGI application.
        store: Where requests are counted.
        limits: In the order in which they are asked. WebSocket handshakes count as well.
        trusted_proxies: Networks and addresses whose word is taken for where a request came from; `unix` for whoever
            connects over a Unix socket.
        proxy_header: Where they write it: `x-forwarded-for`, or `forwarded` (RFC 7239).
        ipv6_prefix: How many bits of an IPv6 address tell clients apart.
        exempt: Says of a request (its ASGI scope) whether it is not limited at all: health checks, for instance.
        retry_jitter_s: `Retry-After` is up to so many seconds later, so that those who are refused together do not come
            back together.
        instances: How many instances run; by default what the environment says in `FUNGIBLE_INSTANCES`, else 1.
        machines: On how many machines; by default `FUNGIBLE_MACHINES`, else as many as instances.
        on_event: Is told what happened, for metrics; see "Events".
        now: The clock, in Unix seconds; what the store counts goes by the store's own.
        monotonic: The clock by which refusals are remembered, in seconds. A test gives the same for both.
    Raises:
        SettingError: a setting can't be taken, or two limits have one name.
    """

    @ends_the_server
    def __init__(
        self,
        app: App,
        *,
        store: Store,
        limits: Sequence[Limit],
        trusted_proxies: Iterable[str] = (),
        proxy_header: ProxyHeader = "x-forwarded-for",
        ipv6_prefix: int = 64,
        exempt: Callable[[Scope], bool] | None = None,
        retry_jitter_s: int = 0,
        instances: int | None = None,
        machines: int | None = None,
        on_event: OnEvent = ignore,
        draw: Callable[[int], int] = randbelow,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        names = [limit.name for limit in limits]
        if len(set(names)) < len(names):
            raise SettingError(f"limits need different names: {', '.join(names)}")
        if retry_jitter_s < 0:
            raise SettingError(f"retry_jitter_s={retry_jitter_s!r} must be 0 or more")
        self.app = app
        self.limiter = Limiter(
            store, instances=instances, machines=machines, on_event=on_event, now=now, monotonic=monotonic
        )
        self._limits = tuple(limits)
        self._addresses = Addresses(trusted_proxies, proxy_header=proxy_header, ipv6_prefix=ipv6_prefix)
        self._exempt = exempt
        self._retry_jitter_s = retry_jitter_s
        self._draw = draw
        self._homes = self.homes_declared(store=store)

    def homes(self) -> Sequence[Home]:
        """Where this middleware keeps state, for `fungible doctor`."""
        return self._homes

    @classmethod
    def homes_declared(cls, *, store: Store | None = None, **_others: Any) -> Sequence[Home]:
        """Where a middleware with these settings would keep state, for `fungible doctor`."""
        if store is None:
            return ()
        return (Home(kind="rate-limit", home=store.home, guarantees=store.guarantees, seat="LimitMiddleware"),)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection."""
        if scope["type"] not in ("http", "websocket") or (self._exempt is not None and self._exempt(scope)):
            await self.app(scope, receive, send)
            return
        scope[ADDRESSES] = self._addresses
        counting = scope[COUNTING] = Counting(self.limiter)
        for limit in self._limits:
            decision = await counting.count(limit, scope)
            if decision is not None and not decision.allowed:
                await self._answer(scope, send, limit.name, decision, counting.counts)
                return
        await self._serve(scope, receive, send, counting.counts)

    async def _answer(self, scope: Scope, send: Send, name: str, decision: Decision, counts: Counts) -> None:
        fields = refusal_fields(self._over(scope, counts), counts, jitter_s=self._jitter_s())
        await _refuse(scope, send, name, decision, fields)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, counts: Counts) -> None:
        begun = False

        async def send_with_fields(message: Message) -> None:
            nonlocal begun
            if message["type"] in BEGINNINGS:
                begun = True
                # Its route may have counted it by more. A new list: one response object may be sent to several clients.
                fields = rate_limit_fields([limit for limit, _ in counts], counts) if counts else []
                message = {**message, "headers": [*message.get("headers", ()), *fields]}
            await send(message)

        try:
            await self.app(scope, receive, send_with_fields)
        except RateLimitedError as error:
            # By the route, the decorator, or the application's own hand.
            if begun:
                raise
            if counts and counts[-1][1] is error.decision:
                await self._answer(scope, send, error.limit, error.decision, counts)
                return
            fields = rate_limit_fields([limit for limit, _ in counts], counts) if counts else []
            retry_after = str(whole_seconds(min(error.retry_after_s, 1e9)) + self._jitter_s()).encode()
            policies = fields[:1]
            await _refuse(scope, send, error.limit, error.decision, [(b"retry-after", retry_after), *policies])

    def _over(self, scope: Scope, counts: Counts) -> list[Limit]:
        """All limits that a request is under: those that were asked, and those that were not any more."""
        asked = [limit for limit, _ in counts]
        if asked[-1] not in self._limits:
            return asked
        later = self._limits[self._limits.index(asked[-1]) + 1 :]
        return asked + [limit for limit in later if limit.concerns(scope) and limit.by(scope) is not None]

    def _jitter_s(self) -> int:
        return self._draw(self._retry_jitter_s + 1) if self._retry_jitter_s else 0


async def _refuse(scope: Scope, send: Send, name: str, decision: Decision, fields: Sequence[Header]) -> None:
    """429, or 503 where nobody can count; for a WebSocket the same where the server knows how, else a close."""
    if scope["type"] == "websocket":
        if DENIAL not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": "too many requests"})
            return
        send = _as_denial(send)
    retry_after = next(value for field, value in fields if field == b"retry-after").decode()
    members = {"violated-policies": [name]}
    if decision.counted == "nowhere":
        words = f"Requests can't be counted at the moment. Please try again in {retry_after} s."
        await send_problem(
            send,
            503,
            "Request cannot be satisfied due to temporary server capacity constraints",
            words,
            code="store_unavailable",
            headers=fields,
            type_uri=REDUCED_CAPACITY,
            **members,
        )
        return
    await send_problem(
        send,
        429,
        "Request cannot be satisfied as assigned quota has been exceeded",
        f"The limit {name!r} is over. Please try again in {retry_after} s.",
        code=RateLimitedError.code,
        headers=fields,
        type_uri=QUOTA_EXCEEDED,
        **members,
    )


def _as_denial(send: Send) -> Send:
    """Sends an HTTP response in place of a WebSocket's acceptance."""

    async def send_denial(message: Message) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    return send_denial
