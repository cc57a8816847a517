"""Verifies tokens: JWT and PASETO, in one call that asks no store.

Source: RFC 7515 section 5.2, RFC 7519 section 7.2, RFC 8725 section 3, RFC 9068 section 4, the PASETO specification.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from fungible.core.errors import SettingError
from fungible.stores.postures import Home
from fungible.tokens.algorithms import algorithm_named
from fungible.tokens.claims import MAX_LEEWAY_S, Rules
from fungible.tokens.errors import InvalidTokenError
from fungible.tokens.framing import from_base64url, read_claims, read_head
from fungible.tokens.issuing import texts
from fungible.tokens.key import Key
from fungible.tokens.keys import KeySet, VerifyingKeys
from fungible.tokens.paseto import LOCAL, PUBLIC, split, verify_public
from fungible.tokens.token import Token

Heads = dict[bytes, tuple[Key, bytes]]
"""By header, or by purpose and footer, as they are written: the key, and the footer as it is."""
MAX_HEADS: Final = 64
"""Headers that have been judged and are kept: issuers write one for each key."""


class TokenVerifier:
    """Verifies tokens by a ring of keys, with no store asked and nothing kept but judged headers.

    Args:
        keys: The ring. Each key judges tokens of its own algorithm alone.
        issuer: The one whose tokens are taken: the claim `iss`.
        audience: Who is served here: the claim `aud` must name one of these.
        algorithms: Of the ring's algorithms only these; by default all of them.
        typ: The kind of token that is taken (RFC 8725 section 3.11); None takes every kind.
        leeway_s: Seconds by which the clocks of issuer and verifier may differ; 600 at most, since revocations are kept
            for no longer than any verifier may take a token.
        max_bytes: Longer texts are refused unread.
    Raises:
        SettingError: a setting can't be taken.
    """

    def __init__(
        self,
        keys: VerifyingKeys,
        *,
        issuer: str,
        audience: str | Sequence[str],
        algorithms: Collection[str] | None = None,
        typ: str | None = "at+jwt",
        leeway_s: float = 0,
        max_bytes: int = 8192,
        now: Callable[[], float] = time.time,
    ) -> None:
        if not issuer:
            raise SettingError("a verifier needs the issuer whose tokens it takes")
        if not 0 <= leeway_s <= MAX_LEEWAY_S:
            raise SettingError(f"leeway_s={leeway_s!r} must be 0 to {MAX_LEEWAY_S:g} s: clocks differ by less")
        if algorithms is not None and (isinstance(algorithms, str) or not algorithms):
            raise SettingError(f"algorithms={algorithms!r} must be a list of names, with one at least")
        self._keys = keys
        self._algorithms = None if algorithms is None else frozenset(algorithm_named(name).name for name in algorithms)
        self._typ = None if typ is None else _media_type(typ)
        self._max_bytes = max_bytes
        self._now = now
        self._rules = Rules(issuer=issuer, audience=texts(audience, "audience"), leeway_s=leeway_s)
        self._judged: tuple[KeySet | None, Heads] = (None, {})

    async def load(self) -> None:
        """Makes sure that the keys are known. To be awaited once, when the application starts."""
        await self._keys.load()

    def homes(self) -> Sequence[Home]:
        """Where the keys are, for `fungible doctor`."""
        return self._keys.homes()

    def verify(self, text: str) -> Token:
        """What a token says, if it is to be believed.

        Raises:
            InvalidTokenError: it is not; `reason` says in one word why. Nothing else, whatever the text is.
            StoreUnavailableError: the ring is in a store, and has not been read, or not for too long.
        """
        if len(text) > self._max_bytes:
            raise InvalidTokenError("too-large", f"it has {len(text)} characters, and {self._max_bytes} are taken")
        try:
            token = text.encode("ascii")
        except UnicodeEncodeError:
            raise InvalidTokenError("malformed", "it has characters that no token has") from None
        now = self._now()
        keys = self._keys.known(now)
        by, heads = self._judged
        if by is not keys:
            # What was judged by another ring is judged again. Ring and headers go together, since a thread that is late
            # must not bring a key back.
            heads = {}
            self._judged = (keys, heads)
        if token.startswith(b"v4."):
            return self._paseto(token, keys, heads, now)
        signed, _, signature = token.rpartition(b".")
        head, dot, body = signed.partition(b".")
        if not dot:
            raise InvalidTokenError("malformed", "it does not have three parts")
        known = heads.get(head)
        key = self._key_of_jwt(head, keys) if known is None else known[0]
        # A key of PASETO is never found here, so it can verify.
        if not key.verify(from_base64url(signature), signed):
            raise InvalidTokenError("signature", "its signature is not that of its words")
        if known is None:
            _keep(heads, head, (key, b""))
        return self._rules.judge(read_claims(from_base64url(body)), key.kid, now, dates=False)

    def _paseto(self, token: bytes, keys: KeySet, heads: Heads, now: float) -> Token:
        header = LOCAL if token.startswith(LOCAL) else PUBLIC
        if not token.startswith(header):
            raise InvalidTokenError("algorithm", "it is a PASETO of another purpose than local and public")
        coded, foot = split(token, header)
        # With its purpose: one footer may be that of two tokens.
        named = header + foot
        known = heads.get(named)
        key, footer = known or (self._key_of_paseto(foot, header[:-1].decode(), keys), from_base64url(foot))
        body = from_base64url(coded)
        if key.local is not None:
            payload = key.local.decrypt(body, footer=footer)
        else:
            payload = verify_public(key.verify, body, footer=footer)
        if known is None:
            _keep(heads, named, (key, footer))
        return self._rules.judge(read_claims(payload), key.kid, now, dates=True)

    def _key_of_jwt(self, head: bytes, keys: KeySet) -> Key:
        """The key that a JWT's header names, if the header is one that is taken."""
        header = read_head(head, "header")
        if "crit" in header:
            raise InvalidTokenError("malformed", "its header demands extensions that are not understood (crit)")
        if self._typ is not None:
            self._check_typ(header.get("typ"))
        return self._key(header.get("kid"), header.get("alg"), keys)

    def _key_of_paseto(self, foot: bytes, algorithm: str, keys: KeySet) -> Key:
        """The key that a PASETO's footer names; a PASETO without a footer may come from the only key there is."""
        footer: dict[str, Any] = read_head(foot, "footer") if foot else {}
        if self._typ is not None:
            self._check_typ(footer.get("typ"))
        return self._key(footer.get("kid"), algorithm, keys)

    def _check_typ(self, typ: object) -> None:
        if not isinstance(typ, str) or _media_type(typ) != self._typ:
            raise InvalidTokenError("type", "it is another kind of token than the one taken here")

    def _key(self, kid: object, algorithm: object, keys: KeySet) -> Key:
        if not isinstance(algorithm, str) or (self._algorithms is not None and algorithm not in self._algorithms):
            raise InvalidTokenError("algorithm", "its algorithm is none of those taken here")
        if kid is None:
            fitting = [key for key in keys.keys if key.algorithm == algorithm]
            if len(fitting) != 1:
                raise InvalidTokenError("key", "it names no key, and there is not just one for its algorithm")
            return fitting[0]
        key = keys.by_kid.get(kid) if isinstance(kid, str) else None
        if key is None:
            if isinstance(kid, str):
                self._keys.missed(kid)
            raise InvalidTokenError("key", "it names a key that is not in the ring, or no longer")
        if key.algorithm != algorithm:
            # RFC 8725 section 3.1: else a public key could be taken for the secret of an HMAC.
            raise InvalidTokenError("algorithm", "its algorithm is not the one that its key is for")
        return key


def _media_type(typ: str) -> str:
    """A media type to compare: without the prefix that may be left out. Source: RFC 7515 section 4.1.9."""
    return typ.lower().removeprefix("application/")


def _keep(heads: Heads, head: bytes, judged: tuple[Key, bytes]) -> None:
    """Keeps a judged header: only that of a token whose signature is good, or anybody could fill the memory."""
    if len(heads) >= MAX_HEADS:
        heads.clear()
    heads[head] = judged
