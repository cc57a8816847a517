"""A witness as HTML: time runs down, visitor and instances are lanes, each request an arrow between two of them.

Each row is a list item with a small drawing on the left and the words on the right. The vertical lines reach from
edge to edge of the row, so they join whatever the height that the words need: that is how it fits any width.
"""

from collections.abc import Sequence
from typing import Final

from fungible.check.model import WitnessRequest
from fungible.check.report.markup import escaped
from fungible.check.report.words import lanes, shortened, struck, together

_VISITOR_X: Final = 22
_WIDE: Final = 34
_NARROW: Final = 22
_FEW: Final = 4
_REQUEST_Y: Final = 19
_EVENT_Y: Final = 14
_RADIUS: Final = 9
_LONGEST_PATH: Final = 160
_LONGEST_ANSWER: Final = 300


def graph_width(witness: Sequence[WitnessRequest]) -> int:
    """The width of the drawing in pixels, which the style sheet has to give to its class `w…`."""
    names = lanes(witness)
    return _x(len(names), names) + _gap(names) // 2


def witness_html(witness: Sequence[WitnessRequest]) -> str:
    """The witness as an ordered list; words in it say all that the drawing shows."""
    names = lanes(witness)
    width = graph_width(witness)
    rows = [_head(names, width)]
    for number, request in enumerate(witness, start=1):
        if request.event:
            rows.append(_event(request.event, names, width))
        following = witness[number].event if number < len(witness) else ""
        rows.append(_request(number, request, names, width, joined=(together(request.event), together(following))))
    return f'<ol class="lanes{" many" if len(names) > _FEW else ""}">{"".join(rows)}</ol>'


def _gap(names: Sequence[str]) -> int:
    return _WIDE if len(names) <= _FEW else _NARROW


def _x(position: int, names: Sequence[str]) -> int:
    """The middle of a lane: 0 is the visitor."""
    return _VISITOR_X if position == 0 else _VISITOR_X + _WIDE + (position - 1) * _gap(names)


def _graph(parts: Sequence[str], width: int) -> str:
    return f'<div class="graph w{width}"><svg width="{width}" height="100%" aria-hidden="true">{"".join(parts)}</svg></div>'


def _line(x1: object, y1: object, x2: object, y2: object, style: str) -> str:
    return f'<line class="{style}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def _head(names: Sequence[str], width: int) -> str:
    parts = ['<text class="visitor" x="0" y="16">visitor</text>', _line(_x(0, names), 22, _x(0, names), "100%", "lane")]
    for position, name in enumerate(names, start=1):
        x = _x(position, names)
        parts.append(f'<rect class="instance" x="{x - 10}" y="2" width="20" height="20" rx="4"/>')
        parts.append(f'<text class="name" x="{x}" y="16.5">{escaped(name)}</text>')
        parts.append(_line(x, 22, x, "100%", "lane"))
    return f'<li class="head" aria-hidden="true">{_graph(parts, width)}<div class="words">instance</div></li>'


def _event(event: str, names: Sequence[str], width: int) -> str:
    hit = struck(event)
    parts = [_line(_x(0, names), 0, _x(0, names), "100%", "lane bond" if together(event) else "lane")]
    for position, name in enumerate(names, start=1):
        x, y = _x(position, names), _EVENT_Y
        if name in hit:
            parts += [_line(x, 0, x, y - 9, "lane"), _line(x, y + 9, x, "100%", "lane")]
            parts += [_line(x - 6, y - 6, x + 6, y + 6, "kill"), _line(x - 6, y + 6, x + 6, y - 6, "kill")]
        else:
            parts.append(_line(x, 0, x, "100%", "lane"))
    return f'<li class="event">{_graph(parts, width)}<div class="words">{escaped(event)}</div></li>'


def _request(
    number: int, request: WitnessRequest, names: Sequence[str], width: int, *, joined: tuple[bool, bool]
) -> str:
    broken = " broken" if request.broken else ""
    return (
        f'<li class="request{broken}">{_graph(_arrow(request, names, joined), width)}'
        f'<div class="words"><div class="asked"><span class="number">{number}</span> '
        f'<span class="step">{escaped(request.step)}</span> '
        f"<code><b>{escaped(request.method)}</b> {escaped(shortened(request.path, _LONGEST_PATH))}</code> "
        f'<span class="unseen">to instance {escaped(request.instance)}</span></div>{_answer(request)}</div></li>'
    )


def _arrow(request: WitnessRequest, names: Sequence[str], joined: tuple[bool, bool]) -> list[str]:
    y = _REQUEST_Y
    visitor, target = _x(0, names), _x(1 + names.index(request.instance), names)
    style = "broken" if request.broken else "whole"
    parts = [_line(_x(position, names), 0, _x(position, names), "100%", "lane") for position in range(len(names) + 1)]
    if joined[0]:
        parts.append(_line(visitor, 0, visitor, y, "bond"))
    if joined[1]:
        parts.append(_line(visitor, y, visitor, "100%", "bond"))
    tip = target - _RADIUS - 1
    parts += [
        f'<circle class="from" cx="{visitor}" cy="{y}" r="4"/>',
        _line(visitor + 4, y, tip - 5, y, f"arrow {style}"),
        f'<path class="tip {style}" d="M{tip - 7} {y - 5}L{tip} {y}L{tip - 7} {y + 5}Z"/>',
        f'<circle class="node {style}" cx="{target}" cy="{y}" r="{_RADIUS}"/>',
        f'<text class="letter {style}" x="{target}" y="{y + 4}">{escaped(request.instance)}</text>',
    ]
    return parts


def _answer(request: WitnessRequest) -> str:
    answered = escaped(shortened(request.answered, _LONGEST_ANSWER))
    if not request.broken:
        return f'<div class="answered">{answered}</div>'
    wanted = escaped(shortened(request.expected, _LONGEST_ANSWER))
    expected = f'<div><span class="label">expected</span> {wanted}</div>' if wanted else ""
    return f'<div class="answered">{expected}<div><span class="label">answered</span> {answered}</div></div>'
