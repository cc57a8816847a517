"""Where flows come from: steps written down, a recording, an API description, or a look at the application itself."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import yaml

from fungible.check.errors import CheckError, CheckFileError
from fungible.check.flows.binding import bind
from fungible.check.flows.crawl import crawl
from fungible.check.flows.har import read_har
from fungible.check.flows.openapi import flows_from_openapi, read_openapi, routes_not_hit
from fungible.check.model import Answer, Exchange, Flow, FlowSource, Step

_DESCRIPTIONS = ("/openapi.json", "/api/openapi.json", "/swagger.json", "/v3/api-docs", "/openapi.yaml")


@dataclass
class Flows:
    """Flows to check, and what is known about how they came to be."""

    flows: list[Flow] = field(default_factory=list[Flow])
    notes: list[str] = field(default_factory=list[str])
    host: str | None = None
    scheme: str = "http"
    document: Mapping[str, Any] | None = None
    recorded: bool = False

    def not_hit(self) -> list[str]:
        """Operations of the API description that no flow asks for."""
        if self.document is None:
            return []
        return [f"{route} of the API description" for route in routes_not_hit(self.document, self.flows)]


def written(sources: Sequence[FlowSource], directory: Path) -> tuple[Flows, list[FlowSource]]:
    """The flows that can be read without asking the application; and the sources that can't.

    Raises:
        CheckFileError: a recording or a description can't be read or understood.
    """
    found, left = Flows(), list[FlowSource]()
    for source in sources:
        if source.steps is not None:
            found.flows.append(Flow(name=source.name, steps=source.steps, cookies=source.cookies))
        elif source.har is not None:
            recording = read_har(directory / Path(source.har).expanduser())
            found.flows.append(
                bind(recording.exchanges, name=source.name, cookies={**recording.cookies, **source.cookies})
            )
            found.notes += recording.notes
            found.host, found.scheme, found.recorded = recording.host, "https" if recording.https else "http", True
        elif source.openapi is not None and not source.openapi.startswith(("/", "http://", "https://")):
            _described(found, read_openapi(directory / Path(source.openapi).expanduser()))
        elif source.openapi is not None and source.openapi.startswith("/") and Path(source.openapi).is_file():
            _described(found, read_openapi(Path(source.openapi)))
        else:
            left.append(source)
    return found, left


def _described(found: Flows, document: Mapping[str, Any]) -> None:
    flows, notes = flows_from_openapi(document)
    if not flows:
        raise CheckFileError(
            "the API description has no operation that can be asked: " + ("; ".join(notes[:3]) or "it has no paths")
        )
    found.flows += flows
    found.notes += notes
    found.document = document


def asked(found: Flows, sources: Sequence[FlowSource], send: Callable[[Step], Answer]) -> None:
    """Adds the flows of descriptions that the application itself serves; with no source at all, whatever it offers.

    Raises:
        CheckError: the application offers nothing to make a flow of.
    """
    for source in sources:
        assert source.openapi is not None
        document = _description(send(Step(id="openapi", path=source.openapi)))
        if document is None:
            raise CheckFileError(f"{source.openapi} of the application is no OpenAPI document")
        _described(found, document)


def discovered(found: Flows, send: Callable[[Step], Answer], crawler: Callable[[], list[Exchange]]) -> None:
    """Flows of an application about which nothing was said: from its API description, else by following forms and links."""
    for path in _DESCRIPTIONS:
        document = _description(send(Step(id="openapi", path=path)))
        if document is not None:
            flows, notes = flows_from_openapi(document)
            if flows:
                found.flows, found.document = flows, document
                found.notes += [f"the flows come from {path} of the application", *notes]
                return
    exchanges = crawler()
    if not exchanges or all(exchange.answer.status >= 400 or not exchange.answer.status for exchange in exchanges):
        raise CheckError(
            "found nothing to check: the application has no /openapi.json, and GET / leads nowhere. "
            "Give a flow: --har recording.har, --openapi file, or --file check.toml"
        )
    found.flows = [bind(exchanges, name="pages")]
    found.recorded = True
    found.notes.append("the flow was made by following forms and links from /")


def _description(answer: Answer) -> Mapping[str, Any] | None:
    if answer.status != 200 or not answer.body:
        return None
    try:
        document = json.loads(answer.body) if answer.body.lstrip()[:1] == b"{" else yaml.safe_load(answer.text)
    except (ValueError, RecursionError, yaml.YAMLError):
        return None
    if isinstance(document, dict) and ("openapi" in document or "swagger" in document) and document.get("paths"):  # pyright: ignore
        return document  # pyright: ignore[reportUnknownVariableType]
    return None


def crawled(send: Callable[[Step], Answer], host: str) -> list[Exchange]:
    """What following forms and links gives."""
    return list(crawl(send, host=host))


def distinctly_named(flows: Sequence[Flow]) -> list[Flow]:
    """The flows, where several have one name with a number in it from the second on: a report names flows."""
    found: list[Flow] = []
    for flow in flows:
        taken = {other.name for other in found}
        numbered = (f"{flow.name}-{number}" for number in itertools.count(2))
        name = flow.name if flow.name not in taken else next(name for name in numbered if name not in taken)
        found.append(flow if name == flow.name else msgspec.structs.replace(flow, name=name))
    return found
