"""The right to compute: one of all instances has it, and what it stores is stored only while nothing came between.

A lease is a field of the very record that will have the value. So three things are one compare-and-set in the store:
whether the lease still holds, whether the value was invalidated meanwhile (its record is deleted then, and another one
is another incarnation), and the writing.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from fungible.cache.circuit import Circuit
from fungible.cache.entries import FREE, LEASE, META, VALUE, Lease, Meta, encoded, is_usable, lease_of, meta_of
from fungible.stores.contract import ABSENT, REMOVED, Record, Store
from fungible.stores.errors import ConflictError, GoneError, StoreUnavailableError

LONGEST_LEASES: Final = 30
"""A computation that takes more leases than that is taken for stuck: its lease is extended no more."""
RETRY_S: Final = 1.0
"""After a refresh has failed, the next one begins so much later: the value is still there meanwhile."""
PASS_S: Final = 10.0
"""How long it is remembered that what is computed can't be kept."""
ENDED_S: Final = 3600.0
"""More than clocks differ."""
T = TypeVar("T")


class Claim:
    """A lease that this instance holds."""

    __slots__ = ("_beating", "_lost", "_reads_s", "_timer", "leases", "owner", "record")

    def __init__(self, leases: Leases, record: Record, owner: bytes) -> None:
        self.leases = leases
        self.record = record
        self.owner = owner
        self._lost = False
        self._timer: asyncio.TimerHandle | None = None
        self._beating: asyncio.Task[None] | None = None

    def hold(self) -> None:
        """Extends the lease in the background from now on, until `store` or `free`."""
        self._timer = asyncio.get_running_loop().call_later(self.leases.lease_s / 3, self._begin)

    def _begin(self) -> None:
        self._beating = asyncio.create_task(self._beat(), name="fungible-cache-lease")

    async def _beat(self) -> None:
        began = time.monotonic()
        pause_s = self.leases.lease_s / 3
        while not self._lost and time.monotonic() - began < LONGEST_LEASES * self.leases.lease_s:
            # What is under way is waited for: a change cut off here may have happened, and the record would be unknown.
            try:
                self.record = await asyncio.shield(self.leases.extended(self.record, self.owner))
            except (ConflictError, GoneError):
                self._lost = True
            except StoreUnavailableError:
                # Perhaps it is back before the lease has ended.
                pass
            await asyncio.sleep(pause_s)

    async def _rest(self) -> None:
        """Ends the extending."""
        if self._timer is not None:
            self._timer.cancel()
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait([self._beating])

    async def store(self, meta: Meta, value: bytes) -> bool:
        """Stores the value, and so ends the lease. Whether it is stored: not if it was invalidated meanwhile.

        Raises:
            RecordTooLargeError: the store does not take so much; the lease still stands.
        """
        await self._rest()
        if self._lost:
            return False
        # The lease stays, as one that ended long ago: who has read the record before must not take the next one by it.
        ended = encoded(Lease(self.owner, meta.life_s + ENDED_S))
        fields = {VALUE: value, META: encoded(meta), LEASE: ended}
        for _ in range(2):
            try:
                self.record = await self.leases.ask(
                    self.leases.backend.put(self.record.key, fields, ttl_s=meta.life_s, expect=self.record)
                )
            except GoneError:
                return False
            except ConflictError as conflict:
                # An extension that was cut off has happened after all: then it is still ours.
                found = lease_of(conflict.current, self.leases.now())
                if found is None or found.owner != self.owner:
                    return False
                self.record = conflict.current
            else:
                return True
        return False

    async def free(self, *, failed: bool = False) -> None:
        """Ends the lease, so that the next one may compute at once; a value that is there stays.

        Args:
            failed: Where a value is there, the next one waits a moment.
        """
        await self._rest()
        if self._lost:
            return
        left = FREE
        if failed and VALUE in self.record.fields:
            left = encoded(Lease(b"", self.record.expires_at - self.leases.now() - RETRY_S))
        try:
            await self.leases.ask(self.leases.backend.change(self.record, {LEASE: left}))
        except (ConflictError, GoneError, StoreUnavailableError):
            # It ends by itself.
            return


class Leases:
    """Takes leases in a store.

    Args:
        lease_s: How long one holds without being extended: so long others wait for an instance that was killed.
    """

    def __init__(self, store: Store, circuit: Circuit, *, lease_s: float, now: Callable[[], float]) -> None:
        self.backend = store
        self.circuit = circuit
        self.lease_s = lease_s
        self.now = now

    async def ask(self, question: Awaitable[T]) -> T:
        """An answer of the store, or its failure, which the circuit learns.

        Raises:
            StoreUnavailableError: it did not answer.
        """
        try:
            answer = await question
        except StoreUnavailableError as error:
            self.circuit.failed(error)
            raise
        if self.circuit.has_failed:
            self.circuit.answered()
        return answer

    async def take(self, name: str, read: Record | None) -> Claim | Record | None:
        """The lease, if nobody has it and nothing has changed since the record was read; else the record that stands.

        Raises:
            StoreUnavailableError: the store is away.
        """
        now, owner = self.now(), os.urandom(8)
        try:
            if read is None:
                fields = {LEASE: encoded(Lease(owner, 0.0))}
                record = await self.ask(self.backend.put(name, fields, ttl_s=self.lease_s, expect=ABSENT))
            elif lease_of(read, now) is not None:
                return read
            elif (meta := meta_of(read)) is not None and is_usable(read, meta, now):
                # Those who read the value meanwhile go on doing so.
                lease = encoded(Lease(owner, read.expires_at - now - self.lease_s))
                record = await self.ask(self.backend.change(read, {LEASE: lease}))
            else:
                fields = {LEASE: encoded(Lease(owner, 0.0))}
                record = await self.ask(self.backend.put(name, fields, ttl_s=self.lease_s, expect=read))
        except ConflictError as conflict:
            return conflict.current
        except GoneError:
            return None
        return Claim(self, record, owner)

    async def extended(self, held: Record, owner: bytes) -> Record:
        """A record whose lease is longer by now.

        Raises:
            ConflictError, GoneError: the lease was lost.
        """
        now = self.now()
        meta = meta_of(held)
        if meta is not None and is_usable(held, meta, now):
            lease = encoded(Lease(owner, held.expires_at - now - self.lease_s))
            return await self.ask(self.backend.change(held, {LEASE: lease}))
        # Nobody may use the value any more: without it the end of the record may move, and the lease with it.
        changes: dict[str, Any] = {LEASE: encoded(Lease(owner, 0.0))}
        changes.update((name, REMOVED) for name in (VALUE, META) if name in held.fields)
        return await self.ask(self.backend.change(held, changes, ttl_s=self.lease_s))
