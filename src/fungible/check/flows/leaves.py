"""The values of an answer that a later request may repeat, each with the capture that takes it out again."""

import html
import json
import re
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Literal, cast

from fungible.check.flows.html_forms import Field, Form, read_page
from fungible.check.flows.values import from_base64, is_id_key, stem, stems_of_path, varies
from fungible.check.http.jar import read_set_cookie
from fungible.check.model import Answer, Capture

MAX_LEAVES = 20_000
_Decode = tuple[Literal["html", "url", "base64"], ...]
_PLAIN_HEADERS = frozenset(
    "date server connection content-length content-type content-language cache-control vary expires age via allow "
    "set-cookie location strict-transport-security keep-alive accept-ranges pragma referrer-policy x-powered-by "
    "x-frame-options x-content-type-options content-security-policy permissions-policy www-authenticate".split()
)
_TOKEN_META = re.compile(r"csrf|xsrf|token|nonce|verification", re.IGNORECASE)


class Rank(IntEnum):
    """How surely a place is where a client takes a value from; lower is surer."""

    TOKEN = 0
    JSON_ID = 1
    LOCATION = 2
    COOKIE = 3
    JSON = 4
    HEADER = 5
    LINK = 6
    JSON_IN_ARRAY = 7
    DECODED = 8
    TEXT = 9


@dataclass(frozen=True)
class Leaf:
    """One value of an answer.

    `about` are the stems of the names around it: what kind of thing it identifies. `is_id` tells that short values
    and plain words from here count. `route` is the path of a link, with None for the segment that this leaf is.
    """

    value: str
    rank: Rank
    label: str
    capture: Capture
    is_id: bool = False
    about: frozenset[str] = frozenset()
    route: tuple[str | None, ...] | None = None


def leaves(answer: Answer, request_path: str, wanted: Callable[[str], bool] = lambda _: True) -> Iterator[Leaf]:
    """The values of an answer to a request for `request_path`, those of the first `MAX_LEAVES` that are `wanted`."""
    about = stems_of_path(request_path)
    for number, leaf in enumerate(_all(answer)):
        if number >= MAX_LEAVES:
            return
        plain = from_base64(leaf.value)
        found = [leaf] if wanted(leaf.value) else []
        if plain is not None and wanted(plain):
            capture = replace_decode(leaf.capture, (*leaf.capture.decode, "base64"))
            found.append(replace(leaf, value=plain, rank=Rank.DECODED, capture=capture))
        for one in found:
            yield replace(one, about=one.about | about | {stem(one.label)})


def _all(answer: Answer) -> Iterator[Leaf]:
    yield from _of_headers(answer)
    kind = answer.media_type
    start = answer.body[:200].lstrip()[:1]
    if kind.endswith("json") or (not kind.endswith(("html", "xml")) and start in (b"{", b"[")):
        try:
            document = json.loads(answer.body)
        except (ValueError, RecursionError):
            pass
        else:
            yield from _of_json(document)
            return
    if "html" in kind or (not kind and start == b"<"):
        yield from _of_page(answer.text)
    elif "xml" in kind:
        yield from _of_xml(answer.text)
    elif kind == "text/plain" and len(answer.body) <= 4096:
        text = answer.text.strip()
        if text and not re.search(r"\s", text):
            yield Leaf(text, Rank.HEADER, "text", Capture(name="_", source="body", regex=r"(\S+)"))


def replace_decode(capture: Capture, decode: _Decode) -> Capture:
    """The capture with other encodings to undo."""
    return Capture(
        name=capture.name,
        source=capture.source,
        path=capture.path,
        header=capture.header,
        cookie=capture.cookie,
        regex=capture.regex,
        decode=decode,
        default=capture.default,
    )


def _of_headers(answer: Answer) -> Iterator[Leaf]:
    seen: set[str] = set()
    for name, value in answer.headers:
        low = name.lower()
        if low == "set-cookie":
            cookie = read_set_cookie(value)
            if cookie is not None and cookie.value:
                yield from _of_cookie(cookie.name, cookie.value, value, first=low not in seen)
        elif low in seen:
            continue  # a capture reads the first header of a name
        elif low == "location":
            yield Leaf(value, Rank.LOCATION, "location", Capture(name="_", source="header", header="Location"))
            yield from _of_url(value, Rank.LOCATION, {"source": "header", "header": "Location"}, start="^")
        elif low not in _PLAIN_HEADERS and value:
            yield from _of_header(name, value)
        seen.add(low)


def _of_cookie(name: str, value: str, header: str, *, first: bool) -> Iterator[Leaf]:
    ways = [Capture(name="_", source="cookie", cookie=name)]
    if first:  # for a step that leaves the jar alone
        ways.append(Capture(name="_", source="header", header="Set-Cookie", regex=rf"^{re.escape(name)}=([^;]+)"))
    for way in ways:
        yield Leaf(value, Rank.COOKIE, name, way, is_id=True)
        if urllib.parse.unquote(value) != value:
            yield Leaf(urllib.parse.unquote(value), Rank.COOKIE, name, replace_decode(way, ("url",)), is_id=True)


def _of_header(name: str, value: str) -> Iterator[Leaf]:
    capture = Capture(name="_", source="header", header=name)
    yield Leaf(value, Rank.HEADER, name, capture, is_id=is_id_key(name))
    scheme, _, rest = value.partition(" ")
    if rest and name.lower().endswith("authorization"):
        narrowed = Capture(name="_", source="header", header=name, regex=rf"^{re.escape(scheme)}\s+(\S+)")
        yield Leaf(rest.strip(), Rank.HEADER, name, narrowed, is_id=True)
    if name.lower() == "link" and (match := re.search(r"<([^<>]+)>", value)):
        yield from _of_url(match[1], Rank.LINK, {"source": "header", "header": name}, start="<")


def _of_json(document: Any) -> Iterator[Leaf]:
    """Strings and whole numbers, each by its JSON pointer; a string that is an address also by its parts."""
    waiting: list[tuple[Any, str, str, frozenset[str], bool]] = [(document, "", "value", frozenset(), False)]
    while waiting:
        value, pointer, label, about, in_array = waiting.pop()
        if isinstance(value, dict):
            for key, item in reversed(list(cast(dict[str, Any], value).items())):
                step = key.replace("~", "~0").replace("/", "~1")
                inside = about if pointer == "" else about | {stem(label)}
                waiting.append((item, f"{pointer}/{step}", key, inside, in_array))
        elif isinstance(value, list):
            listed = cast(list[Any], value)[:MAX_LEAVES]
            waiting += [(item, f"{pointer}/{n}", label, about, True) for n, item in reversed(list(enumerate(listed)))]
        elif isinstance(value, str | int) and not isinstance(value, bool):
            is_id = is_id_key(label)
            rank = Rank.JSON_IN_ARRAY if in_array else Rank.JSON_ID if is_id else Rank.JSON
            capture = Capture(name="_", source="json", path=pointer)
            yield Leaf(str(value), rank, label, capture, is_id=is_id, about=about)
            if (
                isinstance(value, str)
                and (value.startswith("/") or re.match(r"https?://", value))
                and len(value) < 2000
            ):
                worse = Rank.JSON_IN_ARRAY if in_array else Rank.LINK
                yield from _of_url(value, worse, {"source": "json", "path": pointer}, start="^")


def _of_url(url: str, rank: Rank, place: dict[str, Any], *, start: str, decode: _Decode = ()) -> Iterator[Leaf]:
    """The identifiers among a URL's path segments, and its query values.

    `start` is the regular expression of what stands just before the URL. Segments that look like identifiers may be
    any in the captures of the others.
    """
    bare = url.partition("#")[0]
    head, _, query = bare.partition("?")
    origin = re.match(r"(?:https?:)?//[^/]*", head)
    path = head[origin.end() :] if origin else head
    start += r"(?:(?:https?:)?//[^/\"'\s]*)?" if origin else ""
    segments = path.split("/")
    template = [r"[^/?#\"'<>\s]+" if varies(segment) else re.escape(segment) for segment in segments]
    for number, segment in enumerate(segments[:16]):
        if not varies(urllib.parse.unquote(segment)):
            continue
        parts = [*template[:number], r"([^/?#\"'<>\s]+)", *template[number + 1 :]]
        regex = start + "/".join(parts) + r"(?=[?#\"'<>\s]|$)"
        before = next((one for one in reversed(segments[:number]) if one and not varies(one)), "")
        route = (*segments[:number], None, *segments[number + 1 :])
        yield from _decoded(
            Leaf(
                segment,
                rank,
                _singular_label(before),
                Capture(name="_", source="body", regex=regex),
                is_id=True,
                about=frozenset({stem(before)}),
                route=route,
            ),
            place,
            decode,
        )
    for pair in query.replace("&amp;", "&").split("&")[:32] if query else ():
        key, _, value = pair.partition("=")
        if value:
            regex = start + "/".join(template) + rf"\?(?:[^\"'\s]*[&;])?{re.escape(key)}=([^&#\"'<>\s]+)"
            leaf = Leaf(
                value,
                rank,
                urllib.parse.unquote_plus(key),
                Capture(name="_", source="body", regex=regex),
                is_id=is_id_key(key),
            )
            yield from _decoded(leaf, place, decode)


def _singular_label(word: str) -> str:
    return stem(word) or "segment"


def _decoded(leaf: Leaf, place: dict[str, Any], decode: _Decode) -> Iterator[Leaf]:
    """The leaf at its place, with what must be undone to read it."""
    value = leaf.value
    undo: _Decode = decode
    if "html" in decode:
        value = html.unescape(value)
    if urllib.parse.unquote(value) != value:
        value = urllib.parse.unquote(value)
        undo = (*undo, "url")
    capture = Capture(name="_", regex=leaf.capture.regex, decode=undo, **place)
    yield replace(leaf, value=value, capture=capture)


def _of_page(text: str) -> Iterator[Leaf]:
    page = read_page(text)
    for form, field in page.fields:
        yield from _of_field(form, field)
    for meta in page.metas:
        rank = Rank.TOKEN if _TOKEN_META.search(meta.name) else Rank.LINK
        for regex, decode in _attribute_regexes(meta.raw, meta.name, "content"):
            yield Leaf(
                meta.content,
                rank,
                meta.name or "meta",
                Capture(name="_", source="body", regex=regex, decode=decode),
                is_id=rank is Rank.TOKEN,
            )
    for link in page.links[:1000]:
        raw = _raw_value(link.raw, link.attribute)
        if raw is None or link.tag in {"link", "script", "img"} or not raw[1]:
            continue
        opening = rf"\b{link.attribute}\s*=\s*{raw[0] or ''}"
        for begin in (opening, rf"\A.*{opening}"):  # the first link of this kind, or the last
            yield from _of_url(
                raw[1], Rank.LINK, {"source": "body"}, start=begin, decode=("html",) if "&" in raw[1] else ()
            )


def _of_field(form: Form | None, field: Field) -> Iterator[Leaf]:
    if field.kind in {"password", "submit", "image", "reset", "file", "textarea"} or not field.name:
        return
    rank = Rank.TOKEN if field.kind == "hidden" else Rank.LINK
    if field.kind == "select":
        name = re.escape(field.name)
        for option in field.options[:200]:
            regex = rf"<select\b[^>]*name=[\"']?{name}\b.*?<option\b[^>]*value=[\"']?([^\"'>]+)"
            yield Leaf(option, Rank.LINK, field.name, Capture(name="_", source="body", regex=regex), is_id=True)
        return
    is_id = field.kind == "hidden" or is_id_key(field.name)
    for regex, decode in _attribute_regexes(field.raw, field.name, "value"):
        within = [regex, rf"\A.*{regex}"]
        if form is not None and form.raw:
            within.append(rf"{re.escape(form.raw)}.*?{regex}")
        for one in within:
            yield Leaf(
                field.value, rank, field.name, Capture(name="_", source="body", regex=one, decode=decode), is_id=is_id
            )


def _raw_value(tag: str, attribute: str) -> tuple[str, str] | None:
    """The quote and the raw text of an attribute in a start tag."""
    match = re.search(rf"[\s\"'/]{attribute}\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>\"']+))", tag, re.IGNORECASE)
    if match is None:
        return None
    return ('"', match[1]) if match[1] is not None else ("'", match[2]) if match[2] is not None else ("", match[3])


def _attribute_regexes(tag: str, name: str, wanted: str) -> Iterator[tuple[str, _Decode]]:
    """Regular expressions that find `wanted` in the tag with this name, whatever its other attributes are."""
    raw = _raw_value(tag, wanted)
    named = re.search(
        rf"[\s\"'](name|property|http-equiv)\s*=\s*([\"']?){re.escape(html.escape(name))}\2", tag, re.IGNORECASE
    )
    if raw is None or named is None:
        return
    quote, text = raw
    at = re.search(rf"[\s\"'/]({wanted})\s*=", tag, re.IGNORECASE)
    written = wanted if at is None else at[1]
    until = rf"[^{quote}]+" if quote else r"[^\s>]+"
    value = rf"{written}\s*=\s*{quote}({until})" + quote
    by_name = rf"{named[1]}\s*=\s*{named[2]}{re.escape(html.escape(name))}{named[2]}"
    first = at is not None and at.start() < named.start()
    decode: _Decode = ("html",) if html.unescape(text) != text else ()
    yield (rf"\s{value}[^>]*\s{by_name}" if first else rf"\s{by_name}[^>]*\s{value}"), decode


def _of_xml(text: str) -> Iterator[Leaf]:
    for match in re.finditer(r"<([\w:.-]+)(?:\s[^<>]*)?>([^<>]{1,500})</\1>", text[:2_000_000]):
        name, raw = match[1], match[2]
        regex = rf"<{re.escape(name)}(?:\s[^<>]*)?>([^<>]+)</"
        decode: _Decode = ("html",) if html.unescape(raw) != raw else ()
        capture = Capture(name="_", source="body", regex=regex, decode=decode)
        yield Leaf(html.unescape(raw), Rank.JSON, name, capture, is_id=is_id_key(name))


def leaf_in_text(value: str, text: str) -> Leaf | None:
    """A leaf by what stands around a value somewhere in a text: a script, an attribute, a string in a string."""
    at = text.find(value)
    while at >= 0:
        end = text[at + len(value) : at + len(value) + 1]
        before = re.search(r"[\w$.\"'\[\]-]{0,40}[^\w\n]{1,6}\Z", text[max(0, at - 48) : at])
        if before is not None and end and not end.isalnum() and len(before[0]) >= 3 and not _varies_within(before[0]):
            regex = re.escape(before[0]) + rf"([^{re.escape(end)}]+)"
            key = re.findall(r"[A-Za-z_][\w-]*", before[0])
            capture = Capture(name="_", source="body", regex=regex)
            return Leaf(value, Rank.TEXT, key[-1] if key else "value", capture, is_id=True)
        at = text.find(value, at + 1)
    return None


def _varies_within(context: str) -> bool:
    """True where a context holds what may be another each time."""
    return any(varies(part) for part in re.findall(r"[\w-]+", context))
