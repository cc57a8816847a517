"""What a refresh token is made of, and what is to be done with one that is presented: pure functions over data.

A token is 16 random bytes that name its family, and 32 that are its secret. A family's record holds digests alone. The
secret of a successor is a keyed digest of the secret that is presented, over a salt that is drawn at the rotation and
kept in the record for the grace: so whoever presents the same token again gets the same successor, and neither the
records alone nor an old token alone tell anybody a secret.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import ClassVar, Final

import msgspec
from msgspec import Struct

from fungible.core.redaction import Redacted
from fungible.core.sealing import from_base64url, to_base64url

HANDLE_BYTES: Final = 16
SECRET_BYTES: Final = 32
SALT_BYTES: Final = 16
TOKEN_CHARACTERS: Final = 64
MOST_RECENT: Final = 16
"""So many rotations are remembered at most, however many there were within the grace: a record has a bound."""


class Presented(Redacted, Struct, frozen=True):
    """A refresh token taken apart."""

    _hidden: ClassVar = ("secret",)
    handle: bytes
    secret: bytes

    @property
    def family(self) -> str:
        """The family's ID: a digest of the handle, so that who sees it in an access token can't name the family."""
        return family_of(self.handle)


class Rotation(Redacted, Struct, frozen=True, array_like=True):
    """A token that was spent not long ago."""

    _hidden: ClassVar = ("salt",)
    digest: bytes
    salt: bytes
    """What its successor is derived with."""
    at: float
    """When it was spent, in Unix seconds."""


class Chain(Struct, frozen=True, array_like=True):
    """Which token of a family is good, and which ones were good just before: the one field that rotations change."""

    current: bytes
    """Digest of the one secret that has not been spent."""
    rotations: int = 0
    recent: tuple[Rotation, ...] = ()


class Family(Struct, frozen=True, array_like=True):
    """What was said when the family began; it never changes."""

    subject: str
    client: str
    thumbprint: str
    """Of the key that its tokens are bound to (RFC 9449 section 5); empty where they are bound to none."""
    begun_at: float
    ends_at: float
    """When it ends at the latest, in Unix seconds."""
    data: bytes
    """The application's own, encoded."""


class Rotated(Redacted, Struct, frozen=True):
    """The token presented is the current one: it is spent, if this chain can be written."""

    _hidden: ClassVar = ("secret",)
    chain: Chain
    secret: bytes
    """The successor's."""


class Repeated(Redacted, Struct, frozen=True):
    """The token presented was spent within the grace: this is the successor that it led to then."""

    _hidden: ClassVar = ("secret",)
    secret: bytes


class Reused(Struct, frozen=True):
    """The token presented was spent long ago, or never made: somebody has it who should not."""


def new_token() -> Presented:
    """The first token of a new family."""
    random = os.urandom(HANDLE_BYTES + SECRET_BYTES)
    return Presented(random[:HANDLE_BYTES], random[HANDLE_BYTES:])


def text_of(handle: bytes, secret: bytes) -> str:
    """A token as clients keep it: 64 letters, digits, `-` and `_`."""
    return to_base64url(handle + secret)


def parse(text: str) -> Presented | None:
    """The parts of a token; None for any text that can't be one."""
    raw = from_base64url(text) if len(text) == TOKEN_CHARACTERS else None
    return None if raw is None else Presented(raw[:HANDLE_BYTES], raw[HANDLE_BYTES:])


def family_of(handle: bytes) -> str:
    """The ID of the family with that handle."""
    return to_base64url(hashlib.blake2b(handle, digest_size=16, person=b"fungible-family").digest())


def digest_of(secret: bytes) -> bytes:
    """What is kept of a secret."""
    return hashlib.blake2b(secret, digest_size=32, person=b"fungible-refresh").digest()


def first_chain(secret: bytes) -> Chain:
    """The chain of a family that begins."""
    return Chain(digest_of(secret))


def judge(chain: Chain, secret: bytes, now: float, *, grace_s: float) -> Rotated | Repeated | Reused:
    """What is to be done with a secret that is presented.

    A token whose successor was spent as well, all within the grace, still leads to that successor, and that to the
    next: who was late by two rotations finds the way, and nobody learns more than a retry in time would have told.

    Source: RFC 9700 section 4.14.2 (refresh token rotation).
    """
    digest = digest_of(secret)
    if hmac.compare_digest(digest, chain.current):
        salt = os.urandom(SALT_BYTES)
        successor = _successor(secret, salt)
        kept = tuple(spent for spent in chain.recent if now - spent.at <= grace_s) if grace_s else ()
        recent = (*kept[1 - MOST_RECENT :], Rotation(digest, salt, now)) if grace_s else ()
        return Rotated(Chain(digest_of(successor), chain.rotations + 1, recent), successor)
    for spent in reversed(chain.recent):
        if hmac.compare_digest(digest, spent.digest) and now - spent.at <= grace_s:
            return Repeated(_successor(secret, spent.salt))
    return Reused()


def _successor(secret: bytes, salt: bytes) -> bytes:
    return hmac.digest(secret, salt, "sha256")


encode: Final = msgspec.msgpack.Encoder().encode
decode_chain: Final = msgspec.msgpack.Decoder(Chain).decode
decode_family: Final = msgspec.msgpack.Decoder(Family).decode
