"""`fungible explain`: what a kind of finding means and what mends it, without a network."""

import argparse
import difflib
import shutil
import sys
import textwrap
from typing import Any

from fungible.check.findings.fixes import ways_out
from fungible.check.findings.kinds import KINDS
from fungible.check.model import Kind

_WIDEST = 100


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "explain",
        help="say what a kind of finding means, and the way out of it",
        description="Says what a kind of finding of `fungible check` means, and what mends it, in general and by framework: "
        "what the reference says. Without a kind, lists the kinds.",
    )
    parser.add_argument("kind", metavar="KIND", nargs="?", help="as a report names it, such as session")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints the page of a kind, or the list of all."""
    width = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST)
    if arguments.kind is None:
        print(listed())
        return 0
    if arguments.kind not in KINDS:
        print(f"fungible explain: {unknown(arguments.kind)}", file=sys.stderr)
        return 2
    print(page(arguments.kind, width))
    return 0


def listed() -> str:
    """The kinds, a line each."""
    widest = max(map(len, KINDS))
    return "\n".join(f"{kind:<{widest}}  {about.severity:<8}  {about.title}" for kind, about in KINDS.items())


def unknown(name: str) -> str:
    """What to say where there is no such kind."""
    near = difflib.get_close_matches(name, KINDS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(KINDS)}"
    return f"there is no kind {name!r}: {hint}"


def page(kind: Kind, width: int) -> str:
    """All that is said about a kind, in lines of at most `width` characters."""
    about = KINDS[kind]
    parts = [f"{about.severity}  {about.title}", _wrapped(about.what, width), _section("The way out", about.fix, width)]
    parts += [_section(name, fix, width) for name, fix in ways_out(kind)]
    return "\n\n".join(parts)


def _section(title: str, text: str, width: int) -> str:
    return f"{title}\n{_wrapped(text, width, '  ')}"


def _wrapped(text: str, width: int, indent: str = "") -> str:
    return textwrap.fill(
        text,
        max(width, 20),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
