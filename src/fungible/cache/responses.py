"""Responses in a store: found by what was asked, by the fields that they vary by, and ended by name."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from msgspec import Struct

from fungible.cache.computing import FIRST_PAUSE_S, GROWTH, LONGEST_PAUSE_S
from fungible.cache.entries import META, VALUE, Kind, Meta, lease_of, meta_of
from fungible.cache.freshness import Lifetime
from fungible.cache.leases import PASS_S, Claim, Leases
from fungible.cache.requests import ROUTES, Asked, variant_name
from fungible.core.asgi import Header
from fungible.stores.contract import Record, Store
from fungible.stores.errors import ConflictError, GoneError, StoreUnavailableError


class StoredResponse(Struct, frozen=True, array_like=True):
    """A response as it is kept."""

    status: int
    headers: list[Header]
    body: bytes
    lifetime: Lifetime
    initial_age_s: float
    etag: str | None
    last_modified: float | None
    varies: tuple[str, ...] = ()
    routes: bytes = b""
    """What the request that it was made for said in the fields that requests are routed by: its digest."""


class Varies(Struct, frozen=True, array_like=True):
    """By which fields of requests the responses differ."""

    names: tuple[str, ...]
    generation: bytes


_encode: Final = msgspec.msgpack.Encoder().encode
_response: Final = msgspec.msgpack.Decoder(StoredResponse).decode
_varies: Final = msgspec.msgpack.Decoder(Varies).decode


class Found:
    """What a store has for a request."""

    __slots__ = ("age_s", "apart", "name", "passes", "primary", "record", "response", "varies")

    def __init__(self, name: str) -> None:
        self.name = name
        """Of the record that has the response, or would."""
        self.record: Record | None = None
        self.primary: Record | None = None
        """The record that says by what responses vary, where that is another one."""
        self.varies: Varies | None = None
        self.response: StoredResponse | None = None
        self.age_s = 0.0
        """How old the response is. Source: RFC 9111 section 4.2.3, `current_age`."""
        self.passes = False
        """Whether responses were not to be stored a moment ago: nobody waits for another's."""
        self.apart: bytes | None = None
        """The routes of the request that what is there was made for, where those of this one are others."""


class Watch:
    """Waits, for all on one event loop, until a lease has ended."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.looks = asyncio.Event()


class Responses:
    """The responses of one cache."""

    def __init__(self, store: Store, leases: Leases, *, now: Callable[[], float]) -> None:
        self._store = store
        self.leases = leases
        self._now = now

    async def find(self, asked: Asked) -> Found:
        """What there is for a request: one command; two where responses vary.

        Raises:
            StoreUnavailableError: the store is away.
        """
        found = Found(asked.name)
        record = await self.leases.ask(self._store.get(asked.name))
        meta = None if record is None else meta_of(record)
        if record is not None and meta is not None and meta.kind is Kind.VARIES:
            varies = _read(record, _varies)
            if varies is not None:
                found.primary, found.varies = record, varies
                found.name = variant_name(
                    asked.name, varies.generation, varies.names, asked.headers, routes=asked.routes
                )
                record = await self.leases.ask(self._store.get(found.name))
                meta = None if record is None else meta_of(record)
        found.record = record
        if record is None or meta is None:
            return found
        if meta.kind is Kind.PASS:
            routes = record.fields.get(VALUE, b"")
            found.passes = routes == asked.routes
            found.apart = None if found.passes else routes
        elif meta.kind is Kind.KEPT:
            response: StoredResponse | None = _read(record, _response)
            if response is not None and response.routes != asked.routes:
                found.apart = response.routes
            elif response is not None:
                found.response = response
                resident_s = self._now() - (record.expires_at - meta.life_s)
                found.age_s = max(0.0, found.response.initial_age_s + resident_s)
        return found

    async def keep(self, claim: Claim, asked: Asked, found: Found, response: StoredResponse, life: Lifetime) -> bool:
        """Stores a response under the lease, with what it varies by. Whether it is stored.

        Raises:
            StoreUnavailableError: the store is away.
            RecordTooLargeError: it does not take so much.
        """
        stale_s = max(life.while_s, life.error_s)
        grace_s = self.leases.lease_s
        life_s = max(0.0, life.fresh_s - response.initial_age_s) + stale_s + grace_s
        meta = Meta(life_s=life_s, stale_s=stale_s, grace_s=grace_s)
        value = _encode(response)
        known = found.varies is not None and set(response.varies) <= set(found.varies.names)
        if known and found.apart is None:
            stored = await claim.store(meta, value)
            if stored and found.primary is not None and found.primary.expires_at < self._now() + life_s:
                await self.leases.ask(self._store.touch(found.primary.key, ttl_s=life_s))
            return stored
        if not response.varies and found.varies is None and found.apart is None:
            return await claim.store(meta, value)
        # Proxies are told apart from the first one on where there is a second command anyway.
        names = (*response.varies, ROUTES) if found.apart is not None or asked.routes else response.varies
        return await self._keep_varying(claim, asked, found, names, meta, value)

    async def _keep_varying(
        self, claim: Claim, asked: Asked, found: Found, names: tuple[str, ...], meta: Meta, value: bytes
    ) -> bool:
        """Stores a response that varies by more than was known: under a new generation."""
        known = () if found.varies is None else found.varies.names
        varies = Varies(tuple(sorted({*names, *known})), os.urandom(8))
        name = variant_name(asked.name, varies.generation, varies.names, asked.headers, routes=asked.routes)
        fields, life_s = {VALUE: value, META: _encode(meta)}, meta.life_s
        # First what nobody can find yet, then the way to it: only if nothing was invalidated meanwhile.
        await self.leases.ask(self._store.put(name, fields, ttl_s=meta.life_s))
        if varies.names == (ROUTES,) and found.apart is not None and found.record is not None:
            # What was there stays good for those who come by the same way as who has asked for it.
            kept_s, record = found.record.expires_at - self._now(), found.record
            if record.fields.get(VALUE) and (was := meta_of(record)) and was.kind is Kind.KEPT and kept_s > 0:
                former = variant_name(asked.name, varies.generation, varies.names, (), routes=found.apart)
                kept = {VALUE: record.fields[VALUE], META: record.fields[META]}
                await self.leases.ask(self._store.put(former, kept, ttl_s=kept_s))
                life_s = max(life_s, kept_s)
        leading = Meta(Kind.VARIES, life_s=life_s)
        if found.primary is None:
            return await claim.store(leading, _encode(varies))
        await claim.free()
        fields = {VALUE: _encode(varies), META: _encode(leading)}
        try:
            primary = self._store.put(found.primary.key, fields, ttl_s=life_s, expect=found.primary)
            await self.leases.ask(primary)
        except (ConflictError, GoneError):
            return False
        return True

    async def remember_pass(self, claim: Claim, asked: Asked) -> None:
        """Says that responses are not stored here, so that nobody waits for one who asks in the same way."""
        try:
            await claim.store(Meta(Kind.PASS, life_s=PASS_S), asked.routes)
        except StoreUnavailableError:
            return

    async def end(self, names: Iterable[str]) -> None:
        """Ends all responses of these names, and what is being made for them now is not stored.

        Raises:
            StoreUnavailableError: the store is away.
        """
        await self.leases.ask(asyncio.gather(*(self._store.delete(name) for name in names)))

    async def watch(self, name: str, watch: Watch) -> None:
        """Looks at a record until nobody has its lease, and tells the watch."""
        pause_s = FIRST_PAUSE_S
        try:
            while True:
                try:
                    async with asyncio.timeout(pause_s * random.uniform(0.5, 1.0)):
                        await watch.looks.wait()
                except TimeoutError:
                    pause_s = min(pause_s * GROWTH, LONGEST_PAUSE_S)
                watch.looks.clear()
                record = await self.leases.ask(self._store.get(name))
                if record is None or lease_of(record, self._now()) is None:
                    return
        except StoreUnavailableError:
            # Whoever waits asks next, and finds out.
            return
        finally:
            if not watch.ended.done():
                watch.ended.set_result(None)


def _read(record: Record, decode: Callable[[bytes], Any]) -> Any:
    """A record's value; None where another release has written it."""
    try:
        return decode(record.fields.get(VALUE, b""))
    except (msgspec.DecodeError, ValueError):
        return None
