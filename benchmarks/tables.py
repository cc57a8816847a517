"""Numbers as plain text: several measurements as median and range, rows under columns, long lines in several."""

import statistics
import textwrap
from collections.abc import Sequence


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Median and range: `4.2 (4.0-5.1)`; the median alone where there is nothing to range over."""
    low, middle, high = (f"{value:.{digits}f}" for value in (min(values), median(values), max(values)))
    return middle if low == high else f"{middle} ({low}-{high})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of aligned columns: the first to the left, the others to the right."""
    lines = [head, *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def wrapped(words: str) -> str:
    """In lines of 120 characters at most."""
    return "\n".join(textwrap.wrap(words, 120, break_long_words=False, break_on_hyphens=False))
