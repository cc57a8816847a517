"""Keys as JSON Web Keys and as PEM, and the name that a key has of itself.

Source: RFC 7517 (JWK), RFC 7518 section 6 (EC, RSA, oct), RFC 8037 section 2 (OKP), RFC 7638 (thumbprint).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from fungible.core.errors import SettingError
from fungible.tokens.algorithms import CURVES, Curve, PrivateKey, PublicKey, curve_of, public_of
from fungible.tokens.errors import InvalidTokenError
from fungible.tokens.framing import from_base64url, to_base64url

THUMBED: Final = {"OKP": ("crv", "kty", "x"), "EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n")}
"""The members that make a thumbprint, by type. Source: RFC 7638 section 3.2, RFC 8037 section 2."""


def public_members(key: PublicKey) -> dict[str, str]:
    """The members of a JWK that hold a public key.

    Raises:
        SettingError: it is a secret, which has no public half.
    """
    if isinstance(key, ed25519.Ed25519PublicKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": _text(key.public_bytes_raw())}
    if isinstance(key, ec.EllipticCurvePublicKey):
        point, curve = key.public_numbers(), _known(curve_of(key))
        return {"kty": "EC", "crv": curve.name, "x": _number(point.x, curve.size), "y": _number(point.y, curve.size)}
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    raise SettingError("a secret has no public half, and is not for a JWK set")


def private_members(key: PrivateKey) -> dict[str, str]:
    """The members of a JWK that hold a private key or a secret, with the public ones."""
    if isinstance(key, bytes):
        return {"kty": "oct", "k": _text(key)}
    public = public_of(key)
    members = public_members(public)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return {**members, "d": _text(key.private_bytes_raw())}
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {**members, "d": _number(key.private_numbers().private_value, _known(curve_of(key)).size)}
    numbers = key.private_numbers()
    private = {
        "d": numbers.d,
        "p": numbers.p,
        "q": numbers.q,
        "dp": numbers.dmp1,
        "dq": numbers.dmq1,
        "qi": numbers.iqmp,
    }
    return {**members, **{name: _number(value) for name, value in private.items()}}


def thumbprint(key: PublicKey) -> str:
    """The name of a key, the same for everybody who has it.

    That of a secret is a keyed digest, since a thumbprint would help to guess a weak one (RFC 7638 section 7).
    Source: RFC 7638 section 3, with SHA-256.
    """
    if isinstance(key, bytes):
        return _text(hashlib.blake2b(key, digest_size=16, person=b"fungible-jwk-kid").digest())
    members = public_members(key)
    chosen = {name: members[name] for name in THUMBED[members["kty"]]}
    return _text(hashlib.sha256(json.dumps(chosen, separators=(",", ":"), sort_keys=True).encode()).digest())


def read_jwk(jwk: Mapping[str, Any], *, seat: str = "the JWK") -> PrivateKey | PublicKey:
    """The key that a JWK holds: private where it has the private members.

    Raises:
        SettingError: it can't be read, or is not for signatures. The message holds nothing of the key.
    """
    if jwk.get("use", "sig") != "sig":
        raise SettingError(f"{seat} is for another use than signatures: use={jwk['use']!r}")
    try:
        return _read(jwk)
    except (KeyError, TypeError, ValueError, AttributeError, InvalidTokenError) as error:
        # The words of a library might quote what is secret.
        named = f": the member {error} is missing" if isinstance(error, KeyError) else ""
        raise SettingError(f"{seat} is no key that can be read here{named}") from None


def _read(jwk: Mapping[str, Any]) -> PrivateKey | PublicKey:
    kind, curve = jwk["kty"], jwk.get("crv")
    if kind == "oct":
        return _bytes(jwk["k"])
    if (kind, curve) == ("OKP", "Ed25519"):
        public = ed25519.Ed25519PublicKey.from_public_bytes(_bytes(jwk["x"]))
        if "d" not in jwk:
            return public
        private = ed25519.Ed25519PrivateKey.from_private_bytes(_bytes(jwk["d"]))
        return _matching(private, private.public_key().public_bytes_raw() == public.public_bytes_raw())
    if kind == "EC" and curve in CURVES:
        point = ec.EllipticCurvePublicNumbers(_int(jwk["x"]), _int(jwk["y"]), CURVES[curve].curve)
        if "d" not in jwk:
            return point.public_key()
        return ec.EllipticCurvePrivateNumbers(_int(jwk["d"]), point).private_key()
    if kind == "RSA":
        numbers = rsa.RSAPublicNumbers(_int(jwk["e"]), _int(jwk["n"]))
        if "d" not in jwk:
            return numbers.public_key()
        p, q, d, dp, dq, qi = (_int(jwk[name]) for name in ("p", "q", "d", "dp", "dq", "qi"))
        return rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, numbers).private_key()
    raise ValueError("another type of key")


def _matching(key: PrivateKey, matches: bool) -> PrivateKey:
    if not matches:
        raise ValueError("the halves do not belong together")
    return key


def read_pem(pem: bytes, *, seat: str = "the PEM") -> PrivateKey | PublicKey:
    """The key in a PEM file, not encrypted: `BEGIN PRIVATE KEY`, `BEGIN EC PRIVATE KEY`, `BEGIN PUBLIC KEY` and so on.

    Raises:
        SettingError: it can't be read, or is of a type that no algorithm here uses.
    """
    try:
        if b"PRIVATE KEY" in pem:
            key: object = serialization.load_pem_private_key(pem, password=None)
        else:
            key = serialization.load_pem_public_key(pem)
    except (TypeError, ValueError):
        raise SettingError(f"{seat} is no PEM of a key without a passphrase") from None
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        if curve_of(key) is not None:
            return key
        raise SettingError(f"{seat} has a key on the curve {key.curve.name}; {', '.join(CURVES)} can be used")
    if isinstance(key, ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey | rsa.RSAPrivateKey | rsa.RSAPublicKey):
        return key
    raise SettingError(f"{seat} has a {type(key).__name__}; Ed25519, {', '.join(CURVES)} and RSA keys can be used")


def write_pem(key: PublicKey) -> str:
    """A public key as PEM, for verifiers that read no JWK.

    Raises:
        SettingError: it is a secret.
    """
    if isinstance(key, bytes):
        raise SettingError("a secret has no public half")
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode("ascii")


def _known(curve: Curve | None) -> Curve:
    if curve is None:
        raise SettingError(f"a key is on a curve that is not used here: {', '.join(CURVES)} are")
    return curve


def _text(data: bytes) -> str:
    return to_base64url(data).decode("ascii")


def _number(value: int, size: int | None = None) -> str:
    return _text(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def _bytes(text: str) -> bytes:
    return from_base64url(text.encode("ascii"))


def _int(text: str) -> int:
    return int.from_bytes(_bytes(text), "big")
