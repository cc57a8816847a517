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

    What only one side changed is taken from that side. Of what both changed: mappings are merged by key; what one side
    only appended to a list stays, whatever the other made of that list; counters get both differences; and of anything
    else `mine` is taken, as the later writer.

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
    if isinstance(base, list):
        merged = _appended(cast(list[Any], base), cast(object, mine), theirs)
        if merged is not None:
            return Merged(merged, ())
    # From here on both have replaced the value. Two equal replacements are one.
    if same(cast(object, mine), theirs):
        return Merged(theirs, ())
    if base is MISSING and isinstance(mine, list) and isinstance(theirs, list):
        return Merged([*cast(list[Any], theirs), *cast(list[Any], mine)], ())
    return Merged(mine, (path,))


def _appended(base: list[Any], mine: object, theirs: object) -> list[Any] | None:
    """The list with what one side only appended added to what the other made of it; None where neither did so.

    Even equal additions are two: two of the same thing may lie in a cart. A list that the other side took away whole,
    as messages are once they are shown, is one that it emptied.
    """
    for edited, grown in ((theirs, mine), (mine, theirs)):
        kept: object = [] if edited is MISSING else edited
        if isinstance(kept, list) and isinstance(grown, list):
            items = cast(list[Any], grown)
            if same(items[: len(base)], base):
                return [*cast(list[Any], kept), *items[len(base) :]]
    return None


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
