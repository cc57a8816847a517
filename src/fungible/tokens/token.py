"""What a verified token says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class Token(Struct, frozen=True):
    """What a verified token says."""

    subject: str
    issuer: str
    audience: tuple[str, ...]
    issued_at: float
    """Unix seconds, as are the other instants; 0 where the token does not say."""
    expires_at: float
    id: str
    """The claim `jti`; empty where the token has none."""
    claims: Mapping[str, Any]
    """Every claim as it was received, those above too."""
    kid: str
    """The name of the key that signed it."""

    def has_scope(self, *scopes: str) -> bool:
        """Whether the token grants every one of the scopes.

        Source: the claim `scope`, RFC 8693 section 4.2 and RFC 9068 section 2.2.3: words with spaces between.
        """
        granted = self.claims.get("scope")
        return isinstance(granted, str) and set(scopes) <= set(granted.split(" "))
