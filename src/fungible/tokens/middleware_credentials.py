"""What a request says of itself, and what it is told where that does not do: Authorization and WWW-Authenticate.

Source: RFC 9110 section 11; RFC 6750 sections 2.1 and 3; RFC 9449 section 7.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar, Final, Literal

from msgspec import Struct

from fungible.core.asgi import Header
from fungible.core.redaction import Redacted

SCHEMES: Final = re.compile(r"(Bearer|DPoP)(?: +([A-Za-z0-9._~+/-]+=*))? *", re.IGNORECASE)
NAMED: Final = re.compile(r"(?:Bearer|DPoP)(?![!#$%&'*+.^_`|~0-9A-Za-z-])", re.IGNORECASE)

Scheme = Literal["Bearer", "DPoP"]
Code = Literal["invalid_request", "invalid_token", "insufficient_scope", "invalid_dpop_proof", "use_dpop_nonce"]


class Credentials(Redacted, Struct, frozen=True):
    """An access token as it was sent."""

    _hidden: ClassVar = (
        "token",
        "proofs",
    )
    scheme: Scheme
    token: str
    proofs: tuple[str, ...]
    """All `DPoP` headers: one is right."""


class Malformed(Struct, frozen=True):
    """Headers that can't be meant as one access token."""

    scheme: Scheme
    words: str


class Refusal(Struct, frozen=True):
    """Why a request is refused. Without a code: it has not tried."""

    status: int
    title: str
    words: str
    code: Code | None = None
    scheme: Scheme = "Bearer"
    scope: str = ""
    nonce: str | None = None


def read_credentials(headers: Iterable[Header]) -> Credentials | Malformed | None:
    """The access token of a request; None where it has none, or credentials of another scheme.

    Only headers are looked at: a token in a URL ends up in logs (RFC 6750 section 5.3, RFC 9700 section 4.3.2).
    """
    sent: str | None = None
    proofs: list[str] = []
    for name, value in headers:
        if name == b"authorization":
            if sent is not None:
                # Which one counts would depend on who reads it: a proxy and the application may differ.
                return Malformed("Bearer", "The request has several Authorization headers")
            sent = value.decode("latin-1")
        elif name == b"dpop":
            proofs.append(value.decode("latin-1"))
    if sent is None:
        return None
    sent = sent.strip(" \t")
    found = SCHEMES.fullmatch(sent)
    if found is not None and found[2]:
        return Credentials(_scheme(found[1]), found[2], tuple(proofs))
    named = NAMED.match(sent)
    if named is None:
        return None
    return Malformed(_scheme(named[0]), "The Authorization header does not have the form: scheme, space, token")


def _scheme(text: str) -> Scheme:
    return "DPoP" if text.lower() == "dpop" else "Bearer"


class Challenges:
    """Writes `WWW-Authenticate`.

    Args:
        realm: Of what is protected.
        algorithms: Those of DPoP proofs; None where there is no DPoP.
        bearer: Whether tokens are taken that are bound to no key.
    """

    def __init__(self, *, realm: str, algorithms: Iterable[str] | None, bearer: bool) -> None:
        named = f'realm="{realm}"'
        self._schemes: dict[Scheme, list[str]] = {}
        if bearer:
            self._schemes["Bearer"] = [named]
        if algorithms is not None:
            self._schemes["DPoP"] = [named, f'algs="{" ".join(algorithms)}"']

    def of(self, refusal: Refusal) -> list[Header]:
        """The headers that a refusal comes with: a challenge for each scheme, and the error with the one that was used.

        Source: RFC 6750 section 3 and 3.1: no error where there were no credentials.
        """
        headers: list[Header] = []
        said_with = refusal.scheme if refusal.scheme in self._schemes else next(iter(self._schemes))
        for scheme, fixed in self._schemes.items():
            parameters = [*fixed]
            if refusal.code is not None and scheme == said_with:
                parameters += [f'error="{refusal.code}"', f'error_description="{refusal.words}"']
            if refusal.scope:
                parameters.append(f'scope="{refusal.scope}"')
            headers.append((b"www-authenticate", f"{scheme} {', '.join(parameters)}".encode("latin-1")))
        if refusal.nonce is not None:
            headers.append((b"dpop-nonce", refusal.nonce.encode("ascii")))
        return headers
