"""DPoP: access tokens that are of use only to whoever has the key they were issued for.

Source: RFC 9449.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, cast

from msgspec import Struct

from fungible.core.errors import SettingError
from fungible.core.keyring import KeyRing
from fungible.core.sealing import to_base64url
from fungible.stores.contract import ABSENT, Store
from fungible.stores.errors import ConflictError, GoneError
from fungible.stores.postures import Deployment, Home, require
from fungible.tokens.dpop_keys import KNOWN
from fungible.tokens.dpop_keys import thumbprint as thumbprint
from fungible.tokens.dpop_nonces import CLOCKS_S, Nonces
from fungible.tokens.dpop_proof import (
    InvalidProofError,
    Proof,
    check_age,
    check_request,
    check_token,
    normalised,
    normalised_path,
    read_proof,
)
from fungible.tokens.token import Token

DEFAULT: Final = ("ES256", "EdDSA", "Ed25519")


class UseNonceError(InvalidProofError):
    """The proof needs a nonce of ours: the client makes it again with the one that is sent along.

    Source: `use_dpop_nonce` of RFC 9449 sections 8 and 9.
    """

    code = "use_dpop_nonce"

    def __init__(self) -> None:
        super().__init__("it lacks a nonce that was given out here not long ago")


class Proven(Struct, frozen=True):
    """A proof that holds."""

    thumbprint: str
    """Of the client's key: `jkt`."""
    next_nonce: str | None
    """To be sent as `DPoP-Nonce`, so that the client's next proof has a fresh one; None: not needed."""


class DPoP:
    """Checks DPoP proofs, and remembers each across all instances, so that none is good twice.

    Args:
        store: Where it is remembered which proofs were used.
        base_url: Where clients find this service: `https://api.example.com`, or several. Proofs made for other servers
            are refused by it, so it is never taken from a request. With a path where a proxy strips one.
        algorithms: Those that are taken; only asymmetric ones exist.
        window_s: A proof may be that old, in seconds.
        leeway_s: Seconds by which the clocks of client and server may differ. A proof is remembered until no instance
            takes it by its own clock, if those of two instances differ by no more than 60 s, or twice the leeway where
            that is more.
        nonce_secret: With it proofs need a nonce that was given out here: 32 bytes or more that all instances share;
            several, the current one first; or a `KeyRing`.
        nonce_ttl_s: How long a nonce is good.
        required: Whether tokens that are bound to no key (`Bearer`) are refused by the middleware.
        instances: How many instances run; by default what the environment says in `FUNGIBLE_INSTANCES`, else 1.
        machines: On how many machines; by default `FUNGIBLE_MACHINES`, else as many as instances.
    Raises:
        SettingError: a setting can't be taken.
        PostureError: several instances can't share what is remembered there.
    """

    def __init__(
        self,
        store: Store,
        *,
        base_url: str | Sequence[str],
        algorithms: Collection[str] = DEFAULT,
        window_s: float = 60,
        leeway_s: float = 5,
        nonce_secret: str | bytes | Iterable[str | bytes] | KeyRing | None = None,
        nonce_ttl_s: float = 300,
        required: bool = False,
        now: Callable[[], float] = time.time,
        instances: int | None = None,
        machines: int | None = None,
    ) -> None:
        unknown = sorted(set(algorithms) - set(KNOWN))
        if unknown or not algorithms or isinstance(algorithms, str):
            raise SettingError(f"algorithms={algorithms!r} can hold {', '.join(KNOWN)}")
        if not 1 <= window_s <= 3600 or not 0 <= leeway_s <= 600:
            raise SettingError(f"window_s={window_s!r} must be from 1 s to an hour, leeway_s={leeway_s!r} 0 to 600")
        require("dpop-proof", store, Deployment.declared(instances=instances, machines=machines))
        self._store = store
        self._bases = tuple(_base(url) for url in ([base_url] if isinstance(base_url, str) else base_url))
        if not self._bases:
            raise SettingError("base_url= must say where clients find this service: https://api.example.com")
        self.algorithms = tuple(algorithms)
        self.required = required
        self._window_s = window_s
        self._leeway_s = leeway_s
        self._now = now
        self._nonces = None if nonce_secret is None else Nonces(nonce_secret, ttl_s=nonce_ttl_s, now=now)

    def homes(self) -> Sequence[Home]:
        """Where used proofs are remembered, for `fungible doctor`."""
        return (Home("dpop-proof", self._store.home, self._store.guarantees, "DPoP(store=…)"),)

    def nonce(self) -> str | None:
        """A nonce to send as `DPoP-Nonce`; None where none is asked for."""
        return None if self._nonces is None else self._nonces.current()

    async def check(
        self, proof: str, *, method: str, path: str, token: Token | None = None, access_token: str | None = None
    ) -> Proven:
        """Whether a proof holds for a request. Costs one write, and only where everything else is right.

        Args:
            proof: The one `DPoP` header of the request.
            method: As sent, upper case.
            path: As sent, escaped, without the query: `/orders/1`.
            token: The verified access token that came with it. None: at a token endpoint, where there is none yet.
            access_token: Its text.
        Raises:
            InvalidProofError: it does not; `UseNonceError`: the client is to make another one, with the nonce sent.
            StoreUnavailableError: it is not known whether the proof was used before.
        """
        read = read_proof(proof, self.algorithms)
        where = normalised_path(path)
        check_request(read, method=method, urls=[base + where for base in self._bases])
        now = self._now()
        check_age(read, now, window_s=self._window_s, leeway_s=self._leeway_s)
        if token is not None:
            bound_to = bound_key(token)
            if bound_to is None or access_token is None:
                raise InvalidProofError("the access token is bound to no key (cnf)")
            check_token(read, access_token=access_token, bound_to=bound_to)
        next_nonce = self._next_nonce(read)
        await self._use_once(read, now)
        return Proven(read.thumbprint, next_nonce)

    def _next_nonce(self, proof: Proof) -> str | None:
        if self._nonces is None:
            return None
        age_s = None if proof.nonce is None else self._nonces.age_s(proof.nonce)
        if age_s is None:
            raise UseNonceError
        return self._nonces.current() if self._nonces.is_due(age_s) else None

    async def _use_once(self, proof: Proof, now: float) -> None:
        # IDs are a client's own choice: two clients may have the same one, and it may be of any length.
        data = proof.thumbprint.encode() + proof.id.encode("utf-8", "surrogatepass")
        name = to_base64url(hashlib.blake2b(data, digest_size=24, person=b"fungible-dpop").digest())
        # Until the last instant at which an instance would take it, by a clock that is behind ours. Reckoned from now on:
        # how long ago it was made is by this clock, too.
        ends_in_s = proof.issued_at + self._window_s + self._leeway_s - now
        ttl_s = ends_in_s + max(CLOCKS_S, 2 * self._leeway_s) + 1
        try:
            await self._store.put(f"dpop:{name}", {"used": b""}, ttl_s=ttl_s, expect=ABSENT)
        except (ConflictError, GoneError):
            raise InvalidProofError("it was used before (jti)") from None


def bound_key(token: Token) -> str | None:
    """The thumbprint of the key that a token is bound to; None where it is bound to none.

    Source: the claim `cnf` with `jkt`, RFC 7800 section 3.1 and RFC 9449 section 6.1.
    """
    confirmation: object = token.claims.get("cnf")
    if not isinstance(confirmation, Mapping):
        return None
    found = cast("Mapping[str, Any]", confirmation).get("jkt")
    return found if isinstance(found, str) else None


def _base(url: str) -> str:
    text = normalised(url)
    if text is None or "?" in url or "#" in url:
        raise SettingError(f"base_url={url!r} must be a URL without query: https://api.example.com")
    return text.removesuffix("/")
