"""Names that a visitor chooses and that can be taken only once: found by trying, so that every run can use new ones."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, cast

from msgspec import UNSET

from fungible.check.model import Step

_TELLING = re.compile(
    r"(name|user|login|e?mail|slug|title|id|key|code|sku|isbn|label|tag|handle|nick|account|number)", re.IGNORECASE
)
_SECRET = re.compile(r"(pass(?!enger|port)|pwd|secret|token|csrf|(?<![a-z])(?:otp|pin)(?![a-z]))", re.IGNORECASE)
_MOST = 10


def candidates(step: Step, earlier: Sequence[Step] = ()) -> list[str]:
    """Names in a step that may have been used up by an earlier run, most likely first.

    A safe request takes no name: what its path says counts only where one of the `earlier` requests may have made it.
    """
    rows: list[tuple[int, str]] = []
    for field, value in _fields(step):
        if not _SECRET.search(field):
            rows += [(0 if _TELLING.search(field) else 2, name) for name in _names(value)]
    segments = [part for part in step.path.partition("?")[0].split("/") if part]
    # A PUT names what it makes in its path; elsewhere a path is mostly the application's own words.
    rank = 1 if step.method.upper() == "PUT" else 3
    words = [name for part in reversed(segments) for name in _names(part)]
    if step.safe:
        # Else a page that fails would be swapped for one that does not exist, which some applications answer with 200.
        made = {name for other in earlier if not other.safe for name in candidates(other)}
        words = [name for name in words if name in made]
    rows += [(rank, name) for name in words]
    found: list[str] = []
    for _, name in sorted(rows, key=lambda row: row[0]):
        if name not in found:
            found.append(name)
    return found[:_MOST]


def chosen(step: Step) -> dict[str, bool]:
    """Names that a write sends of its own choice, each with whether its field says that it is one: in its fields, and last in a PUT's path."""
    if step.safe:
        return {}
    found: dict[str, bool] = {}
    if step.method.upper() == "PUT":
        found |= dict.fromkeys(_names(step.path.partition("?")[0].rpartition("/")[2]), True)
    for field, value in _fields(step):
        if not _SECRET.search(field):
            for name in _names(value):
                found[name] = found.get(name, False) or _TELLING.search(field) is not None
    return found


def _fields(step: Step) -> Iterable[tuple[str, str]]:
    for name, value in (step.form or {}).items():
        for text in value if isinstance(value, list) else [value]:
            yield name, text
    if step.json is not UNSET:
        yield from _leaves(step.json, "")
    for part in step.files:
        yield "filename", part.filename
    for pair in step.path.partition("?")[2].split("&"):
        name, _, text = pair.partition("=")
        yield name, text


def _leaves(value: Any, name: str) -> Iterable[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in cast(dict[Any, Any], value).items():
            yield from _leaves(item, str(key))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in cast(Sequence[Any], value):
            yield from _leaves(item, name)
    elif isinstance(value, str):
        yield name, value


def _names(value: str) -> list[str]:
    """A value as a name; of a file name or the like, its first word."""
    if "{{" in value or len(value) > 120:
        return []
    if (
        re.fullmatch(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+", value)
        or re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{2,}", value)
        or re.fullmatch(r"\d{4,}", value)
    ):
        return [] if re.fullmatch(r"v\d+", value) else [value]
    word = re.match(r"[A-Za-z][A-Za-z0-9]{2,}", value)
    return [word[0]] if word else []
