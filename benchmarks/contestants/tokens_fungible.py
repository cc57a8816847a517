"""Fungible's tokens: a ring with one key, issuer and verifier with their defaults."""

from collections.abc import Callable
from typing import Any

from fungible.tokens import Key, SigningKeys, TokenIssuer, TokenVerifier


def sides(
    algorithm: str, material: Any, claims: dict[str, Any]
) -> tuple[Callable[[], str], Callable[[str], Any]] | None:
    """What issues a token with these claims, and what verifies it."""
    ring = SigningKeys([Key(material, algorithm)])
    form: Any = "paseto" if algorithm.startswith("v4.") else "jwt"
    issuer = TokenIssuer(ring, issuer=claims["iss"], audience=claims["aud"], form=form)
    verifier = TokenVerifier(ring, issuer=claims["iss"], audience=claims["aud"])
    further = {name: value for name, value in claims.items() if name not in ("iss", "aud", "sub")}
    return lambda: issuer.issue(claims["sub"], further), verifier.verify
