"""What the tests of tokens share: vectors, a ring of each algorithm, tokens made by hand."""

import base64
import functools
import json
from pathlib import Path
from typing import Any

from contracts.clock import Clock
from cryptography.hazmat.primitives.asymmetric import rsa

from fungible.tokens import Key, SigningKeys, TokenIssuer, TokenVerifier, VerifyingKeys

ISSUER = "https://issuer.example"
AUDIENCE = "https://api.example"
NOW = 1_800_000_000.0
EC = ("ES256", "ES384", "ES512")
RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
PUBLISHED = ("EdDSA", *EC, *RSA)
"""Those of keys that a JWK set may have."""
JWT = (*PUBLISHED, "HS256")
PASETO = ("v4.public", "v4.local")
ALL = (*JWT, *PASETO)


def vectors(name: str) -> Any:
    """A file of vectors; each says where it is from."""
    return json.loads((Path(__file__).parent / "vectors" / f"{name}.json").read_text(encoding="utf-8"))


@functools.cache
def key_for(algorithm: str, number: int = 0) -> Key:
    """A key of the algorithm, the same each time: RSA keys take long to draw."""
    if algorithm in RSA[1:]:
        # Of 2048 bits, which is sooner drawn; what is generated here is tested with RS256.
        return Key(rsa.generate_private_key(65537, 2048), algorithm)
    return Key.generate(algorithm)


def form_of(algorithm: str) -> Any:
    return "paseto" if algorithm.startswith("v4.") else "jwt"


def issuer_with(keys: SigningKeys, *, now: Any = lambda: NOW, **settings: Any) -> TokenIssuer:
    return TokenIssuer(keys, **{"issuer": ISSUER, "audience": AUDIENCE, "now": now, **settings})


def verifier_with(keys: VerifyingKeys, *, now: Any = lambda: NOW, **settings: Any) -> TokenVerifier:
    return TokenVerifier(keys, **{"issuer": ISSUER, "audience": AUDIENCE, "now": now, **settings})


def pair(algorithm: str = "EdDSA", **settings: Any) -> tuple[TokenIssuer, TokenVerifier, Clock]:
    """An issuer and a verifier with one ring and one clock."""
    clock = Clock()
    clock.time_s = NOW
    keys = SigningKeys([key_for(algorithm)], now=clock)
    issuing = {name: settings.pop(name) for name in ("ttl_s", "max_bytes", "typ") if name in settings}
    issuer = issuer_with(keys, now=clock, form=form_of(algorithm), **issuing)
    return issuer, verifier_with(keys, now=clock, **settings), clock


def b64(data: bytes | str | dict[str, Any]) -> str:
    """Base64url of bytes, of a text, or of an object's JSON."""
    if isinstance(data, dict):
        data = json.dumps(data, separators=(",", ":"))
    if isinstance(data, str):
        data = data.encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def claims(**others: Any) -> dict[str, Any]:
    """Claims that are good; None leaves one out."""
    good = {"iss": ISSUER, "sub": "ada", "aud": AUDIENCE, "exp": int(NOW) + 300, "iat": int(NOW), "jti": "1"}
    return {name: value for name, value in {**good, **others}.items() if value is not None}


def signed(key: Key, payload: Any, header: Any = None) -> str:
    """A JWT with any payload and header, with a good signature."""
    assert key.sign is not None
    head = {"alg": key.algorithm, "kid": key.kid, "typ": "at+jwt"} if header is None else header
    words = f"{b64(head)}.{b64(payload)}"
    return f"{words}.{b64(key.sign(words.encode()))}"
