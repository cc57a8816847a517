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
from typing import Any, cast

from fungible.check.http.jar import read_set_cookie
from fungible.check.http.pages import feed
from fungible.check.model import Answer

Places = dict[str, Counter[str]]
_Parsed = tuple[tuple[str, tuple[tuple[str, int], ...]], ...]
"""Places as they are remembered: unchangeable, and with values of any length."""
MAX_VALUE = 400
MAX_LINES = 2000
MAX_REMEMBERED = 256 * 1024
MAX_MARKUP = 2_000_000
_VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())
_ENDED_BY: dict[str, frozenset[str]] = {
    "li": frozenset({"li"}),
    "p": frozenset({"p"}),
    "option": frozenset({"option"}),
    "dt": frozenset({"dt", "dd"}),
    "dd": frozenset({"dt", "dd"}),
    "tr": frozenset({"tr", "td", "th"}),
    "td": frozenset({"td", "th"}),
    "th": frozenset({"td", "th"}),
}
"""Elements that a start tag ends where their own end tags are left out (HTML, section 13.1.2.4)."""
_SPACE = re.compile(r"\s+")
_DRAWN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16,}", re.IGNORECASE)
"""What only a machine puts into a name: UUIDs and digests."""


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
    try:
        parts = urllib.parse.urlsplit(location)
    except ValueError:  # no URL, such as http://[
        found["location"] = Counter([location])
        return
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
    state = "deleted" if cookie.deletes else "set" if cookie.value.strip('"') else "empty"
    found.setdefault(f"cookie {_DRAWN.sub('*', cookie.name)}", Counter())["; ".join([state, *kept])] += 1


def _body(answer: Answer, plain: Callable[[str], str]) -> Places:
    kind = answer.media_type
    if not answer.body:
        return {"body": Counter(["empty"])}
    if not _is_text(answer):
        digest = hashlib.sha256(answer.body).hexdigest()[:16]
        return {"body": Counter([f"{len(answer.body)} bytes, SHA-256 {digest}"])}
    text = answer.text
    if kind == "text/event-stream" and answer.truncated:
        # How much of it had come by then is chance: the first event was the same each time.
        text = text.replace("\r\n", "\n").lstrip("\n").partition("\n\n")[0]
    start = text.lstrip()[:1]
    if kind.endswith("json") or start in {"{", "["}:
        try:
            return _finished(_remembered(_json, text), plain)
        except (ValueError, RecursionError):
            pass
    if "html" in kind or "xml" in kind or start == "<":
        try:
            return _finished(_remembered(_markup, text[:MAX_MARKUP]), plain)
        except (AssertionError, ValueError):  # html.parser gives up on some malformed declarations
            pass
    return _lines(plain(text))


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
        return len(answer.body) > 4096 and error.start > 4096 - 4  # a character that the cut went through
    return True


def _remembered(parse: Callable[[str], _Parsed], text: str) -> _Parsed:
    """The same page comes back in run after run: it is parsed once."""
    return _parsed(parse, text) if len(text) <= MAX_REMEMBERED else parse(text)


@lru_cache(maxsize=256)
def _parsed(parse: Callable[[str], _Parsed], text: str) -> _Parsed:
    return parse(text)


def _frozen(found: Places) -> _Parsed:
    return tuple((place, tuple(values.items())) for place, values in found.items())


def _finished(parsed: _Parsed, plain: Callable[[str], str]) -> Places:
    found: Places = {}
    for place, values in _plained(parsed, plain):
        short = {_short(value): count for value, count in values}
        if place in found or len(short) < len(values):  # two became one
            at = found.setdefault(place, Counter())
            for value, count in values:
                at[_short(value)] += count
        else:
            found[place] = Counter(short)
    return found


def _plained(parsed: _Parsed, plain: Callable[[str], str]) -> _Parsed:
    """With `plain` applied to each name and value: before parsing it would break JSON where a number was captured."""
    texts = [text for place, values in parsed for text in (place, *(value for value, _ in values))]
    together = "\0".join(texts)
    changed = plain(together)  # in one go: there can be fifty thousand values
    if changed == together:
        return parsed
    plained = changed.split("\0")
    given = iter(plained if len(plained) == len(texts) == together.count("\0") + 1 else map(plain, texts))
    rows: list[tuple[str, tuple[tuple[str, int], ...]]] = []
    for _, values in parsed:
        place = next(given)
        counted = [(next(given), count) for _, count in values]
        if place.endswith("/{}"):
            counted = [(",".join(sorted(value.split(","))), count) for value, count in counted]
        rows.append((place, tuple(counted)))
    return tuple(rows)


def _json(text: str) -> _Parsed:
    found: Places = {}
    _leaves([json.loads(text)], "json ", found)
    return _frozen(found)


def _leaves(values: list[Any], place: str, found: Places) -> None:
    """Takes apart all values of one place together: that is much faster than each by itself."""
    dicts = [cast(dict[str, Any], value) for value in values if isinstance(value, dict)]
    lists = [cast(list[Any], value) for value in values if isinstance(value, list)]
    if dicts:
        keys = Counter(map(tuple, dicts))
        shown = found.setdefault(place + "/{}", Counter())
        members: dict[str, list[Any]] = {}
        for names, count in keys.items():
            shown[",".join(sorted(names)) or "empty"] += count
        for value in dicts:
            for key, item in value.items():
                members.setdefault(key, []).append(item)
        for key, items in members.items():
            _leaves(items, f"{place}/{key.replace('~', '~0').replace('/', '~1')}", found)
    if lists:
        found.setdefault(place + "/#", Counter()).update(str(len(value)) for value in lists)
        items = [item for value in lists for item in value]
        if items:
            _leaves(items, place + "/*", found)
    if len(dicts) + len(lists) < len(values):
        plain = [_shown(value) for value in values if not isinstance(value, dict | list)]
        found.setdefault(place, Counter()).update(plain)


def _shown(value: str | float | bool | None) -> str:
    """A value much as JSON writes it; characters in strings stand for themselves."""
    return f'"{value}"' if isinstance(value, str) else json.dumps(value)


def _short(value: str) -> str:
    if len(value) <= MAX_VALUE:
        return value
    return f"{value[:80]}… ({len(value)} characters, SHA-256 {hashlib.sha256(value.encode('utf-8', 'replace')).hexdigest()[:16]})"


class _Markup(HTMLParser):
    """Text nodes and attributes by the path of element names and classes that leads to them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: Places = {}
        self._tags: list[str] = []
        self._names: list[str] = []
        self._path = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        ended = _ENDED_BY.get(tag, frozenset())
        while self._tags and self._tags[-1] in ended:
            self._leave()
        name = _named(tag, dict(attrs))
        path = f"{self._path}/{name}" if self._path else name
        self._count(f"html {path}", "element")
        for key, text in attrs:
            if key not in {"class", "nonce", "style"}:
                self._count(f"html {path}/@{key}", text or "")
        if tag not in _VOID:
            self._tags.append(tag)
            self._names.append(name)
            self._path = "/".join(self._names[-12:])

    def handle_endtag(self, tag: str) -> None:
        if tag in self._tags[-8:]:
            while self._tags[-1] != tag:
                self._leave()
            self._leave()

    def handle_data(self, data: str) -> None:
        # A script's lines are compared one by one: a token in one must not hide the others.
        for part in data.splitlines() if len(data) > MAX_VALUE else (data,):
            text = _SPACE.sub(" ", part).strip()
            if text:
                self._count(f"html {self._path}/text()", text)

    def _leave(self) -> None:
        self._tags.pop()
        self._names.pop()
        self._path = "/".join(self._names[-12:])

    def _count(self, place: str, value: str) -> None:
        values = self.found.get(place)
        if values is None:
            values = self.found[place] = Counter()
        values[value] = values.get(value, 0) + 1


def _named(tag: str, attributes: dict[str, str | None]) -> str:
    """An element in a path: by its field name where it has one, else by its classes."""
    field = attributes.get("name") or attributes.get("property")
    if field and tag in {"input", "meta", "select", "textarea", "button"}:
        tag += f"[name={field}]"
    elif classes := attributes.get("class"):
        tag += "." + ".".join(sorted(classes.split())[:3])
    else:
        return tag
    return _DRAWN.sub("*", tag)


def _markup(text: str) -> _Parsed:
    parser = _Markup()
    feed(parser, text)
    return _frozen(parser.found)


def _lines(text: str) -> Places:
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        return {"body": Counter([_short(text)])}
    found: Places = {"text lines": Counter([str(len(lines))])}
    for number, line in enumerate(lines, 1):
        found[f"text line {number}"] = Counter([_short(line.strip())])
    return found
