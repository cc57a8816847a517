"""Who sends a request, as far as keys are concerned: nobody is handed another's answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from fungible.core.asgi import Scope
from fungible.core.callers import is_authenticated, subject_of
from fungible.core.errors import SettingError
from fungible.idempotency.errors import UnknownCallerError
from fungible.idempotency.fingerprints import digest_of

CallerOf = Callable[[Scope], str | None]

AUTHORIZATION: Final = b"authorization"
FLEETING: Final = frozenset({b"digest", b"aws4-hmac-sha256", b"hawk", b"negotiate", b"ntlm", b"oauth", b"signature"})
"""Schemes whose credentials are others in each request: a retry would be another caller's, and run again."""


class Caller(NamedTuple):
    """Whose a request is."""

    digest: bytes
    """32 bytes."""
    proven: bool
    """Whether somebody has looked into it: who was authenticated, or whom the application has named."""


class Callers:
    """How a request's caller is found.

    Args:
        scope: Gives the caller of an ASGI scope; None for nobody. In place of what follows.
        caller_header: Where nobody was authenticated before us: the header whose value stands for the caller.
        anonymous: What becomes of a request by nobody: `refuse` it, or let all of them `share` their keys.
    """

    def __init__(
        self, *, scope: CallerOf | None, caller_header: str | None, anonymous: Literal["refuse", "share"]
    ) -> None:
        if anonymous not in ("refuse", "share"):
            raise SettingError(f"anonymous={anonymous!r} must be 'refuse' or 'share'")
        if scope is not None and not callable(scope):
            raise SettingError(
                "scope= takes a function that gives the caller of an ASGI scope, such as a tenant's name"
            )
        if caller_header is not None and not (caller_header.isascii() and caller_header):
            raise SettingError(f"caller_header={caller_header!r} must be the name of a header")
        self._given = scope
        self._header = None if caller_header is None else caller_header.lower().encode()
        self._shared = anonymous == "share"

    def caller(self, scope: Scope) -> Caller:
        """The caller of a request.

        Raises:
            UnknownCallerError: it is nobody's, and such are refused; or its credentials would not know a retry.
        """
        # How it was found is part of it: else a header's value could pass for somebody's name.
        if self._given is not None:
            found = self._given(scope)
            if found is not None:
                return Caller(digest_of(b"given", found.encode()), proven=True)
        else:
            subject = subject_of(scope)
            if subject is not None:
                return Caller(digest_of(b"subject", subject.encode()), proven=True)
            if self._header is not None:
                values = [value for name, value in scope["headers"] if name == self._header]
                if any(values):
                    if self._header == AUTHORIZATION:
                        _refuse_fleeting(values[0])
                    return Caller(digest_of(b"header", self._header, *values), proven=False)
        # Who is somebody, and can't be told from others, has no share in what is answered to nobody.
        if not self._shared or (self._given is None and is_authenticated(scope)):
            raise UnknownCallerError
        return Caller(digest_of(b"anonymous"), proven=False)


def _refuse_fleeting(credentials: bytes) -> None:
    scheme = credentials.split(b" ", 1)[0].lower()
    if scheme in FLEETING:
        raise UnknownCallerError(scheme=scheme.decode())
