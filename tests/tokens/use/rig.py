"""What tests of tokens in use share: a clock, a ring, tokens, applications."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import httpx

from fungible.core.callers import subject_of
from fungible.stores import Store
from fungible.tokens import SigningKeys, Token, TokenIssuer, TokenVerifier
from fungible.tokens.middleware import IN_SCOPE, TokenMiddleware
from fungible.tokens.refresh import RefreshTokens

KEYS = SigningKeys.generate()
NAMES: dict[str, Any] = {"issuer": "https://login.example", "audience": "https://api.example"}
# Tokens that are made when tests are collected are still good when the last of them runs.
ISSUER = TokenIssuer(KEYS, **NAMES, ttl_s=86_400, instances=1)
VERIFIER = TokenVerifier(KEYS, **NAMES)


class AsyncClock:
    """Unix seconds that stand still until they are told to move, as `RefreshTokens` asks for them."""

    def __init__(self) -> None:
        self.time_s = time.time()

    async def __call__(self) -> float:
        return self.time_s


class Events:
    """What the application's metrics were told."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, event: str, details: Mapping[str, Any]) -> None:
        self.seen.append(event)


def refresh_over(store: Store, **options: Any) -> RefreshTokens:
    """One instance's refresh tokens."""
    return RefreshTokens(store, instances=1, **options)


def token_of(subject: str = "ada", *, issued_at: float | None = None, life_s: float = 300, **claims: Any) -> Token:
    """A token as a verifier gives it."""
    at = time.time() if issued_at is None else issued_at
    token_id: str = claims.get("jti", "an-id")
    return Token(subject, NAMES["issuer"], (NAMES["audience"],), at, at + life_s, token_id, claims, "kid")


async def whoami(scope: Any, receive: Any, send: Any) -> None:
    """An application that says whom it sees."""
    token: Token | None = scope.get(IN_SCOPE)
    words = f"{subject_of(scope)} {token.id if token else None}".encode()
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "headers": []})
        await send({"type": "websocket.close", "code": 1000, "reason": words.decode()})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": words})


def guarded(**options: Any) -> TokenMiddleware:
    """That application behind the middleware."""
    return TokenMiddleware(whoami, **{"verifier": VERIFIER, **options})


def client(app: Any, **options: Any) -> httpx.AsyncClient:
    """Somebody who sends requests to it."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://api.example", **options)


def bearer(text: str) -> dict[str, str]:
    """The header that a token is sent in."""
    return {"Authorization": f"Bearer {text}"}
