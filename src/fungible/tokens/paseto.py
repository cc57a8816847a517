"""PASETO version 4, its two purposes: `v4.local` encrypts with a shared secret, `v4.public` signs.

Source: the PASETO specification, docs/01-Protocol-Versions/Version4.md and Common.md (pre-authentication encoding).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from fungible.tokens.algorithms import Sign, Verify
from fungible.tokens.errors import InvalidTokenError
from fungible.tokens.framing import to_base64url
from fungible.tokens.xchacha import xor

LOCAL: Final = b"v4.local."
PUBLIC: Final = b"v4.public."
NONCE_BYTES: Final = 32
TAG_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
_length: Final = struct.Struct("<Q").pack


def pae(*pieces: bytes) -> bytes:
    """Pre-authentication encoding: the pieces with their lengths, so that no two lists of pieces give the same bytes."""
    parts = [_length(len(pieces))]
    for piece in pieces:
        parts += (_length(len(piece)), piece)
    return b"".join(parts)


def sign_public(sign: Sign, payload: bytes, *, footer: bytes = b"", implicit: bytes = b"") -> bytes:
    """A `v4.public` token.

    Args:
        sign: Signs by Ed25519.
        footer: Carried along, readable and authenticated.
        implicit: Authenticated and not carried: who verifies must know it.
    """
    return _written(PUBLIC, payload + sign(pae(PUBLIC, payload, footer, implicit)), footer)


def verify_public(verify: Verify, body: bytes, *, footer: bytes = b"", implicit: bytes = b"") -> bytes:
    """What a `v4.public` token says.

    Args:
        body: The token between its header and its footer, decoded.
    Raises:
        InvalidTokenError: the signature is not that of these bytes.
    """
    if len(body) < SIGNATURE_BYTES:
        raise InvalidTokenError("malformed", "it is too short for a signature")
    payload = body[:-SIGNATURE_BYTES]
    if not verify(body[-SIGNATURE_BYTES:], pae(PUBLIC, payload, footer, implicit)):
        raise InvalidTokenError("signature", "its signature is not that of its words")
    return payload


class LocalKey:
    """Encrypts and decrypts `v4.local` tokens with one secret.

    Args:
        secret: 32 bytes.
        draw: Gives that many random bytes: another function in tests of known vectors alone.
    """

    __slots__ = ("_authenticating", "_draw", "_encrypting")

    def __init__(self, secret: bytes, *, draw: Callable[[int], bytes] = os.urandom) -> None:
        # Keyed once: each token goes on from a copy.
        self._encrypting = hashlib.blake2b(b"paseto-encryption-key", key=secret, digest_size=56)
        self._authenticating = hashlib.blake2b(b"paseto-auth-key-for-aead", key=secret, digest_size=32)
        self._draw = draw

    def encrypt(self, payload: bytes, *, footer: bytes = b"", implicit: bytes = b"") -> bytes:
        """A `v4.local` token."""
        nonce = self._draw(NONCE_BYTES)
        hidden = self._stream(nonce, payload)
        return _written(LOCAL, nonce + hidden + self._tag(nonce, hidden, footer, implicit), footer)

    def decrypt(self, body: bytes, *, footer: bytes = b"", implicit: bytes = b"") -> bytes:
        """What a `v4.local` token says.

        Args:
            body: The token between its header and its footer, decoded.
        Raises:
            InvalidTokenError: it was not made with this secret, or is not as it was made.
        """
        if len(body) < NONCE_BYTES + TAG_BYTES:
            raise InvalidTokenError("malformed", "it is too short for a nonce and a tag")
        nonce, hidden = body[:NONCE_BYTES], body[NONCE_BYTES:-TAG_BYTES]
        if not hmac.compare_digest(self._tag(nonce, hidden, footer, implicit), body[-TAG_BYTES:]):
            raise InvalidTokenError("signature", "its tag is not that of its words")
        return self._stream(nonce, hidden)

    def _stream(self, nonce: bytes, data: bytes) -> bytes:
        derived = self._encrypting.copy()
        derived.update(nonce)
        keys = derived.digest()
        return xor(data, keys[:32], keys[32:])

    def _tag(self, nonce: bytes, hidden: bytes, footer: bytes, implicit: bytes) -> bytes:
        derived = self._authenticating.copy()
        derived.update(nonce)
        key = derived.digest()
        return hashlib.blake2b(pae(LOCAL, nonce, hidden, footer, implicit), key=key, digest_size=TAG_BYTES).digest()


def split(token: bytes, header: bytes) -> tuple[bytes, bytes]:
    """What stands between a token's header and its footer, and the footer, both as base64url.

    Raises:
        InvalidTokenError: it has a dot, and no footer after it.
    """
    body, dot, footer = token[len(header) :].partition(b".")
    if dot and not footer:
        raise InvalidTokenError("malformed", "its footer is empty")
    return body, footer


def _written(header: bytes, body: bytes, footer: bytes) -> bytes:
    token = header + to_base64url(body)
    return token + _coded_footer(footer) if footer else token


@lru_cache(maxsize=64)
def _coded_footer(footer: bytes) -> bytes:
    """A footer as it is written: issuers have one for each key."""
    return b"." + to_base64url(footer)
