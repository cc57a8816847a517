"""Files that an instance wrote: what they are for by their names, and whether one holds an upload or a session."""

import base64
import re
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from msgspec import UNSET

from fungible.check.http.client import to_bytes
from fungible.check.http.template import UnboundError, fill
from fungible.check.model import Step

Contents = Iterable[tuple[str, Path]]
"""Written files: the name the application knows, and where it can be read."""

_PURPOSES: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("byte code", re.compile(r"/__pycache__/|\.py[co]$")),
    ("process IDs", re.compile(r"\.pid$")),
    ("locks", re.compile(r"\.lock$|\.lck$|-shm$")),
    ("editors' files", re.compile(r"\.sw[opx]$|~$")),
    (
        "caches of tools",
        re.compile(r"/\.npm/|/node_modules/\.cache/|/\.cache/(?:pip|npm|yarn|node|fontconfig|mesa_shader_cache)/"),
    ),
)
_LOG: Final = re.compile(r"\.log(?:\.\d+)?$|/logs?/[^/]*$")
_MOST_READ = 16 * 1024 * 1024
_SESSION_DIRECTORY = re.compile(r"/\.?(flask_)?sessions?/")
_SESSION_FILE = re.compile(r"sess(ion)?[_-]", re.IGNORECASE)
_SHORTEST_SENT = 4


def purpose(name: str, path: Path, sent: Iterable[bytes]) -> str | None:
    """What a file is for, where that is nothing that a visitor could miss: `logs`, `locks`; None for all others.

    A log is text. What ends in `.log` and is none, or holds what was `sent`, may be where a store keeps its data.
    """
    for words, pattern in _PURPOSES:
        if pattern.search(name):
            return words
    if _LOG.search(name):
        data = beginning(path)
        if b"\0" not in data and not any(piece in data for piece in sent):
            return "logs"
    return None


def sent_by(step: Step, values: Mapping[str, str]) -> list[bytes]:
    """What a step sends in its body, with the `values` of its run put in, in pieces as a file may hold them."""
    texts: list[str] = []
    if step.json is not UNSET:
        _strings(step.json, texts)
    _strings(step.form or {}, texts)
    pieces = [*uploaded_by(step, values), *(_filled(text, values) for text in texts)]
    return [piece for piece in pieces if len(piece) >= _SHORTEST_SENT]


def _filled(text: str, values: Mapping[str, str]) -> bytes:
    try:
        return to_bytes(fill(text, values))
    except UnboundError:  # a value that was never given: then it was never sent either
        return b""


def _strings(value: object, found: list[str]) -> None:
    if isinstance(value, str):
        found.append(value)
    elif isinstance(value, dict):
        for item in value.values():  # pyright: ignore[reportUnknownVariableType]
            _strings(item, found)  # pyright: ignore[reportUnknownArgumentType]
    elif isinstance(value, list | tuple):
        for item in value:  # pyright: ignore[reportUnknownVariableType]
            _strings(item, found)  # pyright: ignore[reportUnknownArgumentType]


def uploaded_by(step: Step, values: Mapping[str, str]) -> list[bytes]:
    """The files that a step sends: the parts of a form, or a body that is no form, JSON or XML."""

    def raw(encoded: str | None, text: str | None) -> bytes:
        return base64.b64decode(encoded) if encoded is not None else _filled(text or "", values)

    sent = [raw(part.content_base64, part.content) for part in step.files]
    if not sent and step.method.upper() in {"PUT", "POST", "PATCH"} and (step.body or step.body_base64):
        kind = next((text for name, text in step.headers.items() if name.lower() == "content-type"), "")
        if not re.search(r"json|urlencoded|xml", kind):
            sent.append(raw(step.body_base64, step.body))
    return [piece[:4096] for piece in sent if len(piece) >= _SHORTEST_SENT]


def uploaded_in(steps: Iterable[Step], data: bytes, values: Mapping[str, str]) -> bool:
    """True where the data hold what a step uploaded."""
    return any(piece in data for step in steps for piece in uploaded_by(step, values))


def holds_upload(steps: Iterable[Step], contents: Contents, values: Mapping[str, str]) -> str | None:
    """The name of a written file in which what a step uploaded stands; None where there is none."""
    pieces = [piece for step in steps for piece in uploaded_by(step, values)]
    for name, path in contents:
        data = beginning(path)
        if any(piece in data for piece in pieces) and not data.startswith(b"SQLite format 3"):
            return name
    return None


def holds_session(cookies: Iterable[str], contents: Contents) -> str | None:
    """The name of a written file that is a session's: named after the visitor's cookie, or as session files are."""
    # A signed cookie holds the name of the file between other things: `s:name.signature`.
    values = [
        piece[:32]
        for value in cookies
        for piece in re.split(r"[^\w-]", urllib.parse.unquote(value))
        if len(piece) >= 8  # shorter ones may stand in a name by chance
    ]
    for name, _ in contents:
        last = Path(name).name
        if any(value in last for value in values) or _SESSION_FILE.match(last) or _SESSION_DIRECTORY.search(name):
            return name
    return None


def holds_sent(steps: Iterable[Step], contents: Contents, values: Mapping[str, str], *, beside: str) -> str | None:
    """The name of a written file, other than `beside`, that holds what a step sent."""
    pieces = [piece for step in steps if not step.safe for piece in sent_by(step, values)]
    for name, path in contents:
        if name != beside and any(piece in beginning(path) for piece in pieces):
            return name
    return None


def beginning(path: Path) -> bytes:
    """The first megabytes of a file; nothing where it can't be read."""
    try:
        with path.open("rb") as file:
            return file.read(_MOST_READ)
    except OSError:
        return b""
