"""The settings file: `[tool.fungible]` in pyproject.toml, or fungible.toml."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from fungible.core.errors import SettingError

VARIABLE: Final = re.compile(r"\$\{(\w+)\}")


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the settings file can say."""

    instances: int | None = None
    machines: int | None = None
    homes: dict[str, str] = {}
    """URL by kind of state; `${NAME}` in it is taken from the environment."""


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
        return environ[found[1]]

    return VARIABLE.sub(value, text)
