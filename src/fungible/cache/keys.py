"""Keys of cached functions: a template filled with the arguments, or a digest of all arguments."""

from __future__ import annotations

import hashlib
import inspect
import string
from collections.abc import Callable, Mapping
from typing import Any, Final

from fungible.core import codec
from fungible.core.errors import SettingError

FORMATTER: Final = string.Formatter()


class Arguments:
    """Which parameter each argument of a call is for."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._signature = inspect.signature(function)
        parameters = self._signature.parameters.values()
        self.names: Final = tuple(self._signature.parameters)
        self._defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
        simple = {inspect.Parameter.POSITIONAL_OR_KEYWORD}
        self._is_simple = all(each.kind in simple for each in parameters)

    def of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments by name, with defaults.

        Raises:
            TypeError: the function can't be called with these.
        """
        if self._is_simple and not kwargs and len(args) == len(self.names):
            return dict(zip(self.names, args, strict=True))
        if self._is_simple and len(args) <= len(self.names):
            given = dict(zip(self.names, args, strict=False))
            if not kwargs.keys() & given.keys():
                found = {**self._defaults, **given, **kwargs}
                if len(found) == len(self.names) and not kwargs.keys() - set(self.names):
                    return found
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments


class Template:
    """Text with `{argument}` in it.

    Where several arguments stand in it, what parts them is escaped within strings: `a:{x}:{y}` never gives two calls one
    key.
    """

    def __init__(self, text: str, names: tuple[str, ...]) -> None:
        try:
            self._parts = [
                (before, field, spec or "", conversion) for before, field, spec, conversion in FORMATTER.parse(text)
            ]
        except ValueError as error:
            raise SettingError(f"the key {text!r} can't be read: {error}") from None
        fields = [field for _, field, _, _ in self._parts if field is not None]
        for field in fields:
            name = field.partition(".")[0].partition("[")[0]
            if name not in names:
                raise SettingError(
                    f"the key {text!r} names {field!r}; the function's arguments are: {', '.join(names)}"
                )
        self._escapes: dict[int, str] = {}
        if len(fields) > 1:
            literals = "".join(before for before, _, _, _ in self._parts)
            marks = {each for each in literals if not each.isalnum()}
            self._escapes = {ord(each): _escape(each) for each in {*marks, "%"}}
            for before, field, _, _ in self._parts[1:]:
                if field is not None and not set(before) & marks:
                    raise SettingError(f"the key {text!r} needs a mark such as ':' between {{…}} and {{{field}}}")

    def filled(self, arguments: Mapping[str, Any]) -> str:
        """The text with the arguments in it."""
        out: list[str] = []
        for before, field, spec, conversion in self._parts:
            out.append(before)
            if field is None:
                continue
            value = arguments[field] if field in arguments else FORMATTER.get_field(field, (), arguments)[0]
            shown = format(FORMATTER.convert_field(value, conversion) if conversion else value, spec)
            out.append(shown.translate(self._escapes) if self._escapes else shown)
        return "".join(out)


def _escape(mark: str) -> str:
    return f"%{ord(mark):02X}" if mark.isascii() else f"%u{ord(mark):06X}"


def digest_key(function: Callable[..., Any], arguments: Mapping[str, Any]) -> str:
    """The key where none was given: the function's name, and a digest of its arguments.

    Raises:
        TypeError: an argument is of a type that has no digest.
    """
    name = f"{function.__module__}.{function.__qualname__}"
    if not arguments:
        return name
    try:
        data = codec.encode([[each, value] for each, value in arguments.items()])
    except TypeError as error:
        raise TypeError(
            f"the arguments of {name} make no key: {error}; say key='…{{argument}}…' or key=function"
        ) from None
    return f"{name}:{hashlib.sha256(data).hexdigest()[:40]}"
