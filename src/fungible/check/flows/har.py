"""A HAR 1.2 recording read as exchanges: which requests count, what each sends, which cookies were chosen."""

import base64
import re
import urllib.parse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import cast

from fungible.check.errors import CheckFileError
from fungible.check.flows.har_body import PLACEHOLDER, body_of
from fungible.check.flows.har_entries import Entry, as_dict, read_entries
from fungible.check.flows.html_forms import Form, read_page
from fungible.check.flows.recorded_cookies import Sent, explain
from fungible.check.flows.step_names import Names, button_words, step_name
from fungible.check.model import Exchange, Step

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_DOCUMENTS = frozenset({"document", "xhr", "fetch"})
_STATIC_TYPES = frozenset({"image", "font", "stylesheet", "script", "media", "manifest", "texttrack"})
_STATIC_MIME = re.compile(
    r"(?:image|font|audio|video)/|text/css|(?:text|application)/(?:x-)?javascript|application/font"
)
_DROPPED = frozenset(
    "host content-length connection accept-encoding cookie user-agent upgrade-insecure-requests dnt priority "
    "cache-control pragma transfer-encoding te trailer keep-alive upgrade expect content-type".split()
)
_DROPPED_START = (":", "sec-", "proxy-")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Recording:
    """What a recording says. `host` is the Host header that the application saw, `notes` what was left out."""

    exchanges: tuple[Exchange, ...]
    cookies: dict[str, str]
    host: str
    https: bool
    notes: tuple[str, ...] = ()


def read_har(path: Path) -> Recording:
    """The recording in a HAR 1.2 file.

    Raises:
        CheckFileError: it can't be read, is larger than `MAX_BYTES`, is no HAR, or has no request to an application.
    """
    entries, dropped = read_entries(path)
    if not entries:
        raise CheckFileError(
            f"{path}: no entry is an answered HTTP request; record again with the network log on, and save it with contents"
        )
    host, https = _main_origin(entries)
    here = [entry for entry in entries if entry.origin == host]
    elsewhere = len(entries) - len(here)
    kept = _without_assets(here)
    notes = [
        f"{count} {words}"
        for count, words in (
            (elsewhere, f"recorded requests to other hosts than {host} were left out"),
            (len(here) - len(kept), "recorded requests for images, fonts, scripts and styles were left out"),
            (dropped, "recorded entries without an answer, web sockets and preflights were left out"),
        )
        if count
    ]
    first, chosen = explain([_sent(entry) for entry in kept])
    host_header = Counter(entry.sent("host") or entry.sent(":authority") or host for entry in kept).most_common(1)[0][0]
    exchanges = tuple(
        Exchange(step=_step(entry, name, {host, host_header}, cookie), answer=entry.answer)
        for entry, name, cookie in zip(kept, _named(kept), chosen, strict=True)
    )
    return Recording(exchanges, first, host_header, https, tuple(notes))


def _main_origin(entries: list[Entry]) -> tuple[str, bool]:
    def is_document(entry: Entry) -> bool:
        return entry.kind in _DOCUMENTS or (not entry.kind and not _STATIC_MIME.match(entry.answer.media_type))

    counted = [entry for entry in entries if is_document(entry)] or entries
    host = Counter(entry.origin for entry in counted).most_common(1)[0][0]
    schemes = Counter(entry.url.scheme for entry in entries if entry.origin == host)
    return host, schemes["https"] >= schemes["http"]


def _without_assets(entries: list[Entry]) -> list[Entry]:
    """Without what any copy of the application serves alike; what visitors uploaded stays."""
    kept: list[Entry] = []
    uploaded: set[str] = set()
    before_upload: list[bytes] = []
    for entry in entries:
        if not _is_asset(entry) or _is_uploaded(entry, uploaded, before_upload):
            kept.append(entry)
        if not uploaded:
            before_upload += [entry.answer.body, entry.url.path.encode()]
        if entry.method not in _SAFE:
            uploaded |= _uploads(entry)
    return kept or entries


def _is_asset(entry: Entry) -> bool:
    if entry.method not in _SAFE or entry.kind in _DOCUMENTS:
        return False
    return entry.kind in _STATIC_TYPES or _STATIC_MIME.match(entry.answer.media_type) is not None


def _is_uploaded(entry: Entry, uploaded: set[str], before: list[bytes]) -> bool:
    """True for a picture that was first heard of after an upload."""
    if not uploaded or not entry.answer.media_type.startswith(("image/", "audio/", "video/")):
        return False
    name = entry.url.path.rpartition("/")[2]
    return any(stem and stem in name for stem in uploaded) or not any(name.encode() in text for text in before)


def _uploads(entry: Entry) -> set[str]:
    """The stems of the file names that a request uploads; an upload without names gives an empty one."""
    fields, _ = body_of(entry.raw.get("request", {}).get("postData"), entry.sent("content-type"))
    stems = {part.filename.rpartition(".")[0] for part in fields.get("files", ())}
    if not stems and entry.sent("content-type").startswith(
        ("multipart/form-data", "image/", "audio/", "video/", "application/octet-stream")
    ):
        return {""}
    return {stem if len(stem) > 2 else "" for stem in stems}


def _sent(entry: Entry) -> Sent:
    try:
        began = datetime.fromisoformat(str(entry.raw.get("startedDateTime"))).timestamp()
        ended = began + float(entry.raw.get("time") or 0) / 1000
    except (ValueError, TypeError, OverflowError):
        began = ended = 0.0
    return Sent(entry.target, entry.sent("cookie"), entry.answer, began, ended)


def _named(entries: list[Entry]) -> list[str]:
    """A step id for each entry: its comment where that is fit for one, else a name from what it does."""
    names = Names()
    forms: dict[str, list[Form]] = {}
    found: list[str] = []
    for entry in entries:
        comment = entry.raw.get("comment")
        fit = isinstance(comment, str) and _ID.fullmatch(comment)
        found.append(names.unique(comment if fit and isinstance(comment, str) else _name(entry, forms)))
        if "html" in entry.answer.media_type:
            for form in read_page(entry.answer.text).forms:
                action = urllib.parse.urljoin(entry.target, form.action or entry.target)
                forms.setdefault(urllib.parse.urlsplit(action).path, []).insert(0, form)
    return found


def _name(entry: Entry, forms: dict[str, list[Form]]) -> str:
    """`forms` are those of the pages so far, by the path that they are sent to, the latest first."""
    if entry.method in _SAFE:
        return step_name(entry.method, entry.target)
    body, _ = body_of(as_dict(entry.raw.get("request")).get("postData"), entry.sent("content-type"))
    sent = as_dict(body.get("form"))
    fitting = (
        form
        for form in forms.get(entry.url.path or "/", ())
        if form.method == entry.method and set(sent) <= {one.name for one in form.fields}
    )
    form = next(fitting, None)
    return step_name(entry.method, entry.target, button=button_words(form, sent) if form else "", body=body)


def _step(entry: Entry, name: str, hosts: set[str], cookie: str | None) -> Step:
    fields, keeps_type = body_of(as_dict(entry.raw.get("request")).get("postData"), entry.sent("content-type"))
    headers = _headers(entry, hosts)
    if keeps_type:
        given = entry.sent("content-type") or str(
            as_dict(as_dict(entry.raw.get("request")).get("postData")).get("mimeType") or ""
        )
        if given:
            headers["Content-Type"] = given
    if cookie is not None:
        headers["Cookie"] = cookie
    given = next((key for key in headers if key.lower() == "authorization"), None)
    if given is not None and (auth := _basic(headers[given])) is not None:
        del headers[given]
        fields["auth"] = auth
    make = cast(Callable[..., Step], Step)
    return make(
        id=name, method=entry.method, path=entry.target, headers=headers, recorded_status=entry.answer.status, **fields
    )


def _headers(entry: Entry, hosts: set[str]) -> dict[str, str]:
    """The headers that say something about the request rather than about the client or the connection."""
    kept: dict[str, str] = {}
    for name, value in entry.headers:
        low = name.lower()
        if low in _DROPPED or low.startswith(_DROPPED_START) or PLACEHOLDER.search(value):
            continue
        if low in {"origin", "referer"}:
            value = _with_host(value, hosts)
        same = next((key for key in kept if key.lower() == low), None)
        kept[same or name] = value if same is None else f"{kept[same]}, {value}"
    return kept


def _basic(header: str) -> tuple[str, str] | None:
    """User and password of Basic authentication (RFC 7617), where they make just this header again: a name may be made unique."""
    scheme, _, encoded = header.partition(" ")
    if scheme != "Basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return None
    same = colon and base64.b64encode(f"{user}:{password}".encode()).decode() == encoded
    return (user, password) if same and "{{" not in user + password else None


def _with_host(url: str, hosts: set[str]) -> str:
    scheme, mark, rest = url.partition("://")
    netloc, slash, tail = rest.partition("/")
    return (
        f"{scheme}{mark}{{{{host}}}}{slash}{tail}"
        if mark and netloc.lower() in {host.lower() for host in hosts}
        else url
    )
