"""A witness as lines of text: time runs down, each instance is a lane, an arrow leads from the visitor to one."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from fungible.check.model import WitnessRequest
from fungible.check.report.words import lanes, one_line, shortened, struck

_WIDEST_GRAPH: Final = 24
_WIDEST_REQUEST: Final = 44
_LONGEST_ANSWER: Final = 200


class Glyphs(Struct, frozen=True):
    """The characters a report is drawn with."""

    lane: str
    shaft: str
    crossing: str
    head: str
    hit: str
    broken: str
    struck: str
    yes: str
    no: str
    unknown: str
    dot: str
    rule: str

    @staticmethod
    def fitting(encoding: str) -> "Glyphs":
        """Box-drawing characters where the console has them, else ASCII."""
        try:
            "".join(_UNICODE).encode(encoding)
        except (UnicodeEncodeError, LookupError):
            return Glyphs(*_ASCII)
        return Glyphs(*_UNICODE)


_UNICODE: Final = ("│", "─", "┼", "▶", "●", "✗", "╳", "✓", "✗", "–", "·", "─")
_ASCII: Final = ("|", "-", "+", ">", "o", "X", "#", "+", "x", "-", "-", "-")


def witness_lines(witness: Sequence[WitnessRequest], *, width: int, glyphs: Glyphs) -> list[Text]:
    """The witness, each line at most `width` cells wide.

    Requests stand left, their lanes in the middle, the answers right; an answer that does not fit goes on below.
    """
    names = lanes(witness)
    drawn = 4 * len(names) <= _WIDEST_GRAPH
    asked = [f"{i} {one_line(r.method)} {one_line(r.path)}" for i, r in enumerate(witness, start=1)]
    left_width = min(max(cell_len(text) for text in asked), max(12, min(_WIDEST_REQUEST, width * 2 // 5)))
    graph_width = 4 * len(names) if drawn else 5
    answer_width = max(12, width - left_width - graph_width - 2)
    page = _Page(left_width, graph_width, answer_width)

    page.add("", "".join(f"   {name}" for name in names) if drawn else "", "", style="bold")
    for request, text in zip(witness, asked, strict=True):
        still = f"   {glyphs.lane}" * len(names) if drawn else ""
        if request.event:
            hit = struck(request.event)
            graph = "".join(f"   {glyphs.struck if n in hit else glyphs.lane}" for n in names) if drawn else ""
            page.add("", graph, one_line(request.event), style="yellow", below=still)
        end = glyphs.broken if request.broken else glyphs.hit
        graph = (
            _arrow(names.index(request.instance), len(names), end, glyphs)
            if drawn
            else f" {glyphs.head} {request.instance}"
        )
        style = "bold red" if request.broken else ""
        page.add(text, graph, shortened(one_line(request.answered), _LONGEST_ANSWER), style=style, below=still)
        if request.broken and request.expected:
            page.add(
                "",
                still,
                f"expected {shortened(one_line(request.expected), _LONGEST_ANSWER)}",
                style="green",
                below=still,
            )
    return page.lines


def _arrow(target: int, number: int, end: str, glyphs: Glyphs) -> str:
    """`───┼──▶●   │`: past the lanes before the target."""
    before = f"{glyphs.shaft * 3}{glyphs.crossing}" * target
    return f"{before}{glyphs.shaft * 2}{glyphs.head}{end}" + f"   {glyphs.lane}" * (number - target - 1)


class _Page:
    """Three columns of cells, filled from above."""

    def __init__(self, left: int, graph: int, answer: int) -> None:
        self._left, self._graph, self._answer = left, graph, answer
        self.lines: list[Text] = []

    def add(self, left: str, graph: str, answer: str, *, style: str = "", below: str = "") -> None:
        """Adds a row; `below` is the graph beside the lines that the answer goes on for."""
        left = left if cell_len(left) <= self._left else shortened(left, self._left)
        for number, part in enumerate(_folded(answer, self._answer)):
            shown = graph if number == 0 else below
            line = Text(set_cell_size(left if number == 0 else "", self._left) + " ")
            line.append(set_cell_size(shown, self._graph), style=style if number == 0 else "")
            line.append(f" {part}", style=style)
            line.rstrip()
            self.lines.append(line)


def _folded(text: str, width: int) -> list[str]:
    """The text in pieces of at most `width` cells, broken at spaces where there are any."""
    pieces: list[str] = []
    rest = text
    while cell_len(rest) > width:
        fitting = set_cell_size(rest, width).rstrip(" ") or rest[:1]
        while fitting and not rest.startswith(fitting):
            # A wide character that was cut in half is a space now.
            fitting = fitting[:-1]
        space = fitting.rfind(" ")
        cut = space if space > width // 2 else max(1, len(fitting))
        pieces.append(rest[:cut])
        rest = rest[cut:].lstrip(" ")
    return [*pieces, rest]
