"""The algorithms, each as what signs and what verifies with one key of it.

Source: RFC 7518 sections 3.2 (HS256), 3.3 (RS256 and so on), 3.4 (ES256 and so on) and 3.5 (PS256 and so on), RFC 8037
section 3.1 (EdDSA), RFC 9864 section 2.2 (Ed25519, its later name), the PASETO specification, version 4.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any, Final, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
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
"""RFC 7518 sections 3.3 and 3.5."""
NEW_RSA_BITS: Final = 3072
SEQUENCE: Final = (b"\x30\x44", b"\x30\x45", b"\x30\x46")
"""How DER begins a signature of P-256 whose numbers have 32 bytes, by how many of them need a zero before."""
INTEGER: Final = (b"\x02\x20", b"\x02\x21\0")
"""How it begins a number, without that zero and with it. Source: X.690 section 8.3."""
DIGESTS: Final[dict[int, hashes.HashAlgorithm]] = {256: hashes.SHA256(), 384: hashes.SHA384(), 512: hashes.SHA512()}
"""SHA-2, by its bits."""


class Curve(Struct, frozen=True):
    """A curve for ECDSA."""

    name: str
    """As JWKs have it."""
    curve: ec.EllipticCurve
    size: int
    """Bytes of a coordinate, and of each of the two numbers that are a signature."""


CURVES: Final[dict[str, Curve]] = {
    each.name: each
    for each in (
        Curve("P-256", ec.SECP256R1(), 32),
        Curve("P-384", ec.SECP384R1(), 48),
        # Of 521 bits: the first byte has one (RFC 7518 section 3.4).
        Curve("P-521", ec.SECP521R1(), 66),
    )
}


class Algorithm(Struct, frozen=True):
    """What a key can be bound to."""

    name: str
    form: Form
    kty: Literal["OKP", "EC", "RSA", "oct"]
    """The JWK's type of key."""
    bits: int = 0
    """Of the digest, with ECDSA and RSA."""
    curve: str = ""
    """With ECDSA the name of the one curve that it is for."""
    pss: bool = False
    """With RSA whether the padding is PSS, with a salt as long as the digest; else PKCS #1 v1.5."""


ALGORITHMS: Final[dict[str, Algorithm]] = {
    each.name: each
    for each in (
        Algorithm("EdDSA", "jwt", "OKP"),
        Algorithm("Ed25519", "jwt", "OKP"),
        Algorithm("ES256", "jwt", "EC", 256, "P-256"),
        Algorithm("ES384", "jwt", "EC", 384, "P-384"),
        Algorithm("ES512", "jwt", "EC", 512, "P-521"),
        Algorithm("RS256", "jwt", "RSA", 256),
        Algorithm("RS384", "jwt", "RSA", 384),
        Algorithm("RS512", "jwt", "RSA", 512),
        Algorithm("PS256", "jwt", "RSA", 256, pss=True),
        Algorithm("PS384", "jwt", "RSA", 384, pss=True),
        Algorithm("PS512", "jwt", "RSA", 512, pss=True),
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
        return ec.generate_private_key(CURVES[algorithm.curve].curve)
    if algorithm.kty == "RSA":
        return rsa.generate_private_key(public_exponent=65537, key_size=NEW_RSA_BITS)
    return secrets.token_bytes(MIN_SECRET_BYTES)


def curve_of(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> Curve | None:
    """The curve that a key is on; None for one that is not used here."""
    return next((each for each in CURVES.values() if each.curve.name == key.curve.name), None)


def check_fit(algorithm: Algorithm, key: object, *, seat: str = "the key") -> None:
    """Refuses a key that is not of the algorithm's type, or is too weak for it.

    Raises:
        SettingError: it is so; the message says what would do.
    """
    fits: dict[str, tuple[type | tuple[type, ...], str]] = {
        "OKP": ((ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey), "an Ed25519 key"),
        "EC": ((ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey), f"a key on the curve {algorithm.curve}"),
        "RSA": ((rsa.RSAPrivateKey, rsa.RSAPublicKey), f"an RSA key of {MIN_RSA_BITS} bits or more"),
        "oct": (bytes, f"a secret of {MIN_SECRET_BYTES} bytes or more"),
    }
    wanted, words = fits[algorithm.kty]
    good = isinstance(key, wanted)
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        curve = curve_of(key)
        good = good and curve is not None and curve.name == algorithm.curve
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


def signer(algorithm: Algorithm, key: PrivateKey) -> Sign:
    """What signs with the key, in the form that RFC 7518 and RFC 8037 give signatures."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return _ed25519_signer(key)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return _es256_signer(key) if algorithm.curve == "P-256" else _ecdsa_signer(algorithm, key)
    if isinstance(key, rsa.RSAPrivateKey):
        scheme, digest = _padding(algorithm), DIGESTS[algorithm.bits]
        return lambda message: key.sign(message, scheme, digest)
    return lambda message: hmac.digest(key, message, "sha256")


def verifier(algorithm: Algorithm, key: PublicKey) -> Verify:
    """What verifies with the key. Whatever the signature is, it answers and raises nothing."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return _ed25519_verifier(key)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _es256_verifier(key) if algorithm.curve == "P-256" else _ecdsa_verifier(algorithm, key)
    if isinstance(key, rsa.RSAPublicKey):
        return _rsa_verifier(algorithm, key)
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
        return der[4:end][-32:].rjust(32, b"\0") + der[end + 2 :][-32:].rjust(32, b"\0")

    return signature_of


def _es256_verifier(key: ec.EllipticCurvePublicKey) -> Verify:
    verify, scheme = key.verify, ec.ECDSA(hashes.SHA256())

    def verify_es256(signature: bytes, message: bytes) -> bool:
        if len(signature) != 64:
            return False
        r, s = signature[:32], signature[32:]
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


def _ecdsa_signer(algorithm: Algorithm, key: ec.EllipticCurvePrivateKey) -> Sign:
    scheme, size = ec.ECDSA(DIGESTS[algorithm.bits]), CURVES[algorithm.curve].size

    def signature_of(message: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(message, scheme))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return signature_of


def _ecdsa_verifier(algorithm: Algorithm, key: ec.EllipticCurvePublicKey) -> Verify:
    scheme, size = ec.ECDSA(DIGESTS[algorithm.bits]), CURVES[algorithm.curve].size

    def verify_ecdsa(signature: bytes, message: bytes) -> bool:
        if len(signature) != 2 * size:
            return False
        der = encode_dss_signature(int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big"))
        try:
            key.verify(der, message, scheme)
        except InvalidSignature:
            return False
        return True

    return verify_ecdsa


def _rsa_verifier(algorithm: Algorithm, key: rsa.RSAPublicKey) -> Verify:
    verify, scheme, digest = key.verify, _padding(algorithm), DIGESTS[algorithm.bits]

    def verify_rsa(signature: bytes, message: bytes) -> bool:
        try:
            verify(signature, message, scheme, digest)
        except InvalidSignature:
            return False
        return True

    return verify_rsa


def _padding(algorithm: Algorithm) -> padding.AsymmetricPadding:
    if not algorithm.pss:
        return padding.PKCS1v15()
    digest = DIGESTS[algorithm.bits]
    # RFC 7518 section 3.5: the digest is that of MGF1 too, and the salt is as long as it.
    return padding.PSS(padding.MGF1(digest), digest.digest_size)
