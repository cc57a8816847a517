"""How many processes a start command asks its server for, by the options of the usual servers."""

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

from fungible.check.model import Target

_OPTIONS: dict[str, tuple[str, ...]] = {
    "gunicorn": ("-w", "--workers"),
    "uvicorn": ("--workers",),
    "fastapi": ("--workers",),
    "hypercorn": ("-w", "--workers"),
    "granian": ("--workers",),
    "sanic": ("-w", "--workers"),
    "uwsgi": ("-p", "--processes", "--workers"),
    "puma": ("-w", "--workers"),
    "pm2": ("-i", "--instances"),
    "pm2-runtime": ("-i", "--instances"),
}
"""Options whose value is a number of processes; those of threads (waitress, `puma -t`) are none."""
_VARIABLES: dict[str, tuple[str, ...]] = {
    "gunicorn": ("WEB_CONCURRENCY",),
    "uvicorn": ("WEB_CONCURRENCY",),
    "fastapi": ("WEB_CONCURRENCY",),
    "granian": ("GRANIAN_WORKERS",),
    "puma": ("WEB_CONCURRENCY",),
    "rails": ("WEB_CONCURRENCY",),
    "php": ("PHP_CLI_SERVER_WORKERS",),
}


def asked_for(target: Target) -> tuple[int, str]:
    """The number of processes of one instance, and what says so: `(4, "gunicorn -w 4")`; `(1, "")` where nothing does.

    >>> asked_for(Target(start="exec gunicorn --workers=4 -b 127.0.0.1:{port} app:app"))
    (4, 'gunicorn --workers=4')
    """
    try:
        words = shlex.split(target.start)
    except ValueError:
        words = target.start.split()
    given, at = _assignments(words)
    env = {**os.environ, **target.env, **given}
    for number, word in enumerate(words[at:], at):
        server = os.path.basename(word)
        if server not in _OPTIONS and server not in _VARIABLES:
            continue
        rest = words[number + 1 :]
        for option, value in _values(rest, _OPTIONS.get(server, ())):
            return _number(value), f"{server} {option}"
        for option, value in _values(shlex.split(env.get("GUNICORN_CMD_ARGS", "")), _OPTIONS["gunicorn"]):
            if server == "gunicorn":
                return _number(value), f"GUNICORN_CMD_ARGS {option}"
        for name in _VARIABLES.get(server, ()):
            if env.get(name, ""):
                return _number(env[name]), f"{name}={env[name]}"
    return 1, ""


def _assignments(words: Sequence[str]) -> tuple[Mapping[str, str], int]:
    """`WEB_CONCURRENCY=4` before the command, as a shell or `env` takes it."""
    found: dict[str, str] = {}
    for at, word in enumerate(words):
        name, equals, value = word.partition("=")
        if equals and name.isidentifier():
            found[name] = value
        elif word not in {"env", "exec"}:
            return found, at
    return found, len(words)


def _values(words: Sequence[str], options: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each of the options with its value, in any of the forms `-w 4`, `-w4`, `--workers=4`."""
    for at, word in enumerate(words):
        for option in options:
            value = word.removeprefix(option).removeprefix("=")
            if word == option and at + 1 < len(words):
                yield f"{option} {words[at + 1]}", words[at + 1]
            elif word.startswith(option + "=") or (
                len(option) == 2 and word.startswith(option) and re.fullmatch(r"\d+|max", value)
            ):
                yield word, value


def _number(value: str) -> int:
    """The number that an option's value stands for: `max`, `auto` and 0 (of PM2) mean one for each processor."""
    if value.lstrip("-").isdigit() and int(value) > 0:
        return int(value)
    return max(1, (os.cpu_count() or 1)) if value in {"max", "auto", "0"} else 1
