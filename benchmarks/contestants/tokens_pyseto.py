"""pyseto, with keys prepared and its JSON serialisation; it writes and checks `exp` where it is asked to."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pyseto
from cryptography.hazmat.primitives import serialization
from pyseto import Paseto


def sides(
    algorithm: str, material: Any, claims: dict[str, Any]
) -> tuple[Callable[[], str], Callable[[str], Any]] | None:
    """What issues a token with these claims, and what verifies it."""
    if not algorithm.startswith("v4."):
        return None
    if isinstance(material, bytes):
        signing = verifying = pyseto.Key.new(version=4, purpose="local", key=material)
    else:
        pem = serialization.Encoding.PEM
        private = material.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        public = material.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        signing = pyseto.Key.new(version=4, purpose="public", key=private)
        verifying = pyseto.Key.new(version=4, purpose="public", key=public)
    writer = Paseto.new(exp=300, include_iat=True)

    def issue() -> str:
        said = {**claims, "jti": uuid4().hex}
        return writer.encode(signing, said, footer=b'{"kid":"one"}', serializer=json).decode()

    def verify(text: str) -> Any:
        return writer.decode(verifying, text, deserializer=json, aud=claims["aud"])

    return issue, verify
