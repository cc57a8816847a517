"""The client half: httpx requests that carry an access token, renewed ahead of time and once for all.

Source: RFC 6749 sections 2.3.1, 5 and 6; RFC 6750 section 2.1.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from fungible.core.errors import MissingExtraError, SettingError
from fungible.core.redaction import Redacted
from fungible.tokens.answers import Answer, answer_to
from fungible.tokens.client_errors import RefreshFailedError, SignInNeededError
from fungible.tokens.client_holders import (
    ClientTokens,
    Held,
    HeldUnreadableError,
    MemoryHolder,
    StoreHolder,
    TokenHolder,
)
from fungible.tokens.client_renewing import Refresh, Renewing

try:
    import httpx
except ModuleNotFoundError as error:
    raise MissingExtraError(needed_by="fungible.tokens.client", extra="tokens", module="httpx") from error

__all__ = [
    "ClientTokens",
    "Held",
    "HeldUnreadableError",
    "MemoryHolder",
    "OAuthRefresh",
    "Refresh",
    "RefreshFailedError",
    "RefreshingAuth",
    "SignInNeededError",
    "StoreHolder",
    "TokenHolder",
]


class RefreshingAuth(httpx.Auth):
    """`httpx.Client(auth=…)` and `httpx.AsyncClient(auth=…)`: requests carry an access token that is good.

    It is renewed ahead of time, once for any number of requests at the same time in this process, and once for all
    processes that share the holder. A request that is refused with 401 all the same, since the token was revoked for
    instance, is sent once more with a new one. That is right for a POST too: who answers 401 has not looked at what was
    asked (RFC 9110 section 15.5.2). A body that is streamed can't be sent again; its request keeps its 401.

    Args:
        holder: Where the tokens are: `StoreHolder` for several processes, `MemoryHolder` for one, or your own.
        refresh: Spends a refresh token: `OAuthRefresh`, or your own function.
        only_to: Tokens go with requests to this origin alone: `https://api.example.com`. None: with every request.
        early_s: They are renewed that many seconds before they end, up to twice as many, and never before half of their
            life is over.
        timeout_s: Seconds in which a whole request to the token endpoint is given up. Shorter than the grace of the server.
    Raises:
        SettingError: a setting can't be taken.
    """

    def __init__(
        self,
        holder: TokenHolder,
        refresh: Refresh,
        *,
        only_to: str | None = None,
        early_s: float = 30,
        timeout_s: float = 4,
        now: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._renewing = Renewing(holder, refresh, early_s=early_s, timeout_s=timeout_s, now=now, chance=chance)
        self._only_to = None if only_to is None else _origin(httpx.URL(only_to))
        if self._only_to is not None and not all(self._only_to[:2]):
            raise SettingError(f"only_to={only_to!r} must be an origin: https://api.example.com")

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """What `httpx.Client` calls."""
        if not self._goes_with(request):
            yield request
            return
        tokens = self._renewing.ready() or self._renewing.tokens_now()
        response = yield _authorised(request, tokens)
        if self._may_repeat(request, response, tokens):
            yield _authorised(request, self._renewing.tokens_now(refused=tokens.access_token))

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """What `httpx.AsyncClient` calls."""
        if not self._goes_with(request):
            yield request
            return
        tokens = self._renewing.ready() or await self._renewing.tokens()
        response = yield _authorised(request, tokens)
        if self._may_repeat(request, response, tokens):
            refused = tokens.access_token
            renewed = self._renewing.ready_but(refused) or await self._renewing.tokens(refused=refused)
            yield _authorised(request, renewed)

    def _may_repeat(self, request: httpx.Request, response: httpx.Response, tokens: ClientTokens) -> bool:
        """Whether a 401 is about the token, other tokens may help, and the request can be sent once more."""
        if response.status_code != 401 or not self._renewing.may_help(tokens):
            return False
        if "bearer" not in response.headers.get("www-authenticate", "bearer").lower():
            return False
        if isinstance(request.stream, httpx.ByteStream):
            return True
        self._renewing.distrust(tokens)
        return False

    def _goes_with(self, request: httpx.Request) -> bool:
        return self._only_to is None or _origin(request.url) == self._only_to


class _Granted(Redacted, Struct):
    _hidden: ClassVar = ("access_token", "refresh_token")
    access_token: str
    token_type: str
    expires_in: float | None = None
    refresh_token: str = ""


class _Failure(Struct):
    error: str = ""


class OAuthRefresh:
    """Spends refresh tokens at an OAuth 2.0 token endpoint.

    Args:
        token_url: The endpoint.
        client_id: This client's ID.
        client_secret: With it the client authenticates itself by HTTP Basic; a public client has none.
        scope: To ask for fewer scopes than were granted.
        client: Makes the `httpx.AsyncClient` of a request, for other certificates, proxies or time limits.
        timeout_s: Seconds for a whole request, from the connection to the last byte. `RefreshingAuth` gives it less.
    Source: RFC 6749 sections 2.3.1, 5 and 6.
    """

    def __init__(
        self,
        token_url: str,
        *,
        client_id: str,
        client_secret: str | None = None,
        scope: str | None = None,
        client: Callable[[], httpx.AsyncClient] = httpx.AsyncClient,
        timeout_s: float = 60,
        now: Callable[[], float] = time.time,
    ) -> None:
        if not 0 < timeout_s <= 600:
            raise SettingError(f"timeout_s={timeout_s!r} must be above 0, up to 600")
        self._token_url = token_url
        self._client = client
        self._timeout_s = timeout_s
        self._now = now
        self._form = {"grant_type": "refresh_token"}
        self._auth = httpx.Auth()
        if client_secret is None:
            self._form["client_id"] = client_id
        else:
            # RFC 6749 section 2.3.1: both are form-encoded before they are put together.
            self._auth = httpx.BasicAuth(_form_encoded(client_id), _form_encoded(client_secret))
        if scope is not None:
            self._form["scope"] = scope

    async def __call__(self, refresh_token: str) -> ClientTokens:
        """The successors.

        Raises:
            SignInNeededError: the endpoint takes it no more.
            RefreshFailedError: the endpoint is away, or says something else.
        """
        # From before the request: the tokens end a little early rather than a little late.
        asked_at = self._now()
        try:
            async with self._client() as client:
                response = await answer_to(
                    client,
                    "POST",
                    self._token_url,
                    timeout_s=self._timeout_s,
                    data={**self._form, "refresh_token": refresh_token},
                    headers={"Accept": "application/json"},
                    auth=self._auth,
                )
        except TimeoutError as error:
            words = f"the token endpoint gave no whole answer in {self._timeout_s:g} s"
            raise RefreshFailedError(words) from error
        except (httpx.HTTPError, ValueError) as error:
            raise RefreshFailedError(f"the token endpoint can't be asked: {type(error).__name__}: {error}") from error
        answer = _decoded(response, _Granted) if response.status == 200 else None
        if answer is None or answer.token_type.lower() != "bearer":
            raise _failed(response)
        return ClientTokens(
            access_token=answer.access_token,
            refresh_token=answer.refresh_token,
            expires_at=None if answer.expires_in is None else asked_at + answer.expires_in,
            obtained_at=asked_at,
        )


def _failed(response: Answer) -> SignInNeededError | RefreshFailedError:
    failure = _decoded(response, _Failure) if 400 <= response.status < 500 else None
    code = "" if failure is None else failure.error
    if code == "invalid_grant":
        return SignInNeededError("the token endpoint takes the refresh token no more (invalid_grant)")
    words = f": {code}" if code.isascii() and code.isprintable() and 0 < len(code) < 100 else ""
    return RefreshFailedError(f"the token endpoint answered {response.status}{words}, and no bearer token")


def _decoded(response: Answer, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(response.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _authorised(request: httpx.Request, tokens: ClientTokens) -> httpx.Request:
    request.headers["Authorization"] = f"Bearer {tokens.access_token}"
    return request


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _form_encoded(text: str) -> str:
    return str(httpx.QueryParams({"": text})).removeprefix("=")
