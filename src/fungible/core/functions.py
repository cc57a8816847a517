"""What a decorator is given: a coroutine function, a plain one, or something that it must refuse."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from fungible.core.errors import SettingError


class FunctionError(SettingError, TypeError):
    """A decorator can't do its work for that; the message says what it was given, and what would do."""


def is_async(function: Any, decorator: str) -> bool:
    """Whether a function is to be awaited; else it blocks.

    Partial functions and objects with `__call__` count as what they call.

    Args:
        decorator: How it is written, for errors: `@limited`.
    Raises:
        FunctionError: it is a generator, a class, a `classmethod` or `staticmethod`, or nothing that can be called. It is
            found out here, as by the first call the effect may be there.
    """
    if isinstance(function, (classmethod, staticmethod)):
        kind = "classmethod" if isinstance(function, classmethod) else "staticmethod"
        raise FunctionError(f"{decorator} stands around a {kind}: write @{kind} above {decorator}")
    called = _called(function)
    if inspect.isclass(called) or not callable(called):
        raise FunctionError(f"{decorator} takes a function or coroutine function, and was given {function!r}")
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise FunctionError(
            f"{decorator} was given {name_of(function) or function!r}, a generator, whose values come one by one after "
            "the call has ended: give it a function that returns all of them, such as a list"
        )
    return inspect.iscoroutinefunction(called)


def name_of(function: Any) -> str | None:
    """Module and name of a function; None for what has no name of its own, such as a partial function."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    return f"{module}.{name}" if module and name else None


def function_name(function: Any) -> str:
    """Module and name of a function, by which what it has given is kept apart from others'.

    Raises:
        FunctionError: it has none that tells it from others.
    """
    name = name_of(function)
    if name is None or name.endswith("<lambda>"):
        raise FunctionError(f"{function!r} has no name that tells it from others: give it one with name=")
    return name


def refuse_unrun(result: object, function: Callable[..., Any], decorator: str) -> None:
    """Refuses what a plain function gives where nothing of its work was done yet.

    Raises:
        FunctionError: it is a coroutine or generator, which was not begun.
    """
    if inspect.iscoroutine(result) or inspect.isgenerator(result):
        result.close()
    elif not inspect.isasyncgen(result):
        return
    raise FunctionError(
        f"{name_of(function) or function!r} is no coroutine function, and gave {type(result).__name__!r}, of which nothing "
        f"was run: write it as `async def`, or put {decorator} around what does the work"
    )


def _called(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    return getattr(function, "__call__", function)  # noqa: B004 - its kind is asked for, not whether it can be called
