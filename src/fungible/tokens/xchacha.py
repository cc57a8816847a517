"""XChaCha20 as a stream, from the ChaCha20 that `cryptography` has.

Source: draft-irtf-cfrg-xchacha-03, sections 2.2 (HChaCha20) and 2.3 (XChaCha20); RFC 8439 section 2.3.
"""

from __future__ import annotations

import struct
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

NO_BYTES: Final = bytes(64)
FIRST_COUNTER: Final = bytes(8)
WORD: Final = 0xFFFFFFFF
CONSTANTS: Final = struct.unpack("<4I", b"expand 32-byte k")
_four = struct.Struct("<4I").unpack
_eight = struct.Struct("<8I").pack
_ends = struct.Struct("<4I32x4I").unpack


def xor(data: bytes, key: bytes, nonce: bytes) -> bytes:
    """The data, encrypted or decrypted.

    Args:
        key: 32 bytes.
        nonce: 24 bytes.
    """
    cipher = Cipher(ChaCha20(subkey(key, nonce[:16]), FIRST_COUNTER + nonce[16:]), mode=None)
    return cipher.encryptor().update(data)


def subkey(key: bytes, nonce: bytes) -> bytes:
    """HChaCha20: the key that a key and the first 16 bytes of a nonce make.

    It is ChaCha20's state after its rounds: what a block of key stream is before the state of the beginning is added
    to it. So that is taken away again, from the eight words that are needed: the constants and the nonce.
    """
    a, b, c, d, w, x, y, z = _ends(Cipher(ChaCha20(key, nonce), mode=None).encryptor().update(NO_BYTES))
    e, f, g, h = CONSTANTS
    i, j, k, m = _four(nonce)
    return _eight(
        a - e & WORD, b - f & WORD, c - g & WORD, d - h & WORD, w - i & WORD, x - j & WORD, y - k & WORD, z - m & WORD
    )
