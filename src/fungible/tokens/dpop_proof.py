"""A DPoP proof: taken apart and held against the request that it came with. Pure functions; no store is asked.

Source: RFC 9449 sections 4.2 and 4.3.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Struct

from fungible.core.errors import FungibleError
from fungible.core.sealing import from_base64url, to_base64url
from fungible.tokens.dpop_keys import BadKeyError, public_key

TYPE: Final = "dpop+jwt"
MAX_PROOF_CHARACTERS: Final = 4096
DEFAULT_PORTS: Final = {"https": 443, "http": 80}
UNRESERVED: Final = "-._~!$&'()*+,;=:@/"
"""What stands in a path as it is (RFC 3986 section 3.3)."""
ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")


class InvalidProofError(FungibleError):
    """A DPoP proof that proves nothing about this request. The message is for logs.

    Source: `invalid_dpop_proof` of RFC 9449 section 12.2.
    """

    code = "invalid_dpop_proof"

    def __init__(self, words: str) -> None:
        super().__init__(f"the DPoP proof is refused: {words}")


class _Header(Struct, frozen=True):
    typ: str
    alg: str
    jwk: dict[str, Any]
    crit: Any = None


class _Claims(Struct, frozen=True):
    jti: str
    htm: str
    htu: str
    iat: int | float
    ath: str | None = None
    nonce: str | None = None


class Proof(Struct, frozen=True):
    """What a proof says, of which the signature is good."""

    thumbprint: str
    """Of the key that made it: `jkt`."""
    id: str
    method: str
    url: str
    """Normalised."""
    issued_at: float
    token_hash: str | None
    nonce: str | None


_decode_header = msgspec.json.Decoder(_Header).decode
_decode_claims = msgspec.json.Decoder(_Claims).decode


def read_proof(text: str, algorithms: Collection[str]) -> Proof:
    """What a proof says.

    Raises:
        InvalidProofError: it is none, or its own key has not signed it. Nothing else, whatever the text is.
    """
    if len(text) > MAX_PROOF_CHARACTERS:
        raise InvalidProofError(f"it has {len(text)} characters, and {MAX_PROOF_CHARACTERS} are taken")
    parts = [from_base64url(part) for part in text.split(".")]
    if len(parts) != 3 or parts[0] is None or parts[1] is None or parts[2] is None:
        raise InvalidProofError("it is no JWT")
    try:
        header, claims = _decode_header(parts[0]), _decode_claims(parts[1])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidProofError("its header needs typ, alg and jwk, and its claims jti, htm, htu and iat") from None
    if header.typ != TYPE:
        raise InvalidProofError(f"its typ is not {TYPE}")
    if header.alg not in algorithms:
        raise InvalidProofError("its algorithm is none of those taken here")
    if header.crit is not None:
        raise InvalidProofError("its header demands extensions that are not understood (crit)")
    if not claims.jti or not -(2**53) < claims.iat < 2**53:
        raise InvalidProofError("its jti is empty, or its iat is no time")
    try:
        verify, thumbprint = public_key(header.jwk, header.alg)
    except BadKeyError as error:
        raise InvalidProofError(str(error)) from None
    if not verify(parts[2], text.rpartition(".")[0].encode()):
        raise InvalidProofError("its signature is not that of its key")
    url = normalised(claims.htu)
    if url is None:
        raise InvalidProofError("its htu is no URL")
    return Proof(thumbprint, claims.jti, claims.htm, url, float(claims.iat), claims.ath, claims.nonce)


def check_request(proof: Proof, *, method: str, urls: Collection[str]) -> None:
    """Holds a proof against method and URL of the request.

    Args:
        urls: What the request's may be, each normalised.
    Raises:
        InvalidProofError: it was made for another one.
    """
    # Methods are case-sensitive (RFC 9110 section 9.1).
    if proof.method != method:
        raise InvalidProofError("it was made for another method (htm)")
    if proof.url not in urls:
        raise InvalidProofError("it was made for another URL (htu)")


def check_age(proof: Proof, now: float, *, window_s: float, leeway_s: float) -> None:
    """Refuses a proof that was made too long ago, or will be made.

    Raises:
        InvalidProofError: it is.
    """
    if not now - window_s - leeway_s <= proof.issued_at <= now + leeway_s:
        raise InvalidProofError(f"it was not made in the last {window_s:g} s (iat); are the clocks in step?")


def check_token(proof: Proof, *, access_token: str, bound_to: str) -> None:
    """Holds a proof against the access token that came with it.

    Args:
        bound_to: The thumbprint in the token's claim `cnf`.
    Raises:
        InvalidProofError: it was made for another token, or with another key.
    """
    expected = to_base64url(hashlib.sha256(access_token.encode("utf-8", "surrogatepass")).digest())
    if proof.token_hash is None or not _same(proof.token_hash, expected):
        raise InvalidProofError("it was made for another access token (ath)")
    if not _same(proof.thumbprint, bound_to):
        raise InvalidProofError("it was made with another key than the one that the token is bound to (cnf)")


def normalised(url: str) -> str | None:
    """A URL as two are compared: no query, no fragment, lower case host, no default port, plain escapes; None for none.

    Source: RFC 9449 section 4.3 (9); RFC 3986 sections 6.2.2 and 6.2.3.
    >>> normalised("HTTPS://API.example:443/a%7Eb%2f?x=1#y")
    'https://api.example/a~b%2F'
    """
    # Taken as they are: urlsplit passes over line breaks, and two URLs must not become one.
    if not url.isascii() or not url.isprintable():
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    scheme, host = parts.scheme.lower(), parts.hostname
    if scheme not in DEFAULT_PORTS or not host or parts.username is not None or parts.password is not None:
        return None
    name = f"[{host}]" if ":" in host else host
    seat = name if port in (None, DEFAULT_PORTS[scheme]) else f"{name}:{port}"
    return f"{scheme}://{seat}{normalised_path(parts.path)}"


def normalised_path(path: str) -> str:
    """A path with escapes only where they are needed, and those in upper case; `/` for none."""
    escaped = quote(ESCAPE.sub(_plain, path), safe=UNRESERVED + "%", errors="surrogatepass")
    return escaped or "/"


def _plain(found: re.Match[str]) -> str:
    character = chr(int(found[0][1:], 16))
    return character if character.isascii() and (character.isalnum() or character in "-._~") else found[0].upper()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))
