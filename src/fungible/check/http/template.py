"""Placeholders in steps: filling them in, taking values out of answers, meeting expectations."""

import base64
import html
import json
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from fungible.check.http.client import Request, to_bytes
from fungible.check.http.jar import Jar
from fungible.check.model import Answer, Capture, Expect, Step

_IN_TARGETS = "".join(set(map(chr, range(0x21, 0x7F))) - set('"<>\\^`{|}'))
"""What may stand in a target (RFC 3986 section 2), `%` with it: it may be encoded already."""
_NAME = re.compile(r"\{\{([A-Za-z_][A-Za-z_0-9-]*)(\|url|\|json)?\}\}")


class UnboundError(LookupError):
    """A step needs a value that no earlier step gave."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with each `{{name}}` replaced; `{{name|url}}` percent-encodes the value.

    Raises:
        UnboundError: a name has no value.
    """

    def one(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise UnboundError(match[1])
        value = values[match[1]]
        return urllib.parse.quote(to_bytes(value), safe="") if match[2] == "|url" else value

    return _NAME.sub(one, text)


def fill_all(value: Any, values: Mapping[str, str]) -> Any:
    """`fill` on every string inside a JSON-like value; `"{{name|json}}"`, alone in a string, becomes a number or the like."""
    if isinstance(value, str):
        whole = _NAME.fullmatch(value)
        text = fill(value, values)
        return _as_json(text) if whole and whole[2] == "|json" else text
    if isinstance(value, dict):
        return {fill(str(k), values): fill_all(v, values) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return [fill_all(item, values) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def _as_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def names_in(value: Any) -> set[str]:
    """Names of all placeholders inside a JSON-like value."""
    if isinstance(value, str):
        return {match[1] for match in _NAME.finditer(value)}
    if isinstance(value, dict):
        return {n for pair in value.items() for item in pair for n in names_in(item)}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return {n for item in value for n in names_in(item)}  # pyright: ignore[reportUnknownVariableType]
    return set()


def without_names(text: str) -> str:
    """`text` with every placeholder alike."""
    return _NAME.sub("{{}}", text)


def needs(step: Step) -> set[str]:
    """Names of the values a step uses in its request."""
    sent: list[Any] = [step.path, step.headers, step.form or {}, step.body or "", list(step.auth or ())]
    sent += [] if step.json is UNSET else [step.json]
    sent += [part.content or "" for part in step.files] + [part.filename for part in step.files]
    return names_in(sent)


def encoded_target(target: str) -> str:
    """A path and query fit for the request line: what can't stand there is percent-encoded, nothing else is.

    Of a whole URL, as a Location may hold one, its path and query: every request goes to the one application.
    """
    target = re.sub(r"^https?://[^/?#]*", "", target, flags=re.IGNORECASE).split("#")[0]
    return urllib.parse.quote(to_bytes(target if target.startswith("/") else "/" + target), safe=_IN_TARGETS)


def request_for(step: Step, values: Mapping[str, str], *, host: str, scheme: str, cookies: Jar) -> Request:
    """The request of a step, filled in; which of the `cookies` it carries, its path tells once the values are in.

    Raises:
        UnboundError: the step uses a value that is not known.
    """
    target = encoded_target(fill(step.path, values))
    headers = {name: fill(text, values) for name, text in step.headers.items()}
    body, content_type = _body(step, values)
    if step.files:  # a Content-Type of the step's own would name another boundary
        headers = {name: text for name, text in headers.items() if name.lower() != "content-type"}
    given = {name.lower() for name in headers}
    if content_type and "content-type" not in given:
        headers["Content-Type"] = content_type
    if step.auth is not None and "authorization" not in given:
        user, password = (fill(part, values) for part in step.auth)
        headers["Authorization"] = "Basic " + base64.b64encode(to_bytes(f"{user}:{password}")).decode()
    if "cookie" not in given and (fitting := cookies.header(target)):
        headers["Cookie"] = fitting
    headers = {name: text for name, text in headers.items() if name.lower() != "cookie" or text}
    defaults = {
        "Host": host,
        "User-Agent": "fungible-check",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Host": host,
        "X-Forwarded-Proto": scheme,
    }
    merged = {name: text for name, text in defaults.items() if name.lower() not in given} | headers
    clean = tuple((name, re.sub(r"[\r\n\0]", " ", text)) for name, text in merged.items())
    return Request(step.method.upper(), target, clean, body)


def _body(step: Step, values: Mapping[str, str]) -> tuple[bytes, str]:
    if step.json is not UNSET:
        text = json.dumps(fill_all(step.json, values), ensure_ascii=False, separators=(",", ":"))
        return to_bytes(text), "application/json"
    if step.files:
        return _multipart(step, values)
    if step.form is not None:
        text = urllib.parse.urlencode(fill_all(step.form, values), doseq=True, errors="surrogatepass")
        return text.encode(), "application/x-www-form-urlencoded"
    if step.body is not None:
        return to_bytes(fill(step.body, values)), ""
    if step.body_base64 is not None:
        return base64.b64decode(step.body_base64), ""
    return b"", ""


def _multipart(step: Step, values: Mapping[str, str]) -> tuple[bytes, str]:
    boundary = "fungible-5f3c0a9d1e7b4862"  # constant: a random one would be noise of our own making
    parts: list[bytes] = []
    for name, given in (step.form or {}).items():
        head = f'Content-Disposition: form-data; name="{_in_quotes(fill(name, values))}"\r\n\r\n'
        parts += [to_bytes(head + fill(text, values)) for text in (given if isinstance(given, list) else [given])]
    for part in step.files:
        content = (
            base64.b64decode(part.content_base64)
            if part.content_base64 is not None
            else to_bytes(fill(part.content or "", values))
        )
        names = f'name="{_in_quotes(part.field)}"; filename="{_in_quotes(fill(part.filename, values))}"'
        head = f"Content-Disposition: form-data; {names}\r\nContent-Type: {part.content_type}\r\n\r\n"
        parts.append(to_bytes(head) + content)
    mark = f"--{boundary}\r\n".encode()
    return b"".join(
        mark + part + b"\r\n" for part in parts
    ) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _in_quotes(name: str) -> str:
    """A name inside the quotes of a part's header, as browsers write it (HTML, multipart/form-data encoding)."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def at_path(document: Any, path: str) -> Any:
    """What stands at `data.0.id` or at the JSON pointer `/data/0/id` (RFC 6901).

    Raises:
        LookupError: nothing stands there.
    """
    if path.startswith("/"):
        parts = [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]
    else:
        parts = path.split(".") if path else []
    here: Any = document
    for part in parts:
        try:
            here = here[int(part) if isinstance(here, list) else part]
        except (KeyError, IndexError, TypeError, ValueError):
            raise LookupError(f"nothing at {path!r}") from None
    return here


def captured(capture: Capture, answer: Answer, jar: Jar) -> str | None:
    """The value a capture takes out of an answer, or its default, or None."""
    value = _raw(capture, answer, jar)
    if value is not None and capture.regex is not None:
        match = re.search(capture.regex, value, re.DOTALL)
        value = None if match is None else (match[1] if match.re.groups else match[0])
    if value is None:
        return capture.default
    for how in capture.decode:
        value = _undone(how, value)
    return value


def _raw(capture: Capture, answer: Answer, jar: Jar) -> str | None:
    if answer.error is not None and not answer.status:
        return None
    match capture.source:
        case "json":
            try:
                found = at_path(json.loads(answer.body), capture.path or "")
            except (ValueError, LookupError, RecursionError):
                return None
            return found if isinstance(found, str) or found is None else json.dumps(found)
        case "header":
            return answer.header(capture.header or "")
        case "cookie":
            return jar.get(capture.cookie or "")
        case "body":
            return answer.text


def _undone(how: str, value: str) -> str:
    if how == "html":
        return html.unescape(value)
    if how == "url":
        return urllib.parse.unquote(value)
    text = "".join(value.split())
    try:
        altchars = b"-_" if re.search(r"[-_]", text) else None
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=altchars, validate=True).decode()
    except ValueError:
        return value


def unmet(expect: Expect, answer: Answer, values: Mapping[str, str]) -> str | None:
    """Why an answer is not what was expected, in words; None where it is."""
    if answer.error is not None:
        return answer.error
    try:
        return _unmet(expect, answer, values)
    except UnboundError as error:
        return f"the expectation needs {{{{{error.name}}}}}, which no earlier step gave"


def _unmet(expect: Expect, answer: Answer, values: Mapping[str, str]) -> str | None:
    if expect.status and answer.status not in expect.status:
        return f"status {answer.status}, expected {' or '.join(map(str, expect.status))}"
    text = answer.text
    for wanted in expect.contains:
        if fill(wanted, values) not in text:
            return f"the body lacks {fill(wanted, values)!r}"
    for unwanted in expect.lacks:
        if fill(unwanted, values) in text:
            return f"the body has {fill(unwanted, values)!r}"
    if expect.location is not None:
        location = answer.header("location") or ""
        # A value stands for itself in the pattern, whatever characters it has.
        pattern = _NAME.sub(lambda match: re.escape(fill(match[0], values)), expect.location)
        if not re.search(pattern, location):
            return f"Location {location!r} does not match {fill(expect.location, values)!r}"
    if not expect.json:
        return None
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        return "the body is not JSON"
    for path, wanted in expect.json.items():
        try:
            found = at_path(document, path)
        except LookupError:
            return f"JSON {path} is missing, expected {fill_all(wanted, values)!r}"
        if found != fill_all(wanted, values):
            return f"JSON {path} is {found!r}, expected {fill_all(wanted, values)!r}"
    return None
