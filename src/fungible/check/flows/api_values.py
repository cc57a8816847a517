"""Values that fit a schema: the description's own examples first, then plain, deterministic ones."""

import base64
import math
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from fungible.check.flows.api_operations import Api, Schema
from fungible.check.flows.sinks import numbers_can_be_filled
from fungible.check.flows.values import is_id_key

MAX_DEPTH = 6
PASSWORD = "Fungible-Pass-1"  # noqa: S105
_TIMES = re.compile(r"(?:created|updated|modified|deleted)(?:_?at|_?on|_?time)?$", re.IGNORECASE)
_FORMATS = {
    "date": "2026-01-15",
    "date-time": "2026-01-15T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "uri": "https://example.org/fungible",
    "url": "https://example.org/fungible",
    "uri-reference": "/fungible",
    "hostname": "example.org",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "password": PASSWORD,
    "byte": base64.b64encode(b"fungible").decode(),
    "json-pointer": "/a",
    "regex": "a+",
}
_PATTERN_TRIES = (
    "fungible",
    "Fungible",
    "FUNGIBLE",
    "abc",
    "ABC",
    "a",
    "A",
    "1",
    "12",
    "123",
    "1234",
    "12345",
    "123456",
    "1234567890",
    "abc123",
    "ABC123",
    "a-b",
    "+4930123456",
    "#a0b1c2",
    "1.0.0",
    "12:00",
    "en",
    "EUR",
    "2026-01-15",
)


@dataclass(frozen=True)
class Chooser:
    """Chooses values. `tag` makes names of one flow unlike those of another; `known` gives references by key, or None.

    `changed` chooses other values than without: for updates.
    """

    api: Api
    tag: str = ""
    changed: bool = False
    known: Callable[[str], str | None] = lambda _: None

    def value(self, schema: Any, name: str = "value", depth: int = 0) -> Any:
        """A value for a schema; None where nothing fits."""
        shape = self.flat(schema, depth)
        if "const" in shape:
            return shape["const"]
        named = self._named(shape)
        if named is not None:
            return named
        kind = kind_of(shape)
        if kind in {"string", "integer"} and is_id_key(name) and (reference := self.known(name)) is not None:
            if kind == "string":
                return reference
            if numbers_can_be_filled():
                return reference.replace("}}", "|json}}")
        match kind:
            case "object":
                return self.object(shape, depth)
            case "array":
                return self._array(shape, name, depth)
            case "integer" | "number":
                return self._number(shape, kind)
            case "boolean":
                return not self.changed
            case "null":
                return None
            case _:
                return self._string(shape, name)

    def flat(self, schema: Any, depth: int = 0) -> Schema:
        """The schema with references followed, `allOf` joined, and the first real choice taken."""
        shape = self.api.resolved(schema)
        if depth > MAX_DEPTH:
            return {key: value for key, value in shape.items() if key not in {"allOf", "anyOf", "oneOf"}}
        for key in ("anyOf", "oneOf"):
            choices = [self.api.resolved(one) for one in cast(list[Any], shape.get(key) or [])]
            choice = next((one for one in choices if one.get("type") != "null"), None)
            if choice is not None:
                rest = {k: v for k, v in shape.items() if k != key}
                shape = {**rest, **self.flat(choice, depth + 1)}
        if isinstance(shape.get("allOf"), list):
            joined: dict[str, Any] = {k: v for k, v in shape.items() if k != "allOf"}
            for part in cast(list[Any], shape["allOf"]):
                one = self.flat(part, depth + 1)
                properties = {**joined.get("properties", {}), **one.get("properties", {})}
                required = [*joined.get("required", []), *one.get("required", [])]
                joined = {**joined, **one}
                if properties:
                    joined |= {"properties": properties, "required": required}
            shape = joined
        return shape

    def _named(self, shape: Schema) -> Any:
        """What the description itself offers; of an enumeration another member for a change."""
        choices = [one for one in cast(list[Any], shape.get("enum") or []) if one is not None]
        if choices:
            return choices[-1] if self.changed else choices[0]
        examples = shape.get("examples")
        given = shape.get("example", examples[0] if isinstance(examples, list) and examples else None)
        if given is not None and not self.changed and not isinstance(given, Mapping):
            return given
        default = shape.get("default")
        return None if self.changed or isinstance(default, dict | list) else default

    def object(self, shape: Schema, depth: int = 0) -> dict[str, Any]:
        """Required properties, and of the others those that are plain values and nobody else's to set."""
        done: dict[str, Any] = {}
        required = set(cast(list[str], shape.get("required") or []))
        if depth > MAX_DEPTH:
            return done
        for name, given in cast(Mapping[str, Any], shape.get("properties") or {}).items():
            one = self.flat(given, depth + 1)
            if one.get("readOnly") is True:
                continue
            plain = (
                kind_of(one) in {"string", "integer", "number", "boolean"}
                and not _TIMES.search(name)
                and not is_file(one)
            )
            if name in required or (plain and (not is_id_key(name) or self.known(name) is not None)):
                value = self.value(given, name, depth + 1)
                if value is not None or name in required:
                    done[name] = value
        return done

    def _array(self, shape: Schema, name: str, depth: int) -> list[Any]:
        if depth >= MAX_DEPTH:
            return []
        least = shape.get("minItems")
        count = min(max(least if isinstance(least, int) else 0, 1), 5)
        items = [self.value(shape.get("items") or {}, name.rstrip("s"), depth + 1) for _ in range(count)]
        return [] if items == [None] else items

    def _number(self, shape: Schema, kind: str) -> int | float:
        low, high = _bound(shape, "minimum", "exclusiveMinimum", 1), _bound(shape, "maximum", "exclusiveMaximum", -1)
        step = shape.get("multipleOf")
        size = float(step) if isinstance(step, int | float) and step > 0 else 1.0
        wanted = (low if low is not None else 2.0 if high is None or high >= 2 else high) + (
            size if self.changed else 0
        )
        wanted = math.ceil(wanted / size) * size
        if high is not None and wanted > high:
            wanted = math.floor(high / size) * size
        return int(wanted) if kind == "integer" or wanted.is_integer() else wanted

    def _string(self, shape: Schema, name: str) -> str:
        form, low = str(shape.get("format") or ""), name.lower()
        word = "changed" if self.changed else "fungible"
        if form == "uuid":
            return str(uuid.uuid5(uuid.NAMESPACE_URL, f"fungible:{self.tag}:{name}:{self.changed}"))
        if form in {"email", "idn-email"} or (not form and "email" in low):
            return f"{word}{self.tag}@example.org"
        if form in _FORMATS:
            return _FORMATS[form]
        if "pass" in low or low in {"pwd", "secret"}:
            return fitted(PASSWORD, shape)
        if not form and low.endswith(("url", "uri", "link", "website")):
            return _FORMATS["uri"]
        if "phone" in low:
            return "+4930123456"
        text = f"{word}{self.tag}{re.sub('[^a-z]', '', low)[:12]}" if low != "value" else f"{word}{self.tag}"
        pattern = shape.get("pattern")
        if isinstance(pattern, str):
            text = matching(pattern, text, changed=self.changed) or str(shape.get("default") or text)
        return fitted(text, shape)


def kind_of(shape: Schema) -> str:
    """The type a schema means, told by its keys where it does not say."""
    kind = shape.get("type")
    if isinstance(kind, list):
        kind = next((one for one in cast(list[Any], kind) if one != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in shape or "additionalProperties" in shape:
        return "object"
    return "array" if "items" in shape else "string"


def is_file(shape: Schema) -> bool:
    """True for the bytes of an upload."""
    media = str(shape.get("contentMediaType") or "")
    return (
        shape.get("format") == "binary"
        or shape.get("type") == "file"
        or (media != "" and "contentEncoding" not in shape)
    )


def _bound(shape: Schema, inclusive: str, exclusive: str, inward: int) -> float | None:
    """A limit; exclusive ones as OpenAPI 3.1 says them (a number) or 3.0 (a flag beside the limit)."""
    limit, strict = shape.get(inclusive), shape.get(exclusive)
    if isinstance(strict, int | float) and not isinstance(strict, bool):
        return float(strict) + inward
    if not isinstance(limit, int | float):
        return None
    return float(limit) + (inward if strict is True else 0)


def matching(pattern: str, text: str, *, changed: bool) -> str | None:
    """A text that a pattern allows: `text` itself, a literal out of the pattern, or something common."""
    literals = re.sub(r"^\^?\(?(?:\?:)?|\)?\$?$", "", pattern).split("|")
    for one in (text, literals[-1 if changed else 0], *_PATTERN_TRIES):
        try:
            if re.search(pattern, one):
                return one
        except re.error:
            return text
    return None


def fitted(text: str, shape: Schema) -> str:
    """A text made as long or as short as a schema asks."""
    least, most = shape.get("minLength"), shape.get("maxLength")
    if isinstance(least, int) and len(text) < least <= 10_000:
        text += "x" * (least - len(text))
    return text[:most] if isinstance(most, int) and most > 0 else text
