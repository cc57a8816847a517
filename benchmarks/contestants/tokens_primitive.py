"""The bare primitives: what signing and verifying cost before there is a token around them.

For `v4.local` that is what PASETO asks for, on `hashlib` and `cryptography`: two keys derived by BLAKE2b, XChaCha20,
BLAKE2b over what is sent. Ed25519 is libsodium's where PyNaCl is installed, as it is for Fungible.
"""

import hashlib
import hmac
import os
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from fungible.tokens.xchacha import xor

Sides = tuple[Callable[[], Any], Callable[[Any], Any]]


def sides(algorithm: str, material: Any, message: bytes) -> Sides | None:
    """What signs a message of that length, and what verifies what was signed."""
    if isinstance(material, ed25519.Ed25519PrivateKey):
        return _ed25519(material, message)
    if isinstance(material, ec.EllipticCurvePrivateKey):
        scheme, public = ec.ECDSA(hashes.SHA256()), material.public_key()
        return lambda: material.sign(message, scheme), lambda signature: public.verify(signature, message, scheme)
    if isinstance(material, rsa.RSAPrivateKey):
        padded, digest, verifying = padding.PKCS1v15(), hashes.SHA256(), material.public_key()
        return (
            lambda: material.sign(message, padded, digest),
            lambda signature: verifying.verify(signature, message, padded, digest),
        )
    if algorithm == "HS256":
        return (
            lambda: hmac.digest(material, message, "sha256"),
            lambda signature: hmac.compare_digest(hmac.digest(material, message, "sha256"), signature) or _wrong(),
        )
    return _local(material, message)


def _ed25519(key: ed25519.Ed25519PrivateKey, message: bytes) -> Sides:
    public = key.public_key()
    try:
        from nacl.bindings import crypto_sign, crypto_sign_open
    except ImportError:
        return lambda: key.sign(message), lambda signature: public.verify(signature, message)
    raw = public.public_bytes_raw()
    secret = key.private_bytes_raw() + raw
    return lambda: crypto_sign(message, secret)[:64], lambda signature: crypto_sign_open(signature + message, raw)


def _local(secret: bytes, message: bytes) -> Sides:
    encrypting = hashlib.blake2b(b"paseto-encryption-key", key=secret, digest_size=56)
    authenticating = hashlib.blake2b(b"paseto-auth-key-for-aead", key=secret, digest_size=32)

    def derived(base: Any, nonce: bytes) -> bytes:
        own = base.copy()
        own.update(nonce)
        return own.digest()

    def encrypt() -> tuple[bytes, bytes, bytes]:
        nonce = os.urandom(32)
        keys = derived(encrypting, nonce)
        hidden = xor(message, keys[:32], keys[32:])
        return nonce, hidden, hashlib.blake2b(hidden, key=derived(authenticating, nonce), digest_size=32).digest()

    def decrypt(sealed: tuple[bytes, bytes, bytes]) -> bytes:
        nonce, hidden, tag = sealed
        made = hashlib.blake2b(hidden, key=derived(authenticating, nonce), digest_size=32).digest()
        if not hmac.compare_digest(made, tag):
            _wrong()
        keys = derived(encrypting, nonce)
        return xor(hidden, keys[:32], keys[32:])

    return encrypt, decrypt


def _wrong() -> None:
    raise ValueError("another signature")
