"""Makes DPoP proofs, right ones and wrong ones, with nothing of ours."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

KEYS: dict[str, Any] = {
    "ES256": ECKey.generate_key("P-256"),
    "ES384": ECKey.generate_key("P-384"),
    "ES512": ECKey.generate_key("P-521"),
    "EdDSA": OKPKey.generate_key("Ed25519"),
    # In a proof a key is bound to no algorithm but by its header: one serves for all.
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), RSAKey.generate_key(2048)),
}
URL = "https://api.example/orders"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def hash_of(access_token: str) -> str:
    return b64(hashlib.sha256(access_token.encode()).digest())


def thumbprint_of(algorithm: str) -> str:
    return KEYS[algorithm].thumbprint()


def proof(algorithm: str = "ES256", *, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A proof; `None` takes a claim or a member of the header out."""
    head: dict[str, Any] = {"typ": "dpop+jwt", "alg": algorithm, "jwk": KEYS[algorithm].as_dict(private=False)}
    body: dict[str, Any] = {"jti": b64(str(time.perf_counter_ns()).encode()), "htm": "GET", "htu": URL}
    body["iat"] = int(time.time())
    head, body = (
        {name: value for name, value in {**whole, **(some or {})}.items() if value is not None}
        for whole, some in ((head, header), (body, claims))
    )
    if head.get("alg") in KEYS and "crit" not in head:
        registry = jws.JWSRegistry(algorithms=[*KEYS], strict_check_header=False)
        return jws.serialize_compact(head, json.dumps(body).encode(), KEYS[algorithm], registry=registry)
    return _forged(head, body)


def _forged(head: dict[str, Any], body: dict[str, Any]) -> str:
    """What joserfc refuses to write: signed all the same, so that its signature is the one thing that is right."""
    data = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(body).encode())}"
    if head.get("alg") == "none":
        return f"{data}."
    if head.get("alg") == "HS256":
        secret = base64.urlsafe_b64decode(head["jwk"]["k"] + "=")
        return f"{data}.{b64(hmac.digest(secret, data.encode(), 'sha256'))}"
    r, s = decode_dss_signature(KEYS["ES256"].private_key.sign(data.encode(), ec.ECDSA(SHA256())))
    return f"{data}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
