"""From a request to what it claims: the key, scoped to caller, method and route, and the fingerprint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from fungible.core.asgi import Scope
from fungible.idempotency.callers import CallerOf, Callers
from fungible.idempotency.claims import Request
from fungible.idempotency.fingerprints import fingerprint_of, record_key
from fungible.idempotency.options import Options

Fingerprint = Callable[[Scope, bytes], bytes]


class Identity:
    """How requests are told apart.

    Args:
        scope: Gives the caller of an ASGI scope; None for nobody. In place of what follows.
        caller_header: Where nobody was authenticated before us: the header whose value stands for the caller.
        anonymous: What becomes of a request by nobody.
        namespace: Keeps applications apart that share a store.
        fingerprint: Digest of what must be equal, in place of method, host, target, content type and body.
    """

    def __init__(
        self,
        *,
        scope: CallerOf | None = None,
        caller_header: str | None = "authorization",
        anonymous: Literal["refuse", "share"] = "refuse",
        namespace: str = "",
        fingerprint: Fingerprint | None = None,
    ) -> None:
        self._callers = Callers(scope=scope, caller_header=caller_header, anonymous=anonymous)
        self._namespace = namespace
        self._fingerprint = fingerprint or fingerprint_of

    def request(self, scope: Scope, key: str, body: bytes, options: Options) -> Request:
        """What a request with that key claims.

        Raises:
            UnknownCallerError: nobody sends it.
        """
        caller = self._callers.caller(scope)
        parts = (b"request", self._namespace, caller.digest, scope["method"], scope["path"], key)
        fingerprint = self._fingerprint(scope, body)
        return Request(record_key(parts), fingerprint, caller.digest, options, caller.proven)

    def call(self, name: str, key: str, fingerprint: bytes, options: Options) -> Request:
        """What a call of a function with that key claims."""
        parts = (b"function", self._namespace, name, key)
        return Request(record_key(parts), fingerprint, b"", options)
