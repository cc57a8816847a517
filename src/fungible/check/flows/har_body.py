"""The body of a recorded request as a step says it: `form`, `files`, `json`, `body` or `body_base64`."""

import base64
import json
import re
import urllib.parse
from email.message import Message
from typing import Any, cast

from fungible.check.model import FilePart

PLACEHOLDER = re.compile(r"\{\{[A-Za-z_][A-Za-z_0-9-]*(?:\|[a-z0-9]+)?\}\}")
"""Text that a step would have filled in: where a recording holds it, it must go as bytes."""

MAX_FIELD = 2000
"""Characters of a field: Python's parser of parameters takes work that grows with the square of their length."""

Given = dict[str, Any]


def body_of(post_data: Any, content_type: str) -> tuple[Given, bool]:
    """The fields of a step that make this body, and whether the Content-Type header must be kept beside them.

    Args:
        post_data: HAR's `request.postData`; anything else is no body.
        content_type: The request's Content-Type header, empty where it had none.
    """
    if not isinstance(post_data, dict):
        return {}, bool(content_type)
    data = cast(dict[str, Any], post_data)
    content_type = content_type or str(data.get("mimeType") or "")
    kind = content_type.partition(";")[0].strip().lower()
    if not isinstance(data.get("text"), str):
        return _from_params(data.get("params"), kind)
    raw = _bytes(data)
    if not raw:
        return {}, bool(content_type)
    fields: Given | None = None
    if PLACEHOLDER.search(raw.decode("latin-1")) is None:
        if kind == "application/x-www-form-urlencoded":
            fields = _form(raw)
        elif kind == "application/json" or kind.endswith("+json"):
            fields = _json(raw)
            if fields is not None:
                return fields, kind != "application/json"
        elif kind == "multipart/form-data":
            fields = _multipart(raw, content_type)
        if fields is not None:
            return fields, False
    return _raw(raw), True


def _bytes(data: dict[str, Any]) -> bytes:
    text = str(data["text"])
    if "base64" in (data.get("encoding"), data.get("_encoding")):
        try:
            return base64.b64decode(text)
        except ValueError:
            pass
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _raw(raw: bytes) -> Given:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    if text is None or "\0" in text or PLACEHOLDER.search(text):
        return {"body_base64": base64.b64encode(raw).decode()}
    return {"body": text}


def _grouped(pairs: list[tuple[str, str]]) -> dict[str, str | list[str]]:
    form: dict[str, str | list[str]] = {}
    for name, value in pairs:
        held = form.get(name)
        if held is None:
            form[name] = value
        elif isinstance(held, list):
            held.append(value)
        else:
            form[name] = [held, value]
    return form


def _form(raw: bytes) -> Given | None:
    """A form that is sent again as exactly these bytes; None where it would not be."""
    try:
        text = raw.decode("ascii")
        form = _grouped(urllib.parse.parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict"))
    except ValueError:
        return None
    return {"form": form} if urllib.parse.urlencode(form, doseq=True) == text else None


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _json(raw: bytes) -> Given | None:
    """The document; None where writing it out again would lose something."""
    try:
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=_no_twice, parse_constant=_no_constant)
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    return {"json": document}


def _multipart(raw: bytes, content_type: str) -> Given | None:
    """The parts of a multipart body; None where a step can't say them."""
    head = Message()
    head["Content-Type"] = content_type[:MAX_FIELD]
    boundary = head.get_boundary() or ""
    if not boundary and raw.startswith(b"--"):
        boundary = raw[2:].partition(b"\n")[0].strip().decode("latin-1")
    if not boundary:
        return None
    pairs: list[tuple[str, str]] = []
    files: list[FilePart] = []
    mark = b"\r\n--" + boundary.encode("latin-1", "replace")
    pieces = (b"\r\n" + raw).split(mark)
    for piece in pieces[1:]:
        if piece.startswith(b"--"):
            break
        top, blank, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if not blank:
            return None
        part = Message()
        for line in top.decode("utf-8", "replace").split("\r\n"):
            name, _, value = line.partition(":")
            part[name.strip()] = value.strip()[:MAX_FIELD]
        field = part.get_param("name", header="content-disposition")
        filename = part.get_param("filename", header="content-disposition")
        if not isinstance(field, str):
            return None
        if isinstance(filename, str):
            files.append(_file(field, filename, content, part.get("Content-Type") or "application/octet-stream"))
            continue
        if (part.get("Content-Type") or "text/plain").partition(";")[0].strip().lower() != "text/plain":
            return None
        try:
            pairs.append((field, content.decode("utf-8")))
        except UnicodeDecodeError:
            return None
    if not files:
        return None  # fields alone would be sent urlencoded
    return {"files": tuple(files)} | ({"form": _grouped(pairs)} if pairs else {})


def _file(field: str, filename: str, content: bytes, content_type: str) -> FilePart:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        encoded = base64.b64encode(content).decode()
        return FilePart(field=field, filename=filename, content_base64=encoded, content_type=content_type)
    return FilePart(field=field, filename=filename, content=text, content_type=content_type)


def _from_params(params: Any, kind: str) -> tuple[Given, bool]:
    """A body of which only the parameters were written down."""
    pairs: list[tuple[str, str]] = []
    files: list[FilePart] = []
    for given in cast(list[Any], params) if isinstance(params, list) else []:
        if not isinstance(given, dict):
            continue
        one = cast(dict[str, Any], given)
        name, value = str(one.get("name") or ""), str(one.get("value") or "")
        if isinstance(one.get("fileName"), str):
            files.append(
                _file(
                    name,
                    one["fileName"],
                    value.encode("utf-8", "surrogateescape"),
                    str(one.get("contentType") or "application/octet-stream"),
                )
            )
        elif name:
            pairs.append((name, value))
    fields: Given = {}
    if files:
        fields["files"] = tuple(files)
    if pairs:
        fields["form"] = _grouped(pairs)
    return fields, bool(kind) and not fields
