"""PyJWT, with keys prepared as far as it allows; the claims of each token have a new `exp`, `iat` and `jti`."""

import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import jwt


def sides(
    algorithm: str, material: Any, claims: dict[str, Any]
) -> tuple[Callable[[], str], Callable[[str], Any]] | None:
    """What issues a token with these claims, and what verifies it."""
    if algorithm.startswith("v4."):
        return None
    public = material if isinstance(material, bytes) else material.public_key()
    headers = {"kid": "one", "typ": "at+jwt"}

    def issue() -> str:
        now = int(time.time())
        said = {**claims, "exp": now + 300, "iat": now, "jti": uuid4().hex}
        return jwt.encode(said, material, algorithm, headers=headers)

    def verify(text: str) -> Any:
        return jwt.decode(text, public, algorithms=[algorithm], audience=claims["aud"], issuer=claims["iss"])

    return issue, verify
