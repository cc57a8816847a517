"""The session's cookie, in and out: scanned for by hand, as a parser for all cookies costs more than a request's rest."""

import hashlib
import hmac
import os
from typing import ClassVar, Final

from msgspec import Struct

from fungible.core.keyring import KID_BYTES, KeyRing
from fungible.core.redaction import Redacted
from fungible.core.sealing import from_base64url, to_base64url
from fungible.sessions.settings import SessionSettings
from fungible.sessions.state import SessionState

MAX_COOKIES: Final = 4
"""Cookies of our name that are looked at: other hosts of the domain may have planted some before ours."""
ID_BYTES: Final = 32
TAG_BYTES: Final = 18
"""With the rest a multiple of three: base64 has no odd bits then."""
COOKIE_CHARACTERS: Final = (KID_BYTES + ID_BYTES + TAG_BYTES) * 4 // 3


class SessionCookie:
    """The one cookie of a kind of sessions: found in requests, set and taken back in responses."""

    def __init__(self, settings: SessionSettings) -> None:
        self._named = f"{settings.cookie.full_name}="
        self._attributes = settings.cookie.attributes(settings.idle_timeout_s if settings.cookie.persistent else None)
        self._cleared = f"{self._named}{settings.cookie.attributes(0)}"

    def values(self, cookie_header: str) -> list[str]:
        """What a request may have sent as our cookie."""
        return cookie_values(cookie_header, self._named)

    def sent(self, state: SessionState, value: str) -> str:
        """The `Set-Cookie` header that sets it."""
        state.send_due = state.clear_due = False
        state.had_cookie = True
        return f"{self._named}{value}{self._attributes}"

    def cleared(self, state: SessionState) -> str | None:
        """The `Set-Cookie` header that takes it back, where that is due."""
        if not state.clear_due:
            return None
        state.clear_due = False
        return self._cleared


def cookie_values(header: str, named: str) -> list[str]:
    """The values of a cookie in a `Cookie` header; several where cookies of other paths or hosts have its name.

    Args:
        named: The cookie's name and the equals sign.
    Source: RFC 6265 section 5.4, which sends them as `name=value; name=value`.
    >>> cookie_values("a=1; session=xyz; notsession=2", "session=")
    ['xyz']
    """
    at = header.find(named)
    if at < 0:
        return []
    if at == 0 or header[at - 2 : at] == "; ":
        start = at + len(named)
        end = header.find(";", start)
        # It is there once, as browsers write it: the others need not be looked at.
        if end < 0:
            return [header[start:].strip()]
        if header.find(named, end) < 0:
            return [header[start:end].strip()]
    parts = [part.strip() for part in header.split(";")]
    return [part[len(named) :].strip() for part in parts if part.startswith(named)][:MAX_COOKIES]


def new_id() -> bytes:
    """A session ID: 256 random bits."""
    return os.urandom(ID_BYTES)


def handle_of(session_id: bytes) -> str:
    """What names the session in the store: from a copy of the store nobody can make a cookie."""
    return hashlib.blake2b(session_id, digest_size=24, person=b"fungible-session").hexdigest()


def signed_id(session_id: bytes, ring: KeyRing) -> str:
    """The ID as the cookie carries it, with a tag: what we did not issue is refused without asking the store."""
    key = ring.current()
    return to_base64url(key.kid + session_id + _tag(session_id, key.secret))


class VerifiedID(Redacted, Struct, frozen=True, gc=False):
    """A session ID that we have issued."""

    _hidden: ClassVar = ("id",)
    kid: bytes
    """The name of the key that signed it."""
    id: bytes
    handle: str


def verified_id(text: str, ring: KeyRing) -> VerifiedID | None:
    """The ID in a cookie; None if no key of ours has signed it."""
    if len(text) != COOKIE_CHARACTERS:
        return None
    raw = from_base64url(text)
    if raw is None:
        return None
    kid, session_id, tag = raw[:KID_BYTES], raw[KID_BYTES:-TAG_BYTES], raw[-TAG_BYTES:]
    key = ring.find(kid)
    if key is None or not hmac.compare_digest(tag, _tag(session_id, key.secret)):
        return None
    return VerifiedID(kid, session_id, handle_of(session_id))


def _tag(session_id: bytes, secret: bytes) -> bytes:
    return hashlib.blake2b(session_id, key=secret, digest_size=TAG_BYTES, person=b"fungible-cookie").digest()
