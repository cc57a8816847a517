"""Whatever stands in a header, cookie, token, URL or body: to read it takes work that grows with its length alone.

Counted is CPU time, of a text and of one that is eight times as long; and of a plain loop over the latter, below which
nothing is told apart. What grows with the square takes 64 times as long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote

import pytest

from fungible.cache import conditions, directives, freshness, requests
from fungible.check.findings.differences import plain_text
from fungible.check.flows import har_body, html_forms, leaves, values
from fungible.check.http import jar, template
from fungible.check.model import Answer
from fungible.check.oracle import places
from fungible.core import asgi, sealing, structured, urls
from fungible.core.errors import FungibleError
from fungible.core.keyring import key_ring
from fungible.idempotency import header as idempotency_header
from fungible.idempotency.callers import Callers
from fungible.idempotency.fingerprints import host_name
from fungible.idempotency.options import Options, Routes
from fungible.limits import forwarded
from fungible.limits.addresses import Addresses
from fungible.sessions import cookies
from fungible.sessions.middleware import cookie_header
from fungible.tokens import SigningKeys, TokenVerifier, dpop_proof, families, framing, jwks, middleware_credentials

SHORT: Final = 2_000
TIMES: Final = 8
MOST: Final = 24.0
"""How much longer eight times as much may take: 8, and room for noise; the square would be 64."""
TRIES: Final = 4

PIECES: Final = (
    ",",
    ", ",
    " ",
    "\t",
    ";",
    "; ",
    '"',
    '",',
    '\\"',
    "\\",
    '"\\',
    "=",
    "a=",
    'a="',
    'a="b",',
    "a=b;",
    "; a",
    ';a="',
    "a",
    "0",
    "1.",
    ".",
    "/",
    "//",
    "%2",
    "%41",
    "-",
    "_",
    ":",
    "[",
    "]",
    "(",
    "{",
    "}",
    "<",
    "<a",
    "<a ",
    "<a>",
    "<a href=",
    '<a href="/x/1?y=2">',
    "<head>",
    "<script>",
    "<!--",
    "<!--<a>",
    "<![CDATA[]",
    "<a '>",
    "</",
    "&",
    "&amp;",
    "&#",
    "W/",
    'W/"a", ',
    "session=",
    "; session=",
    "for=",
    "for=1,",
    'host="',
    ";host=a",
    "Bearer ",
    "DPoP ",
    "\r\n",
    "--",
    "\r\n--",
    "a.",
    "eyJ",
    "@",
    "?",
    "#",
    "{{a",
    "[0]/",
    '{"a":',
    "é",
    "\x00",
)
"""What texts are made of, over and over: of everything that parts, opens, closes or escapes something somewhere."""
BEGINNINGS: Final = ("", '"', 'a="', "Bearer ", "https://a/")
RING = key_ring("only for tests, and long enough for that")
SEALER = sealing.Sealer(RING, purpose="test")
VERIFIER = TokenVerifier(SigningKeys.generate(), issuer="i", audience="a", max_bytes=65_536)
ROUTES = Routes(Options(), {"/a/{b}/*/c": {}, "/*/*/*/*": {}, "/{a}": {}})
ADDRESSES = {
    kind: Addresses(["0.0.0.0/0", "::/0", "unix"], proxy_header=kind)  # type: ignore[arg-type]
    for kind in ("x-forwarded-for", "forwarded")
}
JWKS = jwks.JWKSApp(SigningKeys.generate())
CALLERS = Callers(scope=None, caller_header="authorization", anonymous="share")


def latin(text: str) -> bytes:
    return text.encode("latin-1", "replace")


def scope(*fields: tuple[str, str], **more: Any) -> dict[str, Any]:
    headers = [(name.encode(), latin(value)) for name, value in fields]
    return {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "query_string": b"",
        "headers": headers,
        **more,
    }


async def nothing() -> Any:
    return {"type": "http.request"}


async def nowhere(message: Any) -> None:
    """There is no client."""


def answer(text: str, kind: str) -> Answer:
    return Answer(status=200, headers=(("Content-Type", kind),), body=text.encode("utf-8", "replace"))


def run(work: Any) -> Any:
    return asyncio.run(work)


PARSERS: Final[dict[str, Callable[[str], object]]] = {
    "Cache-Control": directives.parse,
    "If-None-Match": lambda text: conditions.names(text, '"a"'),
    "an entity tag": lambda text: conditions.names('"a"', text),
    "a number of seconds": directives.delta_seconds,
    "a date": freshness.http_date,
    "headers of a response": lambda text: freshness.facts_of(
        [(name, latin(text)) for name in (b"vary", b"cache-control", b"age", b"expires", b"content-length", b"etag")]
    ),
    "a cached request": lambda text: requests.Asked(
        scope(
            *((name, text) for name in ("cache-control", "if-none-match", "forwarded", "host", "pragma")),
            path=text,
            query_string=latin(text),
        ),
        "s",
    ),
    "Location": lambda text: requests.names_invalidated(
        "s", (b"http", b"a", b"/" + latin(text), latin(text)), [(b"location", latin(text))]
    ),
    "a structured string": structured.parse_string,
    "a URL of a home": urls.parse_home_url,
    "a list field": lambda text: asgi.list_members([(b"vary", latin(text))], b"vary"),
    "Cookie": lambda text: cookies.cookie_values(text, "session="),
    "a sealed cookie": SEALER.open,
    "a session's ID": lambda text: cookies.verified_id(text, RING),
    "Authorization": lambda text: middleware_credentials.read_credentials([(b"authorization", latin(text))]),
    "a token": lambda text: VERIFIER.verify(text),
    "a token's claims": lambda text: framing.read_claims(b'{"a":"' + text.encode("utf-8", "replace") + b'"}'),
    "a refresh token": families.parse,
    "a DPoP proof": lambda text: dpop_proof.read_proof(text, ("ES256",)),
    "a DPoP proof's URL": dpop_proof.normalised,
    "a path for DPoP": dpop_proof.normalised_path,
    "If-None-Match of a JWK set": lambda text: run(JWKS(scope(("if-none-match", text)), nothing, nowhere)),
    "Idempotency-Key": idempotency_header.parse_key,
    "a route": lambda text: ROUTES.options("/" + text),
    "Host": lambda text: host_name(latin(text)),
    "an idempotent caller": lambda text: CALLERS.caller(scope(("authorization", text))),
    "X-Forwarded-For": lambda text: list(forwarded.hops_of_list(text)),
    "Forwarded": lambda text: list(forwarded.hops_of_forwarded(text)),
    "a client's address": lambda text: [
        ADDRESSES[name].address(scope((name, text), client=None)) for name in ADDRESSES
    ],
    "Set-Cookie": jar.read_set_cookie,
    "a request target": jar.path_of,
    "a target to send": template.encoded_target,
    "a page's forms": html_forms.read_page,
    "a recorded body": lambda text: [
        har_body.body_of({"text": text}, kind)
        for kind in ("application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=-", "")
    ],
    "a recorded content type": lambda text: har_body.body_of({"text": "--a\r\n\r\nb"}, "multipart/form-data; " + text),
    "values of a page": lambda text: list(leaves.leaves(answer(text, "text/html"), "/")),
    "values of XML": lambda text: list(leaves.leaves(answer(text, "text/xml"), "/")),
    "values of JSON": lambda text: list(leaves.leaves(answer(f'["{text}"]', "application/json"), "/")),
    "values of headers": lambda text: list(
        leaves.leaves(
            Answer(
                status=200,
                headers=(("Link", text), ("Location", text), ("Set-Cookie", text), ("X-Authorization", text)),
                body=b"",
            ),
            "/",
        )
    ),
    "an opaque value": lambda text: [values.is_opaque(text), values.varies(text), values.from_base64(text)],
    "places of a page": lambda text: places.places_of(answer(text, "text/html"), "a"),
    "places of a text": lambda text: places.places_of(answer(text, "text/plain"), "a"),
    "an answer's words": lambda text: plain_text(text),
}


def cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    with suppress(FungibleError, ValueError, LookupError, RecursionError):
        work()
    return time.process_time() - began


def loop(count: int) -> None:
    """What is quick beside it is not told apart."""
    for _ in range(count):
        pass


def grows(work: Callable[[int], object]) -> float:
    """How many times longer `SHORT * TIMES` take than `SHORT`: the least of several, as other processes disturb it."""
    found = float("inf")
    for _ in range(TRIES):
        long_s = cpu_s(lambda: work(SHORT * TIMES))
        floor_s = cpu_s(lambda: loop(SHORT * TIMES))
        if long_s <= floor_s * TIMES:
            return TIMES
        found = min(found, long_s / max(cpu_s(lambda: work(SHORT)), floor_s))
        if found < MOST:
            break
    return found


def texts() -> Iterator[tuple[str, str]]:
    for beginning in BEGINNINGS:
        for piece in PIECES:
            yield beginning, piece


@pytest.mark.parametrize("name", PARSERS)
def test_the_work_of_a_parser_grows_with_the_length_of_what_it_reads(name: str) -> None:
    parse = PARSERS[name]
    slow: dict[tuple[str, str], float] = {}
    for beginning, piece in texts():
        text = beginning + piece * (SHORT * TIMES // len(piece))
        found = grows(lambda length, text=text: parse(text[:length]))  # type: ignore[misc]
        if found >= MOST:
            slow[beginning, piece] = round(found)
    assert slow == {}


MANY: Final[dict[str, Callable[[list[tuple[bytes, bytes]]], object]]] = {
    "a header": lambda headers: asgi.header(headers, b"vary"),
    "a list field": lambda headers: asgi.list_members(headers, b"vary"),
    "Cookie": lambda headers: cookie_header({"headers": [(b"cookie", value) for _, value in headers]}),
    "a cached request": lambda headers: requests.Asked(
        {"method": "GET", "path": "/", "headers": [*headers, *((b"cache-control", value) for _, value in headers)]}, "s"
    ),
    "If-None-Match": lambda headers: requests.Asked(
        {"method": "GET", "path": "/", "headers": [(b"if-none-match", value) for _, value in headers]}, "s"
    ),
    "Forwarded": lambda headers: requests.routes_of([(b"forwarded", value) for _, value in headers]),
    "headers of a response": freshness.facts_of,
    "what varies": lambda headers: requests.variant_name("n", b"g", ["vary"], headers, routes=b""),
    "DPoP": lambda headers: middleware_credentials.read_credentials([(b"dpop", value) for _, value in headers]),
    "an idempotent caller": lambda headers: CALLERS.caller(
        {"type": "http", "headers": [(b"authorization", value) for _, value in headers]}
    ),
}


@pytest.mark.parametrize("name", MANY)
def test_the_work_grows_with_the_number_of_lines_of_one_field(name: str) -> None:
    read = MANY[name]
    lines = [(b"vary", b"a%d" % number + b"x" * 20) for number in range(SHORT * TIMES)]
    assert grows(lambda count: read(lines[:count])) < MOST


def test_the_measure_sees_the_square() -> None:
    assert grows(lambda count: [quote("a") for _ in range(count // 100) for _ in range(count // 100)]) > MOST
