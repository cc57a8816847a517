"""What can go wrong with a token: one class for each thing a caller does differently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from fungible.core.errors import FungibleError

Reason = Literal[
    "malformed",
    "algorithm",
    "key",
    "signature",
    "expired",
    "not-yet",
    "issuer",
    "audience",
    "type",
    "too-large",
    "claims",
    "revoked",
]
"""Why a token is refused: stable, for logs and metrics. Clients are told no more than `invalid_token`."""


class InvalidTokenError(FungibleError):
    """A text that lets nobody in. `reason` is one stable word; the message is for logs, and never holds the token.

    Source: `invalid_token` of RFC 6750 section 3.1.
    """

    code = "invalid_token"

    def __init__(self, reason: Reason, words: str) -> None:
        super().__init__(f"the token is refused: {words}")
        self.reason: Reason = reason


class TokenTooLargeError(FungibleError):
    """The token would be larger than its budget: keep large claims in a store, and refer to them."""

    code = "token_too_large"

    def __init__(self, *, size_bytes: int, max_bytes: int, largest: Sequence[tuple[str, int]]) -> None:
        listed = ", ".join(f"{name!r} with {size} bytes" for name, size in largest)
        super().__init__(
            f"the token would have {size_bytes} bytes, and its budget is {max_bytes}; the largest claims are {listed}: "
            "keep them in a store and put a reference into the token, or raise max_bytes"
        )
        self.size_bytes = size_bytes
        self.max_bytes = max_bytes
        self.largest = tuple(largest)
        """The largest claims with their bytes of JSON, the largest first."""


class NoSigningKeyError(FungibleError):
    """A ring that has no active key can sign nothing."""

    code = "no_signing_key"


class UnknownKeyError(FungibleError):
    """No key of the ring has that name, or several begin with it."""

    code = "unknown_key"

    def __init__(self, *, kid: str, kids: Sequence[str]) -> None:
        super().__init__(f"no key, or more than one, is named {kid!r}; there are: {', '.join(kids) or 'none'}")
        self.kid = kid
