"""Writes the reference of Python modules from their public names and docstrings."""

import enum
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

SECTIONS = {"Args": "Arguments", "Returns": "Returns", "Raises": "Raises", "Source": "Source", "Yields": "Yields"}
SECTION = re.compile(r"^(Args|Returns|Raises|Source|Yields):[ ]*(.*)$")
ITEM = re.compile(r"^(\*{0,2}[A-Za-z_][\w.]*): (.*)$")

CONSTANTS = ("fungible.stores.contract",)
"""Modules that constants come from which others only pass on."""


def api(name: str, *, level: int = 2) -> str:
    """A section for each public name of a module, in the order of the alphabet, classes first.

    Args:
        level: Of the sections' headings.
    """
    module = importlib.import_module(name)
    names = sorted(module.__all__, key=lambda each: (not inspect.isclass(getattr(module, each)), each.lower()))
    return "\n\n".join(entry(each, getattr(module, each), (name, *CONSTANTS), level) for each in names)


def entry(name: str, found: Any, sources: Iterable[str] = (), level: int = 2) -> str:
    """One public name: heading, signature, what its docstring says, and its public members.

    Args:
        sources: Modules that a constant may stand in.
    """
    parts = [f"{'#' * level} {name}"]
    if inspect.isclass(found):
        parts += [signature(name, found) if not issubclass(found, (BaseException, enum.Enum)) else "", doc(found)]
        parts += members(found)
    elif inspect.isroutine(found):
        parts += [signature(name, found), doc(found)]
    else:
        parts.append(constant(name, found, sources))
    return "\n\n".join(part for part in parts if part)


def constant(name: str, found: Any, sources: Iterable[str]) -> str:
    """A constant: what the string below it in its module says."""
    for base in sources:
        source = inspect.getsource(importlib.import_module(base))
        note = re.search(rf'^{name}\b[^\n]*\n"""(.*?)"""', source, re.MULTILINE | re.DOTALL)
        if note:
            return prose(note[1])
    return f"`{found!r}`"


def signature(name: str, found: Any) -> str:
    """How it is called."""
    try:
        text = f"{name}{inspect.signature(found)}"
    except (TypeError, ValueError):
        return ""
    text = re.sub(r"<function ([\w.]+) at 0x[0-9a-f]+>|<built-in function (\w+)>", r"\1\2", text)
    text = re.sub(r"Annotated\[([\w.]+), \w+\(.*?\)\]", r"\1", text)
    text = re.sub(r"(?:fungible|collections|typing|_typeshed)(?:\.[a-z_]+)*\.(?=[A-Z])", "", text).replace("'", "")
    if len(text) > 100:
        head, _, rest = text.partition("(")
        inside, _, tail = rest.rpartition(")")
        arguments = ",\n    ".join(split_arguments(inside))
        text = f"{head}(\n    {arguments},\n){tail}"
    return f"```python\n{text}\n```".replace("```python", "```text")


def split_arguments(text: str) -> Iterator[str]:
    """The arguments of a signature: commas inside of brackets part nothing."""
    depth, start = 0, 0
    for at, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            yield text[start:at].strip()
            start = at + 1
    yield text[start:].strip()


def members(found: type) -> Iterator[str]:
    """The public members that the class itself defines."""
    notes = attribute_notes(found)
    if notes:
        yield "\n".join(f"- `{name}`: {prose(note)}" for name, note in notes.items())
    if issubclass(found, enum.Enum):
        return
    for name, member in vars(found).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            yield f"`{name}`\n: {prose(first_paragraph(member))}"
        elif isinstance(member, (classmethod, staticmethod)) or inspect.isfunction(member):
            function = getattr(found, name)
            is_async = "await " if inspect.iscoroutinefunction(function) else ""
            shown = re.sub(r"\(self(, )?", "(", str(inspect.signature(function))).replace("'", "")
            shown = re.sub(r" -> .*$", "", shown)
            yield f"`{is_async}{name}{shown}`\n: {textwrap.indent(doc(function), '  ').strip()}"


def attribute_notes(found: type) -> dict[str, str]:
    """The strings below the attributes of a class."""
    try:
        source = inspect.getsource(found)
    except (OSError, TypeError):
        return {}
    pattern = r'^    (\w+)(?:: [^\n]*| = [^\n]*)\n    """(.*?)"""'
    return {name: " ".join(note.split()) for name, note in re.findall(pattern, source, re.MULTILINE | re.DOTALL)}


def first_paragraph(found: Any) -> str:
    """What stands before the first empty line of a docstring."""
    return " ".join((inspect.getdoc(found) or "").partition("\n\n")[0].split())


def doc(found: Any) -> str:
    """A docstring as Markdown: its sections as paragraphs, their items as lists."""
    lines = (inspect.getdoc(found) or "").splitlines()
    out: list[str] = []
    section = ""
    for line in lines:
        if line.startswith(">>>"):
            break
        head = SECTION.match(line)
        if head:
            section = head[1]
            out += ["", f"*{SECTIONS[section]}.* {prose(head[2])}".rstrip(), *([] if head[2] else [""])]
            continue
        text = line.strip()
        item = ITEM.match(text) if section in {"Args", "Raises"} and not line.startswith("        ") else None
        if item:
            out.append(f"- `{item[1]}`: {prose(item[2])}")
        elif section and text:
            out.append(f"  {prose(text)}")
        else:
            out.append(prose(text))
    return "\n".join(out).strip()


def prose(text: str) -> str:
    """Plain text as Markdown: what would be emphasis or a tag stands as written, code in backquotes stays code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([\\*_<>\[\]#{}])", r"\\\1", part) for part in parts)
