"""Sealed text: unreadable and unchangeable for whoever carries it, open to every instance with the key ring."""

import binascii
import hashlib
import os
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fungible.core.keyring import KID_BYTES, KeyRing
from fungible.core.redaction import redacted

VERSION: Final = b"\x01"
SALT_BYTES: Final = 12
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
HEADER_BYTES: Final = 1 + KID_BYTES
OVERHEAD_BYTES: Final = HEADER_BYTES + SALT_BYTES + NONCE_BYTES + TAG_BYTES
TO_URL: Final = bytes.maketrans(b"+/", b"-_")
FROM_URL: Final = bytes.maketrans(b"-_", b"+/")


class Opened(NamedTuple):
    """What a sealed text held."""

    data: bytes
    by_current_key: bool
    """Whether the ring's current key sealed it; if not, it should be sealed anew at the next occasion."""
    kid: bytes
    """The key's name."""

    def __repr__(self) -> str:
        return redacted(self, "data")


class Sealer:
    """Seals for one purpose: what another purpose's sealer made does not open here.

    Source: AES-256-GCM (NIST SP 800-38D). The key is derived from the ring's key and 96 random bits for each text, and
    another 96 random bits are the nonce: so a ring's key is good for more texts than one nonce alone would allow.
    """

    def __init__(self, ring: KeyRing, *, purpose: str) -> None:
        self._ring = ring
        self._purpose = purpose.encode()
        self._person = hashlib.blake2b(self._purpose, digest_size=16).digest()

    def seal(self, data: bytes) -> str:
        """The data as sealed text: letters, digits, `-` and `_`."""
        key = self._ring.current()
        random = os.urandom(SALT_BYTES + NONCE_BYTES)
        header = VERSION + key.kid
        cipher = AESGCM(self._derived(key.secret, random[:SALT_BYTES]))
        sealed = cipher.encrypt(random[SALT_BYTES:], data, self._purpose + header)
        return to_base64url(header + random + sealed)

    def open(self, text: str) -> Opened | None:
        """What the text holds; None if no key of the ring sealed it, for this purpose, just so."""
        raw = from_base64url(text)
        if raw is None or len(raw) < OVERHEAD_BYTES or raw[:1] != VERSION:
            return None
        header, kid = raw[:HEADER_BYTES], raw[1:HEADER_BYTES]
        key = self._ring.find(kid)
        if key is None:
            return None
        salt = raw[HEADER_BYTES : HEADER_BYTES + SALT_BYTES]
        nonce = raw[HEADER_BYTES + SALT_BYTES : HEADER_BYTES + SALT_BYTES + NONCE_BYTES]
        cipher = AESGCM(self._derived(key.secret, salt))
        try:
            data = cipher.decrypt(nonce, raw[HEADER_BYTES + SALT_BYTES + NONCE_BYTES :], self._purpose + header)
        except InvalidTag:
            return None
        return Opened(data, self._ring.is_current(kid) is True, kid)

    def _derived(self, secret: bytes, salt: bytes) -> bytes:
        return hashlib.blake2b(salt, key=secret, digest_size=32, person=self._person).digest()


def to_base64url(data: bytes) -> str:
    """Base64url without padding. Source: RFC 4648 section 5."""
    return binascii.b2a_base64(data, newline=False).translate(TO_URL).rstrip(b"=").decode("ascii")


def from_base64url(text: str) -> bytes | None:
    """The bytes; None for anything that `to_base64url` does not write, so that bytes have one form only."""
    if "+" in text or "/" in text or "=" in text or not text.isascii():
        return None
    try:
        data = binascii.a2b_base64(text.encode("ascii").translate(FROM_URL) + b"=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error:
        return None
    # The last character may carry bits that no byte needs: two texts must not be one.
    return data if len(text) % 4 == 0 or to_base64url(data[-(len(data) % 3) :]) == text[-(len(text) % 4) :] else None
