"""Text wrapped at words, with what goes on standing under its beginning; a word is never broken, so a path stays whole."""

import re

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

NARROWEST = 20
"""Cells that a column of text has at least, however narrow the terminal."""


def hanging(console: Console, label: Text, text: Text, indent: int) -> list[Text]:
    """The lines of a text that stands beside its label: each but the first begins with `indent` spaces."""
    rows = wrapped(text, console.width - indent)
    label.pad_right(max(0, indent - label.cell_len))
    return [(label if at == 0 else Text(" " * indent)) + row for at, row in enumerate(rows)]


def wrapped(text: Text, width: int) -> list[Text]:
    """The text in lines of at most `width` cells, but for words that are longer."""
    rows: list[Text] = []
    for line in text.split("\n", allow_blank=True):
        rows += line.divide(_breaks(line.plain, max(width, NARROWEST)))
    for row in rows:
        row.rstrip()
    return rows or [Text()]


def _breaks(plain: str, width: int) -> list[int]:
    """Where the words begin that start a new line."""
    found: list[int] = []
    used = 0
    for word in re.finditer(r"\s*\S+\s*", plain):
        if used and used + cell_len(word[0].rstrip()) > width:
            found.append(word.start())
            used = 0
        used += cell_len(word[0])
    return found
