"""What names a call of a function: its arguments in a text or a digest, the same for equal calls, another for others.

One module for all that is kept by call: two calls that are taken for one get each other's values.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import string
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final, cast
from uuid import UUID

from fungible.core import codec
from fungible.core.errors import SettingError

FORMATTER: Final = string.Formatter()
AS_IT_IS: Final = re.compile(r"[^\W0-9][\w.@-]*")
DIGITS: Final = frozenset("-0123456789")
UNSAFE: Final = re.compile(r"[^\w.@-]")
WORDS: Final = frozenset({"None", "True", "False", "inf", "nan"})
"""Texts of values that are no numbers and no strings: a string that reads so is written otherwise."""
QUICK: Final = frozenset({str, int, float, bool, bytes, type(None)})
DEEPEST: Final = 64
"""Levels that arguments may be nested."""


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
                    return {name: found[name] for name in self.names}
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def passed(self, arguments: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as they are passed on to a function of them: by position where they may be."""
        bound = inspect.BoundArguments(self._signature, cast(Any, dict(arguments)))
        return bound.args, bound.kwargs


class OfArguments:
    """A function of a call's arguments, which may take fewer than there are: it is given defaults too."""

    def __init__(self, function: Callable[..., Any], arguments: Arguments) -> None:
        kinds = inspect.Parameter
        parameters = inspect.signature(function).parameters.values()
        self._function = function
        self._arguments = arguments
        self._most = sum(each.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD) for each in parameters)
        self._takes_all = any(each.kind is kinds.VAR_POSITIONAL for each in parameters)
        self._takes_any_name = any(each.kind is kinds.VAR_KEYWORD for each in parameters)
        self._names = {each.name for each in parameters if each.kind is not kinds.POSITIONAL_ONLY}

    def __call__(self, arguments: Mapping[str, Any]) -> Any:
        """What it gives for these arguments."""
        args, kwargs = self._arguments.passed(arguments)
        if not self._takes_all:
            args = args[: self._most]
        if not self._takes_any_name:
            kwargs = {name: value for name, value in kwargs.items() if name in self._names}
        return self._function(*args, **kwargs)


class Template:
    """Text with `{argument}` in it: no two calls whose arguments in it differ have one text.

    Args:
        typed: Tells 1 from "1", and None from "None". Without it values stand as `str` has them: for what is named by hand
            as well, or comes from clients that write a number either way.
    Raises:
        SettingError: it can't be read, or would not tell calls apart.
    """

    def __init__(self, text: str, names: Sequence[str], *, typed: bool = True) -> None:
        try:
            self._parts = [
                (before, field, spec or "", conversion) for before, field, spec, conversion in FORMATTER.parse(text)
            ]
        except ValueError as error:
            raise SettingError(f"the key {text!r} can't be read: {error}") from None
        self._shown = shown if typed else text_of
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
            # What is escaped with begins with a "%", which can't part values therefore.
            marks = {each for each in literals if not each.isalnum()} - {"%"}
            # Where values have escapes already, these are of another form: "-3" and -3 must not meet in `{x}-{y}`.
            self._escapes = (
                {ord(each): f"%x{ord(each):06X}" for each in marks}
                if typed
                else {ord(each): _escape(each) for each in {*marks, "%"}}
            )
            for before, field, _, _ in self._parts[1:]:
                if field is not None and not set(before) & marks:
                    raise SettingError(f"the key {text!r} needs a mark such as ':' between {{…}} and {{{field}}}")

    def filled(self, arguments: Mapping[str, Any]) -> str:
        """The text with the arguments in it.

        Raises:
            TypeError: an argument has no text of its own.
        """
        out: list[str] = []
        for before, field, spec, conversion in self._parts:
            out.append(before)
            if field is None:
                continue
            value = arguments[field] if field in arguments else FORMATTER.get_field(field, (), arguments)[0]
            if spec or conversion:
                # As the application wants to have it written; from here on it is a text like others.
                value = format(FORMATTER.convert_field(value, conversion) if conversion else value, spec)
            try:
                text = self._shown(value)
            except TypeError as error:
                raise TypeError(
                    f"the argument {field} makes no key: {error}; name a part of it, {{{field}.id}}"
                ) from None
            out.append(text.translate(self._escapes) if self._escapes else text)
        return "".join(out)


def _escape(mark: str) -> str:
    return f"%{ord(mark):02X}" if mark.isascii() else f"%u{ord(mark):06X}"


def text_of(value: object) -> str:
    """A value as `str` has it.

    Raises:
        TypeError: that is where it stands in this process's memory, and nothing else.
    """
    kind = type(value)
    if kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__:
        raise TypeError(f"{kind.__qualname__!r} is a type whose values have no text that is the same on every instance")
    return str(value)


def shown(value: object) -> str:
    """A value as text: readable where it is short, another for each other value and type.

    Raises:
        TypeError: values of its type have no text that is the same on every instance.
    >>> shown("mug"), shown(3), shown("3"), shown(None), shown("a b")
    ('mug', '3', '%33', 'None', 'a%20b')
    """
    kind = type(value)
    if kind is int:
        return str(value)
    if kind is str:
        text = cast(str, value)
        if AS_IT_IS.fullmatch(text) and text not in WORDS:
            return text
        rest = UNSAFE.sub(_escaped, text)
        if text in WORDS or text[:1] in DIGITS:
            # What could be a number, or a word that stands for something else, is told by its first character.
            return f"{_escape(text[0])}{rest[1:]}"
        return rest
    if kind is bool or value is None:
        return str(value)
    if kind is float:
        return UNSAFE.sub(_escaped, repr(value))
    if kind is UUID or kind is Decimal or kind is date:
        return f"{kind.__name__}~{UNSAFE.sub(_escaped, str(value))}"
    return f"{kind.__name__}~{hashlib.sha256(canonical(value)).hexdigest()[:32]}"


def _escaped(found: re.Match[str]) -> str:
    return _escape(found[0])


def canonical(value: object, depth: int = 0) -> bytes:
    """Bytes that equal values of one type have, and no others: on every instance and in every release.

    Raises:
        TypeError: there are none for its type.
    """
    if depth > DEEPEST:
        raise TypeError(f"it is nested more than {DEEPEST} levels deep")
    kind = type(value)
    if kind in QUICK:
        return _framed(kind.__name__, codec.encode(value) if kind is not str else cast(str, value).encode(*LENIENT))
    inner = depth + 1
    if isinstance(value, Enum):
        # By its name: what stands behind it may change. A flag of several has none, and a value.
        name = cast("str | None", value.name)
        return _framed(_name_of(kind), canonical(value.value if name is None else name, inner))
    called = kind.__name__ if kind.__module__ == "builtins" else _name_of(kind)
    if isinstance(value, Mapping):
        pairs = cast(Mapping[object, object], value).items()
        return _framed(called, *sorted(canonical(key, inner) + canonical(each, inner) for key, each in pairs))
    if isinstance(value, set | frozenset):
        return _framed(called, *sorted(canonical(each, inner) for each in cast("set[object]", value)))
    if isinstance(value, list | tuple):
        return _framed(called, *(canonical(each, inner) for each in cast("list[object]", value)))
    if isinstance(value, datetime | time):
        return _framed(called, value.isoformat().encode(), (value.tzname() or "").encode(), b"%d" % value.fold)
    if isinstance(value, date | timedelta | Decimal | UUID):
        return _framed(called, str(value).encode())
    if isinstance(value, bytearray):
        return _framed(called, bytes(value))
    for base in (int, float, str, bytes):
        if isinstance(value, base):
            return _framed(called, canonical(base(cast(Any, value)), inner))
    raise TypeError(f"{kind.__qualname__!r} is a type whose values have no text that is the same on every instance")


LENIENT: Final = ("utf-8", "surrogatepass")


def _name_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _framed(name: str, *parts: bytes) -> bytes:
    """Each part after its length: where one ends and the next begins must not be open."""
    data = b"".join(b"%d:%b" % (len(part), part) for part in (name.encode(), *parts))
    return b"%d!%b" % (len(parts), data)


def digest(arguments: Mapping[str, Any]) -> str:
    """40 hexadecimal digits for the arguments of a call; none where there are none.

    Raises:
        TypeError: an argument has no bytes of its own.
    """
    if not arguments:
        return ""
    if all(type(value) in QUICK for value in arguments.values()):
        try:
            data = codec.encode([[name, value] for name, value in arguments.items()])
        except UnicodeEncodeError:
            data = canonical(dict(arguments))
    else:
        data = canonical(dict(arguments))
    return hashlib.sha256(data).hexdigest()[:40]
