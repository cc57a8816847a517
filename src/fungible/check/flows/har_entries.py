"""The entries of a HAR file that are whole HTTP requests with their answers."""

import base64
import json
import re
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from fungible.check.errors import CheckFileError
from fungible.check.model import Answer

MAX_BYTES = 64 * 1024 * 1024

Raw = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One entry with the places looked at most taken out of it."""

    raw: Raw
    method: str
    url: urllib.parse.SplitResult
    headers: tuple[tuple[str, str], ...]
    answer: Answer

    @property
    def origin(self) -> str:
        """Host and port, without the scheme's own port."""
        default = {"http": ":80", "https": ":443"}[self.url.scheme]
        return self.url.netloc.rpartition("@")[2].lower().removesuffix(default)

    @property
    def target(self) -> str:
        """Path and query as sent."""
        path = (self.url.path or "/") + (f"?{self.url.query}" if self.url.query else "")
        # Braces can't stand in a request line anyway; left raw, they could be taken for a placeholder.
        return path.replace("{{", "%7B%7B").replace("}}", "%7D%7D")

    @property
    def kind(self) -> str:
        """What the browser fetched it as: `document`, `xhr`, `image`; empty where it does not say."""
        return str(self.raw.get("_resourceType") or "").lower()

    def sent(self, name: str) -> str:
        """A request header; several of one name joined, cookies by a semicolon (RFC 9113 section 8.2.3)."""
        return ("; " if name == "cookie" else ", ").join(value for key, value in self.headers if key.lower() == name)


def read_entries(path: Path) -> tuple[list[Entry], int]:
    """The usable entries of a file, and the number of the others.

    Raises:
        CheckFileError: the file can't be read, is larger than `MAX_BYTES`, or is no HAR.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise CheckFileError(
                f"{path}: {size // 2**20} MiB, more than the {MAX_BYTES // 2**20} MiB that are read; record a shorter flow"
            )
        document = json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise CheckFileError(f"{path}: {error.strerror or error}") from error
    except json.JSONDecodeError as error:
        raise CheckFileError(f"{path}: not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise CheckFileError(f"{path}: not a HAR file: {error}") from error
    listed = as_dict(as_dict(document).get("log")).get("entries")
    if not isinstance(listed, list):
        raise CheckFileError(
            f"{path}: not a HAR file: there is no list `log.entries`; in the browser's network tab choose `Save all as HAR`"
        )
    raw = cast(list[Any], listed)
    entries = [entry for one in raw if (entry := _entry(as_dict(one))) is not None]
    return entries, len(raw) - len(entries)


def as_dict(value: Any) -> Raw:
    """The value where it is an object; an empty object where it is not."""
    return cast(Raw, value) if isinstance(value, dict) else {}


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    """Name and value of each header; browsers join several of one name with a line feed."""
    listed = [as_dict(one) for one in cast(list[Any], value)] if isinstance(value, list) else []
    return tuple(
        (str(one.get("name") or ""), line.strip())
        for one in listed
        for line in str(one.get("value") or "").split("\n")
        if one.get("name")
    )


def _entry(raw: Raw) -> Entry | None:
    """An entry that is a usable request with an answer; None where it is not."""
    request, response = as_dict(raw.get("request")), as_dict(raw.get("response"))
    status = response.get("status")
    if not isinstance(status, int) or not 100 <= status <= 599 or status == 101:
        return None
    try:
        url = urllib.parse.urlsplit(str(request.get("url") or ""))
    except ValueError:
        return None
    method = str(request.get("method") or "").upper()
    headers = _pairs(request.get("headers"))
    names = {name.lower() for name, _ in headers}
    if (
        url.scheme not in {"http", "https"}
        or not url.netloc
        or not re.fullmatch(r"[A-Z]+", method)
        or raw.get("_resourceType") == "websocket"
    ):
        return None
    if method == "OPTIONS" and "access-control-request-method" in names:
        return None
    if "cookie" not in names and (cookie := _joined(request.get("cookies"))):
        headers = (*headers, ("Cookie", cookie))
    return Entry(raw, method, url, headers, _answer(response, status))


def _joined(cookies: Any) -> str:
    return "; ".join(f"{name}={value}" for name, value in _pairs(cookies))


def _answer(response: Raw, status: int) -> Answer:
    content = as_dict(response.get("content"))
    # The recorder has undone these two already.
    headers = [
        pair
        for pair in _pairs(response.get("headers"))
        if pair[0].lower() not in {"content-encoding", "transfer-encoding"}
    ]
    names = {name.lower() for name, _ in headers}
    mime = str(content.get("mimeType") or "")
    if mime and "content-type" not in names:
        headers.append(("Content-Type", mime))
    if response.get("redirectURL") and "location" not in names:
        headers.append(("Location", str(response["redirectURL"])))
    if "set-cookie" not in names:
        for given in cast(list[Any], response.get("cookies")) if isinstance(response.get("cookies"), list) else []:
            one = as_dict(given)
            headers.append(("Set-Cookie", f"{one.get('name')}={one.get('value')}; Path={one.get('path') or '/'}"))
    text = content.get("text")
    body = b""
    if isinstance(text, str):
        charset = re.search(r"charset=[\"']?([\w-]+)", mime)
        body = _body(text, content.get("encoding") == "base64", charset[1] if charset else "utf-8")
    return Answer(status=status, headers=tuple(headers), body=body)


def _body(text: str, is_base64: bool, charset: str) -> bytes:
    try:
        return base64.b64decode(text) if is_base64 else text.encode(charset)
    except (ValueError, LookupError):
        return text.encode("utf-8", "surrogatepass")
