"""Text from an application made safe to stand in HTML."""

import html

from fungible.check.report.words import lines, one_line


def escaped(text: str) -> str:
    """The text as HTML, also inside a quoted attribute; what can't be seen is written as an escape."""
    return html.escape(one_line(text), quote=True)


def escaped_lines(text: str) -> str:
    """As `escaped`, with line breaks kept."""
    return html.escape(lines(text), quote=True)


def prose(text: str) -> str:
    """As `escaped`, with what stands in backquotes as code."""
    parts = escaped(text).split("`")
    if len(parts) % 2 == 0:
        return "`".join(parts)
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
