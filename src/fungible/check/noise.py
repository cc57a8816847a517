"""What differs on one instance is noise: learned place by place, as the shapes of the values that were seen.

A shape keeps the words two runs share and the type of each word they do not: `Served at <time> by web-<int>`. A place
whose number of values changes loses its number; a place that comes and goes is not compared at all.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from fungible.check.places import Places

_TYPES: tuple[tuple[str, str], ...] = (
    ("uuid", r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"),
    ("time", r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?"),
    ("int", r"-?\d+"),
    ("float", r"-?\d+\.\d+(?:[eE][+-]?\d+)?"),
    ("hex", r"[0-9a-fA-F]{6,}"),
    ("base64", r"[A-Za-z0-9+/_=.\-~%]{6,}"),
    ("word", r"\S+"),
    ("text", r"[\s\S]*\S[\s\S]*"),
)
_WORDS = re.compile(r"\s+|[^\s<>\"'(){}\[\],;|&?#]+|[<>\"'(){}\[\],;|&?#]")
_MAX_SHAPES = 6


@dataclass(frozen=True)
class Difference:
    """One place where an answer is not what one instance gives."""

    place: str
    expected: str
    saw: str

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
        if len(self.numbers) == 1 and total not in self.numbers:
            return False
        return all(value in self.literals or any(shape.fullmatch(value) for shape in self.shapes) for value in values)


class Oracle:
    """What one instance answers to one step: the first run as it was, later runs as what may vary."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.noise: dict[str, Noise] = {}
        self._closed: set[str] = set()
        self._order_free: set[str] = set()

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
        self._closed |= other._closed
        for place, noise in other.noise.items():
            values = self.places.get(place, Counter())
            mine = self.noise.setdefault(place, Noise(set(noise.numbers), list(noise.shapes), set(noise.literals)))
            if not mine.optional and not mine.allows(values):
                self._widen(place, values)

    def differences(self, places: Places) -> list[Difference]:
        """Where an answer is not what one instance gives, most telling first."""
        found = [
            Difference(place, self._describe(place), _values(places.get(place, Counter())))
            for place in self.places.keys() | places.keys()
            if self._differs(place, places.get(place, Counter()))
        ]
        return sorted(found, key=lambda difference: (difference.rank, len(difference.place), difference.place))

    def _differs(self, place: str, values: Counter[str]) -> bool:
        if any(place.startswith(at) for at in self._closed):
            return False
        noise = self.noise.get(place)
        if noise is not None:
            return not noise.optional and not noise.allows(values)
        return self.places.get(place, Counter()) != values

    def _widen(self, place: str, values: Counter[str]) -> None:
        known = self.places.get(place, Counter())
        noise = self.noise.setdefault(place, Noise({known.total()}, [], set(known)))
        noise.numbers.add(values.total())
        if place.endswith("/{}"):
            # An object whose keys vary: what stands below them has no stable place.
            self._closed.add(place[:-2])
        elif place.endswith("/#"):
            self._closed.add(place)
            self._free_numbers(place[:-1] + "*")
        shapes = _shapes(noise.literals, values)
        noise.literals |= set(values)
        noise.shapes.extend(shape for shape in shapes if shape not in noise.shapes)
        if len(noise.shapes) > _MAX_SHAPES:
            noise.shapes = [re.compile(_TYPES[-1][1])]

    def _free_numbers(self, prefix: str) -> None:
        """Below an array whose length varies every number varies; what the values look like is still compared."""
        for place, values in self.places.items():
            if place.startswith(prefix) and place not in self.noise:
                self.noise[place] = Noise({values.total(), values.total() + 1}, [], set(values))

    def _describe(self, place: str) -> str:
        return _values(self.places.get(place, Counter()))


def _values(values: Counter[str]) -> str:
    if not values:
        return "nothing"
    rows = [value if count == 1 else f"{value} ({count} times)" for value, count in sorted(values.items())]
    return ", ".join(rows[:4]) + (f" and {len(rows) - 4} more" if len(rows) > 4 else "")


def _shapes(known: Iterable[str], new: Iterable[str]) -> list[re.Pattern[str]]:
    """Shapes that cover the new values, each drawn from the known value it is most like."""
    known = sorted(known)
    found: list[re.Pattern[str]] = []
    for value in sorted(new):
        others = [other for other in known if other != value]
        if not others:
            others = [value]
        found.append(_shape(value, min(others, key=lambda other: _distance(value, other))))
    return found


def _distance(one: str, other: str) -> tuple[int, int]:
    a, b = _WORDS.findall(one), _WORDS.findall(other)
    return (abs(len(a) - len(b)), sum(x != y for x, y in zip(a, b, strict=False)))


def _shape(one: str, other: str) -> re.Pattern[str]:
    a, b = _WORDS.findall(one), _WORDS.findall(other)
    if len(a) != len(b) or len(a) > 120:
        return re.compile(_TYPES[-1][1] if one.strip() and other.strip() else r"[\s\S]*")
    return re.compile("".join(re.escape(x) if x == y else f"(?:{_type(x, y)})" for x, y in zip(a, b, strict=True)))


def _type(*samples: str) -> str:
    for _, pattern in _TYPES:
        if all(re.fullmatch(pattern, sample) for sample in samples):
            return pattern
    return r"[\s\S]*"


def type_name(pattern: str) -> str:
    """A type's name for people, from the pattern that stands for it."""
    return next((name for name, known in _TYPES if known == pattern), "text")
