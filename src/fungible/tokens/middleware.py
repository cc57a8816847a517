"""The middleware for any ASGI application: no request comes in without a token that is good, here and now.

Source: RFC 6750; RFC 9449 section 7; the ASGI specification, HTTP and WebSocket message formats.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any, Final

from fungible.core.asgi import App, Message, Receive, Scope, Send, retry_after, send_problem
from fungible.core.callers import SUBJECT
from fungible.core.errors import SettingError
from fungible.core.log import RepeatedWarning
from fungible.core.routes import plain_path
from fungible.core.startup import ends_the_server
from fungible.stores.errors import StoreUnavailableError
from fungible.stores.postures import Home
from fungible.tokens.dpop import DPoP, UseNonceError
from fungible.tokens.dpop_proof import InvalidProofError
from fungible.tokens.errors import InvalidTokenError
from fungible.tokens.middleware_credentials import Challenges, Credentials, Malformed, Refusal, read_credentials
from fungible.tokens.revocations import Revocations, Verifier
from fungible.tokens.token import Token

IN_SCOPE: Final = "fungible.token"
"""Where the verified token is, in the ASGI scope; None where the request has none, and may do without."""
SCOPE_WORD: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
"""Source: scope-token of RFC 6749 section 3.3."""
TRY_AGAIN_LATER: Final = 1013
POLICY_VIOLATION: Final = 1008
"""WebSocket close codes. Source: RFC 6455 section 7.4.1, and the IANA registry."""
LOGGER: Final = logging.getLogger("fungible.tokens")


class TokenMiddleware:
    """Lets requests in by their access token, which it leaves in `scope["fungible.token"]`.

    Args:
        app: The ASGI application.
        verifier: A `TokenVerifier`.
        revocations: Says which tokens were revoked. Without it a token is good until it expires.
        dpop: Checks the proofs of tokens that are bound to a key. Without it such tokens are refused.
        required: False lets requests without a token in, as nobody; one that has a bad token is refused all the same.
        scopes: What every token must grant.
        exempt: Paths that need no token: `/health`, and with a slash at the end, `/public/`, all below, in the
            plain spelling alone, and below what the application is mounted at. Their requests are not looked at.
        realm: For `WWW-Authenticate`: a name of what is protected.
        retry_after_s: What `Retry-After` says while it is not known what was revoked, in seconds.
    Raises:
        SettingError: a setting can't be taken.
    """

    @ends_the_server
    def __init__(
        self,
        app: App,
        *,
        verifier: Verifier,
        revocations: Revocations | None = None,
        dpop: DPoP | None = None,
        required: bool = True,
        scopes: Sequence[str] = (),
        exempt: Sequence[str] = (),
        realm: str = "api",
        retry_after_s: int = 2,
    ) -> None:
        if isinstance(scopes, str) or not all(SCOPE_WORD.fullmatch(scope) for scope in scopes):
            raise SettingError(f"scopes={scopes!r} must be a list of words, such as ['orders:read']")
        if isinstance(exempt, str) or not all(path.startswith("/") for path in exempt):
            raise SettingError(f"exempt={exempt!r} must be a list of paths, such as ['/health', '/public/']")
        if not realm or not realm.isascii() or not realm.isprintable() or '"' in realm or "\\" in realm:
            raise SettingError(f"realm={realm!r} must be a name in printable ASCII without quotes and backslashes")
        self.app = app
        self._verify = verifier.verify
        self._revocations = revocations
        self._dpop = dpop
        self._required = required
        self._scopes = tuple(scopes)
        self._exempt = frozenset(path for path in exempt if not path.endswith("/"))
        self._exempt_below = tuple(path for path in exempt if path.endswith("/"))
        self._retry_after = retry_after(retry_after_s)
        self._log = RepeatedWarning(LOGGER)
        self._challenges = Challenges(
            realm=realm,
            algorithms=None if dpop is None else dpop.algorithms,
            bearer=dpop is None or not dpop.required,
        )

    def homes(self) -> Sequence[Home]:
        """Where revocations and used proofs are, for `fungible doctor`."""
        return self.homes_declared(revocations=self._revocations, dpop=self._dpop)

    @classmethod
    def homes_declared(
        cls, *, revocations: Revocations | None = None, dpop: DPoP | None = None, **_others: Any
    ) -> Sequence[Home]:
        """Where a middleware with these settings would keep state, for `fungible doctor`."""
        return (*(revocations.homes() if revocations else ()), *(dpop.homes() if dpop else ()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if self._is_exempt(scope):
            scope[IN_SCOPE] = None
            await self.app(scope, receive, send)
            return
        try:
            judged = await self._judge(scope)
        except StoreUnavailableError as error:
            self._log.warn(f"requests are refused, as it is not known whether their tokens are good: {error}")
            await self._unavailable(scope, send, error)
            return
        if isinstance(judged, Refusal):
            await self._refuse(scope, send, judged)
            return
        await self.app(scope, receive, send if judged is None else _with_nonce(send, judged))

    async def _judge(self, scope: Scope) -> Refusal | str | None:
        """Lets the request in, with a nonce to send or without; or says why it is refused."""
        credentials = read_credentials(scope["headers"])
        if credentials is None:
            scope[IN_SCOPE] = None
            return self._missing() if self._required else None
        if isinstance(credentials, Malformed):
            return Refusal(400, "Bad Request", credentials.words, "invalid_request", credentials.scheme)
        nonce = None
        try:
            token = self._verify(credentials.token)
            if self._revocations is not None:
                revoked = self._revocations.says(token)
                if revoked is not False:
                    await self._revocations.check(token)
            if credentials.scheme == "DPoP" or "cnf" in token.claims or (self._dpop and self._dpop.required):
                nonce = await self._check_proof(scope, credentials, token)
        except InvalidProofError as error:
            return self._bad_proof(error)
        except InvalidTokenError as error:
            LOGGER.debug("%s", error)
            words = "The access token expired" if error.reason == "expired" else "The access token is not valid"
            return Refusal(401, "Unauthorized", words, "invalid_token", credentials.scheme)
        if self._scopes and not token.has_scope(*self._scopes):
            wanted = " ".join(self._scopes)
            words = "The access token does not grant what is asked for"
            return Refusal(403, "Forbidden", words, "insufficient_scope", credentials.scheme, wanted)
        scope[IN_SCOPE] = token
        scope[SUBJECT] = token.subject
        return nonce

    async def _check_proof(self, scope: Scope, credentials: Credentials, token: Token) -> str | None:
        """Holds the token to the key that it is bound to; gives a nonce to send.

        Without this a bound token that was stolen could be sent as `Bearer` (RFC 9449 section 7.2).
        """
        if self._dpop is None or credentials.scheme != "DPoP":
            words = "it is bound to a key, and was sent without proof of it, or proofs are not taken here"
            raise InvalidTokenError("claims", words)
        if len(credentials.proofs) != 1:
            raise InvalidProofError(f"there are {len(credentials.proofs)} DPoP headers, and one is needed")
        proven = await self._dpop.check(
            credentials.proofs[0],
            # A WebSocket's handshake is a GET (RFC 6455 section 4.1).
            method=scope.get("method", "GET"),
            path=_path(scope),
            token=token,
            access_token=credentials.token,
        )
        return proven.next_nonce

    def _missing(self) -> Refusal:
        return Refusal(401, "Unauthorized", "An access token is needed", scope=" ".join(self._scopes))

    def _bad_proof(self, error: InvalidProofError) -> Refusal:
        LOGGER.debug("%s", error)
        nonce = None if self._dpop is None else self._dpop.nonce()
        if isinstance(error, UseNonceError):
            words = "The DPoP proof needs the nonce that is sent along"
            return Refusal(401, "Unauthorized", words, "use_dpop_nonce", "DPoP", nonce=nonce)
        words = "The DPoP proof is not valid for this request"
        return Refusal(401, "Unauthorized", words, "invalid_dpop_proof", "DPoP", nonce=nonce)

    def _is_exempt(self, scope: Scope) -> bool:
        if not self._exempt and not self._exempt_below:
            return False
        # What lies below only until somebody resolves the dots, or takes two slashes for one, does not.
        path = plain_path(scope)
        return path is not None and (path in self._exempt or path.startswith(self._exempt_below))

    async def _refuse(self, scope: Scope, send: Send, refusal: Refusal) -> None:
        headers = self._challenges.of(refusal)
        code = refusal.code or "no_credentials"
        send = _denying(scope, send, POLICY_VIOLATION, refusal.words)
        await send_problem(send, refusal.status, refusal.title, refusal.words, code=code, headers=headers)

    async def _unavailable(self, scope: Scope, send: Send, error: StoreUnavailableError) -> None:
        words = "It is not known at the moment which tokens are good. Please try again."
        send = _denying(scope, send, TRY_AGAIN_LATER, words)
        await send_problem(send, 503, "Service Unavailable", words, code=error.code, headers=[self._retry_after])


def _path(scope: Scope) -> str:
    """The path as it was sent, without the query that some servers leave in it."""
    raw: bytes | None = scope.get("raw_path")
    if raw:
        return raw.partition(b"?")[0].decode("latin-1")
    path: str = scope["path"]
    return path


def _with_nonce(send: Send, nonce: str) -> Send:
    """Sends a nonce with the response (RFC 9449 section 8.2)."""

    async def send_both(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.accept"):
            message = {**message, "headers": [*message.get("headers", ()), (b"dpop-nonce", nonce.encode("ascii"))]}
        await send(message)

    return send_both


def _denying(scope: Scope, send: Send, code: int, words: str) -> Send:
    """Sends a response as the refusal of a WebSocket's handshake, where it is one.

    Source: the ASGI extension "WebSocket Denial Response"; where a server lacks it, it answers 403 to a close.
    """
    if scope["type"] != "websocket":
        return send
    can_answer = "websocket.http.response" in (scope.get("extensions") or {})

    async def deny(message: Message) -> None:
        if can_answer:
            await send({**message, "type": f"websocket.{message['type']}"})
        elif message["type"] == "http.response.start":
            await send({"type": "websocket.close", "code": code, "reason": words})

    return deny
