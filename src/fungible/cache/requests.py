"""What of a request a cache goes by, and the name of the record that has its response."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from fungible.cache.directives import SAYS_NOTHING, CacheControl, cache_control
from fungible.core.asgi import Header, Scope, list_members

DEFAULT_PORTS: Final = {"http": b":80", "https": b":443"}
ROUTED: Final = frozenset(
    {
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-forwarded-scheme",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-host",
        b"x-original-host",
        b"x-original-url",
        b"x-rewrite-url",
    }
)
"""Fields that frameworks build addresses from, or route by. They name nothing: whatever proxy a request comes through, it
asks for the same resource, and what one changes is changed for all. But a response is given only to requests that say the
same in them, as if it named them in `Vary`: so nobody can have a response that they have changed given to others."""
ROUTES: Final = ":routes"
"""Stands for all of these among the fields that responses vary by; no field has such a name."""
FORWARDED: Final = re.compile(rb"(?:^|[;, \t])(host|proto)=(\"[^\"]*\"|[^;, \t]*)", re.IGNORECASE)
CONDITIONS: Final = frozenset({b"if-none-match", b"if-modified-since"})


class Asked:
    """A GET or HEAD, as a cache sees it."""

    __slots__ = (
        "authorized",
        "bypass",
        "control",
        "headers",
        "if_modified_since",
        "if_none_match",
        "is_head",
        "is_visitors",
        "name",
        "routes",
    )

    def __init__(self, scope: Scope, space: str) -> None:
        self.headers: Sequence[Header] = scope["headers"]
        self.is_head: bool = scope["method"] == "HEAD"
        self.control: CacheControl = SAYS_NOTHING
        self.bypass = ""
        """Why this request is none for a cache."""
        self.authorized = False
        self.is_visitors = False
        """Whether it says who asks: by Authorization, or by cookies."""
        self.if_none_match: str | None = None
        self.if_modified_since: str | None = None
        control: list[bytes] = []
        if_none_match: list[bytes] = []
        pragma = False
        for name, value in self.headers:
            if name == b"cache-control":
                control.append(value)
            elif name == b"pragma":
                pragma = True
            elif name == b"authorization":
                self.authorized = self.is_visitors = True
            elif name == b"cookie":
                self.is_visitors = True
            elif name == b"if-none-match":
                if_none_match.append(value)
            elif name == b"if-modified-since":
                self.if_modified_since = value.decode("latin-1")
            elif name in (b"range", b"if-match", b"if-unmodified-since", b"if-range"):
                self.bypass = name.decode("ascii")
            elif name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0"):
                # A body that is part of no name could change the response that others get.
                self.bypass = "body"
            elif name == b"upgrade":
                self.bypass = "upgrade"
        if if_none_match:
            self.if_none_match = b", ".join(if_none_match).decode("latin-1")
        if control:
            self.control = cache_control(b",".join(control).decode("latin-1"))
        elif pragma and "no-cache" in list_members(self.headers, b"pragma"):
            self.control = cache_control("no-cache")
        if self.control.no_store:
            self.bypass = "no-store"
        target = target_of(scope)
        self.name = ""
        self.routes = b""
        """Of what it says in the fields that requests are routed by; empty where it says nothing."""
        if target is None:
            self.bypass = "host"
        else:
            self.name = response_name(space, *target)
            self.routes = routes_of(self.headers)


Target = tuple[bytes, bytes, bytes, bytes]
"""Scheme, host, path and query: the target URI, as the application sees it (RFC 9111 section 2, RFC 9110 section 7.1)."""


def routes_of(headers: Iterable[Header]) -> bytes:
    """A digest of what a request says in the fields that requests are routed by; empty where it says nothing."""
    routed: list[bytes] = []
    for name, value in headers:
        if name in ROUTED:
            routed += (name, value)
        elif name == b"forwarded":
            # Who it is for and by differs with each client; which host it is for does not.
            for part, said in FORWARDED.findall(value):
                routed += (part.lower(), said)
    return digest(routed) if routed else b""


def target_of(scope: Scope) -> Target | None:
    """What a request asks for; None where it is not clear for which host."""
    scheme: str = scope.get("scheme") or "http"
    host: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"host":
            if host is not None:
                return None
            host = value
    if host is None:
        server = scope.get("server") or ("", None)
        host = f"{server[0]}:{server[1]}".encode()
    host = host.strip().lower().removesuffix(DEFAULT_PORTS.get(scheme, b"\0"))
    path: bytes | None = scope.get("raw_path")
    if path is None:
        path = quote(scope["path"], safe="/%:@!$&'()*+,;=~").encode("ascii")
    # Some servers leave the query in it.
    path = path.partition(b"?")[0]
    query: bytes = scope.get("query_string") or b""
    return scheme.encode(), host, path, query


def response_name(space: str, scheme: bytes, host: bytes, path: bytes, query: bytes) -> str:
    """The name of the record for all responses to GET and HEAD for a target."""
    return f"{space}:{digest((scheme, host, path, query)).hex()}"


def variant_name(
    name: str, generation: bytes, varies: Iterable[str], headers: Sequence[Header], *, routes: bytes
) -> str:
    """The name of the record for requests that have the same values in the fields that responses vary by.

    Args:
        generation: Of the record that says so: when that is deleted, all its variants are out of reach.
    Source: RFC 9111 section 4.1.
    """
    parts = [generation]
    for field in varies:
        if field == ROUTES:
            parts += (ROUTES.encode(), routes)
            continue
        wanted = field.encode("latin-1")
        values = [b" ".join(value.split()) for each, value in headers if each == wanted]
        parts += (wanted, b"%d" % len(values), b",".join(values))
    return f"{name}:{digest(parts).hex()}"


def digest(parts: Iterable[bytes]) -> bytes:
    """20 bytes for several strings of bytes."""
    found = hashlib.blake2b(digest_size=20)
    for part in parts:
        # Length first: where one part ends and the next begins must not be open.
        found.update(b"%d:" % len(part) + part)
    return found.digest()


def names_invalidated(space: str, target: Target, headers: Iterable[Header]) -> list[str]:
    """The names that an unsafe method's answer ends: its target, and where it leads to on the same host.

    Source: RFC 9111 section 4.4.
    """
    scheme, host, path, query = target
    found = [response_name(space, *target)]
    base = (scheme + b"://" + host + path + (b"?" + query if query else b"")).decode("latin-1")
    for name, value in headers:
        if name.lower() not in (b"location", b"content-location"):
            continue
        try:
            parts = urlsplit(urljoin(base, value.decode("latin-1").strip()))
        except ValueError:
            continue
        there = parts.netloc.lower().encode("latin-1", "replace").removesuffix(DEFAULT_PORTS.get(parts.scheme, b"\0"))
        if (parts.scheme.encode("latin-1", "replace"), there) == (scheme, host):
            path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~").encode("ascii")
            query = parts.query.encode("latin-1", "replace")
            found.append(response_name(space, scheme, host, path, query))
    return list(dict.fromkeys(found))
