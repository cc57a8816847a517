"""Reads a check file (TOML, YAML or JSON): an unknown key is an error that names it and the nearest known one."""

import difflib
import json
import re
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, Literal

import msgspec

from fungible.check.errors import CheckFileError
from fungible.check.model import CheckFile

MAX_BYTES = 16 * 1024 * 1024


def load(path: Path) -> CheckFile:
    """The check file at `path`; its ending says which format it has.

    Raises:
        CheckFileError: it can't be read, is no such format, or has keys or values that a check file does not have.
    """
    formats: dict[str, Literal["toml", "yaml", "json"]] = {
        ".toml": "toml",
        ".yaml": "yaml",
        ".yml": "yaml",
        ".json": "json",
    }
    kind = formats.get(path.suffix.lower())
    if kind is None:
        raise CheckFileError(f"{path}: a check file ends in .toml, .yaml, .yml or .json")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CheckFileError(f"{path} has {path.stat().st_size} bytes; a check file has at most {MAX_BYTES}")
        text = path.read_text("utf-8")
    except OSError as error:
        raise CheckFileError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise CheckFileError(f"{path} is not UTF-8 text (byte {error.start})") from None
    try:
        return parse(text, kind)
    except CheckFileError as error:
        raise CheckFileError(f"{path}: {error}") from None


def parse(text: str, format: Literal["toml", "yaml", "json"]) -> CheckFile:
    """A check file from its text.

    Raises:
        CheckFileError: as `load`.
    """
    document = _document(text, format)
    if not isinstance(document, dict):
        raise CheckFileError("the document is no table: it needs `target` and `flows`")
    _refuse_unknown(document, CheckFile, "")
    try:
        check_file = msgspec.convert(document, CheckFile)
    except msgspec.ValidationError as error:
        raise CheckFileError(str(error)) from None
    _refuse_nonsense(check_file)
    return check_file


def _document(text: str, format: str) -> Any:
    try:
        match format:
            case "toml":
                return tomllib.loads(text)
            case "json":
                return json.loads(text)
            case _:
                return _yaml(text)
    except tomllib.TOMLDecodeError as error:
        raise CheckFileError(f"not TOML: {error}") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise CheckFileError(f"not JSON: {error}") from None


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise CheckFileError("reading YAML needs PyYAML: pip install 'fungible[check]'") from None
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise CheckFileError(f"not YAML: {error}") from None


def _refuse_unknown(value: Any, kind: Any, where: str) -> None:
    """Walks a document beside the types it is to become, and refuses keys that those do not have."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if not isinstance(value, dict):
            return
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        for key, item in value.items():  # pyright: ignore[reportUnknownVariableType]
            if key not in fields:
                raise CheckFileError(_unknown_words(str(key), fields, where))  # pyright: ignore[reportUnknownArgumentType]
            _refuse_unknown(item, fields[key].type, f"{where}.{key}" if where else str(key))  # pyright: ignore
        return
    origin = typing.get_origin(kind)
    if origin is tuple and isinstance(value, list):
        for number, item in enumerate(value):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            _refuse_unknown(item, typing.get_args(kind)[0], f"{where}[{number}]")
    elif origin in {typing.Union, types.UnionType}:
        for part in typing.get_args(kind):
            if part is not types.NoneType:
                _refuse_unknown(value, part, where)


def _unknown_words(key: str, known: typing.Iterable[str], where: str) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(key, names, 1, 0.5)
    hint = f"did you mean {near[0]!r}?" if near else "known are " + ", ".join(names)
    return f"unknown key {key!r}{f' in {where}' if where else ''}: {hint}"


def _refuse_nonsense(check_file: CheckFile) -> None:
    """What has the right types and still can't be run."""
    if check_file.target.start and check_file.target.at:
        raise CheckFileError("target has both `start` and `at`: either start instances, or ask those that run")
    for number, source in enumerate(check_file.flows):
        given = [name for name in ("steps", "har", "openapi") if getattr(source, name) is not None]
        if len(given) != 1:
            raise CheckFileError(
                f"flows[{number}] ({source.name!r}) needs exactly one of `steps`, `har`, `openapi`; it has {' and '.join(given) or 'none'}"
            )
        seen: set[str] = set()
        for at, step in enumerate(source.steps or ()):
            where = f"flows[{number}].steps[{at}] ({step.id!r})"
            if step.id in seen:
                raise CheckFileError(f"{where}: two steps of one flow have this id")
            seen.add(step.id)
            _refuse_step(step, where)


def _refuse_step(step: Any, where: str) -> None:
    bodies = [name for name in ("json", "body", "body_base64") if getattr(step, name) not in (None, msgspec.UNSET)]
    bodies += ["form"] if step.form is not None or step.files else []
    if len(bodies) > 1:
        raise CheckFileError(f"{where} has more than one body: {' and '.join(bodies)}")
    if not re.fullmatch(r"[A-Za-z]+", step.method):
        raise CheckFileError(f"{where}: {step.method!r} is no HTTP method")
    for capture in step.capture:
        wanted = {"json": capture.path, "header": capture.header, "cookie": capture.cookie, "body": ""}[capture.source]
        if wanted is None:
            need = {"json": "path", "header": "header", "cookie": "cookie"}[capture.source]
            raise CheckFileError(
                f"{where}: the capture {capture.name!r} takes from {capture.source!r} and needs `{need}`"
            )
    for pattern in [capture.regex for capture in step.capture] + [step.expect.location]:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise CheckFileError(f"{where}: {pattern!r} is no regular expression: {error}") from None
    for encoded in [step.body_base64] + [part.content_base64 for part in step.files]:
        _refuse_base64(encoded, where)


def _refuse_base64(text: str | None, where: str) -> None:
    import base64

    try:
        base64.b64decode(text or "", validate=True)
    except ValueError as error:
        raise CheckFileError(f"{where}: the base64 text is broken: {error}") from None
