"""Writes the reference from the code: where a page says `<!-- generated: NAME -->`, Markdown made here takes its place.

The code is the only source: a field, an option or a kind that is added there stands in the reference with the next
build, and a test fails where one is missing.
"""

import argparse
import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
from api import api
from msgspec import NODEFAULT, UNSET, Struct, UnsetType
from sphinx.application import Sphinx

from fungible.check import model
from fungible.check.findings import fixes
from fungible.check.findings.kinds import KINDS
from fungible.cli.main import build_parser
from fungible.doctor.report import all_findings
from fungible.stores.needs import NEEDS

MARK = re.compile(r"^<!-- generated: ([a-z-]+) -->$", re.MULTILINE)
WORDS: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "true or false", Any: "anything"}


# --- structures -------------------------------------------------------------------------------------------------------


def structures(root: type[Struct]) -> str:
    """A section for a structure and for each structure that its fields hold, in the order they are met."""
    return "\n\n".join(structure(found) for found in reachable(root))


def reachable(root: type[Struct]) -> list[type[Struct]]:
    """The structure, and all that stand in its fields, breadth first."""
    found = [root]
    for each in found:
        for info in msgspec.structs.fields(each):
            found += [inner for inner in structs_in(info.type) if inner not in found]
    return found


def structs_in(annotation: Any) -> Iterator[type[Struct]]:
    """The structures named anywhere in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        yield annotation
    for part in get_args(annotation):
        yield from structs_in(part)


def structure(found: type[Struct]) -> str:
    """One structure: heading, docstring, and a table of its fields."""
    notes = field_notes(found)
    rows = [
        [f"`{info.encode_name}`", type_words(info.type), default_words(info), notes.get(info.name, "")]
        for info in msgspec.structs.fields(found)
    ]
    head = ["key", "type", "default", "meaning"]
    if not notes:
        head, rows = head[:3], [row[:3] for row in rows]
    return f"## {found.__name__}\n\n{inspect.getdoc(found)}\n\n{table(head, rows)}"


def field_notes(found: type[Struct]) -> dict[str, str]:
    """The strings that stand below fields: what says more about one field than the structure's docstring does."""
    body = ast.parse(textwrap.dedent(inspect.getsource(found))).body[0]
    assert isinstance(body, ast.ClassDef)
    notes: dict[str, str] = {}
    for above, below in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(above, ast.AnnAssign)
            and isinstance(above.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            notes[above.target.id] = inspect.cleandoc(below.value.value)
    return notes


def type_words(annotation: Any) -> str:
    """A type as a reader of TOML or JSON knows it: `list of string`."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation in WORDS:
        return WORDS[annotation]
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in parts)
    if origin in {Union, UnionType}:
        # Any with UNSET is anything or nothing: which of the two the default column says.
        return " or ".join(type_words(part) for part in parts if part not in {type(None), UnsetType})
    if origin is dict:
        return f"table of {type_words(parts[1])}"
    if origin in {tuple, list}:
        if origin is tuple and Ellipsis not in parts:
            return "pair of " + " and ".join(type_words(part) for part in parts)
        return f"list of {type_words(parts[0])}"
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    raise TypeError(f"the reference has no words for the type {annotation!r}")


def default_words(info: msgspec.structs.FieldInfo) -> str:
    """What holds where the key is left out."""
    if info.required:
        return "required"
    default = info.default_factory() if info.default_factory is not NODEFAULT else info.default
    if default is None or default is UNSET or default in ("", (), {}):
        return "none"
    if isinstance(default, Struct):
        return "as below"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


# --- command line -----------------------------------------------------------------------------------------------------


def command_line() -> str:
    """A section for each command, with its usage and a table of its options."""
    return "\n\n".join(command(parser) for parser in parsers(build_parser()))


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from parsers(sub)


def command(parser: argparse.ArgumentParser) -> str:
    """One command: heading, description, usage, and a table for each group of options."""
    parser.formatter_class = lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=76)
    usage = parser.format_usage().removeprefix("usage: ").strip()
    parts = [f"## {parser.prog}", parser.description or "", f"```text\n{usage}\n```"]
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.help is not argparse.SUPPRESS]
        rows = [row for action in actions for row in option_rows(parser, action)]
        if rows:
            title = f"**{(group.title or '').capitalize()}**" if len(parser._action_groups) > 1 else ""
            head = ["option", "meaning", "default"]
            if not any(row[2] for row in rows):
                head, rows = head[:2], [row[:2] for row in rows]
            parts += [title, group.description or "", table(head, rows)]
    if parser.epilog:
        parts.append(f"```text\n{parser.epilog.strip()}\n```")
    return "\n\n".join(part for part in parts if part)


def option_rows(parser: argparse.ArgumentParser, action: argparse.Action) -> Iterator[list[str]]:
    """The rows of one option, or of the commands where it is the list of commands."""
    if isinstance(action, argparse._SubParsersAction):
        for choice in action._choices_actions:
            anchor = f"{parser.prog}-{choice.dest}".replace(" ", "-")
            yield [f"[`{choice.dest}`](#{anchor})", choice.help or "", ""]
        return
    metavar = parser._get_formatter()._format_args(action, action.dest.upper()) if action.nargs != 0 else ""
    names = [f"`{name} {metavar}`" if metavar else f"`{name}`" for name in action.option_strings] or [f"`{metavar}`"]
    if action.choices:
        names = [f"`{name}`" for name in action.option_strings] + [
            "one of " + ", ".join(f"`{choice}`" for choice in action.choices)
        ]
    shown = action.default not in (None, argparse.SUPPRESS, False, [], ())
    meaning = (
        (action.help or "") % {**vars(action), "prog": parser.prog} if "%(" in (action.help or "") else action.help
    )
    yield [", ".join(names), (meaning or "").replace("%%", "%"), f"`{action.default}`" if shown else ""]


# --- findings ---------------------------------------------------------------------------------------------------------


def findings() -> str:
    """A section for each kind of finding; its heading is the kind's name, so that a report can link to it."""
    return "\n\n".join(finding(kind) for kind in get_args(model.Kind))


def finding(kind: model.Kind) -> str:
    """One kind: what it means, and what mends it, in general and by framework; `fungible explain` prints the same."""
    about = KINDS[kind]
    parts = [
        f"## {kind}",
        f"**{about.title}.** {about.severity}.",
        prose(about.what),
        f"*The way out.* {prose(about.fix)}",
    ]
    rows = [[name, prose(fix)] for name, fix in fixes.ways_out(kind)]
    if rows:
        parts.append(table(["framework or protocol", "the way out there"], rows))
    return "\n\n".join(parts)


# --- postures ---------------------------------------------------------------------------------------------------------


def postures() -> str:
    """A section for each kind of state, with a table of the findings that its home can get."""
    listed = list(all_findings())
    head = ["code", "severity", "what would happen", "the way out"]
    parts: list[str] = []
    for kind in NEEDS:
        rows = [
            [f"`{found.code}`", found.severity.value, prose(found.problem), prose(found.way_out)]
            for found in listed
            if found.kind == kind
        ]
        parts.append(f"## {kind}\n\n{table(head, rows)}")
    return "\n\n".join(parts)


# --- words ------------------------------------------------------------------------------------------------------------


def prose(text: str) -> str:
    """Plain text as Markdown: what would be emphasis or a tag stands as written, code in backquotes stays code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([\\*_<>\[\]#{}])", r"\\\1", part) for part in parts)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )


GENERATORS: dict[str, Callable[[], str]] = {
    "check-file": lambda: structures(model.CheckFile),
    "report": lambda: structures(model.Report),
    "command-line": command_line,
    "findings": findings,
    "postures": postures,
    "api-stores": lambda: api("fungible.stores"),
    "api-sessions": lambda: api("fungible.sessions"),
    "api-tokens": lambda: api("fungible.tokens"),
    "api-tokens-client": lambda: api("fungible.tokens.client"),
    "api-idempotency": lambda: api("fungible.idempotency"),
    "api-cache": lambda: api("fungible.cache"),
    "api-limits": lambda: api("fungible.limits"),
    "api-adapters-fastapi": lambda: api("fungible.adapters.fastapi", level=3),
    "api-adapters-fastapi-limits": lambda: api("fungible.adapters.fastapi_limits", level=3),
    "api-adapters-fastapi-tokens": lambda: api("fungible.adapters.fastapi_tokens", level=3),
    "api-adapters-litestar": lambda: api("fungible.adapters.litestar", level=3),
    "api-adapters-flask": lambda: api("fungible.adapters.flask", level=3),
}


def generate(text: str) -> str:
    """The page, its marks replaced."""
    return MARK.sub(lambda match: GENERATORS[match[1]](), text)


def _on_source_read(_app: Sphinx, _name: str, source: list[str]) -> None:
    source[0] = generate(source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension with Sphinx."""
    app.connect("source-read", _on_source_read)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
