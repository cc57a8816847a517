"""Public keys as DPoP proofs carry them: read, used, and named by their thumbprint.

Source: RFC 7517, RFC 7518 sections 3 and 6, RFC 8037 section 2, RFC 7638 (thumbprints).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from fungible.core.errors import SettingError
from fungible.core.sealing import from_base64url, to_base64url
from fungible.tokens.algorithms import ALGORITHMS, CURVES, Verify, algorithm_named, check_fit, public_of, verifier
from fungible.tokens.jwk import THUMBED, read_jwk

PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""Members that only a private or a symmetric key has (RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1)."""
KNOWN: Final = tuple(each.name for each in ALGORITHMS.values() if each.form == "jwt" and each.kty != "oct")
"""The algorithms of proofs: only asymmetric ones exist."""
RSA_BITS: Final = (2048, 4096)
"""Smaller is weak; larger costs whoever verifies (RFC 8725 section 3.5)."""
ED25519_BYTES: Final = 32


class BadKeyError(Exception):
    """A key that can't be taken; the words say why."""


def public_key(jwk: Mapping[str, Any], algorithm: str) -> tuple[Verify, str]:
    """How a public key verifies with an algorithm, and its thumbprint.

    Raises:
        BadKeyError: it is private, of another type than the algorithm's, too weak, or no key at all.
    """
    known = algorithm_named(algorithm)
    if PRIVATE & jwk.keys():
        raise BadKeyError("its key has a private part")
    if jwk.get("kty") != known.kty:
        raise BadKeyError(f"its key is not of the type {known.kty}, as {algorithm} needs")
    members = {name: jwk.get(name) for name in THUMBED[known.kty]}
    if not all(isinstance(member, str) for member in members.values()):
        raise BadKeyError(f"its key lacks {', '.join(members)}")
    CHECKS[known.kty](jwk, known.curve)
    try:
        # That a point is on its curve is seen here.
        key = public_of(read_jwk(members))
        check_fit(known, key)
    except SettingError:
        raise BadKeyError(f"its key is none that {algorithm} can use") from None
    return verifier(known, key), thumbprint(jwk)


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """The SHA-256 thumbprint of a public key, as the claim `cnf.jkt` has it.

    Source: RFC 7638 section 3; RFC 9449 section 6.1.
    """
    # The members are base64url and names of curves: nothing in them needs an escape.
    members = ",".join(f'"{name}":"{jwk[name]}"' for name in THUMBED[jwk["kty"]])
    return to_base64url(hashlib.sha256(f"{{{members}}}".encode()).digest())


def _check_okp(jwk: Mapping[str, Any], _curve: str) -> None:
    if jwk["crv"] != "Ed25519":
        raise BadKeyError("its key is not on the curve Ed25519")
    _bytes(jwk["x"], ED25519_BYTES)


def _check_ec(jwk: Mapping[str, Any], curve: str) -> None:
    if jwk["crv"] != curve:
        raise BadKeyError(f"its key is not on the curve {curve}")
    for part in ("x", "y"):
        _bytes(jwk[part], CURVES[curve].size)


def _check_rsa(jwk: Mapping[str, Any], _curve: str) -> None:
    n, e = (int.from_bytes(_bytes(jwk[part]), "big") for part in ("n", "e"))
    low, high = RSA_BITS
    if not low <= n.bit_length() <= high or not 3 <= e < 1 << 32:
        raise BadKeyError(f"its RSA key must have {low} to {high} bits, and an exponent below 2^32")


CHECKS: Final[dict[str, Callable[[Mapping[str, Any], str], None]]] = {
    "OKP": _check_okp,
    "EC": _check_ec,
    "RSA": _check_rsa,
}
"""By type of key what is asked beyond that it can be read: one key must not have two forms, or cost too much."""


def _bytes(text: str, size: int | None = None) -> bytes:
    # Longer than any key that is taken: not even decoded.
    data = from_base64url(text) if len(text) <= 1024 else None
    # An integer has no leading zeros (RFC 7518 section 2): one key must not have two thumbprints.
    if not data or (size is None and data[0] == 0) or (size is not None and len(data) != size):
        raise BadKeyError("a number in its key has another form than the one it must have")
    return data
