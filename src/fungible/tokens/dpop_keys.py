"""Public keys as DPoP proofs carry them: read, used, and named by their thumbprint.

Source: RFC 7517, RFC 7518 sections 3 and 6, RFC 8037 section 2, RFC 7638 (thumbprints).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm

from fungible.core.sealing import from_base64url, to_base64url

PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""Members that only a private or a symmetric key has (RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1)."""
NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "RSA": ("e", "kty", "n"),
}
"""By type of key the members that make it what it is, in the order of their names (RFC 7638 section 3.2)."""
CURVES: Final[dict[str, tuple[str, ec.EllipticCurve, HashAlgorithm, int]]] = {
    "ES256": ("P-256", ec.SECP256R1(), SHA256(), 32),
    "ES384": ("P-384", ec.SECP384R1(), SHA384(), 48),
}
RSA_BITS: Final = (2048, 4096)
"""Smaller is weak; larger costs whoever verifies (RFC 8725 section 3.5)."""

Verify = Callable[[bytes, bytes], bool]
"""Whether a signature is that of the data, in this order."""


class BadKeyError(Exception):
    """A key that can't be taken; the words say why."""


def public_key(jwk: Mapping[str, Any], algorithm: str) -> tuple[Verify, str]:
    """How a public key verifies with an algorithm, and its thumbprint.

    Raises:
        BadKeyError: it is private, of another type than the algorithm's, too weak, or no key at all.
    """
    if PRIVATE & jwk.keys():
        raise BadKeyError("its key has a private part")
    kind = {"EdDSA": "OKP", "Ed25519": "OKP", "ES256": "EC", "ES384": "EC", "RS256": "RSA", "PS256": "RSA"}[algorithm]
    if jwk.get("kty") != kind:
        raise BadKeyError(f"its key is not of the type {kind}, as {algorithm} needs")
    if not all(isinstance(jwk.get(name), str) for name in NEEDED[kind]):
        raise BadKeyError(f"its key lacks {', '.join(NEEDED[kind])}")
    try:
        verify = MAKERS[kind](jwk, algorithm)
    except ValueError:
        raise BadKeyError("its key is none") from None
    return verify, thumbprint(jwk)


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """The SHA-256 thumbprint of a public key, as the claim `cnf.jkt` has it.

    Source: RFC 7638 section 3; RFC 9449 section 6.1.
    """
    # The members are base64url and names of curves: nothing in them needs an escape.
    members = ",".join(f'"{name}":"{jwk[name]}"' for name in NEEDED[jwk["kty"]])
    return to_base64url(hashlib.sha256(f"{{{members}}}".encode()).digest())


def _okp(jwk: Mapping[str, Any], _algorithm: str) -> Verify:
    if jwk["crv"] != "Ed25519":
        raise BadKeyError("its key is not on the curve Ed25519")
    key = Ed25519PublicKey.from_public_bytes(_bytes(jwk["x"], 32))

    def verify(signature: bytes, data: bytes) -> bool:
        try:
            key.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    return verify


def _ec(jwk: Mapping[str, Any], algorithm: str) -> Verify:
    name, curve, hashed, size = CURVES[algorithm]
    if jwk["crv"] != name:
        raise BadKeyError(f"its key is not on the curve {name}, as {algorithm} needs")
    x, y = (int.from_bytes(_bytes(jwk[part], size), "big") for part in ("x", "y"))
    # That the point is on the curve is checked here.
    key = ec.EllipticCurvePublicNumbers(x, y, curve).public_key()

    def verify(signature: bytes, data: bytes) -> bool:
        if len(signature) != 2 * size:
            return False
        r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
        try:
            key.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashed))
        except InvalidSignature:
            return False
        return True

    return verify


def _rsa(jwk: Mapping[str, Any], algorithm: str) -> Verify:
    n, e = (int.from_bytes(_bytes(jwk[part]), "big") for part in ("n", "e"))
    low, high = RSA_BITS
    if not low <= n.bit_length() <= high or not 3 <= e < 1 << 32:
        raise BadKeyError(f"its RSA key must have {low} to {high} bits, and an exponent below 2^32")
    key = rsa.RSAPublicNumbers(e, n).public_key()
    pads: padding.AsymmetricPadding = (
        padding.PKCS1v15() if algorithm == "RS256" else padding.PSS(padding.MGF1(SHA256()), SHA256().digest_size)
    )

    def verify(signature: bytes, data: bytes) -> bool:
        try:
            key.verify(signature, data, pads, SHA256())
        except InvalidSignature:
            return False
        return True

    return verify


MAKERS: Final[dict[str, Callable[[Mapping[str, Any], str], Verify]]] = {"OKP": _okp, "EC": _ec, "RSA": _rsa}


def _bytes(text: str, size: int | None = None) -> bytes:
    # Longer than any key that is taken: not even decoded.
    data = from_base64url(text) if len(text) <= 1024 else None
    # An integer has no leading zeros (RFC 7518 section 2): one key must not have two thumbprints.
    if not data or (size is None and data[0] == 0) or (size is not None and len(data) != size):
        raise BadKeyError("a number in its key has another form than the one it must have")
    return data
