"""Base64url and JSON as tokens have them: one form only for each value, and nothing but our error for all others."""

from __future__ import annotations

import binascii
import json
from typing import Any, Final, cast

import msgspec

from fungible.tokens.errors import InvalidTokenError, Reason

MAX_HEAD_CHARACTERS: Final = 2048
"""Of what stands before a signature is checked: a header or a footer."""
TO_URL: Final = bytes.maketrans(b"+/", b"-_")
# What is no character of base64url becomes one that the strict decoder refuses.
FROM_URL: Final = bytes.maketrans(b"-_+/=\n", b"+/!!!!")
PADDING: Final = (b"", b"!", b"==", b"=")
"""By what the length leaves over 4; one character alone is no byte."""
# The last character may carry bits that no byte needs: only where they are zero it is the one form of its bytes.
LAST: Final[dict[int, frozenset[int]]] = {2: frozenset(b"AQgw"), 3: frozenset(b"AEIMQUYcgkosw048")}
SPACE: Final = b" \t\r\n"
"""What JSON may have between a name and its colon. Source: RFC 8259 section 2."""

_decode_json: Final = msgspec.json.Decoder(dict[str, Any]).decode
encode_json: Final = msgspec.json.Encoder().encode


def to_base64url(data: bytes) -> bytes:
    """Base64url without padding. Source: RFC 7515 section 2."""
    return binascii.b2a_base64(data, newline=False).translate(TO_URL).rstrip(b"=")


def from_base64url(text: bytes) -> bytes:
    """The bytes of what `to_base64url` writes.

    Raises:
        InvalidTokenError: it is anything else, padded, spaced, or another form of the same bytes.
    """
    over = len(text) & 3
    try:
        data = binascii.a2b_base64(text.translate(FROM_URL) + PADDING[over], strict_mode=True)
    except binascii.Error:
        raise InvalidTokenError("malformed", "a part of it is no base64url") from None
    if over and text[-1] not in LAST[over]:
        raise InvalidTokenError("malformed", "a part of it is base64url of another form than the only one")
    return data


def read_claims(data: bytes) -> dict[str, Any]:
    """The JSON object in these bytes.

    Raises:
        InvalidTokenError: they are none; or a name stands twice in one object, which two readers may read in two ways;
            or a number is none that JSON has.
    Source: RFC 7519 section 4 (names are unique).
    """
    try:
        claims = _decode_json(data)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError):
        raise InvalidTokenError("claims", "its claims are no JSON object") from None
    # Each member has a colon after its name's quote: with as many of these as there are members nothing stands twice.
    # A text may hold them too, or a value be nested. What is written just so has each name once as well; only what is
    # neither is read again, the slow way.
    if data.translate(None, SPACE).count(b'":') != len(claims) and encode_json(claims) != data:
        _refuse_repeated(data, "claims")
    return claims


def read_head(text: bytes, what: str) -> dict[str, Any]:
    """The JSON object that a header or footer is, from its base64url."""
    if len(text) > MAX_HEAD_CHARACTERS:
        raise InvalidTokenError("too-large", f"its {what} has {len(text)} characters")
    data = from_base64url(text)
    try:
        members = _decode_json(data)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError):
        raise InvalidTokenError("malformed", f"its {what} is no JSON object") from None
    _refuse_repeated(data, "malformed")
    return members


def _refuse_repeated(data: bytes, reason: Reason) -> None:
    try:
        json.loads(data, object_pairs_hook=_unique)
    except _RepeatedError:
        raise InvalidTokenError(reason, "a name stands twice in one object") from None
    except (ValueError, RecursionError):
        raise InvalidTokenError(reason, "a part of it is no JSON that can be read") from None


class _RepeatedError(Exception):
    """A name stands twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _RepeatedError
    return members


def sizes(claims: dict[str, Any]) -> list[tuple[str, int]]:
    """The claims with their bytes of JSON, the largest first."""
    found = [(name, len(encode_json(cast(object, value)))) for name, value in claims.items()]
    return sorted(found, key=lambda pair: -pair[1])
