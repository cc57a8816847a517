"""A ring in a store, sealed, that every instance reads and any of them may rotate."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from fungible.core.errors import SettingError
from fungible.core.keyring import KeyRing, key_ring
from fungible.core.leases import elapsed_s
from fungible.core.log import RepeatedWarning
from fungible.core.sealing import Sealer
from fungible.stores.contract import ABSENT, MAX_TTL_S, Guarantees, Record, Store
from fungible.stores.errors import ConflictError, GoneError, StoreUnavailableError
from fungible.tokens import rotation
from fungible.tokens.key import Key
from fungible.tokens.keys import SigningKeys
from fungible.tokens.reloading import ReloadedKeys

LOGGER: Final = logging.getLogger("fungible.tokens")
RECORD: Final = "signing-keys"
FIELD: Final = "keys"
TTL_S: Final = MAX_TTL_S / 2
TRIES: Final = 20
"""How often a change is tried that other instances forestall: each time another one has got somewhere."""


class StoredKeys(ReloadedKeys, SigningKeys):
    """Keys in a store, as one sealed record; changed by compare-and-set, so that of several changes none is lost.

    `await keys.load()` reads them when the application starts; a task reads them again every `reload_s`. So a change
    is known to every instance within `bound_s`, or the instance refuses to sign and to verify until it is.

    Args:
        store: Where they are.
        secret: 32 bytes or more that all instances share and that seal the keys; several, the current one first; or a
            `KeyRing`.
        name: The record's key.
        create: The algorithm of a first key, made by the first instance to come where the store has none; None makes
            none, and leaves it to `fungible keys new`.
        reload_s: Seconds between two readings.
        bound_s: Seconds after which what was read counts no more.
        settle_s: Seconds from a new key's making to its first signature, `bound_s` or more: by then all know it.
        longest_life_s: Seconds that the longest token lives: so long a replaced key goes on to verify.
    Raises:
        SettingError: a setting can't be taken.
    """

    def __init__(
        self,
        store: Store,
        secret: str | bytes | Iterable[str | bytes] | KeyRing,
        *,
        name: str = RECORD,
        create: str | None = None,
        reload_s: float = 5.0,
        bound_s: float = 30.0,
        settle_s: float = 120.0,
        longest_life_s: float = 3600.0,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = elapsed_s,
    ) -> None:
        ReloadedKeys.__init__(self, reload_s=reload_s, bound_s=bound_s, now=now, monotonic=monotonic)
        if settle_s < bound_s:
            raise SettingError(
                f"settle_s={settle_s!r} must be bound_s={bound_s!r} or more: else a key signs before all know it"
            )
        if create is not None:
            rotation.algorithm_named(create)
        self._store = store
        self._sealer = Sealer(key_ring(secret), purpose="signing-keys")
        self._name = name
        self._create = create
        self._unread = ""
        """Why a key of the ring can't be used here."""
        self._warning = RepeatedWarning(LOGGER, every_s=60.0)
        self.settle_s = settle_s
        self.longest_life_s = longest_life_s

    @property
    def home(self) -> str:
        """The store."""
        return self._store.home

    @property
    def guarantees(self) -> Guarantees:
        """What the store promises."""
        return self._store.guarantees

    async def new(self, algorithm: str = "EdDSA") -> rotation.Change:
        """A first key, if there is none for that form of token; it signs at once.

        Raises:
            StoreUnavailableError: the store is away.
        """
        return await self._change(lambda keys: rotation.first_key(keys, algorithm, now=self._now()))

    async def rotate(
        self, algorithm: str | None = None, *, min_age_s: float = 0, at_once: bool = False
    ) -> rotation.Change:
        """Makes a next key, which signs in `settle_s` seconds. Of several instances that do so at once one does it.

        Args:
            algorithm: Of the next key; by default that of the active one.
            min_age_s: Nothing is done where the active key has been so for less: an instance may call this every hour.
            at_once: The next key signs now, because the active one has become known to somebody.
        Raises:
            StoreUnavailableError: the store is away. It may have happened or not; it may be called again.
            SettingError: it is not clear which algorithm is meant.
        """
        return await self._change(
            lambda keys: rotation.rotate(
                keys,
                algorithm,
                now=self._now(),
                settle_s=self.settle_s,
                longest_life_s=self.longest_life_s,
                min_age_s=min_age_s,
                at_once=at_once,
            )
        )

    async def retire(self, kid: str) -> Key:
        """Takes a key away: what it signed is refused on every instance within `bound_s`.

        Raises:
            UnknownKeyError: there is none of that name.
            SettingError: it is the only one that signs.
            StoreUnavailableError: the store is away.
        """
        return (await self._change(lambda keys: rotation.retire(keys, kid, now=self._now()))).key

    async def _fetch(self) -> Sequence[Key]:
        record = await self._store.get(self._name)
        keys = self._opened(record)
        if not keys and self._create is not None:
            return (await self.new(self._create)).keys
        return keys

    async def _change(self, make: Callable[[Sequence[Key]], rotation.Change]) -> rotation.Change:
        for _ in range(TRIES):
            asked_at = self._monotonic()
            record = await self._store.get(self._name)
            keys = self._opened(record)
            if self._unread:
                raise SettingError(
                    f"the ring at {self.home} has keys that this release can't read, and would lose by a change: "
                    f"change it with the release that has made them: {self._unread}"
                )
            change = make(keys)
            try:
                if change.changed:
                    await self._write(record, change.keys)
            except (ConflictError, GoneError):
                # Another instance was first: what it made is read, and may leave nothing to do.
                continue
            self._learn(change.keys, asked_at)
            return change
        raise StoreUnavailableError(home=self.home, reason=f"others have changed its keys {TRIES} times meanwhile")

    async def _write(self, record: Record | None, keys: Sequence[Key]) -> None:
        fields = {FIELD: self._sealer.seal(msgspec.json.encode([key.private_jwk() for key in keys])).encode("ascii")}
        if record is None:
            await self._store.put(self._name, fields, ttl_s=TTL_S, expect=ABSENT)
        else:
            await self._store.change(record, fields, ttl_s=TTL_S)

    def _opened(self, record: Record | None) -> Sequence[Key]:
        if record is None:
            self._unread = ""
            return ()
        opened = self._sealer.open(record.fields.get(FIELD, b"").decode("latin-1"))
        if opened is None:
            raise SettingError(
                f"the keys at {self.home} were sealed with a secret that this instance does not have: "
                "give all instances the same secrets"
            )
        listed: list[dict[str, Any]] = msgspec.json.decode(opened.data)
        known = {(key.kid, key.activates_at, key.expires_at): key for key in self._all}
        keys: list[Key] = []
        self._unread = ""
        for jwk in listed:
            try:
                keys.append(self._parsed(jwk, known))
            except SettingError as error:
                # A later release signs with it. What it has signed is refused here; what others sign is not.
                self._unread = str(error)
                self._warning.warn(self._unread, f"a key is passed over: {error}")
        if listed and not keys:
            raise SettingError(f"no key at {self.home} can be used by this release: {self._unread}")
        return keys

    def _parsed(self, jwk: dict[str, Any], known: dict[tuple[str, float, float], Key]) -> Key:
        """The key of a JWK; the one that is known already where it is the same, which saves its parsing."""
        at = (str(jwk["kid"]), float(jwk.get("nbf", 0.0)), float(jwk.get("exp", float("inf"))))
        return known.get(at) or Key.from_jwk(jwk, seat=f"a key at {self.home}")
