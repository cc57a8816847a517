"""Three-way merge of values: what two requests made of one value that both had read.

A pure function of three values, so that the outcome is the same whichever store holds the session.
"""

from collections.abc import Collection
from typing import Any, Final, NamedTuple, cast

Path = tuple[str, ...]


class _Missing:
    """There is no value."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


class Merged(NamedTuple):
    """The outcome of a merge."""

    value: Any
    """The value, or `MISSING` where it is to be removed."""
    overwritten: tuple[Path, ...]
    """Where both changed something in ways that can't be merged, and `mine` was taken."""


def merge(base: object, mine: object, theirs: object, *, path: Path = (), counters: Collection[Path] = ()) -> Merged:
    """Merges what one request made of a value with what others made of it meanwhile.

    What only one side changed is taken from that side. Of what both changed: mappings are merged by key, lists that
    both only appended to keep both additions (theirs first), counters get both differences, and of anything else
    `mine` is taken, as the later writer.

    Args:
        base: The value as it was read; `MISSING` if there was none.
        mine: What this request made of it.
        theirs: What stands in the store now.
        path: Where the value is, for `counters` and `overwritten`.
        counters: Paths of numbers that this request changed only by adding to them.
    """
    if same(mine, base):
        return Merged(theirs, ())
    if same(theirs, base):
        return Merged(mine, ())
    if path in counters and _is_number(mine) and _is_number(theirs) and (base is MISSING or _is_number(base)):
        return Merged(theirs + (mine - (0 if base is MISSING else base)), ())  # type: ignore[operator]
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return _merge_mappings(base, cast(dict[str, Any], mine), cast(dict[str, Any], theirs), path, counters)
    if isinstance(base, list) and isinstance(mine, list) and isinstance(theirs, list):
        return _merge_lists(cast(list[Any], base), cast(list[Any], mine), cast(list[Any], theirs), path)
    # From here on both have replaced the value. Two equal replacements are one.
    if same(cast(object, mine), theirs):
        return Merged(theirs, ())
    if base is MISSING and isinstance(mine, list) and isinstance(theirs, list):
        return _merge_lists([], cast(list[Any], mine), cast(list[Any], theirs), path)
    return Merged(mine, (path,))


def _merge_lists(base: list[Any], mine: list[Any], theirs: list[Any], path: Path) -> Merged:
    """Both additions where both only appended, even equal ones: two of the same thing may lie in a cart."""
    if same(mine[: len(base)], base) and same(theirs[: len(base)], base):
        return Merged([*theirs, *mine[len(base) :]], ())
    return Merged(mine, () if same(mine, theirs) else (path,))


def _merge_mappings(
    base: object, mine: dict[str, Any], theirs: dict[str, Any], path: Path, counters: Collection[Path]
) -> Merged:
    before = cast(dict[str, Any], base) if isinstance(base, dict) else {}
    merged: dict[str, Any] = {}
    overwritten: list[Path] = []
    # Their order first: of two mappings with equal keys the one that stands decides.
    for key in [*theirs, *(key for key in mine if key not in theirs)]:
        inner = merge(
            before.get(key, MISSING),
            mine.get(key, MISSING),
            theirs.get(key, MISSING),
            path=(*path, key),
            counters=counters,
        )
        overwritten += inner.overwritten
        if inner.value is not MISSING:
            merged[key] = inner.value
    return Merged(merged, tuple(overwritten))


def same(one: object, other: object) -> bool:
    """Whether two values are equal and of equal types all the way down: 1, 1.0 and True are three."""
    if one is other:
        return True
    # A tuple is kept as a list.
    if type(one) is not type(other) and not (isinstance(one, list | tuple) and isinstance(other, list | tuple)):
        return False
    if isinstance(one, dict):
        left, right = cast(dict[str, Any], one), cast(dict[str, Any], other)
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(one, list | tuple):
        items, others = cast(list[Any], one), cast(list[Any], other)
        return len(items) == len(others) and all(map(same, items, others))
    # NaN is not equal to itself, but it is no change.
    return one == other or (one != one and other != other)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
