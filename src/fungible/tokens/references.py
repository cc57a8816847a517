"""Claims that are too large for a token: kept in a store, with a reference in the token.

A token in a header has room for a few kilobytes at most. What is kept here can be read for one token alone: the record's
key is a digest of reference, subject and token ID, so that a reference that is copied into another token leads nowhere.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from fungible.core import codec
from fungible.core.errors import FungibleError, SettingError
from fungible.core.sealing import to_base64url
from fungible.stores.contract import Store
from fungible.stores.postures import Deployment, Home, require
from fungible.tokens.claims import OUTLIVES_EXP_S
from fungible.tokens.token import Token

CLAIM: Final = "claims_ref"
FIELD: Final = "claims"


class ClaimsMissingError(FungibleError):
    """A token refers to claims that are not there: they were deleted or evicted, or belong to another token.

    Its holder needs a new token: answer as for one that has expired.
    """

    code = "claims_missing"


class Issuer(Protocol):
    """What of a `TokenIssuer` is used."""

    def issue(
        self,
        subject: str,
        claims: Mapping[str, Any] | None = None,
        *,
        ttl_s: float | None = None,
        token_id: str | None = None,
    ) -> str:
        """A token."""
        ...


class ClaimsStore:
    """Keeps large claims, each set for one token.

    Args:
        store: Where they are kept.
        instances: How many instances run; by default what the environment says in `FUNGIBLE_INSTANCES`, else 1.
        machines: On how many machines; by default `FUNGIBLE_MACHINES`, else as many as instances.
    Raises:
        PostureError: several instances can't share what is kept there.
    """

    def __init__(self, store: Store, *, instances: int | None = None, machines: int | None = None) -> None:
        require("token-claims", store, Deployment.declared(instances=instances, machines=machines))
        self._store = store

    def homes(self) -> Sequence[Home]:
        """Where the claims are kept, for `fungible doctor`."""
        return (Home("token-claims", self._store.home, self._store.guarantees, "ClaimsStore(store=…)"),)

    async def issue(
        self,
        issuer: Issuer,
        subject: str,
        claims: Mapping[str, Any] | None = None,
        *,
        kept: Mapping[str, Any],
        ttl_s: float,
    ) -> str:
        """Issues a token that refers to claims kept here.

        Args:
            issuer: A `TokenIssuer`.
            claims: Those that stand in the token itself.
            kept: Those that are kept here.
            ttl_s: How long the token is good, in seconds.
        Raises:
            RecordTooLargeError: `kept` is larger than the store takes.
            StoreUnavailableError: no token was issued.
            TypeError: a claim can't be kept.
        """
        token_id = to_base64url(os.urandom(16))
        reference = await self.save(kept, subject=subject, token_id=token_id, ttl_s=ttl_s)
        return issuer.issue(subject, {**(claims or {}), CLAIM: reference}, ttl_s=ttl_s, token_id=token_id)

    async def save(self, claims: Mapping[str, Any], *, subject: str, token_id: str, ttl_s: float) -> str:
        """Keeps claims for the token with this subject and ID; gives what is to be its claim `claims_ref`."""
        if not token_id:
            raise SettingError("claims are kept for one token, and need its ID (jti)")
        reference = to_base64url(os.urandom(16))
        fields = {FIELD: codec.encode(dict(claims))}
        await self._store.put(_key(reference, subject, token_id), fields, ttl_s=ttl_s + OUTLIVES_EXP_S)
        return reference

    async def resolve(self, token: Token) -> Mapping[str, Any]:
        """The claims that a verified token refers to; none where it has no reference. Costs one read.

        Raises:
            ClaimsMissingError: they are not there.
            StoreUnavailableError: nothing is known of them.
        """
        reference = token.claims.get(CLAIM)
        if reference is None:
            return {}
        record = None
        if isinstance(reference, str) and token.id:
            record = await self._store.get(_key(reference, token.subject, token.id))
        if record is None:
            raise ClaimsMissingError(
                f"the claims that the token refers to ({CLAIM}) are not in {self._store.home}: they have expired, were "
                "deleted, or belong to another token; a new token is needed"
            )
        try:
            return codec.decode(record.fields[FIELD])
        except codec.UndecodableError as error:
            raise ClaimsMissingError(
                f"the claims that the token refers to ({CLAIM}) can't be read here: {error}"
            ) from None

    async def delete(self, token: Token) -> None:
        """Deletes the claims of a verified token: it can't be used any more where they are needed."""
        reference = token.claims.get(CLAIM)
        if isinstance(reference, str) and token.id:
            await self._store.delete(_key(reference, token.subject, token.id))


def _key(reference: str, subject: str, token_id: str) -> str:
    digest = hashlib.blake2b(digest_size=32, person=b"fungible-claims")
    for part in (reference, subject, token_id):
        data = part.encode("utf-8", "surrogatepass")
        # Length first: what ends one part and begins the next must not meet in the same digest.
        digest.update(len(data).to_bytes(8, "big") + data)
    return f"claims:{to_base64url(digest.digest())}"
