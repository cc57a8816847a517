"""Issues tokens: JWT and PASETO, in one call that asks no store."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from fungible.core.errors import SettingError
from fungible.stores.postures import Deployment, Home, require
from fungible.tokens.algorithms import Form
from fungible.tokens.claims import date_time, refuse_ours
from fungible.tokens.errors import TokenTooLargeError
from fungible.tokens.framing import encode_json, sizes, to_base64url
from fungible.tokens.key import Key
from fungible.tokens.keys import SigningKeys, no_signing_key
from fungible.tokens.paseto import sign_public

ID_BYTES: Final = 16
NAMED: Final = 5
"""How many of the largest claims an error names."""


class TokenIssuer:
    """Issues tokens that every instance can verify by itself.

    Args:
        keys: The ring; its active key signs.
        issuer: The claim `iss`: usually the URL of this service.
        audience: The claim `aud`: who shall accept the tokens. A PASETO has one.
        ttl_s: Seconds for which a token is good, 1 or more; no longer than the ring keeps a key that has been replaced.
        form: `jwt` or `paseto`; the ring needs a key for it.
        typ: What kind of token it is, so that none is taken for another kind (RFC 8725 section 3.11): a JWT has it in
            its header, a PASETO in its footer. `at+jwt` is an access token (RFC 9068).
        max_bytes: No token is larger: servers limit what fits into a header, often to 8 KiB for all headers.
        instances: How many instances run; by default what the environment says in `FUNGIBLE_INSTANCES`, else 1.
        machines: On how many machines; by default `FUNGIBLE_MACHINES`, else as many as instances.
    Raises:
        SettingError: a setting can't be taken.
        PostureError: the keys are where several instances can't share them.
    Source: RFC 7519 (JWT), RFC 9068 (access tokens), the PASETO specification.
    """

    def __init__(
        self,
        keys: SigningKeys,
        *,
        issuer: str,
        audience: str | Sequence[str],
        ttl_s: float = 300,
        form: Form = "jwt",
        typ: str = "at+jwt",
        max_bytes: int = 4096,
        now: Callable[[], float] = time.time,
        instances: int | None = None,
        machines: int | None = None,
    ) -> None:
        audiences = texts(audience, "audience")
        if form not in ("jwt", "paseto"):
            raise SettingError(f"form={form!r} must be 'jwt' or 'paseto'")
        if form == "paseto" and len(audiences) > 1:
            raise SettingError("a PASETO has one audience: issue a token for each")
        if not issuer or not typ:
            raise SettingError("a token needs an issuer and a typ")
        require("signing-key", keys, Deployment.declared(instances=instances, machines=machines))
        self._keys = keys
        self._form: Form = form
        self._issuer = issuer
        self._audience: str | tuple[str, ...] = audiences[0] if len(audiences) == 1 else audiences
        self._typ = typ
        self._max_bytes = max_bytes
        self._now = now
        self._ttl_s = self._allowed(ttl_s)
        self._head: tuple[Key | None, bytes] = (None, b"")

    async def load(self) -> None:
        """Makes sure that the keys are known. To be awaited once, when the application starts."""
        await self._keys.load()

    def homes(self) -> Sequence[Home]:
        """Where the keys are, for `fungible doctor`."""
        return self._keys.homes()

    def issue(
        self,
        subject: str,
        claims: Mapping[str, Any] | None = None,
        *,
        ttl_s: float | None = None,
        token_id: str | None = None,
    ) -> str:
        """A token for a subject.

        Args:
            subject: The claim `sub`.
            claims: Further ones, of JSON's types: `scope`, `client_id`, `nbf` and so on.
            ttl_s: Seconds for which it is good, in place of the issuer's.
            token_id: The claim `jti`; by default 128 random bits.
        Raises:
            SettingError: a claim is the issuer's own, or can't be written as JSON; or `ttl_s` is too long.
            TokenTooLargeError: it would be larger than `max_bytes`; the error names the largest claims.
            NoSigningKeyError: the ring has no key that may sign now.
            StoreUnavailableError: the ring is in a store, and has not been read, or not for too long.
        """
        now = self._now()
        key = self._keys.known(now).signing.get(self._form)
        if key is None:
            raise no_signing_key(self._keys.home, self._form)
        if claims:
            refuse_ours(claims)
        if type(subject) is not str or not subject:
            raise SettingError("a token needs a subject, as a text")
        issued_at = int(now)
        expires_at = int(now + (self._ttl_s if ttl_s is None else self._allowed(ttl_s)))
        said: dict[str, Any] = {
            "iss": self._issuer,
            "sub": subject,
            "aud": self._audience,
            "exp": expires_at,
            "iat": issued_at,
            "jti": token_id or to_base64url(os.urandom(ID_BYTES)).decode("ascii"),
            **(claims or {}),
        }
        token = self._jwt(key, said) if self._form == "jwt" else self._paseto(key, said)
        if len(token) > self._max_bytes:
            raise TokenTooLargeError(size_bytes=len(token), max_bytes=self._max_bytes, largest=sizes(said)[:NAMED])
        return token.decode("ascii")

    def _jwt(self, key: Key, claims: dict[str, Any]) -> bytes:
        known, head = self._head
        if known is not key:
            header = {"alg": key.algorithm, "kid": key.kid, "typ": self._typ}
            head = to_base64url(encode_json(header)) + b"."
            self._head = (key, head)
        assert key.sign is not None
        signed = head + to_base64url(_json(claims))
        return signed + b"." + to_base64url(key.sign(signed))

    def _paseto(self, key: Key, claims: dict[str, Any]) -> bytes:
        known, footer = self._head
        if known is not key:
            footer = encode_json({"kid": key.kid, "typ": self._typ})
            self._head = (key, footer)
        claims["exp"], claims["iat"] = date_time(claims["exp"]), date_time(claims["iat"])
        payload = _json(claims)
        if key.local is not None:
            return key.local.encrypt(payload, footer=footer)
        assert key.sign is not None
        return sign_public(key.sign, payload, footer=footer)

    def _allowed(self, ttl_s: float) -> float:
        """A time to live, if it is none that outlives its key."""
        if not ttl_s >= 1:
            raise SettingError(f"ttl_s={ttl_s!r} must be 1 s or more")
        if ttl_s > self._keys.longest_life_s:
            raise SettingError(
                f"ttl_s={ttl_s!r} is longer than keys verify after another has taken their place, "
                f"which is {self._keys.longest_life_s:g} s: give the ring a larger longest_life_s"
            )
        return ttl_s


def texts(given: str | Sequence[str], name: str) -> tuple[str, ...]:
    """One text or several, as several.

    Raises:
        SettingError: there is none.
    """
    found = (given,) if isinstance(given, str) else tuple(given)
    if not found or not all(found):
        raise SettingError(f"{name}={given!r} must be a text, or several")
    return found


def _json(claims: dict[str, Any]) -> bytes:
    try:
        return encode_json(claims)
    except (TypeError, ValueError, RecursionError, OverflowError, msgspec.MsgspecError) as error:
        raise SettingError(f"the claims can't be written as JSON: {error}") from None
