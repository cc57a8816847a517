"""Where flows come from: steps written down, a recording, an API description, or a look at the application itself."""

import itertools
import json
import re
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from fungible.check.model import Answer, Flow, FlowSource, SignIn, Step

_DESCRIPTIONS = (
    "/openapi.json",
    "/api/openapi.json",
    "/swagger.json",
    "/v3/api-docs",
    "/api-docs",
    "/api-docs.json",
    "/swagger/v1/swagger.json",
    "/api/schema/",
    "/q/openapi",
    "/openapi.yaml",
)
"""Where frameworks put the description of an API."""
_PAGES = ("/docs", "/api/docs", "/api-docs", "/swagger", "/redoc")
"""Where they put a page for people that names it."""
_NAMED = re.compile(r"""["']([^"'\s<>]*(?:openapi|swagger|api-?docs|schema)[^"'\s<>]*)["']""", re.IGNORECASE)
_ASSET = re.compile(r"\.(?:js|css|png|svg|ico|map)(?:\?|$)|^https?:|^//", re.IGNORECASE)
_MOST_NAMED = 5


@dataclass
class Flows:
    """Flows to check, and what is known about how they came to be."""

    flows: list[Flow] = field(default_factory=list[Flow])
    notes: list[str] = field(default_factory=list[str])
    host: str | None = None
    scheme: str = "http"
    document: Mapping[str, Any] | None = None
    recorded: bool = False

    def not_hit(self, asked: Iterable[tuple[str, str]]) -> list[str]:
        """Operations of the API description that none of these requests, each a method and a target, went to."""
        if self.document is None:
            return []
        return [f"{route} of the API description" for route in routes_not_hit(self.document, asked)]


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


def discovered(
    found: Flows, send: Callable[[Step], Answer], host: str, *, begin: str | None = None, sign_in: SignIn | None = None
) -> None:
    """Flows of an application of which at most is known where to begin, and how to sign in.

    From its API description, else by following forms and links; the other way round where something is known.
    """
    ways = [lambda: _by_description(found, send), lambda: _by_links(found, send, host, begin or "/", sign_in)]
    if begin is not None or sign_in is not None:
        ways.reverse()
    if not any(way() for way in ways):
        raise CheckError(
            f"found nothing to check: the application has no /openapi.json, and GET {begin or '/'} leads nowhere. "
            "Say where to begin (--begin /path) and who signs in (--sign-in user:password), or give a flow: "
            "--har recording.har, --openapi file, or --file check.toml"
        )


def _by_description(found: Flows, send: Callable[[Step], Answer]) -> bool:
    for path in _described_at(send):
        document = _description(_got(send, path))
        flows, notes = flows_from_openapi(document) if document is not None else ([], [])
        if flows:
            found.flows, found.document = flows, document
            found.notes += [f"the flows come from {path} of the application", *notes]
            return True
    return False


def _described_at(send: Callable[[Step], Answer]) -> Iterator[str]:
    """Where the description may be: the usual places, then what pages at the usual places name."""
    yield from _DESCRIPTIONS
    seen: set[str] = {*_DESCRIPTIONS}
    for page in _PAGES:
        answer = _got(send, page)
        named = (
            [] if answer.status != 200 else [text for text in _NAMED.findall(answer.text) if not _ASSET.search(text)]
        )
        for text in named[:_MOST_NAMED]:
            path = urllib.parse.urljoin(page, text)
            if path not in seen and path.startswith("/"):
                seen.add(path)
                yield path


def _got(send: Callable[[Step], Answer], path: str) -> Answer:
    """What stands at a path, or where that redirects to."""
    answer = send(Step(id="openapi", path=path))
    location = answer.header("location") or ""
    if answer.status in {301, 302, 303, 307, 308} and location:
        parts = urllib.parse.urlsplit(urllib.parse.urljoin(path, location))
        return send(Step(id="openapi", path=parts.path or "/"))
    return answer


def _by_links(found: Flows, send: Callable[[Step], Answer], host: str, begin: str, sign_in: SignIn | None) -> bool:
    exchanges = crawl(send, host=host, begin=begin, sign_in=sign_in)
    if not exchanges or all(exchange.answer.status >= 400 or not exchange.answer.status for exchange in exchanges):
        return False
    found.flows = [bind(exchanges, name="pages")]
    found.recorded = True
    found.notes.append(f"the flow was made by following forms and links from {begin}")
    if sign_in is not None and not any(_signs_in(exchange.step, sign_in) for exchange in exchanges):
        found.notes.append(
            f"nobody signed in: no form with a password was met from {begin} on; name the page that has it with --begin"
        )
    return True


def _signs_in(step: Step, sign_in: SignIn) -> bool:
    return step.auth is not None or sign_in.password in (step.form or {}).values()


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


def distinctly_named(flows: Sequence[Flow]) -> list[Flow]:
    """The flows, where several have one name with a number in it from the second on: a report names flows."""
    found: list[Flow] = []
    for flow in flows:
        taken = {other.name for other in found}
        numbered = (f"{flow.name}-{number}" for number in itertools.count(2))
        name = flow.name if flow.name not in taken else next(name for name in numbered if name not in taken)
        found.append(flow if name == flow.name else msgspec.structs.replace(flow, name=name))
    return found
