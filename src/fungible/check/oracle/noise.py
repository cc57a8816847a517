"""What differs on one instance is noise: learned place by place, as the shapes of the values that were seen.

A shape keeps the words two runs share and the type of each word they do not: `Served at <time> by web-<int>`. A place
whose number of values changes loses its number, but not that there is something; a place that comes and goes is not
compared at all.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fungible.check.oracle.places import Places

_DELIMITERS = r"<>\"'(){}\[\],;|&?#"
_TYPES: tuple[tuple[str, str], ...] = (
    ("uuid", r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"),
    ("time", r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?"),
    ("clock", r"\d{1,2}:\d\d(?::\d\d)?(?:\.\d+)?Z?"),
    ("int", r"-?\d+"),
    ("float", r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"),
    ("hex", r"[0-9a-fA-F]{6,}"),
    ("base64", r"[A-Za-z0-9+/_=.\-~%]{6,}"),
    # Without the characters that part words: a pattern of many of these must match in one way only, or it takes years.
    ("word", rf"[^\s{_DELIMITERS}]+"),
    ("space", r"\s+"),
    ("text", r"[\s\S]*\S[\s\S]*"),
)
_STRICT = _TYPES[:5]
_WORDS = re.compile(rf"\s+|[^\s{_DELIMITERS}]+|[{_DELIMITERS}]")
_HEAD = re.compile(r".*[A-Za-z]{2}[A-Za-z0-9]*[/:=@._\-]+")
"""What two words begin with, cut after the last separator that follows letters: `web-`, `http://`."""
_TAIL = re.compile(r"[/:=@._\-]+[A-Za-z]{2}.*")
_MAX_SHAPES = 24
_MAX_COMPARED = 50
_SOME_KEYS = re.compile(r"(?!empty$)[\s\S]*")
_SOME_ITEMS = re.compile(r"[1-9]\d*")


@dataclass(frozen=True)
class Difference:
    """One place where an answer is not what one instance gives; the numbers say how many values stand there, 0 for none."""

    place: str
    expected: str
    saw: str
    expected_number: int = field(default=1, compare=False)
    saw_number: int = field(default=1, compare=False)

    @property
    def about_cookies(self) -> bool:
        """True where it is only a cookie that is set, and no part of what the visitor sees."""
        return self.place.startswith("cookie ")

    @property
    def rank(self) -> int:
        """How telling the place is: connection and status first, then Location, cookies, body."""
        order = ("expect", "connection", "status", "location", "content-type", "cookie", "json", "html", "text", "body")
        return next((at for at, name in enumerate(order) if self.place.startswith(name)), len(order))


@dataclass
class Noise:
    """What is known to vary at one place."""

    numbers: set[int]
    shapes: list[re.Pattern[str]]
    literals: set[str] = field(default_factory=set[str])

    @property
    def optional(self) -> bool:
        """True where the place comes and goes by itself."""
        return 0 in self.numbers

    def allows(self, values: Counter[str]) -> bool:
        """True where `values` is more of the same noise."""
        total = values.total()
        # Where the number varies any will do but none: an empty list is what a lost store looks like.
        if total not in self.numbers and (len(self.numbers) == 1 or not total):
            return False
        return all(value in self.literals or any(shape.fullmatch(value) for shape in self.shapes) for value in values)


class Oracle:
    """What one instance answers to one step: the first run as it was, later runs as what may vary."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.noise: dict[str, Noise] = {}
        self._open: set[str] = set()
        """Where objects have keys of their own each time: places below that were never seen are none of ours."""

    def learn(self, places: Places) -> list[str]:
        """Takes in another run on one instance; gives the places that turned out to vary."""
        varied = [
            place for place in self.places.keys() | places.keys() if self._differs(place, places.get(place, Counter()))
        ]
        for place in varied:
            self._widen(place, places.get(place, Counter()))
        return varied

    def inherit(self, other: "Oracle") -> None:
        """Takes over what is known to vary at the same places."""
        self._open |= other._open
        for place, noise in other.noise.items():
            values = self.places.get(place, Counter())
            mine = self.noise.setdefault(place, Noise(set(noise.numbers), list(noise.shapes), set(noise.literals)))
            if not mine.optional and not mine.allows(values):
                self._widen(place, values)

    def differences(self, places: Places) -> list[Difference]:
        """Where an answer is not what one instance gives, most telling first."""
        found = [
            self._difference(place, places.get(place, Counter()))
            for place in self.places.keys() | places.keys()
            if self._differs(place, places.get(place, Counter()))
        ]
        return sorted(found, key=lambda difference: (difference.rank, len(difference.place), difference.place))

    def _differs(self, place: str, values: Counter[str]) -> bool:
        noise = self.noise.get(place)
        if noise is not None:
            return not noise.optional and not noise.allows(values)
        known = self.places.get(place)
        if known is None and self._open:
            return not any(place.startswith(at) for at in self._open)
        return known != values

    def _widen(self, place: str, values: Counter[str]) -> None:
        known = self.places.get(place, Counter())
        noise = self.noise.setdefault(place, Noise({known.total()}, [], set(known)))
        noise.numbers.add(values.total())
        new = values.keys() - noise.literals
        shapes: list[re.Pattern[str]] = []
        if new and place.endswith("/{}"):
            self._open.add(place[:-2])
            shapes = [_SOME_KEYS]
        elif new and place.endswith("/#"):
            self._free_numbers(place[:-1] + "*")
            shapes = [_SOME_ITEMS]
        elif new and place == "text lines":
            # Where lines are added, no line keeps its number.
            self._open.add("text line ")
            self._free_lines()
            shapes = [_SOME_ITEMS]
        elif new:
            # A value that is gone is what the new one stands in for; those that stay say nothing about it.
            shapes = _shapes(noise.literals - values.keys() or noise.literals, new)
        noise.literals |= set(values)
        noise.shapes.extend(shape for shape in shapes if shape not in noise.shapes)
        if len(noise.shapes) > _MAX_SHAPES:
            noise.shapes = [re.compile(_TYPES[-1][1])]

    def _free_lines(self) -> None:
        for place, values in self.places.items():
            if place.startswith("text line "):
                self.noise[place] = Noise({0, 1}, [], set(values))

    def _free_numbers(self, prefix: str) -> None:
        """Below an array whose length varies every number varies; what the values look like is still compared."""
        for place, values in self.places.items():
            if place.startswith(prefix) and place not in self.noise:
                self.noise[place] = Noise({values.total(), values.total() + 1}, [], set(values))

    def _difference(self, place: str, values: Counter[str]) -> Difference:
        known = self.places.get(place, Counter())
        return Difference(place, _values(known), _values(values), known.total(), values.total())


def _values(values: Counter[str]) -> str:
    if not values:
        return "nothing"
    rows = [value if count == 1 else f"{value} ({count} times)" for value, count in sorted(values.items())]
    return ", ".join(rows[:4]) + (f" and {len(rows) - 4} more" if len(rows) > 4 else "")


def _shapes(known: Iterable[str], new: Iterable[str]) -> list[re.Pattern[str]]:
    """Shapes that cover the new values, each drawn from the known value it is most like."""
    others = [(other, _WORDS.findall(other)) for other in sorted(known)]
    found: list[re.Pattern[str]] = []
    for value in sorted(new):
        if len(found) > _MAX_SHAPES or any(shape.fullmatch(value) for shape in found):
            continue
        words = _WORDS.findall(value)
        nearest = min(others[:_MAX_COMPARED], key=lambda other: _distance(words, other[1]), default=None)
        if nearest is not None:
            found.append(_shape(value, words, *nearest))
    return found


def _distance(one: Sequence[str], other: Sequence[str]) -> tuple[int, int]:
    return (abs(len(one) - len(other)), sum(x != y for x, y in zip(one, other, strict=False)))


def _shape(one: str, a: Sequence[str], other: str, b: Sequence[str]) -> re.Pattern[str]:
    """The pattern of two values, given with their words."""
    patterns = [_word(x, y) for x, y in zip(a, b, strict=False)]
    if len(a) != len(b) or len(a) > 120 or None in patterns:
        return re.compile(_TYPES[-1][1] if one.strip() and other.strip() else r"[\s\S]*")
    return re.compile("".join(pattern for pattern in patterns if pattern is not None))


def _word(one: str, other: str) -> str | None:
    """The pattern of two words, with the beginning and the end that they share; None where they have nothing in common."""
    if one == other:
        return re.escape(one)
    whole = _type(_STRICT, one, other)
    if whole is None:
        start = _HEAD.match(one[: _shared(one, other)])
        head = start[0] if start is not None else ""
        x, y = one[len(head) :], other[len(head) :]
        shared = _shared(x[::-1], y[::-1])
        end = _TAIL.search(x[len(x) - shared :])
        tail = end[0] if end is not None else ""
        middle = _type(_TYPES[:-1], x[: len(x) - len(tail)], y[: len(y) - len(tail)])
        if middle is not None:
            return f"{re.escape(head)}(?:{middle}){re.escape(tail)}"
        whole = _type(_TYPES[:-1], one, other)
    return None if whole is None else f"(?:{whole})"


def _shared(one: str, other: str) -> int:
    """How many characters two words have in common at their beginning."""
    return next((at for at, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), min(len(one), len(other)))


def _type(types: Sequence[tuple[str, str]], *samples: str) -> str | None:
    return next((pattern for _, pattern in types if all(re.fullmatch(pattern, sample) for sample in samples)), None)


def type_name(pattern: str) -> str:
    """A type's name for people, from the pattern that stands for it."""
    return next((name for name, known in _TYPES if known == pattern), "text")
