"""One flow made of API operations: paths filled with captured identifiers, bodies made from schemas."""

import base64
import json
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from fungible.check.flows.api_operations import Api, Operation, Parameter, Schema
from fungible.check.flows.api_values import Chooser, is_file, kind_of
from fungible.check.flows.step_names import operation_name, step_name
from fungible.check.flows.values import is_id_key, stem
from fungible.check.model import Capture, FilePart, Flow, Step

MAX_STEPS = 12
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
"""A picture of one pixel, base64."""


class UnknownError(LookupError):
    """An operation needs a value that nothing gives: its path parameter, a key."""


def prefix_of(path: str, name: str) -> str:
    """What a path parameter identifies: the path up to it, without names: `/users/{}/posts`."""
    return re.sub(r"\{[^{}]*\}", "{}", path.partition(f"/{{{name}}}")[0])


@dataclass
class FlowMaker:
    """A flow being made. `known` are the placeholders of identifiers by what they identify (`prefix_of`)."""

    api: Api
    name: str
    tag: str
    headers: dict[str, str] = field(default_factory=dict[str, str])
    auth: tuple[str, str] | None = None
    known: dict[str, str] = field(default_factory=dict[str, str])
    steps: list[Step] = field(default_factory=list[Step])
    used: set[str] = field(default_factory=set[str])

    @property
    def full(self) -> bool:
        """True where no more steps fit."""
        return len(self.steps) >= MAX_STEPS

    def flow(self) -> Flow:
        """The flow as it is now."""
        return Flow(name=self.name, steps=tuple(self.steps))

    def add(
        self, operation: Operation, *, suffix: str = "", changed: bool = False, body: Any = None, signed_in: bool = True
    ) -> Step:
        """Adds a step for an operation.

        Raises:
            UnknownError: a path parameter is not known, or a needed parameter can't be made up.
        """
        chooser = Chooser(self.api, self.tag, changed, self._reference)
        fields = self._body(operation, chooser) if body is None else body
        headers = dict(fields.pop("headers", {}))
        query: list[tuple[str, str]] = []
        for one in operation.parameters:
            value = one.given if one.given is not None else self._needed(one, chooser)
            if not one.required or one.where == "path":
                continue
            if one.where == "query":
                query += [
                    (one.name, text(item)) for item in (cast(list[Any], value) if isinstance(value, list) else [value])
                ]
            elif one.where == "header":
                headers[one.name] = text(value)
            else:
                raise UnknownError(f"the cookie {one.name!r}")
        path = self._path(operation, chooser)
        target = path + ("?" + _urlencoded(query) if query else "")
        if signed_in and operation.secured:
            headers |= self.headers
        step = Step(id=self._id(operation, suffix), method=operation.method, path=target, headers=headers, **fields)
        if signed_in and operation.secured and self.auth is not None:
            step = msgspec.structs.replace(step, auth=self.auth)
        self.steps.append(step)
        return step

    def capture(self, name: str, **place: Any) -> str:
        """Lets the last step capture a value, and gives the placeholder's name."""
        taken = {one.name for step in self.steps for one in step.capture}
        unique, count = name, 1
        while unique in taken:
            count += 1
            unique = f"{name}_{count}"
        last = self.steps[-1]
        capture = Capture(name=unique, **place)
        self.steps[-1] = msgspec.structs.replace(last, capture=(*last.capture, capture))
        return unique

    def capture_id(self, create: Operation, parameter: str) -> None:
        """Lets the last step, which made a thing, capture what identifies it in paths such as `/items/{parameter}`."""
        prefix = prefix_of(f"{create.path}/{{{parameter}}}", parameter)
        words = stem(prefix.replace("{}", "").rstrip("/").rpartition("/")[2]) or "item"
        name = re.sub(r"\W+", "_", parameter if stem(parameter) not in {"id", "pk", "uuid", "key"} else f"{words}_id")
        pointer = id_pointer(Chooser(self.api), create.answer, parameter, words)
        sent = self._sent(parameter)
        if pointer is not None:
            self.known[prefix] = f"{{{{{self.capture(name, source='json', path=pointer)}}}}}"
        elif create.location:
            regex = r"/([^/?#]+)/?(?:[?#]|$)"
            self.known[prefix] = f"{{{{{self.capture(name, source='header', header='Location', regex=regex)}}}}}"
        elif sent is not None:
            self.known[prefix] = urllib.parse.quote(sent, safe="")
        else:
            # Nothing says what comes back: most give `id`, and the first thing of a fresh instance is often 1.
            self.known[prefix] = f"{{{{{self.capture(name, source='json', path='/id', default='1')}}}}}"

    def _sent(self, parameter: str) -> str | None:
        """What the last step sent under a name, where the client names things itself."""
        body = self.steps[-1].json
        if isinstance(body, dict):
            value = cast(dict[str, Any], body).get(parameter)
            if isinstance(value, str | int) and not isinstance(value, bool):
                return str(value)
        return None

    def _reference(self, key: str) -> str | None:
        """The placeholder of a thing that a property such as `user_id` names."""
        wanted = stem(key)
        return next(
            (
                held
                for prefix, held in self.known.items()
                if stem(prefix.replace("/{}", "").rpartition("/")[2]) == wanted
            ),
            None,
        )

    def _needed(self, one: Parameter, chooser: Chooser) -> Any:
        return chooser.value(one.schema, one.name) if one.required and one.where != "path" else None

    def _path(self, operation: Operation, chooser: Chooser) -> str:
        path = operation.path
        for one in operation.names:
            prefix = prefix_of(operation.path, one)
            described = next((p for p in operation.parameters if p.where == "path" and p.name == one), None)
            held = self.known.get(prefix)
            if held is None and described is not None:
                given = _offered(described)
                held = None if given is None else urllib.parse.quote(text(given), safe="")
            if held is None:
                raise UnknownError(f"no operation gives the path parameter {one!r}")
            path = _replaced(path, one, held)
        return path

    def _id(self, operation: Operation, suffix: str) -> str:
        base = operation_name(operation.identifier, operation.method, operation.path) or (
            step_name(operation.method, re.sub(r"\{[^{}]*\}", "1", operation.path))
            + ("-item" if operation.path.endswith("}") else "")
        )
        base += suffix
        name, count = base, 1
        while name in self.used:
            count += 1
            name = f"{base}-{count}"
        self.used.add(name)
        return name

    def _body(self, operation: Operation, chooser: Chooser) -> dict[str, Any]:
        body = operation.body
        if body is None:
            return {}
        if "json" in body.media_type or body.media_type == "*/*":
            value = (
                body.given if body.given is not None and not chooser.changed else chooser.value(body.schema, "value")
            )
            headers = {} if body.media_type in {"application/json", "*/*"} else {"Content-Type": body.media_type}
            return {"json": value, "headers": headers}
        if "form" in body.media_type:
            return form_of(chooser, body.schema, multipart="multipart" in body.media_type)
        headers = {"Content-Type": body.media_type}
        if body.media_type.startswith("text/"):
            return {"body": text(chooser.value(body.schema)), "headers": headers}
        content = PNG if body.media_type.startswith("image/") else base64.b64encode(b"fungible").decode()
        return {"body_base64": content, "headers": headers}


def _replaced(path: str, name: str, held: str) -> str:
    """The path with `{name}` replaced, but no `{{name}}`."""
    return re.sub(rf"(?<!\{{)\{{{re.escape(name)}\}}(?!\}})", lambda _: held, path, count=1)


def _offered(parameter: Parameter) -> Any:
    """A value that the description itself names for a parameter, or None."""
    schema = parameter.schema
    choices = cast(list[Any], schema.get("enum") or [])
    first = choices[0] if choices else None
    return next(
        (one for one in (parameter.given, schema.get("example"), schema.get("default"), first) if one is not None), None
    )


def text(value: Any) -> str:
    """A value as it stands in a form, a query or a path."""
    if isinstance(value, str):
        return value.replace("|json}}", "}}")
    return "" if value is None else json.dumps(value)


def _urlencoded(pairs: list[tuple[str, str]]) -> str:
    return "&".join(
        f"{urllib.parse.quote_plus(key)}={value if value.startswith('{{') else urllib.parse.quote_plus(value)}"
        for key, value in pairs
    )


def form_of(chooser: Chooser, schema: Schema, *, multipart: bool) -> dict[str, Any]:
    """The fields of a step for a form; files only where it is multipart."""
    shape = chooser.flat(schema)
    form: dict[str, str | list[str]] = {}
    files: list[FilePart] = []
    for name, given in cast(Mapping[str, Any], shape.get("properties") or {}).items():
        one = chooser.flat(given)
        several = kind_of(one) == "array" and is_file(chooser.flat(one.get("items") or {}))
        if multipart and (is_file(one) or several):
            files.append(
                FilePart(
                    field=name, filename=f"fungible{chooser.tag}.png", content_base64=PNG, content_type="image/png"
                )
            )
    uploads = {part.field for part in files}
    properties = cast(Mapping[str, Any], shape.get("properties") or {})
    fields = {**shape, "properties": {name: given for name, given in properties.items() if name not in uploads}}
    for name, value in chooser.object(fields).items():
        form[name] = [text(item) for item in cast(list[Any], value)] if isinstance(value, list) else text(value)
    return {"form": form} | ({"files": tuple(files)} if files else {})


def id_pointer(chooser: Chooser, answer: Schema | None, parameter: str, word: str) -> str | None:
    """Where in an answer stands what `/things/{parameter}` takes; None where the schema does not tell."""
    if answer is None:
        return None
    best: tuple[int, str] | None = None
    waiting = [("", chooser.flat(answer), 0)]
    while waiting:
        pointer, shape, depth = waiting.pop(0)
        for key, given in cast(Mapping[str, Any], shape.get("properties") or {}).items():
            one = chooser.flat(given, depth + 1)
            at = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
            if kind_of(one) == "object" and depth < 2:
                waiting.append((at, one, depth + 1))
            elif kind_of(one) in {"string", "integer"}:
                score = _id_score(key, parameter, word)
                if score is not None and (best is None or score + depth < best[0]):
                    best = score + depth, at
    return None if best is None else best[1]


def _id_score(key: str, parameter: str, word: str) -> int | None:
    """How well a property fits a path parameter; lower is better, None not at all."""
    if key == parameter:
        return 0
    low = key.lower()
    if low in {"id", "_id", "uuid", "pk"} or (stem(key) == word and is_id_key(key)):
        return 3
    return (
        6
        if is_id_key(key) and low.endswith(("id", "slug", "key", "number", "uuid")) and stem(key) == stem(parameter)
        else None
    )
