"""What the options of the pytest plugin ask for."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import msgspec
import pytest

from fungible.check.checkfile import load
from fungible.check.errors import CheckError, CheckFileError
from fungible.check.model import Target


@dataclass(frozen=True)
class Settings:
    """What to start, which requests to send there, and how to place them.

    `any_local` holds where no base URL was given. `command` is the `fungible check` of the same target.
    """

    target: Target
    directory: Path
    base_url: str
    any_local: bool
    schedule: Literal["scatter", "crash"]
    command: str

    @property
    def host(self) -> str:
        """The Host header that instances get while nobody asks for anything yet."""
        return self.target.host or urlsplit(self.base_url).netloc

    @property
    def instances(self) -> int:
        """How many take turns."""
        return len(self.target.at) or self.target.instances


def settings_of(config: pytest.Config) -> Settings:
    """The settings that pytest's options give.

    Raises:
        pytest.UsageError: they make no sense.
    """
    try:
        return _settings(config)
    except CheckError as error:
        raise pytest.UsageError(f"fungible: {error}") from None


def _settings(config: pytest.Config) -> Settings:
    def option(name: str) -> Any:
        return config.getoption(f"fungible_{name}")

    here = config.invocation_params.dir
    file = None if option("file") is None else (here / option("file")).resolve()
    target = _target(Target() if file is None else load(file).target, option, here)
    schedule = cast(Literal["scatter", "crash"], option("schedule"))
    _refuse_nonsense(target, schedule)
    base_url = option("base_url") or f"http://{target.host or '127.0.0.1:8000'}"
    _refuse_no_url(base_url)
    return Settings(
        target=target,
        directory=here if file is None else file.parent,
        base_url=base_url,
        any_local=option("base_url") is None,
        schedule=schedule,
        command=_command(option),
    )


def _target(target: Target, option: Any, here: Path) -> Target:
    """The target of the check file, with what the options say in its place or beside it."""
    changes: dict[str, Any] = {
        # Paths given as options are relative to where they were typed.
        "shared": (*target.shared, *(str(here / path) for path in option("shared"))),
        "env": target.env | dict(_pair(text) for text in option("env")),
    }
    if option("start"):
        changes |= {"start": option("start"), "at": ()}
    if option("at"):
        changes |= {"at": tuple(option("at"))} | ({} if option("start") else {"start": ""})
    if option("instances") is not None:
        changes["instances"] = option("instances")
    if option("ready") is not None:
        changes["ready"] = msgspec.structs.replace(target.ready, path=option("ready"))
    return msgspec.structs.replace(target, **changes)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise CheckFileError(f"--fungible-env {text!r}: it should look like NAME=value")
    return name, value


def _refuse_nonsense(target: Target, schedule: str) -> None:
    if target.start and target.at:
        raise CheckFileError(
            "both a start command and instances that run were given: either start instances, or ask those that run"
        )
    if not target.start and not target.at:
        raise CheckFileError("there is nothing to start: the check file's target has neither `start` nor `at`")
    if target.at and len(target.at) < 2:
        raise CheckFileError("--fungible-at names one instance; it takes two or more to tell them apart")
    if target.at and schedule == "crash":
        raise CheckFileError("instances given with --fungible-at can't be killed: use --fungible-schedule scatter")
    if target.instances < 2:
        raise CheckFileError(f"{target.instances} instance can't be compared with itself: it takes 2 or more")


def _refuse_no_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        raise CheckFileError(f"--fungible-base-url {url!r}: it should look like http://localhost:8000")


def _command(option: Any) -> str:
    words = ["fungible", "check"]
    for name in ("file", "start", "ready"):
        words += [f"--{name}", option(name)] if option(name) else []
    for name in ("at", "shared", "env"):
        for value in option(name):
            words += [f"--{name}", value]
    return shlex.join(words)
