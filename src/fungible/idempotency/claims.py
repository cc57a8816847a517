"""A key in a store: claimed by one attempt at a time, which renews its lease, and kept with the result.

The record of an attempt under way lives no longer than its lease. So it is the store that frees the key of a crashed
one, by its own clock, and of those who come then exactly one is next: `put` with `ABSENT`. An attempt whose record has
expired can't change what stands there now: each write names what the record held when it was claimed, and a record that
was gone in between is another one. That is the fencing. It may put its result where nobody else is at work: the effect
is there, and to forget it would ask for a second one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

import msgspec

from fungible.core.leases import CLOCKS, Term
from fungible.core.log import RepeatedWarning
from fungible.idempotency.errors import (
    KeyReusedError,
    LeaseLostError,
    OutcomeUnknownError,
    ResponseNotKeptError,
    TooManyKeysError,
    Unfinished,
)
from fungible.idempotency.options import Options
from fungible.idempotency.parts import Parts, Placed, decode_placed, encode_placed
from fungible.stores.contract import ABSENT, Expect, Rate, Record, Store
from fungible.stores.errors import ConflictError, GoneError, RecordTooLargeError, StoreUnavailableError

LOGGER: Final = logging.getLogger("fungible.idempotency")
VALUE, PLACED, NOT_KEPT = "v", "p", "n"
"""Fields of a finished record: the result, where its parts are instead, or that there is none."""
RUNNING, DONE, FREE, UNKNOWN = b"r", b"d", b"f", b"u"
FIRST_PAUSE_S: Final = 0.02
LONGEST_PAUSE_S: Final = 0.5
PUT_TRIES: Final = 5
SETTLE_PAUSE_S: Final = 0.1
SETTLE_TRIES: Final = 6
"""How often it is tried to take back a claim that was never begun."""
BEGUN: Final = ":begun"
"""Follows the record's key in that of the trace which at-most-once needs: it outlives the lease."""


class Request(msgspec.Struct, frozen=True):
    """What a request or call claims."""

    key: str
    """The record's key."""
    fingerprint: bytes
    caller: bytes
    """For the quota; empty where there is none."""
    options: Options
    proven: bool = True
    """Whether the caller was authenticated before us, or named by the application."""


class Claim:
    """This attempt has the key. `record` is what the store has of it."""

    __slots__ = ("owner", "placed", "record", "request", "taken", "term", "written")

    def __init__(self, request: Request, record: Record, owner: bytes, term: Term) -> None:
        self.request = request
        self.record = record
        self.owner = owner
        self.term = term
        """How long the lease surely holds."""
        self.taken = False
        """Whether it was found that the lease was lost."""
        self.placed: Placed | None = None
        """Where the parts of the result are, if it has some."""
        self.written = 0
        """How many of them are."""

    @property
    def lost(self) -> bool:
        """Whether another attempt may have the key by now: it was found so, or the last renewal is too long ago."""
        return self.taken or self.term.over


class Finished(msgspec.Struct, frozen=True):
    """The key's work was done before."""

    result: bytes
    expires_at: float
    """Unix seconds."""


class Claims:
    """Keys in a store."""

    def __init__(
        self,
        store: Store,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clocks: tuple[Callable[[], float], ...] = CLOCKS,
    ) -> None:
        self.store = store
        self._parts = Parts(store)
        self.log = RepeatedWarning(LOGGER)
        """For what every request meets while the store is away."""
        self._monotonic = monotonic
        self._clocks = clocks
        self._sleep = sleep
        self._settling: set[asyncio.Task[None]] = set()

    async def claim(self, request: Request) -> Claim | Finished:
        """Gets the key for this attempt, or what an earlier one has left.

        Raises:
            Unfinished: another attempt is under way, for longer than `wait_s`.
            KeyReusedError: the key is another request's.
            OutcomeUnknownError: an attempt was cut off, and there may be one only.
            ResponseNotKeptError: it was done, and its result is not there.
            TooManyKeysError: the caller has too many keys.
            StoreUnavailableError: the store is away: nothing has begun.
        """
        owner = os.urandom(16)
        fields = {"s": RUNNING, "o": owner, "f": request.fingerprint}
        options = request.options
        until: float | None = None
        pause_s = FIRST_PAUSE_S
        while True:
            term = Term(options.lease_s, clocks=self._clocks)
            record = await self._take(request, fields)
            if record.fields["o"] == owner:
                return await self._begun_or_settled(Claim(request, record, owner, term))
            if record.fields["f"] != request.fingerprint:
                raise KeyReusedError
            state = record.fields["s"]
            if state == DONE:
                return await self._finished(record)
            if state == UNKNOWN:
                raise OutcomeUnknownError
            now = self._monotonic()
            until = now + options.wait_s if until is None else until
            if now >= until:
                raise Unfinished(retry_after_s=options.retry_after_s)
            # With jitter: those who wait for one key must not ask in step.
            await self._sleep(min(pause_s * random.uniform(0.5, 1), until - now))
            pause_s = min(pause_s * 1.6, LONGEST_PAUSE_S)

    async def _take(self, request: Request, fields: dict[str, bytes]) -> Record:
        """The record as it stands: ours, if its owner is. One round trip."""
        lease_s = request.options.lease_s
        try:
            return await self.store.put(request.key, fields, ttl_s=lease_s, expect=ABSENT)
        except ConflictError as conflict:
            standing = conflict.current
        while standing.fields["s"] == FREE:
            try:
                return await self.store.put(request.key, fields, ttl_s=lease_s, expect=standing)
            except ConflictError as conflict:
                standing = conflict.current
            except GoneError:
                try:
                    return await self.store.put(request.key, fields, ttl_s=lease_s, expect=ABSENT)
                except ConflictError as conflict:
                    standing = conflict.current
        return standing

    async def _begun_or_settled(self, claim: Claim) -> Claim:
        try:
            return await self._begun(claim)
        except StoreUnavailableError:
            # Who is told to try again shall not meet what was left by this try.
            self._spawn(self._settle(claim))
            raise
        except LeaseLostError:
            raise Unfinished(retry_after_s=claim.request.options.retry_after_s) from None

    async def _begun(self, claim: Claim) -> Claim:
        """The claim, once all that must stand before the work begins does."""
        request, options = claim.request, claim.request.options
        if options.max_keys is not None:
            rate = Rate(limit=options.max_keys, period_s=options.ttl_s)
            taken = await self.store.take(f"idempotency-quota:{request.caller.hex()}", rate)
            if not taken.allowed:
                await self.free(claim, begun=False)
                raise TooManyKeysError(max_keys=options.max_keys, retry_after_s=taken.retry_after_s)
        if options.after_crash == "refuse":
            trace = {"f": request.fingerprint, "o": claim.owner}
            try:
                await self.store.put(request.key + BEGUN, trace, ttl_s=options.ttl_s, expect=ABSENT)
            except ConflictError as conflict:
                # An attempt began, and its record is gone: it was cut off. Nobody shall try again.
                if conflict.current.fields["f"] != request.fingerprint:
                    await self.free(claim, begun=False)
                    raise KeyReusedError from None
                await self._change(claim, {"s": UNKNOWN}, ttl_s=options.ttl_s)
                raise OutcomeUnknownError from None
        return claim

    async def beat(self, claim: Claim) -> None:
        """Renews the lease.

        Raises:
            LeaseLostError: it was lost; so will be whatever this attempt tries to store.
        """
        options = claim.request.options
        # Not when the answer came: the store counts from somewhere between the two.
        asked_at = claim.term.now()
        await self._change(claim, {"s": RUNNING}, ttl_s=options.lease_s)
        claim.term.renewed(asked_at)
        if options.after_crash == "refuse":
            await self.store.touch(claim.request.key + BEGUN, ttl_s=options.ttl_s)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="fungible-idempotency-settle")
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def settled(self) -> None:
        """Waits until claims that were never begun are taken back, or were tried to be."""
        loop = asyncio.get_running_loop()
        while mine := {task for task in self._settling if task.get_loop() is loop}:
            await asyncio.wait(mine)

    async def _settle(self, claim: Claim) -> None:
        pause_s = SETTLE_PAUSE_S
        for _ in range(SETTLE_TRIES):
            await self._sleep(pause_s * random.uniform(0.5, 1))
            pause_s *= 2
            try:
                # The trace first, while the key is still ours: who gets the key must not meet it.
                if await self._has_trace(claim):
                    await self.store.delete(claim.request.key + BEGUN)
                await self.free(claim, begun=False)
            except StoreUnavailableError:
                continue
            except LeaseLostError:
                pass
            return

    async def _has_trace(self, claim: Claim) -> bool:
        """Whether this attempt is the one that may begin, where there is at most one."""
        if claim.request.options.after_crash != "refuse":
            return False
        trace = await self.store.get(claim.request.key + BEGUN)
        return trace is not None and trace.fields["o"] == claim.owner

    async def spread(self, claim: Claim, result: bytes, *, ttl_s: float | None = None) -> None:
        """Writes the parts of a result that needs some: beforehand, while the lease is renewed, as it may take a while.

        May be repeated; what was written is not written again.

        Raises:
            RecordTooLargeError: the store takes less than it says.
            StoreUnavailableError: the store is away.
        """
        if len(result) <= self._parts.part_bytes:
            return
        if claim.placed is None:
            claim.placed = self._parts.placed(f"{claim.request.key}:{claim.owner.hex()}", result)
        while claim.written < claim.placed.count:
            await self._parts.write(claim.placed, claim.written, result, ttl_s=ttl_s or claim.request.options.ttl_s)
            claim.written += 1

    async def _kept(self, claim: Claim, result: bytes | None, ttl_s: float | None) -> dict[str, bytes]:
        """The fields that hold a result, or say where its parts are, or that there is none."""
        if result is not None:
            try:
                await self.spread(claim, result, ttl_s=ttl_s)
            except RecordTooLargeError as error:
                LOGGER.warning("an answer is not kept, and retries are told so: %s", error)
                result = None
        if result is None:
            return {VALUE: b"", NOT_KEPT: b"1"}
        if claim.placed is not None:
            return {VALUE: b"", PLACED: encode_placed(claim.placed)}
        return {VALUE: result}

    async def _finished(self, record: Record) -> Finished:
        fields = record.fields
        if NOT_KEPT in fields:
            raise ResponseNotKeptError
        if PLACED not in fields:
            return Finished(fields[VALUE], record.expires_at)
        result = await self._parts.read(decode_placed(fields[PLACED]))
        if result is None:
            LOGGER.warning("the store has dropped a part of an answer that was kept: a retry is told so")
            raise ResponseNotKeptError
        return Finished(result, record.expires_at)

    async def finish(self, claim: Claim, result: bytes | None, *, ttl_s: float | None = None) -> float:
        """Keeps the result, if the lease is still ours. May be repeated.

        Args:
            result: None where it is too large to be kept: then it is kept that there was one.
            ttl_s: For how many seconds, if not for those of the options.
        Returns:
            When it expires, in Unix seconds.
        Raises:
            LeaseLostError: it is not.
        """
        fields = await self._kept(claim, result, ttl_s)
        record = await self._change(claim, {"s": DONE, **fields}, ttl_s=ttl_s or claim.request.options.ttl_s)
        return record.expires_at

    async def finish_late(self, claim: Claim, result: bytes | None, *, ttl_s: float | None = None) -> float:
        """The same also where the lease has run out, or the store has forgotten it, and nobody else is at work.

        Raises:
            LeaseLostError: another attempt has the key.
        """
        try:
            return await self.finish(claim, result, ttl_s=ttl_s)
        except LeaseLostError:
            pass
        try:
            return await self._put_result(claim, result, ttl_s or claim.request.options.ttl_s)
        except LeaseLostError:
            if claim.placed is not None:
                with suppress(StoreUnavailableError):
                    await self._parts.delete(claim.placed)
            raise

    async def _put_result(self, claim: Claim, result: bytes | None, ttl_s: float) -> float:
        request = claim.request
        kept = await self._kept(claim, result, ttl_s)
        fields = {"s": DONE, "o": claim.owner, "f": request.fingerprint, **kept}
        expect: Expect | Record = ABSENT
        for _ in range(PUT_TRIES):
            try:
                return (await self.store.put(request.key, fields, ttl_s=ttl_s, expect=expect)).expires_at
            except GoneError:
                expect = ABSENT
                continue
            except ConflictError as conflict:
                standing = conflict.current
            state = standing.fields["s"]
            if state == DONE and standing.fields["o"] == claim.owner:
                # Ours: it was repeated, since its answer was lost.
                return standing.expires_at
            # What was freed was not done. And who has the trace is the only one that ever began: whoever has claimed the
            # key since, or has found its outcome unknown, has done nothing and will do nothing.
            if state != FREE and (state == DONE or not await self._has_trace(claim)):
                break
            expect = standing
        raise LeaseLostError

    async def free(self, claim: Claim, *, begun: bool = True) -> None:
        """Lets another attempt have the key at once.

        Args:
            begun: Whether the trace of at-most-once was left.
        Raises:
            LeaseLostError: another may have it already.
        """
        options = claim.request.options
        if begun and options.after_crash == "refuse":
            # Guarded first: what another attempt has begun must keep its trace.
            await self.beat(claim)
            await self.store.delete(claim.request.key + BEGUN)
        await self._change(claim, {"s": FREE}, ttl_s=None)

    async def standing(self, claim: Claim) -> Finished | None:
        """What another attempt has left under the key that this one has lost.

        Raises:
            ResponseNotKeptError: it was done, and its result is not there.
        """
        record = await self.store.get(claim.request.key)
        if record is None or record.fields["s"] != DONE or record.fields["f"] != claim.request.fingerprint:
            return None
        return await self._finished(record)

    async def _change(self, claim: Claim, changes: dict[str, bytes], *, ttl_s: float | None) -> Record:
        # The owner is named in each change, and so guarded: a key that was freed and claimed again is the same record.
        try:
            claim.record = await self.store.change(claim.record, {**changes, "o": claim.owner}, ttl_s=ttl_s)
        except GoneError:
            claim.taken = True
            raise LeaseLostError from None
        except ConflictError as conflict:
            current = conflict.current
            # A write that was repeated, since its answer was lost, may have been made the first time.
            if current.fields.get("o") == claim.owner and all(current.fields.get(n) == v for n, v in changes.items()):
                claim.record = current
                return current
            claim.taken = True
            raise LeaseLostError from None
        return claim.record
