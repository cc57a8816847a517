"""Results that are larger than a record: kept in several, which nobody can see before the key's own record names them.

The parts are written first, under a name that no other attempt has. Where that is cut off, or the key is lost meanwhile,
they expire by themselves.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from fungible.stores.contract import MAX_TTL_S, Store

OVERHEAD_BYTES: Final = 1024
"""What a record has beside its part of a result."""
LONGEST_PART_BYTES: Final = 960_000
"""So much Memcached takes as one item, with what it keeps of it."""
SPARE_S: Final = 60.0
"""How much longer than the key's record the parts live, which are written earlier."""


class Placed(msgspec.Struct, frozen=True, array_like=True):
    """Where the parts of a result are."""

    name: str
    """What their keys begin with."""
    count: int
    size_bytes: int


class Parts:
    """Parts of results in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.part_bytes = min(LONGEST_PART_BYTES, store.guarantees.max_record_bytes - OVERHEAD_BYTES)
        """The largest result that needs no parts."""

    def placed(self, name: str, data: bytes) -> Placed:
        """Where the parts of a result will be."""
        return Placed(name, -(-len(data) // self.part_bytes), len(data))

    async def write(self, placed: Placed, number: int, data: bytes, *, ttl_s: float) -> None:
        """Writes one part.

        Raises:
            RecordTooLargeError: the store takes less than it says.
            StoreUnavailableError: the store is away.
        """
        begin = number * self.part_bytes
        part = {"v": data[begin : begin + self.part_bytes]}
        await self._store.put(_key(placed, number), part, ttl_s=min(ttl_s + SPARE_S, MAX_TTL_S))

    async def read(self, placed: Placed) -> bytes | None:
        """The result; None where the store has forgotten a part.

        Raises:
            StoreUnavailableError: the store is away.
        """
        records = await asyncio.gather(*(self._store.get(_key(placed, number)) for number in range(placed.count)))
        data = b"".join(record.fields["v"] for record in records if record is not None)
        return data if len(data) == placed.size_bytes else None

    async def delete(self, placed: Placed) -> None:
        """Deletes the parts.

        Raises:
            StoreUnavailableError: the store is away; they expire by themselves.
        """
        for number in range(placed.count):
            await self._store.delete(_key(placed, number))


def _key(placed: Placed, number: int) -> str:
    return f"{placed.name}:{number}"


encode_placed: Final = msgspec.msgpack.Encoder().encode
decode_placed: Final = msgspec.msgpack.Decoder(Placed).decode
