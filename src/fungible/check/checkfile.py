"""Reads a check file (TOML, YAML or JSON): an unknown key is an error that names it and the nearest known one."""

import base64
import datetime
import difflib
import json
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from fungible.check.errors import CheckFileError
from fungible.check.http.template import names_in, needs
from fungible.check.model import Capture, CheckFile, FlowSource, Step

MAX_BYTES = 16 * 1024 * 1024
MAX_SECONDS = 86_400
GIVEN = frozenset({"host", "run"})
"""Names that every step may use without a capture."""
_CAPTURE_KEYS = {"json": "path", "header": "header", "cookie": "cookie", "body": None}
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_NEARLY_NAME = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z_0-9-]*)[^{}]*\}\}")


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
        text = path.read_text("utf-8-sig")
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
    try:
        document = _plain(_document(text, format))
        if not isinstance(document, dict):
            raise CheckFileError("the document is no table: it needs `target` and `flows`")
        _refuse_unknown(document, CheckFile, "")
        check_file = msgspec.convert(document, CheckFile)
        _refuse_nonsense(check_file)
    except msgspec.ValidationError as error:
        raise CheckFileError(str(error)) from None
    except RecursionError:
        raise CheckFileError("the document is nested too deeply") from None
    return check_file


def _document(text: str, format: Literal["toml", "yaml", "json"]) -> Any:
    try:
        match format:
            case "toml":
                return tomllib.loads(text)
            case "json":
                return json.loads(text, object_pairs_hook=_without_doubles)
            case "yaml":
                return _yaml(text)
    except ValueError as error:  # TOMLDecodeError and JSONDecodeError are such
        raise CheckFileError(f"not {format.upper()}: {error}") from None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON: a key that stands twice would hide what it said first, as TOML refuses too."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands twice in one object")
        found[key] = value
    return found


def _yaml(text: str) -> Any:
    """Reads YAML as JSON would be read: only `true` and `false` are booleans, and dates and `10:30` are text (YAML 1.2)."""
    try:
        import yaml
    except ImportError:
        raise CheckFileError("reading YAML needs PyYAML: pip install 'fungible[check]'") from None

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers: typing.ClassVar[dict[str, Any]] = {}  # pyright: ignore[reportIncompatibleVariableOverride]

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen: set[str] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                        words = f"the key {key.value!r} stands twice in one mapping"
                        raise yaml.constructor.ConstructorError(None, None, words, key.start_mark)
                    seen.add(str(key.value))
            return super().construct_mapping(node, deep)

    for tag, pattern, starts in (
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
        ("int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
        ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
        ("merge", r"<<", ["<"]),
    ):
        cast(Any, Loader).add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{pattern})$"), starts)
    try:
        return yaml.load(text, Loader)  # noqa: S506 (Loader is a SafeLoader)
    except yaml.YAMLError as error:
        raise CheckFileError(f"not YAML: {error}") from None


def _plain(value: Any) -> Any:
    """The document with what only some formats have made as in the others: dates of TOML are text, keys are text."""
    if isinstance(value, dict):
        table = cast(dict[Any, Any], value)
        for key in table:
            if not isinstance(key, str):
                raise CheckFileError(f"the key {key!r} is no text: write it in quotes")
        return {_whole(key): _plain(item) for key, item in table.items()}
    if isinstance(value, list):
        return [_plain(item) for item in cast(list[Any], value)]
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    return _whole(value) if isinstance(value, str) else value


def _whole(text: str) -> str:
    """Text without halves of characters: `\\ud83d\\ude00` is one to JSON and, as PyYAML reads it, two halves in YAML."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise CheckFileError(f"{text!a} has one half of a surrogate pair: write the character itself") from None


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
    target = check_file.target
    if target.start and target.at:
        raise CheckFileError("target has both `start` and `at`: either start instances, or ask those that run")
    if target.instances < 2:
        raise CheckFileError(f"target.instances is {target.instances}: one instance can't be compared with itself")
    if check_file.begin is not None and not check_file.begin.startswith("/"):
        raise CheckFileError(f"begin is {check_file.begin!r}: it should be a path of the application, such as /shop")
    _refuse_seconds(target.ready.timeout, "target.ready.timeout")
    _refuse_statuses(target.ready.status, "target.ready.status")
    named: set[str] = set()
    for number, source in enumerate(check_file.flows):
        where = f"flows[{number}] ({source.name!r})"
        if source.name in named and source.name != FlowSource().name:
            raise CheckFileError(f"{where}: two flows have this name")
        named.add(source.name)
        given = [name for name in ("steps", "har", "openapi") if getattr(source, name) is not None]
        if len(given) != 1:
            raise CheckFileError(
                f"{where} needs exactly one of `steps`, `har`, `openapi`; it has {' and '.join(given) or 'none'}"
            )
        if source.steps is not None:
            _refuse_steps(source.steps, f"flows[{number}].steps", where)


def _refuse_steps(steps: tuple[Step, ...], place: str, flow: str) -> None:
    if not steps:
        raise CheckFileError(f"{flow} has no step")
    seen: set[str] = set()
    known = set(GIVEN)
    later = {capture.name for step in steps for capture in step.capture}
    for at, step in enumerate(steps):
        where = f"{place}[{at}] ({step.id!r})"
        if step.id in seen:
            raise CheckFileError(f"{where}: two steps of one flow have this id")
        seen.add(step.id)
        _refuse_step(step, where)
        _refuse_unbound(needs(step), known, later, where)
        known |= {capture.name for capture in step.capture}
        expect = step.expect
        _refuse_unbound(
            names_in([list(expect.contains), list(expect.lacks), expect.location or "", expect.json]),
            known,
            later,
            f"{where}.expect",
        )
        _refuse_nearly_names(step, known, where)


def _refuse_unbound(names: Iterable[str], known: set[str], later: set[str], where: str) -> None:
    for name in sorted(set(names) - known):
        near = difflib.get_close_matches(name, sorted(known), 1, 0.5)
        if name in later:
            hint = "it is captured only later"
        else:
            hint = f"did you mean {near[0]!r}?" if near else "known are " + ", ".join(sorted(known))
        raise CheckFileError(f"{where} needs {{{{{name}}}}}, which no earlier step captures: {hint}")


def _refuse_nearly_names(step: Step, known: set[str], where: str) -> None:
    """`{{ token }}` would be sent as it stands."""
    for text in _texts(msgspec.to_builtins(step)):
        for match in _NEARLY_NAME.finditer(text):
            if match[1] in known and not names_in(match[0]):
                raise CheckFileError(
                    f"{where}: {match[0]!r} is no placeholder: write {{{{{match[1]}}}}} or {{{{{match[1]}|url}}}}"
                )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in cast(dict[str, Any], value).values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in cast(list[Any], value):
            yield from _texts(item)


def _refuse_step(step: Step, where: str) -> None:
    bodies = [name for name in ("json", "body", "body_base64") if getattr(step, name) not in (None, msgspec.UNSET)]
    bodies += ["form"] if step.form is not None or step.files else []
    if len(bodies) > 1:
        raise CheckFileError(f"{where} has more than one body: {' and '.join(bodies)}")
    if not re.fullmatch(r"[A-Za-z]+", step.method):
        raise CheckFileError(f"{where}: {step.method!r} is no HTTP method")
    for name in step.headers:
        if not _TOKEN.fullmatch(name):
            raise CheckFileError(f"{where}: {name!r} is no name of a header")
    _refuse_seconds(step.poll_seconds, f"{where}: poll_seconds")
    _refuse_seconds(step.delay_before, f"{where}: delay_before")
    _refuse_statuses(step.expect.status, f"{where}: expect.status")
    for capture in step.capture:
        _refuse_capture(capture, where)
    _refuse_pattern(step.expect.location, where)
    _refuse_base64(step.body_base64, where)
    for part in step.files:
        if part.content is not None and part.content_base64 is not None:
            raise CheckFileError(f"{where}: the file {part.filename!r} has both `content` and `content_base64`")
        _refuse_base64(part.content_base64, where)


def _refuse_capture(capture: Capture, where: str) -> None:
    who = f"{where}: the capture {capture.name!r}"
    if not re.fullmatch(r"[A-Za-z_][A-Za-z_0-9-]*", capture.name):
        raise CheckFileError(f"{who} has a name that no {{{{name}}}} can have: letters, digits, _ and -")
    if capture.name in GIVEN:
        raise CheckFileError(f"{who} would replace {{{{{capture.name}}}}}, which has its own meaning")
    need = _CAPTURE_KEYS[capture.source]
    given = [key for key in ("path", "header", "cookie") if getattr(capture, key) is not None]
    if need is not None and need not in given:
        raise CheckFileError(f"{who} takes from {capture.source!r} and needs `{need}`")
    for key in given:
        if key != need:
            raise CheckFileError(f"{who} takes from {capture.source!r} and has no use for `{key}`")
    _refuse_pattern(capture.regex, where)


def _refuse_pattern(pattern: str | None, where: str) -> None:
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise CheckFileError(f"{where}: {pattern!r} is no regular expression: {error}") from None


def _refuse_base64(text: str | None, where: str) -> None:
    try:
        base64.b64decode(text or "", validate=True)
    except ValueError as error:
        raise CheckFileError(f"{where}: the base64 text is broken: {error}") from None


def _refuse_seconds(seconds: float, what: str) -> None:
    if not 0 <= seconds <= MAX_SECONDS:  # NaN is not either
        raise CheckFileError(f"{what} is {seconds:g}; it is in seconds, from 0 to {MAX_SECONDS}")


def _refuse_statuses(statuses: Iterable[int], what: str) -> None:
    for status in statuses:
        if not 100 <= status <= 599:
            raise CheckFileError(f"{what}: {status} is no status of HTTP")
