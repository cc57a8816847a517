"""What every ASGI middleware here needs: the types, a header by name, a problem document.

Source: the ASGI specification, HTTP message format; RFC 9457 (problem documents).
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from fungible.core.errors import SettingError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]
MARKS: Final = re.compile(r'\\.|[",]', re.DOTALL)


def header(headers: Iterable[Header], name: bytes) -> str | None:
    """The value of a header, by its name in lower case; that of several lines is joined by commas (RFC 9110 5.3)."""
    found = [value for each, value in headers if each.lower() == name]
    # Joined at once: line by line, the work would grow with the square of their number.
    return b", ".join(found).decode("latin-1") if found else None


def list_members(headers: Iterable[Header], name: bytes) -> list[str]:
    """The members of a field that is a list of names, in lower case: `Vary`, `Connection`.

    Every line of the field counts, empty members do not (RFC 9110 sections 5.3 and 5.6.1). The work grows with the
    field's length alone.
    """
    value = header(headers, name)
    return [] if value is None else [member for each in value.split(",") if (member := each.strip(" \t").lower())]


def list_elements(text: str) -> list[str]:
    """The elements of a field that is a list, as they are written; commas in quoted strings part nothing.

    Empty elements do not count (RFC 9110 sections 5.6.1 and 5.6.4). The work grows with the text's length alone.

    >>> list_elements('private="a, b", max-age=60,,')
    ['private="a, b"', 'max-age=60']
    """
    if '"' not in text:
        parts = text.split(",")
    else:
        parts, start, quoted = list[str](), 0, False
        for mark in MARKS.finditer(text):
            # A backslash escapes in quoted strings alone.
            sign = mark[0] if quoted else mark[0][-1]
            if sign == '"':
                quoted = not quoted
            elif sign == "," and not quoted:
                parts.append(text[start : mark.start()])
                start = mark.end()
        parts.append(text[start:])
    return [element for each in parts if (element := each.strip(" \t"))]


def retry_after(seconds: int) -> Header:
    """The field `Retry-After` (RFC 9110 section 10.2.3).

    Raises:
        SettingError: they are no whole number of seconds, 0 or more.
    """
    if not isinstance(seconds, int) or isinstance(seconds, bool) or seconds < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise SettingError(f"retry_after_s={seconds!r} must be a whole number of seconds, 0 or more")
    return (b"retry-after", b"%d" % seconds)


async def send_problem(
    send: Send,
    status: int,
    title: str,
    detail: str,
    *,
    code: str,
    headers: Iterable[Header] = (),
    type_uri: str = "about:blank",
    **members: object,
) -> None:
    """Sends a problem document as the whole response.

    Args:
        code: Stable and short, for programs: `store-unavailable`.
        headers: What is sent beside content type, length and `Cache-Control: no-store`.
        members: Further members of the document.
    Source: RFC 9457.
    """
    document = {"type": type_uri, "title": title, "status": status, "detail": detail, "code": code, **members}
    body = json.dumps(document).encode()
    fixed = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})
