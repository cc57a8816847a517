"""Looks into an application, without starting it, for what keeps state and says where."""

import contextlib
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar, cast

from msgspec.structs import replace

from fungible.core.errors import FungibleError, SettingError
from fungible.doctor.diagnosis import Found
from fungible.doctor.foreign import CARRIERS, IN_COOKIES, in_cookie
from fungible.stores.postures import DeclaresHomes, HasHomes, Home, PostureError

TARGET: Final = re.compile(r"(?P<module>[\w.]+):(?P<attribute>[\w.]+)(?P<call>\(\))?")
T = TypeVar("T")
LOGIN: Final = re.compile(r"(?<=://)\S*@")


def homes_of_application(target: str) -> Found:
    """The homes of an application, by its name. Imports it, with the working directory on the path.

    Args:
        target: `package.module:attribute`, or `package.module:make()` for a function that makes the application.
    Raises:
        SettingError: it can't be imported, or there is no such attribute.
    """
    try:
        application = load(target)
        found = guarded(lambda: homes_of(application, target), f"can't look into {target}")
    except PostureError as error:
        # It judged itself, for the deployment in its environment, and would not have started.
        return Found(findings=tuple(replace(finding, seat=finding.seat or target) for finding in error.findings))
    if not (found.homes or found.findings or found.notes):
        return Found(notes=(f"{target}: nothing in it is known to keep state",))
    return found


def load(target: str) -> object:
    """The application that a target names."""
    matched = TARGET.fullmatch(target)
    if matched is None:
        raise SettingError(f"--app {target}: package.module:attribute was expected, such as shop.main:app")
    found: object = imported(matched["module"])
    for name in matched["attribute"].split("."):
        if not hasattr(found, name):
            raise SettingError(f"--app {target}: {matched['module']} has no {matched['attribute']!r}")
        found = getattr(found, name)
    if not matched["call"]:
        return found
    if not callable(found):
        raise SettingError(f"--app {target}: {matched['attribute']!r} can't be called")
    return guarded(found, f"{target} failed")


def imported(module: str) -> ModuleType:
    """A module, by its name, as the application's server would import it.

    Raises:
        SettingError: it can't be imported; the message has no password.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    return guarded(lambda: importlib.import_module(module), f"can't import {module}")


def guarded(run: Callable[[], T], problem: str) -> T:
    """Runs code of the application: what it prints goes to standard error, what it raises becomes an error of ours."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return run()
    except FungibleError:
        raise
    except (Exception, SystemExit) as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())
        raise SettingError(f"{problem}: {without_logins(words)}") from error


def without_logins(text: str) -> str:
    """Text of others, with no user name and password in what looks like a URL."""
    return LOGIN.sub("", text)


def homes_of(application: object, name: str) -> Found:
    """The homes of an application that is at hand.

    It looks at the middleware that Starlette, FastAPI and Litestar have noted down, at Flask's session interface, at
    mounted applications, and at whatever wraps an application and has it as `app`.
    """
    found, seen, waiting = Found(), set[int](), [application]
    while waiting:
        part = waiting.pop(0)
        if id(part) not in seen:
            seen.add(id(part))
            found += _shown(part, name)
            waiting += _within(part)
    return found


def _within(part: object) -> Iterator[object]:
    """What a part of an application is made of."""
    for name in ("user_middleware", "middleware", "routes"):
        entries: object = getattr(part, name, None)
        if isinstance(entries, list | tuple):
            yield from cast(Iterable[object], entries)
    for name in ("app", "wsgi_app", "session_interface"):
        inner: object = getattr(part, name, None)
        # Flask's own wsgi_app is a method of what was already looked at; without a key its cookie sessions are off.
        if not inspect.isroutine(inner) and (getattr(part, "secret_key", True) or _full_name(inner) not in IN_COOKIES):
            yield inner
    if (noted := _entry(part)) is not None and not issubclass(noted, DeclaresHomes):
        # Litestar gives its own middleware a backend, which is what knows the home.
        yield from cast(Any, part).kwargs.values()


def _entry(part: object) -> type | None:
    """The class of a middleware that is noted down and not built yet, as Starlette and Litestar do."""
    if not isinstance(getattr(part, "kwargs", None), Mapping):
        return None
    named: object = getattr(part, "cls", None) or getattr(part, "middleware", None)
    return named if isinstance(named, type) else None


def _shown(part: object, name: str) -> Found:
    """What one part says of where it keeps state."""
    noted = _entry(part)
    kind = noted or _class(part)
    seat = f"{kind.__name__} in {name}"
    if issubclass(kind, DeclaresHomes) and (noted or isinstance(part, type)):
        settings: Mapping[str, object] = cast(Any, part).kwargs if noted else {}
        declared: object = guarded(lambda: kind.homes_declared(**settings), f"{seat} can't be built")
        return Found(homes=_homes(declared, name))
    if isinstance(part, HasHomes) and not isinstance(part, type):
        return Found(homes=_homes(part.homes(), name))
    return _foreign(cast("type[object]", kind), seat)


def _homes(told: object, name: str) -> tuple[Home, ...]:
    """The homes among what was told: something else may have a method of the same name."""
    homes = cast(Iterable[object], told or ())
    return tuple(replace(home, seat=f"{home.seat} in {name}") for home in homes if isinstance(home, Home))


def _foreign(kind: type, seat: str) -> Found:
    full_name = _full_name(kind)
    if full_name in IN_COOKIES:
        return in_cookie(seat)
    if kind.__module__.startswith("django."):
        return Found(notes=(f"{seat}: name its settings, with --django package.settings",))
    if "Session" in kind.__name__ and full_name not in CARRIERS:
        return Found(notes=(f"{seat} ({full_name}) is not known, and was not judged",))
    return Found()


def _full_name(part: object) -> str:
    kind = _class(part)
    return f"{kind.__module__}.{kind.__qualname__}"


def _class(part: object) -> type:
    return cast("type[object]", part if isinstance(part, type) else type(part))
