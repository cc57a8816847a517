"""What can go wrong with a refresh token: one class for each thing a caller does differently."""

from __future__ import annotations

from fungible.core.errors import FungibleError


class InvalidRefreshTokenError(FungibleError):
    """No refresh token, or one that is unknown, has expired, or is another client's: its holder must sign in again.

    Source: `invalid_grant` of RFC 6749 section 5.2.
    """

    code = "invalid_grant"

    def __init__(self, words: str) -> None:
        super().__init__(f"the refresh token is refused: {words}")


class RefreshReusedError(InvalidRefreshTokenError):
    """A refresh token was presented that had been spent before: the whole family has been revoked.

    Clients are told no more than `invalid_grant`. Source: RFC 9700 section 4.14.2.
    """

    def __init__(self, *, family: str, subject: str) -> None:
        super().__init__("it was spent before, and its family has been revoked")
        self.family = family
        self.subject = subject
