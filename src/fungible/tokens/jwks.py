"""The public keys of a ring at a URL, for verifiers elsewhere.

Source: RFC 7517 section 5 (JWK set), RFC 9110 section 8.8.3 and 13.1.2 (ETag, If-None-Match), RFC 9111 (caching).
"""

from __future__ import annotations

import hashlib
import logging
import re
from typing import Any, Final

from fungible.core.asgi import Receive, Scope, Send, header, send_problem
from fungible.core.errors import SettingError
from fungible.core.log import RepeatedWarning
from fungible.stores.errors import StoreUnavailableError
from fungible.tokens.framing import encode_json, to_base64url
from fungible.tokens.keys import VerifyingKeys

LOGGER: Final = logging.getLogger("fungible.tokens")
TAGS: Final = re.compile(r'"[^"]*"')
"""Without what makes them weak: a proxy that compressed the body may have weakened the tag."""


class JWKSApp:
    """An ASGI application that answers with the ring's JWK set: to be mounted at `/.well-known/jwks.json`.

    The same keys make the same bytes and the same ETag on every instance. A secret is never in it.

    Args:
        keys: The ring.
        max_age_s: Seconds for which the answer may be kept. Not more than the ring's `settle_s`, or a verifier might
            not know a key that signs already.
    Raises:
        SettingError: it is more.
    """

    def __init__(self, keys: VerifyingKeys, *, max_age_s: int = 60) -> None:
        if max_age_s < 0 or (keys.settle_s and max_age_s > keys.settle_s):
            raise SettingError(
                f"max_age_s={max_age_s!r} must be from 0 to the ring's settle_s, which is {keys.settle_s:g} s"
            )
        self._keys = keys
        self._log = RepeatedWarning(LOGGER)
        self._cache_control = f"public, max-age={max_age_s}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        if scope["method"] not in ("GET", "HEAD"):
            allow = [(b"allow", b"GET, HEAD")]
            await send_problem(
                send, 405, "Method Not Allowed", "This can be read only.", code="method_not_allowed", headers=allow
            )
            return
        try:
            await self._keys.load()
            body = encode_json(document(self._keys))
        except StoreUnavailableError as error:
            self._log.warn(f"the JWK set can't be given to verifiers: {error}")
            words = "The keys are unavailable at the moment; please try again."
            retry = [(b"retry-after", b"2")]
            await send_problem(send, 503, "Service Unavailable", words, code=error.code, headers=retry)
            return
        await self._answer(scope, send, body)

    async def _answer(self, scope: Scope, send: Send, body: bytes) -> None:
        tag = b'"' + to_base64url(hashlib.sha256(body).digest()) + b'"'
        headers = [(b"etag", tag), (b"cache-control", self._cache_control)]
        asked = header(scope["headers"], b"if-none-match")
        if asked is not None and (asked.strip(" \t") == "*" or tag.decode() in TAGS.findall(asked)):
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        headers += [
            (b"content-type", b"application/jwk-set+json"),
            (b"content-length", str(len(body)).encode()),
            # A single-page application may read it from anywhere: it is public.
            (b"access-control-allow-origin", b"*"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return


def document(keys: VerifyingKeys) -> dict[str, Any]:
    """The ring's JWK set in one order, whatever the order of the ring: equal on every instance."""
    found = keys.jwks()
    return {"keys": sorted(found["keys"], key=lambda jwk: jwk["kid"])}
