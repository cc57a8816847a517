"""The algorithms, each as what signs and what verifies with one key of it.

Source: RFC 7518 section 3 (HS256, RS256, ES256), RFC 8037 section 3.1 (EdDSA), RFC 9864
section 2.2 (Ed25519, its later name), the PASETO specification, version 4.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any, Final, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from msgspec import Struct

from fungible.core.errors import SettingError

try:  # libsodium verifies Ed25519 in half the time; both follow RFC 8032, and refuse what is not canonical.
    from nacl.bindings import crypto_sign, crypto_sign_open
    from nacl.exceptions import BadSignatureError
except ImportError:  # pragma: no cover - one of the two is tested
    crypto_sign = crypto_sign_open = BadSignatureError = None

Form = Literal["jwt", "paseto"]
Sign = Callable[[bytes], bytes]
Verify = Callable[[bytes, bytes], bool]
"""Takes a signature and what it was made of."""
PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | bytes
PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey | bytes
"""Bytes are a secret: the key of an algorithm where whoever verifies can issue, too."""

MIN_SECRET_BYTES: Final = 32
"""RFC 7518 section 3.2: as many as the digest has; and what `v4.local` takes."""
MIN_RSA_BITS: Final = 2048
"""RFC 7518 section 3.3."""
NEW_RSA_BITS: Final = 3072
P256_BYTES: Final = 32
SEQUENCE: Final = (b"\x30\x44", b"\x30\x45", b"\x30\x46")
"""How DER begins a signature of P-256 whose numbers have 32 bytes, by how many of them need a zero before."""
INTEGER: Final = (b"\x02\x20", b"\x02\x21\0")
"""How it begins a number, without that zero and with it. Source: X.690 section 8.3."""


class Algorithm(Struct, frozen=True):
    """What a key can be bound to."""

    name: str
    form: Form
    kty: Literal["OKP", "EC", "RSA", "oct"]
    """The JWK's type of key."""


ALGORITHMS: Final[dict[str, Algorithm]] = {
    each.name: each
    for each in (
        Algorithm("EdDSA", "jwt", "OKP"),
        Algorithm("Ed25519", "jwt", "OKP"),
        Algorithm("ES256", "jwt", "EC"),
        Algorithm("RS256", "jwt", "RSA"),
        Algorithm("HS256", "jwt", "oct"),
        Algorithm("v4.public", "paseto", "OKP"),
        Algorithm("v4.local", "paseto", "oct"),
    )
}
"""Every algorithm there is. `none` is not among them (RFC 8725 section 3.2)."""


def algorithm_named(name: str) -> Algorithm:
    """The algorithm of that name.

    Raises:
        SettingError: there is none.
    """
    found = ALGORITHMS.get(name)
    if found is None:
        raise SettingError(f"there is no algorithm {name!r} here; there are: {', '.join(ALGORITHMS)}")
    return found


def draw(algorithm: Algorithm) -> PrivateKey:
    """A new private key, or a new secret, from the system's randomness."""
    import secrets

    if algorithm.kty == "OKP":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm.kty == "EC":
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm.kty == "RSA":
        return rsa.generate_private_key(public_exponent=65537, key_size=NEW_RSA_BITS)
    return secrets.token_bytes(MIN_SECRET_BYTES)


def check_fit(algorithm: Algorithm, key: object, *, seat: str = "the key") -> None:
    """Refuses a key that is not of the algorithm's type, or is too weak for it.

    Raises:
        SettingError: it is so; the message says what would do.
    """
    fits: dict[str, tuple[type | tuple[type, ...], str]] = {
        "OKP": ((ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey), "an Ed25519 key"),
        "EC": ((ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey), "a key on the curve P-256"),
        "RSA": ((rsa.RSAPrivateKey, rsa.RSAPublicKey), f"an RSA key of {MIN_RSA_BITS} bits or more"),
        "oct": (bytes, f"a secret of {MIN_SECRET_BYTES} bytes or more"),
    }
    wanted, words = fits[algorithm.kty]
    good = isinstance(key, wanted)
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        good = good and isinstance(key.curve, ec.SECP256R1)
    elif isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        good = good and key.key_size >= MIN_RSA_BITS
    elif isinstance(key, bytes):
        good = good and len(key) >= MIN_SECRET_BYTES and len(set(key)) > 3
        if algorithm.name == "v4.local":
            words, good = f"a secret of exactly {MIN_SECRET_BYTES} bytes", good and len(key) == MIN_SECRET_BYTES
    if not good:
        raise SettingError(f"{seat}: {algorithm.name} needs {words}")


def public_of(key: PrivateKey | PublicKey) -> PublicKey:
    """The public half; a secret has none, and stays as it is."""
    if isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        return key.public_key()
    return key


def signer(key: PrivateKey) -> Sign:
    """What signs with the key, in the form that RFC 7518 and RFC 8037 give signatures."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return _ed25519_signer(key)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return _es256_signer(key)
    if isinstance(key, rsa.RSAPrivateKey):
        scheme, digest = padding.PKCS1v15(), hashes.SHA256()
        return lambda message: key.sign(message, scheme, digest)
    return lambda message: hmac.digest(key, message, "sha256")


def verifier(key: PublicKey) -> Verify:
    """What verifies with the key. Whatever the signature is, it answers and raises nothing."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return _ed25519_verifier(key)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _es256_verifier(key)
    if isinstance(key, rsa.RSAPublicKey):
        return _rs256_verifier(key)
    return lambda signature, message: hmac.compare_digest(hmac.digest(key, message, "sha256"), signature)


def _ed25519_signer(key: ed25519.Ed25519PrivateKey) -> Sign:
    if crypto_sign is None:
        return key.sign
    sign: Any = crypto_sign
    secret = key.private_bytes_raw() + key.public_key().public_bytes_raw()
    return lambda message: sign(message, secret)[:64]


def _ed25519_verifier(key: ed25519.Ed25519PublicKey) -> Verify:
    if crypto_sign_open is not None:
        opens: Any = crypto_sign_open
        bad: Any = BadSignatureError
        public = key.public_bytes_raw()

        def verify_by_libsodium(signature: bytes, message: bytes) -> bool:
            if len(signature) != 64:
                return False
            try:
                opens(signature + message, public)
            except bad:
                return False
            return True

        return verify_by_libsodium
    verify = key.verify

    def verify_by_openssl(signature: bytes, message: bytes) -> bool:
        try:
            verify(signature, message)
        except InvalidSignature:
            return False
        return True

    return verify_by_openssl


def _es256_signer(key: ec.EllipticCurvePrivateKey) -> Sign:
    sign, scheme = key.sign, ec.ECDSA(hashes.SHA256())

    def signature_of(message: bytes) -> bytes:
        # A DER sequence of two integers, each with its tag and length, and maybe a zero before or fewer bytes. Taken
        # apart here, since it is from the library itself, and its own function costs four times as much.
        der = sign(message, scheme)
        end = 4 + der[3]
        return der[4:end][-P256_BYTES:].rjust(P256_BYTES, b"\0") + der[end + 2 :][-P256_BYTES:].rjust(P256_BYTES, b"\0")

    return signature_of


def _es256_verifier(key: ec.EllipticCurvePublicKey) -> Verify:
    verify, scheme = key.verify, ec.ECDSA(hashes.SHA256())

    def verify_es256(signature: bytes, message: bytes) -> bool:
        if len(signature) != 2 * P256_BYTES:
            return False
        r, s = signature[:P256_BYTES], signature[P256_BYTES:]
        first, second = r[0], s[0]
        if first and second:
            # The usual case without a call: no zeros at the beginning, but the one that keeps a number positive.
            over, under = first >> 7, second >> 7
            der = SEQUENCE[over + under] + INTEGER[over] + r + INTEGER[under] + s
        else:
            der = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
        try:
            verify(der, message, scheme)
        except InvalidSignature:
            return False
        return True

    return verify_es256


def _rs256_verifier(key: rsa.RSAPublicKey) -> Verify:
    verify, scheme, digest = key.verify, padding.PKCS1v15(), hashes.SHA256()

    def verify_rs256(signature: bytes, message: bytes) -> bool:
        try:
            verify(signature, message, scheme, digest)
        except InvalidSignature:
            return False
        return True

    return verify_rs256
