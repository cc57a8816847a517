"""The places of a request that may repeat a value of an earlier answer, and putting references there."""

import re
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import msgspec
from msgspec import UNSET

from fungible.check.http.template import fill_all
from fungible.check.model import FilePart, Step

SinkKind = Literal["path", "query", "form", "json", "number", "header", "cookie", "text"]
_NOT_SINKS = frozenset({"origin", "referer", "host", "user-agent", "accept", "accept-language", "content-type"})


@dataclass(frozen=True)
class Ref:
    """A captured value, by name."""

    name: str


Piece = str | Ref


@dataclass(frozen=True)
class Sink:
    """One value that a request sends, decoded.

    `key` is the field, parameter, header or cookie name, for a path segment the one before it; `segments` are the
    whole path for path sinks, with `index` the place in it.
    """

    kind: SinkKind
    key: str
    text: str
    path: str
    segments: tuple[str, ...] = ()
    index: int = 0


Binder = Callable[[Sink], Sequence[Piece] | None]
"""Gives the pieces a sink's text is made of, or None to leave it."""


def rewritten(step: Step, bind: Binder) -> Step:
    """The step with each sink replaced as `bind` says."""
    changes: dict[str, Any] = {"path": _target(step.path, bind), "headers": _headers(step, bind)}
    path = step.path.partition("?")[0]

    def plain(kind: SinkKind, key: str, text: str) -> str:
        pieces = bind(Sink(kind, key, text, path))
        return text if pieces is None else _joined(pieces)

    if step.json is not UNSET:
        changes["json"] = _json(step.json, "", path, bind)
    if step.form is not None:
        changes["form"] = {
            key: [plain("form", key, one) for one in value] if isinstance(value, list) else plain("form", key, value)
            for key, value in step.form.items()
        }
    if step.body is not None:
        kind = next((value for name, value in step.headers.items() if name.lower() == "content-type"), "")
        urlencoded = kind.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded"
        changes["body"] = _query(step.body, path, bind, "form") if urlencoded else plain("text", "", step.body)
    if step.auth is not None:
        user, password = step.auth
        changes["auth"] = plain("header", "Authorization", user), plain("header", "Authorization", password)
    if step.files:
        changes["files"] = tuple(_file(part, plain) for part in step.files)
    return msgspec.structs.replace(step, **changes)


def sinks_of(step: Step) -> list[Sink]:
    """Every sink of a step."""
    found: list[Sink] = []
    rewritten(step, found.append)
    return found


def _joined(pieces: Sequence[Piece]) -> str:
    return "".join(piece if isinstance(piece, str) else f"{{{{{piece.name}}}}}" for piece in pieces)


def _encoded(raw: str, text: str, pieces: Sequence[Piece] | None) -> str:
    """The pieces in the encoding that the recorded text had; unchanged where that can't be told."""
    if pieces is None:
        return raw
    whole = len(pieces) == 1 and isinstance(pieces[0], Ref)
    if raw == text and urllib.parse.quote(text, safe="") == raw:
        # Nothing needed encoding this time; a value of many kinds of characters may the next time.
        mark = "|url" if whole and re.search(r"[a-z]", text) and re.search(r"[A-Z]", text) else ""
        return "".join(piece if isinstance(piece, str) else f"{{{{{piece.name}{mark}}}}}" for piece in pieces)
    if raw == text:
        return _joined(pieces)
    if whole:
        return f"{{{{{cast(Ref, pieces[0]).name}|url}}}}"
    if urllib.parse.quote(text, safe="") != raw:
        return raw
    return "".join(urllib.parse.quote(p, safe="") if isinstance(p, str) else f"{{{{{p.name}|url}}}}" for p in pieces)


def _target(target: str, bind: Binder) -> str:
    path, mark, query = target.partition("?")
    raw = path.split("/")
    segments = tuple(urllib.parse.unquote(one) for one in raw)
    done: list[str] = []
    before = ""
    for index, (one, text) in enumerate(zip(raw, segments, strict=True)):
        done.append(_encoded(one, text, bind(Sink("path", before, text, path, segments, index))) if one else one)
        before = text or before
    return "/".join(done) + mark + (_query(query, path, bind, "query") if mark else "")


def _query(query: str, path: str, bind: Binder, kind: Literal["query", "form"]) -> str:
    done: list[str] = []
    for pair in query.split("&"):
        key, equals, raw = pair.partition("=")
        if raw:
            text = urllib.parse.unquote_plus(raw)
            raw = _encoded(raw, text, bind(Sink(kind, urllib.parse.unquote_plus(key), text, path)))
        done.append(key + equals + raw)
    return "&".join(done)


def _headers(step: Step, bind: Binder) -> dict[str, str]:
    path = step.path.partition("?")[0]
    done: dict[str, str] = {}

    def cookie(match: re.Match[str]) -> str:
        return f"{match[1]}={_plain(Sink('cookie', match[1], match[2], path), bind)}"

    for name, value in step.headers.items():
        low = name.lower()
        if low == "cookie":
            value = re.sub(r"([^;=\s]+)=([^;]+)", cookie, value)
        elif low == "authorization":
            scheme, space, rest = value.partition(" ")
            if scheme.lower() != "basic":
                value = (
                    scheme + space + _plain(Sink("header", name, rest, path), bind)
                    if space
                    else _plain(Sink("header", name, value, path), bind)
                )
        elif low not in _NOT_SINKS:
            value = _plain(Sink("header", name, value, path), bind)
        done[name] = value
    return done


def _plain(sink: Sink, bind: Binder) -> str:
    pieces = bind(sink)
    return sink.text if pieces is None else _joined(pieces)


def numbers_can_be_filled() -> bool:
    """True where `{{name|json}}`, standing alone in a JSON string, becomes the number."""
    try:
        return fill_all("{{n|json}}", {"n": "1"}) == 1
    except LookupError:
        return False


def _json(value: Any, key: str, path: str, bind: Binder) -> Any:
    if isinstance(value, dict):
        return {name: _json(item, name, path, bind) for name, item in cast(dict[str, Any], value).items()}
    if isinstance(value, list):
        return [_json(item, key, path, bind) for item in cast(list[Any], value)]
    if isinstance(value, str):
        return _plain(Sink("json", key, value, path), bind)
    if isinstance(value, int) and not isinstance(value, bool):
        pieces = bind(Sink("number", key, str(value), path))
        if pieces is not None and len(pieces) == 1 and isinstance(pieces[0], Ref) and numbers_can_be_filled():
            return f"{{{{{pieces[0].name}|json}}}}"
    return value


def _file(part: FilePart, plain: Callable[[SinkKind, str, str], str]) -> FilePart:
    if part.content is None:
        return part
    return msgspec.structs.replace(part, content=plain("text", part.field, part.content))


def request_text(step: Step) -> str:
    """Everything a request sends, decoded, to look for values in."""
    return "\n".join([sink.text for sink in sinks_of(step)] + [part.filename for part in step.files])
