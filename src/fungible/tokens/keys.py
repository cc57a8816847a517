"""Rings of keys: which one signs now, and which ones verify."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from fungible.core.errors import SettingError
from fungible.stores.contract import Guarantees, Reach, Survives
from fungible.stores.postures import Home
from fungible.tokens.algorithms import Form
from fungible.tokens.errors import NoSigningKeyError
from fungible.tokens.key import Key, State

GIVEN: Final = Guarantees(reach=Reach.FLEET, survives=Survives.MACHINE)
"""What a ring promises that is given to every instance from outside: a secret, a file."""
DRAWN: Final = Guarantees(reach=Reach.PROCESS, survives=Survives.NOTHING)
"""What a ring promises whose key was drawn in this process."""


class KeySet(Struct, frozen=True):
    """A ring at one time."""

    keys: tuple[Key, ...]
    """Those that verify, and those that will sign later."""
    by_kid: Mapping[str, Key]
    signing: Mapping[Form, Key]
    """The active key of each form of token."""
    since: float
    until: float
    """Unix seconds from which another key signs, or one verifies no more."""

    def state(self, key: Key) -> State:
        """What the key does at that time."""
        if self.signing.get(key.form) is key:
            return "active"
        return "next" if key.activates_at > self.since else "retired"


def key_set(keys: Iterable[Key], now: float, *, until: float = math.inf) -> KeySet:
    """The ring that these keys make now.

    Of the private keys whose time has come, the one that came last signs; of several with one time, the first in order.
    A key verifies from the moment it is known, since another instance's clock may be ahead, until it expires.
    """
    living = tuple(key for key in keys if key.expires_at > now)
    by_kid: dict[str, Key] = {}
    signing: dict[Form, Key] = {}
    for key in living:
        if key.kid in by_kid:
            raise SettingError(f"two keys have the kid {key.kid!r}: each needs its own")
        by_kid[key.kid] = key
        until = min(until, key.expires_at, key.activates_at if key.activates_at > now else math.inf)
        if key.is_private and key.activates_at <= now:
            best = signing.get(key.form)
            if best is None or key.activates_at > best.activates_at:
                signing[key.form] = key
    return KeySet(living, by_kid, signing, now, until)


class VerifyingKeys:
    """Keys that judge tokens, given as they are.

    Args:
        keys: Public keys, or whole ones; each for its one algorithm.
    Raises:
        SettingError: there is none, or two have one name.
    """

    settle_s: float = 0.0
    """Seconds for which a key is known before it signs."""
    longest_life_s: float = math.inf
    """Seconds for which a key verifies after another has taken its place: no token may live longer."""

    def __init__(self, keys: Iterable[Key], *, now: Callable[[], float] = time.time) -> None:
        self._all: Sequence[Key] = tuple(keys)
        self._now = now
        if not self._all:
            raise SettingError("a ring needs at least one key")
        self._set = key_set(self._all, now())

    @classmethod
    def from_jwks(cls, document: Mapping[str, Any], *, now: Callable[[], float] = time.time) -> VerifyingKeys:
        """The keys of a JWK set that can be used here; others in it are passed over (RFC 7517 section 5).

        Raises:
            SettingError: it is no JWK set, or none of its keys can be used.
        """
        return cls(read_jwks(document), now=now)

    @property
    def home(self) -> str:
        """Where the keys are, for messages."""
        return "memory:" if self.guarantees is DRAWN else "given:"

    @property
    def guarantees(self) -> Guarantees:
        """What their place promises."""
        return DRAWN if any(key.drawn for key in self._all) else GIVEN

    async def load(self) -> None:
        """Makes sure that the keys are known. To be awaited once before the first use, when the application starts."""

    def known(self, now: float) -> KeySet:
        """The ring at a time, by what is known.

        Raises:
            StoreUnavailableError: nothing is known, or nothing young enough.
        """
        found = self._set
        return found if found.since <= now < found.until else self._look(now)

    def missed(self, kid: str) -> None:
        """A token names a key that is not known: those who can may look again. Costs nothing here."""

    def homes(self) -> Sequence[Home]:
        """Where the keys are, for `fungible doctor`."""
        return (Home(kind="signing-key", home=self.home, guarantees=self.guarantees, seat=type(self).__name__),)

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JWK set: those that sign, will sign, or have signed what may still be valid.

        Never a secret; and no PASETO keys, which have no place in it.
        Source: RFC 7517 section 5.
        """
        keys = self.known(self._now()).keys
        return {"keys": [key.public_jwk() for key in keys if key.form == "jwt" and not key.is_symmetric]}

    def _look(self, now: float) -> KeySet:
        self._set = key_set(self._all, now)
        return self._set


class SigningKeys(VerifyingKeys):
    """Keys that sign tokens and judge them, given as they are: of those whose time has come the first one signs.

    Args:
        keys: At least one whole key.
    Raises:
        SettingError: none can sign, or two have one name.
    """

    def __init__(self, keys: Iterable[Key], *, now: Callable[[], float] = time.time) -> None:
        super().__init__(keys, now=now)
        if not any(key.is_private for key in self._all):
            raise SettingError("none of these keys can sign: a private key or a secret is needed")

    @classmethod
    def generate(cls, algorithm: str = "EdDSA", *, now: Callable[[], float] = time.time) -> SigningKeys:
        """A ring with one key that is drawn now, for tests and for one instance: no other can verify what it signs."""
        return cls([Key.generate(algorithm, made_at=math.floor(now()))], now=now)

    def signing(self, form: Form, now: float) -> Key:
        """The key that signs tokens of that form.

        Raises:
            NoSigningKeyError: there is none.
        """
        key = self.known(now).signing.get(form)
        if key is None:
            raise no_signing_key(self.home, form)
        return key


def no_signing_key(home: str, form: Form) -> NoSigningKeyError:
    """The error for a ring without an active key of that form."""
    algorithm = "EdDSA" if form == "jwt" else "v4.public"
    return NoSigningKeyError(
        f"the ring at {home} has no active key for tokens of the form {form!r}: "
        f"`fungible keys new {home} --algorithm {algorithm}` makes one"
    )


def read_jwks(document: Mapping[str, Any], *, seat: str = "the JWK set") -> list[Key]:
    """The keys of a JWK set that can be used here.

    Raises:
        SettingError: it is no JWK set, or none of its keys can be used.
    """
    members = document.get("keys")
    if not isinstance(members, list):
        raise SettingError(f"{seat} has no list of keys")
    keys: dict[str, Key] = {}
    for number, jwk in enumerate(members):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        try:
            key = Key.from_jwk(jwk, seat=f"{seat}, key {number}")  # pyright: ignore[reportUnknownArgumentType]
        except (SettingError, AttributeError):
            # RFC 7517 section 5: of another type, for another use, or without what it needs.
            continue
        keys.setdefault(key.kid, key)
    if not keys:
        raise SettingError(f"{seat} has no key that can be used here")
    return list(keys.values())
