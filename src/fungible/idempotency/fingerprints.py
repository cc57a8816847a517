"""What makes two requests the same request, and what keeps the keys of two callers apart: digests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from fungible.core.asgi import Scope
from fungible.core.sealing import to_base64url

PREFIX: Final = "idempotency:"


def digest_of(*parts: bytes) -> bytes:
    """32 bytes (SHA-256): equal parts give equal bytes, on every instance and in every release."""
    # Lengths first: "/a" + "bc" and "/ab" + "c" must not meet in one digest.
    return hashlib.sha256(b"".join(frame for part in parts for frame in (len(part).to_bytes(8, "big"), part))).digest()


def request_fingerprint(method: str, host: bytes, target: bytes, content_type: bytes, body: bytes) -> bytes:
    """Digest of what must be equal for two requests to be the same request.

    Args:
        method: As sent, upper case: `POST`.
        host: The name to which it was sent, in lower case and without the port; empty where there is none.
        target: Path and query as sent, undecoded: `/orders?dry_run=1`.
        content_type: As sent; empty where there is none.
        body: As sent.
    Returns:
        32 bytes (SHA-256). Equal inputs give equal bytes on every instance and release.
    Source: draft-ietf-httpapi-idempotency-key-header-07, section 2.4 (Idempotency Fingerprint).
    >>> request_fingerprint("POST", b"example.org", b"/orders", b"", b"{}").hex()[:8]
    'e99ac77c'
    """
    return digest_of(method.encode(), host, target, content_type, body)


def fingerprint_of(scope: Scope, body: bytes) -> bytes:
    """The fingerprint of an ASGI request."""
    target: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope.get("query_string", b"")
    if query:
        target = target + b"?" + query
    host = content_type = b""
    for name, value in scope["headers"]:
        if name == b"content-type":
            content_type = content_type or value
        elif name == b"host":
            host = host or value
    return request_fingerprint(scope["method"], host_name(host), target, content_type, body)


def host_name(host: bytes) -> bytes:
    """The name in a `Host` field, without its port: instances that are asked by themselves differ in that alone.

    >>> host_name(b"Shop.example:8000"), host_name(b"[::1]:8000")
    (b'shop.example', b'[::1]')
    """
    name = host.partition(b"]")[0] + b"]" if host.startswith(b"[") else host.partition(b":")[0]
    return name.lower()


def record_key(parts: Iterable[str | bytes]) -> str:
    """The record's key in the store: what scopes the key, and the key, as a digest of fixed length."""
    encoded = (part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part for part in parts)
    return PREFIX + to_base64url(digest_of(*encoded))
