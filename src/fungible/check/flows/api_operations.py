"""The operations of an API description: OpenAPI 3 as it is, Swagger 2.0 where it says the same."""

import re
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

Schema = Mapping[str, Any]
Where = Literal["path", "query", "header", "cookie"]
_METHODS = ("get", "put", "post", "delete", "patch", "head", "options")


@dataclass(frozen=True)
class Parameter:
    """One parameter; `given` is an example or default that the description names, else None."""

    name: str
    where: Where
    required: bool
    schema: Schema
    given: Any = None


@dataclass(frozen=True)
class Body:
    """The body of a request; `given` is an example of it."""

    media_type: str
    schema: Schema
    required: bool
    given: Any = None


@dataclass(frozen=True)
class Operation:
    """One method of one path. `secured` names the security schemes of which one is required; empty: none.

    `identifier` is its `operationId`.
    """

    method: str
    path: str
    parameters: tuple[Parameter, ...]
    body: Body | None
    answer: Schema | None
    location: bool
    secured: tuple[str, ...]
    identifier: str = ""

    @property
    def title(self) -> str:
        """As people write it: `GET /items/{id}`."""
        return f"{self.method} {self.path}"

    @property
    def names(self) -> tuple[str, ...]:
        """The parameter names in the path, in order."""
        return tuple(re.findall(r"\{([^{}]+)\}", self.path))

    @property
    def last_word(self) -> str:
        """The last segment that is no parameter, lower case."""
        words = [part for part in self.path.split("/") if part and "{" not in part]
        return words[-1].lower() if words else ""


@dataclass(frozen=True)
class Api:
    """A description read: operations in its order, security schemes by name, where the schemas are."""

    operations: tuple[Operation, ...]
    schemes: Mapping[str, Schema]
    document: Mapping[str, Any] = field(repr=False)

    def resolved(self, schema: Any) -> Schema:
        """The schema with a `$ref` at its top followed; empty where it leads nowhere."""
        return resolved(self.document, schema)


def resolved(document: Mapping[str, Any], node: Any) -> Mapping[str, Any]:
    """A node with a local `$ref` at its top followed, at most ten times."""
    for _ in range(10):
        if not isinstance(node, Mapping):
            return {}
        here = cast(Mapping[str, Any], node)
        target = here.get("$ref")
        if not isinstance(target, str):
            return here
        node = _pointed(document, target)
    return {}


def _pointed(document: Mapping[str, Any], target: str) -> Any:
    if not target.startswith("#/"):
        return None
    node: Any = document
    for part in target[2:].split("/"):
        key = urllib.parse.unquote(part).replace("~1", "/").replace("~0", "~")
        if not isinstance(node, Mapping):
            return None
        node = cast(Mapping[str, Any], node).get(key)
    return node


def read_api(document: Mapping[str, Any]) -> Api:
    """The operations of a description. What is malformed is passed over."""
    base = _base_path(document)
    swagger2 = "swagger" in document
    components = document if swagger2 else resolved(document, document.get("components"))
    schemes = resolved(document, components.get("securityDefinitions" if swagger2 else "securitySchemes"))
    operations = [
        _operation(document, method, base + path, item, cast(Mapping[str, Any], operation))
        for path, raw in resolved(document, document.get("paths")).items()
        if path.startswith("/")
        for item in (resolved(document, raw),)
        for method in _METHODS
        if isinstance(operation := item.get(method), Mapping)
    ]
    return Api(tuple(operations), {name: resolved(document, scheme) for name, scheme in schemes.items()}, document)


def _base_path(document: Mapping[str, Any]) -> str:
    """The path that stands before all others; variables in a server's URL take their defaults."""
    base = document.get("basePath")
    servers = document.get("servers")
    if isinstance(servers, list) and servers:
        server = resolved(document, servers[0])
        base = str(server.get("url") or "")
        for name, variable in resolved(document, server.get("variables")).items():
            base = base.replace(f"{{{name}}}", str(resolved(document, variable).get("default") or ""))
        base = urllib.parse.urlsplit(base).path
    return str(base or "").rstrip("/")


def _operation(
    document: Mapping[str, Any], method: str, path: str, item: Mapping[str, Any], given: Mapping[str, Any]
) -> Operation:
    raw = [resolved(document, one) for one in (*_list(item.get("parameters")), *_list(given.get("parameters")))]
    # Those of the operation replace those of the path with the same name and place.
    merged = {(str(one.get("name")), str(one.get("in"))): one for one in raw if one.get("name")}
    parameters = [
        _parameter(document, one)
        for (_, where), one in merged.items()
        if where in {"path", "query", "header", "cookie"}
    ]
    body = (
        _body_of(document, given) if "requestBody" in given else _swagger_body(document, list(merged.values()), given)
    )
    answer, location = _answer_of(document, given)
    security = given.get("security", document.get("security"))
    alternatives = [resolved(document, one) for one in _list(security)]
    secured = (
        ()
        if not alternatives or any(not one for one in alternatives)
        else tuple(str(name) for one in alternatives for name in one)
    )
    identifier = given.get("operationId")
    named = identifier if isinstance(identifier, str) else ""
    return Operation(method.upper(), path, tuple(parameters), body, answer, location, secured, named)


def _list(value: Any) -> list[Any]:
    return cast(list[Any], value) if isinstance(value, list) else []


def _parameter(document: Mapping[str, Any], one: Mapping[str, Any]) -> Parameter:
    schema = resolved(document, one.get("schema")) or one
    given = one.get("example", one.get("x-example"))
    if given is None and (examples := resolved(document, one.get("examples"))):
        given = resolved(document, next(iter(examples.values()))).get("value")
    where = cast(Where, one["in"])
    return Parameter(str(one["name"]), where, where == "path" or one.get("required") is True, schema, given)


def _body_of(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Body | None:
    body = resolved(document, operation.get("requestBody"))
    content = resolved(document, body.get("content"))
    kinds = sorted(
        content,
        key=lambda kind: next(
            (n for n, wanted in enumerate(("json", "urlencoded", "multipart", "text/")) if wanted in kind), 9
        ),
    )
    if not kinds:
        return None
    media = resolved(document, content[kinds[0]])
    given = media.get("example")
    if given is None and (examples := resolved(document, media.get("examples"))):
        given = resolved(document, next(iter(examples.values()))).get("value")
    return Body(kinds[0], resolved(document, media.get("schema")), body.get("required") is True, given)


def _swagger_body(
    document: Mapping[str, Any], parameters: list[Mapping[str, Any]], operation: Mapping[str, Any]
) -> Body | None:
    """Swagger 2.0 puts the body among the parameters, whole or field by field."""
    consumes = [str(kind) for kind in _list(operation.get("consumes", document.get("consumes")))]
    for one in parameters:
        if one.get("in") == "body":
            kind = next((kind for kind in consumes if "json" in kind), "application/json")
            return Body(kind, resolved(document, one.get("schema")), one.get("required") is True)
    fields = [one for one in parameters if one.get("in") == "formData"]
    if not fields:
        return None
    multipart = any(one.get("type") == "file" for one in fields) or any("multipart" in kind for kind in consumes)
    properties = {str(one["name"]): {**one, "format": "binary"} if one.get("type") == "file" else one for one in fields}
    required = [str(one["name"]) for one in fields if one.get("required") is True]
    schema: Schema = {"type": "object", "properties": properties, "required": required}
    return Body("multipart/form-data" if multipart else "application/x-www-form-urlencoded", schema, bool(required))


def _answer_of(document: Mapping[str, Any], operation: Mapping[str, Any]) -> tuple[Schema | None, bool]:
    """The JSON schema of the first success, and whether it has a Location header."""
    responses = resolved(document, operation.get("responses"))
    for status in sorted(str(one) for one in responses):
        if not re.fullmatch(r"2(?:\d\d|XX)|30[123]", status):
            continue
        response = resolved(document, responses.get(status))
        headers = {str(name).lower() for name in resolved(document, response.get("headers"))}
        content = resolved(document, response.get("content"))
        schemas: Iterator[Any] = (resolved(document, content[kind]).get("schema") for kind in content if "json" in kind)
        schema = next(schemas, response.get("schema"))
        return (resolved(document, schema) or None) if schema is not None else None, "location" in headers
    return None, False
