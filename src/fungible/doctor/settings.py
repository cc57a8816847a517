"""The settings file: `[tool.fungible]` in pyproject.toml, or fungible.toml."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote

import msgspec
from msgspec import Struct

from fungible.core.errors import SettingError

VARIABLE: Final = re.compile(r"\$\{(\w+)\}")


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the settings file can say."""

    instances: int | None = None
    machines: int | None = None
    homes: dict[str, str] = {}
    """URL by kind of state; `${NAME}` in it is taken from the environment, and percent-encoded where it is a part."""


def find_settings(directory: Path) -> Path | None:
    """The settings file of a directory: fungible.toml, or pyproject.toml if it has our table."""
    own, project = directory / "fungible.toml", directory / "pyproject.toml"
    if own.is_file():
        return own
    return project if project.is_file() and _ours(_read(project)) is not None else None


def load_settings(path: Path, environ: Mapping[str, str]) -> Settings:
    """Reads a settings file, and puts in what it takes from the environment.

    Raises:
        SettingError: it can't be read, has a key that nothing reads, or a variable that is not set.
    """
    document: object = _read(path)
    if path.name == "pyproject.toml" and (document := _ours(document)) is None:
        raise SettingError(f"{path} has no table [tool.fungible]")
    try:
        settings = msgspec.convert(document, Settings)
    except msgspec.ValidationError as error:
        raise SettingError(f"{path}: {error}") from None
    homes = {kind: _filled(url, environ, f"{path}, {kind}") for kind, url in settings.homes.items()}
    return msgspec.structs.replace(settings, homes=homes)


def _ours(project: object) -> object:
    """The table [tool.fungible] of a pyproject.toml; None if it has none."""
    tools: object = cast("dict[str, object]", project).get("tool")
    return cast("dict[str, object]", tools).get("fungible") if isinstance(tools, dict) else None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingError(f"{path} can't be read: {error}") from None


def _filled(text: str, environ: Mapping[str, str], seat: str) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] not in environ:
            raise SettingError(f"{seat}: the environment has no {found[1]}")
        return _encoded(environ[found[1]], text[: found.start()], text[found.end() :])

    return VARIABLE.sub(value, text)


def _encoded(value: str, before: str, after: str) -> str:
    """A variable's value as it must stand at its place in a URL: what is a character of a password ends no host there.

    As it is where it is a URL or its beginning, the hosts, or whole options.
    """
    scheme, _, start = before.partition(":")
    if not scheme or not start:
        return value
    in_options = "?" in start
    if in_options:
        return quote(value, safe="/:,") if "=" in re.split("[?&]", start)[-1] else value
    authority = start.removeprefix("//")
    if start.startswith("//") and "/" not in authority:
        in_login = "@" in re.split("[/?#]", VARIABLE.sub("", after))[0]
        return quote(value, safe="") if in_login else value
    return quote(value, safe="/:")
