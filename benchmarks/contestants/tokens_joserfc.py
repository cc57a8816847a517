"""joserfc, with keys prepared and a registry of claims; the claims of each token have a new `exp`, `iat` and `jti`."""

import time
import warnings
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from fungible.tokens import Key

KINDS: dict[str, Any] = {"EdDSA": OKPKey, "ES256": ECKey, "RS256": RSAKey, "HS256": OctKey}


def sides(
    algorithm: str, material: Any, claims: dict[str, Any]
) -> tuple[Callable[[], str], Callable[[str], Any]] | None:
    """What issues a token with these claims, and what verifies it."""
    if algorithm not in KINDS:
        return None
    # It warns at each use that EdDSA has a new name since RFC 9864.
    warnings.filterwarnings("ignore", message="EdDSA is deprecated")
    key = KINDS[algorithm].import_key(dict(Key(material, algorithm).private_jwk()))
    header = {"alg": algorithm, "kid": "one", "typ": "at+jwt"}
    names = [algorithm]
    registry = jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": claims["iss"]},
        aud={"essential": True, "value": claims["aud"]},
        exp={"essential": True},
    )

    def issue() -> str:
        now = int(time.time())
        return jwt.encode(header, {**claims, "exp": now + 300, "iat": now, "jti": uuid4().hex}, key, algorithms=names)

    def verify(text: str) -> Any:
        token = jwt.decode(text, key, algorithms=names)
        registry.validate(token.claims)
        return token

    return issue, verify
