"""What can go wrong with a client's tokens: one class for each thing a caller does differently."""

from __future__ import annotations

from fungible.core.errors import FungibleError


class SignInNeededError(FungibleError):
    """There are no tokens, or they can't be refreshed any more: somebody must sign in again."""

    code = "sign_in_needed"


class RefreshFailedError(FungibleError):
    """The token endpoint did not answer, or not as it should: the tokens are as they were. Try again later."""

    code = "refresh_failed"
