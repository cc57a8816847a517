"""Where a client keeps its tokens: in the process, in a store that its workers share, or wherever the caller says.

A refresh token that rotates is a shared value: two workers that each use it trip reuse detection, and both are signed
out. So whoever refreshes claims that first, by compare-and-set, and the others wait for what it brings.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, ClassVar, Final, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from fungible.core.errors import FungibleError
from fungible.core.keyring import KeyRing, key_ring
from fungible.core.redaction import Redacted
from fungible.core.sealing import Sealer
from fungible.stores.contract import ABSENT, Record, Store
from fungible.stores.errors import ConflictError, GoneError

DAY_S: Final = 86_400.0
FIELD: Final = "tokens"


class ClientTokens(Redacted, Struct, frozen=True, kw_only=True):
    """What a token endpoint has answered. Source: RFC 6749 section 5.1."""

    _hidden: ClassVar = (
        "access_token",
        "refresh_token",
    )
    access_token: str
    refresh_token: str = ""
    """Empty where there is none: then the access token is used until it ends."""
    expires_at: float | None = None
    """Unix seconds; None where the endpoint did not say."""
    obtained_at: float = 0
    """Unix seconds."""


class Held(Struct, frozen=True):
    """Tokens as a holder has them."""

    tokens: ClientTokens
    claim: str = ""
    """Who refreshes them at the moment: drawn for each refresh. Empty: nobody."""
    version: Any = None
    """The holder's own: by it `save` knows that nothing has changed since `load`."""


class TokenHolder(Protocol):
    """A place for tokens. Its methods are called on whichever event loop asks."""

    async def load(self) -> Held | None:
        """What is held; None where there is nothing."""
        ...

    async def save(self, held: Held, *, expect: Held | None) -> bool:
        """Holds this instead, if what is held is still `expect`, as `load` gave it (None: nothing); else gives False.

        Atomic among all who share the holder: that is what keeps a token from being spent twice.
        """
        ...


class MemoryHolder:
    """Tokens in this process's memory, for all its threads and event loops."""

    def __init__(self, tokens: ClientTokens | None = None) -> None:
        self._held = None if tokens is None else Held(tokens, version=0)
        self._lock = threading.Lock()

    async def load(self) -> Held | None:
        """What is held."""
        return self._held

    async def save(self, held: Held, *, expect: Held | None) -> bool:
        """Holds this instead."""
        with self._lock:
            standing = self._held
            if (standing and standing.version) != (expect and expect.version):
                return False
            self._held = replace(held, version=1 if standing is None else standing.version + 1)
            return True


class HeldUnreadableError(FungibleError):
    """What a store holds was sealed with another secret, or by another release: delete it, and sign in again."""

    code = "held_unreadable"


class StoreHolder:
    """Tokens in a store, sealed: all workers share them, and nobody can use them who can only read the store.

    Args:
        store: Where they are.
        name: Whose they are: `billing-api`, or one name a user.
        secret: 32 bytes or more that all workers share; several, the current one first; or a `KeyRing`.
        ttl_s: They are forgotten when nobody has refreshed them for that long.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        secret: str | bytes | Iterable[str | bytes] | KeyRing,
        ttl_s: float = 90 * DAY_S,
    ) -> None:
        self._store = store
        self._key = f"client-tokens:{name}"
        # The name is part of the purpose: what is held for one can't be put in the place of another's.
        self._sealer = Sealer(key_ring(secret), purpose=self._key)
        self._ttl_s = ttl_s

    async def load(self) -> Held | None:
        """What is held. One round trip.

        Raises:
            HeldUnreadableError: it was sealed with another secret.
            StoreUnavailableError: the store is away.
        """
        record = await self._store.get(self._key)
        if record is None:
            return None
        opened = self._sealer.open(record.fields.get(FIELD, b"").decode("latin-1"))
        if opened is None:
            raise HeldUnreadableError(f"the tokens at {self._store.home}, {self._key}, were sealed with another secret")
        try:
            tokens, claim = _decode(opened.data)
        except msgspec.DecodeError as error:
            raise HeldUnreadableError(
                f"the tokens at {self._store.home}, {self._key}, can't be read: {error}"
            ) from None
        return Held(tokens, claim, record)

    async def save(self, held: Held, *, expect: Held | None) -> bool:
        """Holds this instead. One round trip."""
        fields = {FIELD: self._sealer.seal(_encode((held.tokens, held.claim))).encode()}
        known: Record | None = None if expect is None else expect.version
        try:
            await self._store.put(self._key, fields, ttl_s=self._ttl_s, expect=ABSENT if known is None else known)
        except (ConflictError, GoneError):
            return False
        return True


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[ClientTokens, str]).decode
