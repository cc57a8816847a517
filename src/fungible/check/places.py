"""An answer taken apart into places, so that two answers are compared place by place.

A place is a name such as `status`, `cookie sid`, `json /orders/*/id` or `html body/ul.items/li`; its values are a multiset.
Positions in arrays and among equal elements are left out of the name: order is no difference, number is.
"""

import hashlib
import json
import re
import urllib.parse
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from html.parser import HTMLParser
from typing import Any

from fungible.check.jar import read_set_cookie
from fungible.check.model import Answer

Places = dict[str, Counter[str]]
MAX_VALUE = 400
MAX_LINES = 2000
_VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())
_SPACE = re.compile(r"\s+")


def places_of(answer: Answer, host: str, plain: Callable[[str], str] = str) -> Places:
    """The places of an answer and what stands in each.

    Args:
        answer: What came back.
        host: The Host header all instances get: taken out of absolute URLs in Location.
        plain: Undoes what this run alone has chosen (names made unique, captured values), applied to every text.
    """
    found: Places = {"connection": Counter([answer.error or "whole"])}
    if not answer.status:
        return found
    found["status"] = Counter([str(answer.status)])
    found["content-type"] = Counter([answer.media_type])
    location = answer.header("location")
    if location is not None:
        _location(found, plain(location), host)
    for name, text in answer.headers:
        if name.lower() == "set-cookie":
            _cookie(found, text)
    if answer.error is None:
        found |= _body(answer, plain)
    return found


def _location(found: Places, location: str, host: str) -> None:
    parts = urllib.parse.urlsplit(location)
    where = "" if parts.netloc in {"", host} else parts.netloc
    found["location"] = Counter([where + parts.path])
    for name, text in urllib.parse.parse_qsl(parts.query, keep_blank_values=True):
        found.setdefault(f"location ?{name}", Counter())[text] += 1


def _cookie(found: Places, header: str) -> None:
    cookie = read_set_cookie(header)
    if cookie is None:
        return
    kept = sorted(
        name if name in {"expires", "max-age"} else f"{name}={text}" if text else name
        for name, text in cookie.attributes.items()
        if name in {"path", "domain", "secure", "httponly", "samesite", "partitioned", "expires", "max-age"}
    )
    state = "deleted" if cookie.deletes else "set" if cookie.value else "empty"
    found.setdefault(f"cookie {cookie.name}", Counter())["; ".join([state, *kept])] += 1


def _body(answer: Answer, plain: Callable[[str], str]) -> Places:
    kind = answer.media_type
    if not answer.body:
        return {"body": Counter(["empty"])}
    if not _is_text(answer):
        digest = hashlib.sha256(answer.body).hexdigest()[:16]
        return {"body": Counter([f"{len(answer.body)} bytes, SHA-256 {digest}"])}
    text = plain(answer.text)
    if kind.endswith("json") or text.lstrip()[:1] in {"{", "["}:
        try:
            return _json(text)
        except (ValueError, RecursionError):
            pass
    if "html" in kind or "xml" in kind or text.lstrip()[:1] == "<":
        return _markup(text)
    return _lines(text)


def _is_text(answer: Answer) -> bool:
    kind = answer.media_type
    if (
        kind.startswith("text/")
        or kind.endswith(("json", "xml", "javascript"))
        or kind == "application/x-www-form-urlencoded"
    ):
        return True
    if kind.startswith(("image/", "video/", "audio/", "font/")) or b"\0" in answer.body[:4096]:
        return False
    try:
        answer.body[:4096].decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(answer.body[:4096]) - 4
    return True


@lru_cache(maxsize=256)
def _json_cached(text: str) -> tuple[tuple[str, tuple[tuple[str, int], ...]], ...]:
    found: Places = {}
    _leaves(json.loads(text), "json ", found)
    return _frozen(found)


def _json(text: str) -> Places:
    return {place: Counter(dict(values)) for place, values in _json_cached(text)}


def _frozen(found: Places) -> tuple[tuple[str, tuple[tuple[str, int], ...]], ...]:
    return tuple((place, tuple(values.items())) for place, values in found.items())


def _leaves(value: Any, place: str, found: Places) -> None:
    if isinstance(value, dict):
        found.setdefault(place + "/{}", Counter())[",".join(sorted(map(str, value)))[:MAX_VALUE] or "empty"] += 1  # pyright: ignore
        for key, item in value.items():  # pyright: ignore[reportUnknownVariableType]
            _leaves(item, f"{place}/{str(key).replace('~', '~0').replace('/', '~1')}", found)  # pyright: ignore
    elif isinstance(value, list):
        found.setdefault(place + "/#", Counter())[str(len(value))] += 1  # pyright: ignore[reportUnknownArgumentType]
        for item in value:  # pyright: ignore[reportUnknownVariableType]
            _leaves(item, place + "/*", found)
    else:
        found.setdefault(place, Counter())[_short(json.dumps(value, ensure_ascii=False))] += 1


def _short(value: str) -> str:
    if len(value) <= MAX_VALUE:
        return value
    return f"{value[:80]}… ({len(value)} characters, SHA-256 {hashlib.sha256(value.encode('utf-8', 'replace')).hexdigest()[:16]})"


class _Markup(HTMLParser):
    """Text nodes and attributes by the path of element names, classes and ids that leads to them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: Places = {}
        self._path: list[str] = []
        self._tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        name = tag
        if tag in {"input", "meta", "select", "textarea", "button"} and (named.get("name") or named.get("property")):
            name += f"[name={named.get('name') or named.get('property')}]"
        elif named.get("class"):
            name += "." + ".".join(sorted((named["class"] or "").split())[:3])
        path = "/".join([*self._path[-12:], name])
        self.found.setdefault(f"html {path}", Counter())["element"] += 1
        for key, text in attrs:
            if key not in {"class", "nonce", "style"}:
                self.found.setdefault(f"html {path}/@{key}", Counter())[_short(text or "")] += 1
        if tag not in _VOID:
            self._path.append(name)
            self._tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._tags[-8:]:
            while self._tags.pop() != tag:
                self._path.pop()
            self._path.pop()

    def handle_data(self, data: str) -> None:
        text = _SPACE.sub(" ", data).strip()
        if text:
            self.found.setdefault(f"html {'/'.join(self._path[-12:])}/text()", Counter())[_short(text)] += 1


@lru_cache(maxsize=256)
def _markup_cached(text: str) -> tuple[tuple[str, tuple[tuple[str, int], ...]], ...]:
    parser = _Markup()
    parser.feed(text[:2_000_000])
    parser.close()
    return _frozen(parser.found)


def _markup(text: str) -> Places:
    try:
        return {place: Counter(dict(values)) for place, values in _markup_cached(text)}
    except (AssertionError, ValueError):  # html.parser gives up on some malformed declarations
        return _lines(text)


def _lines(text: str) -> Places:
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        return {"body": Counter([_short(text)])}
    found: Places = {"text lines": Counter([str(len(lines))])}
    for number, line in enumerate(lines, 1):
        found[f"text line {number}"] = Counter([_short(line.strip())])
    return found
