"""Flows from an API description: what can be created, read, changed and deleted, each read again after its change."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from fungible.check.errors import CheckFileError
from fungible.check.flows.api_operations import Api, read_api
from fungible.check.flows.api_plan import Planner
from fungible.check.model import Flow

MAX_BYTES = 32 * 1024 * 1024


def read_openapi(path: Path) -> dict[str, Any]:
    """The description in a JSON or YAML file.

    Raises:
        CheckFileError: it can't be read, is larger than `MAX_BYTES`, or is no OpenAPI 3 or Swagger 2.0 description.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise CheckFileError(
                f"{path}: {size // 2**20} MiB, more than the {MAX_BYTES // 2**20} MiB that are read; give the part that the check is about"
            )
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise CheckFileError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise CheckFileError(f"{path}: not UTF-8 text (byte {error.start})") from error
    document = _parsed(path, text)
    if not isinstance(document, dict):
        raise CheckFileError(f"{path}: not an API description: it has no key `openapi` or `swagger`")
    found = cast(dict[str, Any], document)
    version = str(found.get("openapi") or found.get("swagger") or "")
    if not version.startswith(("3.", "2.0")):
        said = f"its version is {version!r}" if version else "it has no key `openapi` or `swagger`"
        raise CheckFileError(
            f"{path}: not an API description that is understood: {said}; OpenAPI 3 and Swagger 2.0 are"
        )
    if not isinstance(found.get("paths"), dict) or not found["paths"]:
        raise CheckFileError(f"{path}: the description has no `paths`, so there is nothing to exercise")
    return found


def _parsed(path: Path, text: str) -> Any:
    if path.suffix.lower() == ".json" or text.lstrip()[:1] == "{":
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise CheckFileError(
                f"{path}: not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
            ) from error
        except RecursionError as error:
            raise CheckFileError(f"{path}: not an API description: nested too deeply") from error
    try:
        import yaml
    except ImportError:
        raise CheckFileError("reading YAML needs PyYAML: pip install 'fungible[check]'") from None
    try:
        return yaml.load(text, Loader=_plain_loader(yaml))  # noqa: S506
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise CheckFileError(f"{path}: not YAML: {error}") from error


def _plain_loader(yaml: Any) -> Any:
    """A safe loader that leaves dates as text, as JSON would have them."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.yaml_implicit_resolvers = {
        first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return Loader


def flows_from_openapi(document: Mapping[str, Any], *, seed: int = 0) -> tuple[list[Flow], list[str]]:
    """Flows that exercise an API, and notes on what they leave out.

    Args:
        document: An OpenAPI 3 or Swagger 2.0 description.
        seed: Makes the names that the flows choose; the same seed gives the same flows.
    Returns:
        At most `MAX_FLOWS` flows of at most `MAX_STEPS` steps, without expectations: what one instance answers is the
        oracle. And notes in words.
    """
    return Planner(read_api(document), seed).planned()


def routes_not_hit(document: Mapping[str, Any], asked: Iterable[tuple[str, str]]) -> list[str]:
    """The operations that no request went to, as `DELETE /items/{id}`, in the description's order.

    Args:
        document: An OpenAPI 3 or Swagger 2.0 description.
        asked: Method and target of each request, captured values and all: a step at `{{location}}` may go anywhere.
    """
    api = read_api(document)
    hit = {_route_of(api, method.upper(), target) for method, target in asked}
    return [one.title for one in api.operations if one.title not in hit]


def _route_of(api: Api, method: str, path: str) -> str | None:
    """The operation a request goes to: of several that match, the one with the fewest parameters."""
    parts = path.partition("?")[0].split("/")
    fitting = [one for one in api.operations if one.method == method and _fits(one.path.split("/"), parts)]
    return min(fitting, key=lambda one: len(one.names)).title if fitting else None


def _fits(template: Sequence[str], parts: Sequence[str]) -> bool:
    return len(template) == len(parts) and all(
        re.fullmatch(re.sub(r"\\\{[^{}]*\\\}", "[^/]+", re.escape(wanted)), given) is not None
        if "{" in wanted
        else wanted == given
        for wanted, given in zip(template, parts, strict=True)
    )
