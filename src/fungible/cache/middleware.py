"""A shared cache for the responses of any ASGI application, which all its instances fill and use.

Source: RFC 9111 (HTTP caching), RFC 5861 (stale responses), RFC 9211 (Cache-Status), RFC 9110 (conditions).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

from fungible.cache.answering import Status, answer, with_status
from fungible.cache.circuit import Circuit
from fungible.cache.entries import check_prefix, lease_of
from fungible.cache.exchange import Exchange, Exchanges
from fungible.cache.freshness import Use, serves_in_error, use
from fungible.cache.leases import PASS_S, Claim, Leases
from fungible.cache.requests import Asked, names_invalidated, target_of
from fungible.cache.responses import Found, Responses, Watch
from fungible.core.asgi import App, Message, Receive, Scope, Send, send_problem
from fungible.core.errors import SettingError
from fungible.core.log import RepeatedWarning
from fungible.core.startup import ends_the_server
from fungible.stores.contract import Record, Store
from fungible.stores.errors import StoreUnavailableError
from fungible.stores.loops import PerLoop
from fungible.stores.postures import Deployment, Home, require

LOGGER: Final = logging.getLogger("fungible.cache")
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "QUERY"})
HEADROOM_BYTES: Final = 64 << 10
"""Of a record, for the headers of a response and what is known of it."""
NO_PASS: Final = (0.0, b"")
MOST_PASSES: Final = 4096
"""Targets of which this process remembers that their responses are not stored."""


class _Here:
    """What belongs to one event loop."""

    def __init__(self) -> None:
        self.watches: dict[str, Watch] = {}
        self.passes: dict[tuple[str, bool], tuple[float, bytes]] = {}
        """Until when responses are not stored, and to requests with which routes: by name, and whether the request says
        who asks."""
        self.owed: set[str] = set()
        """Names to be ended as soon as the store is back."""
        self.tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work, name="fungible-cache-responses")
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


class CacheMiddleware:
    """Keeps responses to GET that say that they may be kept, and answers GET and HEAD with them, on any instance.

    Stored is what says how long it is fresh (`s-maxage`, `max-age`, `Expires`), and is neither private nor made for one
    visitor: no Set-Cookie, no session that was read, and to who is authenticated only what says `public`, `s-maxage` or
    `must-revalidate`. An answer below 400 to another method ends what is stored for its target. Where the store is away
    requests pass through.

    Place it inside of what compresses responses, and outside of the sessions.

    Args:
        app: The ASGI application.
        store: Where responses are kept.
        max_body_bytes: Longer responses pass through. Up to that many bytes are kept back until a response is whole.
        default_ttl_s: How long a response is fresh that does not say so, in seconds; by default such are not stored.
        key_headers: Request fields by which responses differ although they don't say so in `Vary`.
        store_personal: Store responses with Set-Cookie, that vary by Cookie or Authorization, or for which the session was
            read: each is then given to all who ask for the same.
        lease_s: How long a response is waited for whose instance gives no sign of life, in seconds.
        wait_s: How long a request waits at most for a response that another makes, in seconds.
        prefix: What the names of its records begin with.
        cache_name: What Cache-Status calls this cache.
        instances: How many instances run; by default what the environment says in `FUNGIBLE_INSTANCES`, else 1.
        machines: On how many machines; by default `FUNGIBLE_MACHINES`, else as many as instances.
        now: The clock, in Unix seconds.
    Raises:
        SettingError: a setting can't be taken, or the store is none.
    """

    @ends_the_server
    def __init__(
        self,
        app: App,
        *,
        store: Store,
        max_body_bytes: int = 512 << 10,
        default_ttl_s: float = 0.0,
        key_headers: Iterable[str] = (),
        store_personal: bool = False,
        lease_s: float = 10.0,
        wait_s: float = 10.0,
        prefix: str = "cache",
        cache_name: str = "fungible",
        instances: int | None = None,
        machines: int | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        require("cache", store, Deployment.declared(instances=instances, machines=machines))
        check_prefix(prefix)
        if not cache_name.isascii() or not cache_name.replace("-", "").isalnum() or not cache_name[0].isalpha():
            raise SettingError(f"cache_name={cache_name!r} must be letters, digits and '-', a letter first")
        if not (0 < lease_s <= 3600 and 0 <= wait_s <= 3600 and default_ttl_s >= 0):
            raise SettingError(
                f"lease_s={lease_s!r}, wait_s={wait_s!r} and default_ttl_s={default_ttl_s!r} must not be below 0 s, "
                "and the first two at most an hour"
            )
        most_bytes = store.guarantees.max_record_bytes - HEADROOM_BYTES
        if not 0 < max_body_bytes <= most_bytes:
            raise SettingError(
                f"max_body_bytes={max_body_bytes!r} must be from 1 to {most_bytes}: {store.home} takes no more"
            )
        self.app = app
        self._space = f"{prefix}:r"
        self._store = store
        self._wait_s = wait_s
        self._now = now
        self._circuit = Circuit()
        self._responses = Responses(store, Leases(store, self._circuit, lease_s=lease_s, now=now), now=now)
        self._status = Status(cache_name)
        self._exchanges = Exchanges(
            app,
            self._responses,
            self._status,
            max_body_bytes=max_body_bytes,
            default_ttl_s=default_ttl_s,
            key_headers=tuple(sorted({name.lower() for name in key_headers})),
            personal=store_personal,
            now=now,
        )
        self._log = RepeatedWarning(LOGGER)
        self._here = PerLoop(_Here)

    def homes(self) -> Sequence[Home]:
        """Where this middleware keeps responses, for `fungible doctor`."""
        return self.homes_declared(store=self._store)

    @classmethod
    def homes_declared(cls, *, store: Store, **_others: Any) -> Sequence[Home]:
        """Where a middleware with these settings would keep responses, for `fungible doctor`."""
        return (Home(kind="cache", home=store.home, guarantees=store.guarantees, seat="CacheMiddleware"),)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["method"] in ("GET", "HEAD"):
            await self._read(scope, receive, send)
        elif scope["method"] in SAFE:
            await self.app(scope, receive, send)
        else:
            await self._write(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked, here = Asked(scope, self._space), self._here.here()
        if asked.bypass:
            await self._pass(scope, receive, send, asked, self._status.forwarded("bypass", detail=asked.bypass))
            return
        found: Found | None = None
        claim: Claim | None = None
        why, patience = "bypass", time.monotonic() + self._wait_s
        try:
            while not self._circuit.is_open():
                until, routes = here.passes.get((asked.name, asked.is_visitors), NO_PASS)
                if until > time.monotonic() and routes == asked.routes:
                    await self._pass(
                        scope, receive, send, asked, self._status.forwarded("uri-miss", detail="not-stored")
                    )
                    return
                found = await self._responses.find(asked)
                if await self._used(scope, send, asked, found, here):
                    return
                why = _why(asked, found)
                if asked.is_head or asked.control.only_if_cached or found.passes:
                    break
                got = await self._responses.leases.take(found.name, found.record)
                if isinstance(got, Claim):
                    claim = got
                    break
                if got is not None and await self._excused(send, asked, found, got):
                    return
                if asked.control.no_cache or time.monotonic() >= patience:
                    break
                if got is not None:
                    await self._wait(here, found.name, patience)
        except StoreUnavailableError:
            why = "bypass"
        if asked.is_head or asked.control.only_if_cached:
            await self._pass(scope, receive, send, asked, self._status.forwarded(why))
            return
        exchange = Exchange(asked, found or Found(asked.name), claim, why)
        try:
            await self._exchanges.run(exchange, scope, receive, send)
        finally:
            self._after(here, exchange)

    async def _used(self, scope: Scope, send: Send, asked: Asked, found: Found, here: _Here) -> bool:
        """Answers with what is stored, if it will do. Whether it did."""
        response = found.response
        if response is None:
            return False
        decided = use(response.lifetime, found.age_s, asked.control)
        if decided is Use.FORWARD:
            return False
        if decided is Use.REFRESH:
            here.start(self._refresh(scope, asked, found, here))
        ttl_s = response.lifetime.fresh_s - found.age_s
        await answer(response, asked, send, age_s=found.age_s, status=self._status.hit(ttl_s))
        return True

    async def _excused(self, send: Send, asked: Asked, found: Found, standing: Record) -> bool:
        """Answers with a stale response where the application has just failed, and is left alone for a moment."""
        lease, response = lease_of(standing, self._now()), found.response
        if response is None or lease is None or lease.owner:
            return False
        if not serves_in_error(response.lifetime, found.age_s, asked.control):
            return False
        ttl_s = response.lifetime.fresh_s - found.age_s
        await answer(response, asked, send, age_s=found.age_s, status=self._status.hit(ttl_s))
        return True

    async def _refresh(self, scope: Scope, asked: Asked, found: Found, here: _Here) -> None:
        """Asks the application for the next response, unless another instance does."""
        try:
            claim = await self._responses.leases.take(found.name, found.record)
        except StoreUnavailableError:
            return
        if isinstance(claim, Claim):
            exchange = Exchange(asked, found, claim, "stale")
            try:
                await self._exchanges.run_unseen(exchange, scope)
            except Exception as error:
                self._log.warn(f"a response could not be made anew, the former one stays: {error!r}")
            finally:
                self._after(here, exchange)

    def _after(self, here: _Here, exchange: Exchange) -> None:
        """Wakes those who wait, and remembers what is not stored."""
        watch = here.watches.get(exchange.found.name)
        if watch is not None:
            watch.looks.set()
        if exchange.not_stored:
            if len(here.passes) >= MOST_PASSES:
                here.passes.clear()
            asked = exchange.asked
            here.passes[asked.name, asked.is_visitors] = (time.monotonic() + PASS_S, asked.routes)

    async def _wait(self, here: _Here, name: str, patience: float) -> None:
        """Waits until nobody makes the response any more; all on this loop look together."""
        watch = here.watches.get(name)
        if watch is None:
            watch = here.watches[name] = Watch()
            here.start(self._responses.watch(name, watch))
            watch.ended.add_done_callback(lambda _: here.watches.pop(name, None))
        left_s = patience - time.monotonic()
        if left_s > 0:
            await asyncio.wait([watch.ended], timeout=left_s)

    async def _pass(self, scope: Scope, receive: Receive, send: Send, asked: Asked, status: bytes) -> None:
        """Lets the application answer, and stores nothing."""
        if asked.control.only_if_cached:
            # RFC 9111 section 5.2.1.7.
            headers = [(b"cache-status", self._status.refused())]
            words = "Only a stored response was asked for, and there is none."
            await send_problem(send, 504, "Gateway Timeout", words, code="not_cached", headers=headers)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": with_status(message.get("headers", ()), status)}
            await send(message)

        await self.app(scope, receive, marked)

    async def _write(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets an unsafe method through, and ends what its answer makes old. Source: RFC 9111 section 4.4."""
        target = target_of(scope)

        async def ending(message: Message) -> None:
            if target is not None and message["type"] == "http.response.start" and message["status"] < 400:
                # Before the client has its answer: its next request may reach another instance.
                headers = list(message.get("headers", ()))
                await self._end(names_invalidated(self._space, target, headers))
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, ending)

    async def _end(self, names: Sequence[str]) -> None:
        here = self._here.here()
        for name in names:
            here.passes.pop((name, False), None)
            here.passes.pop((name, True), None)
        with suppress(StoreUnavailableError):
            if not self._circuit.is_open():
                await self._responses.end(names)
                return
        # Why is in the circuit's line.
        self._log.warn("what requests have changed may be served as it was before, until the store is back")
        if not here.owed:
            here.start(self._end_later(here))
        here.owed.update(names)

    async def _end_later(self, here: _Here) -> None:
        """Ends what is owed as soon as the store is back. Where this instance ends before, it stays until it expires."""
        while here.owed:
            await asyncio.sleep(random.uniform(0.5, 1.0))
            with suppress(StoreUnavailableError):
                names = list(here.owed)[:100]
                await self._responses.end(names)
                here.owed.difference_update(names)


def _why(asked: Asked, found: Found) -> str:
    """Why the application is asked. Source: RFC 9211 section 2.2."""
    if found.response is None:
        return "uri-miss" if found.varies is None and found.apart is None else "vary-miss"
    return "stale" if found.age_s >= found.response.lifetime.fresh_s else "request"
