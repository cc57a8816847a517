"""The public keys of another issuer, from its JWK set on the web.

Source: RFC 7517 section 5, RFC 8725 section 3.10 (an address in a token is never followed), RFC 8414 (`jwks_uri`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from fungible.core.errors import MissingExtraError, SettingError
from fungible.core.leases import elapsed_s
from fungible.stores.contract import Guarantees
from fungible.stores.errors import StoreUnavailableError
from fungible.tokens.answers import answer_to
from fungible.tokens.key import Key
from fungible.tokens.keys import GIVEN, read_jwks
from fungible.tokens.reloading import ReloadedKeys, log

LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class RemoteKeys(ReloadedKeys):
    """The keys at a URL that this application was given: never at one that a token names.

    `await keys.load()` reads them when the application starts; a task reads them again every `reload_s`, and soon where
    a token names a key that is not known. Secrets in the answer are passed over: only the issuer may have one.

    Args:
        url: The issuer's `jwks_uri`: https, or http on this machine.
        reload_s: Seconds between two readings.
        bound_s: Seconds after which what was read counts no more, where it can't be read again.
        timeout_s: Seconds for one reading, from the connection to the last byte.
        insecure_http: Takes an address that begins with `http://`, too: whoever can answer in the issuer's place can then
            make tokens for anybody. For a network that carries nobody else's traffic, such as a cluster's own. It is
            logged as a warning.
    Raises:
        SettingError: a setting can't be taken.
        MissingExtraError: httpx is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        reload_s: float = 300.0,
        bound_s: float = 3600.0,
        timeout_s: float = 5.0,
        insecure_http: bool = False,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = elapsed_s,
    ) -> None:
        super().__init__(reload_s=reload_s, bound_s=bound_s, now=now, monotonic=monotonic)
        parts = urlsplit(url)
        plain = parts.scheme == "http" and parts.hostname not in LOCAL_HOSTS
        if parts.scheme not in ("https", "http") or not parts.hostname or (plain and not insecure_http):
            raise SettingError(
                "the URL of a JWK set must begin with https://: else anybody on the way gives the keys; inside a cluster "
                "insecure_http=True takes http://"
            )
        try:
            import httpx
        except ImportError as error:
            raise MissingExtraError(needed_by="RemoteKeys", extra="tokens", module="httpx") from error
        self._httpx = httpx
        self._url = url
        self._timeout_s = timeout_s
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self._home = f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"
        if plain:
            words = "the keys at %s come without TLS: whoever can answer in its place can make tokens for anybody"
            log.warning(words, self._home)

    @property
    def home(self) -> str:
        """The URL without its query."""
        return self._home

    @property
    def guarantees(self) -> Guarantees:
        """Every instance reads the same."""
        return GIVEN

    async def _fetch(self) -> Sequence[Key]:
        try:
            document: Any = json.loads(await self._body())
        except TimeoutError:
            reason = f"it gave no whole answer in {self._timeout_s:g} s"
            raise StoreUnavailableError(home=self._home, reason=reason) from None
        except (self._httpx.HTTPError, ValueError, RecursionError) as error:
            raise StoreUnavailableError(home=self._home, reason=f"{type(error).__name__}: {error}") from None
        if not isinstance(document, dict):
            raise StoreUnavailableError(home=self._home, reason="its answer is no JWK set")
        try:
            keys = read_jwks(document, seat=self._home)  # pyright: ignore[reportUnknownArgumentType]
        except SettingError as error:
            raise StoreUnavailableError(home=self._home, reason=str(error)) from None
        return [key.public() for key in keys if not key.is_symmetric]

    async def _body(self) -> bytes:
        """The answer, as long as it is no redirection and not too long."""
        headers = {"accept": "application/jwk-set+json, application/json"}
        async with self._httpx.AsyncClient(timeout=self._timeout_s, follow_redirects=False, trust_env=False) as client:
            answer = await answer_to(client, "GET", self._url, timeout_s=self._timeout_s, headers=headers)
        if answer.status != 200:
            raise ValueError(f"it answered {answer.status}")
        return answer.body
