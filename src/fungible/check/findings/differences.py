"""A difference in words: what one instance alone answers, and what came instead, read as English."""

import html
import re
from collections.abc import Callable
from typing import Final

from fungible.check.oracle.noise import Difference
from fungible.check.runs.ground import answer_words
from fungible.check.runs.runner import Outcome

_OPENING = re.compile(r"<(head|style|script)\b|<")
_UNSEEN = ("head", "style", "script")
_MOST_SHOWN = 200
"""Characters of an answer's text."""


def both(difference: Difference, control: Outcome, broken: Outcome) -> tuple[str, str]:
    """What one instance answers and what was seen, from the place that tells most."""
    one, other = answer_words(control.answer), answer_words(broken.answer)
    if one != other:
        return one, other
    expected, saw = sides(difference)
    joint = ", but " if difference.place == "expect" else ", "
    return f"{one}, {expected}", f"{other}{joint}{saw}"


def sides(difference: Difference) -> tuple[str, str]:
    """Both sides of a difference, each by itself: `the list items has 1 item`, `the list items has 2 items`."""
    if difference.place == "expect":
        return "as the step expects", difference.saw
    return (
        value_words(difference.place, difference.expected, difference.expected_number),
        value_words(difference.place, difference.saw, difference.saw_number),
    )


def value_words(place: str, text: str, number: int) -> str:
    """What stands in a place of `oracle.places`.

    Args:
        place: Its name there.
        text: Its values, as a difference shows them.
        number: How many values there are; 0 where the answer has no such place.
    """
    about, _, rest = place.partition(" ")
    words = _WORDS.get(about)
    if words is not None:
        return words(rest, text, number)
    return f"{place_words(place)}: {text}"


def place_words(place: str) -> str:
    """A place's name for people: `status`, `cookie sid`, `orders[*].id`, `text of h1 in main`."""
    about, _, rest = place.partition(" ")
    match about:
        case "content-type":
            return "content type"
        case "location":
            return f"{rest[1:]} in Location" if rest else "Location"
        case "json":
            name = _json_name(rest)
            if rest.endswith("/#"):
                return f"number of items in {name or 'the list'}"
            return f"keys of {name or 'the object'}" if rest.endswith("/{}") else name or "JSON value"
        case "html":
            path, kind, attribute = _html_parts(rest)
            return (
                f"text of {path}" if kind == "text" else f"{attribute} of {path}" if attribute else f"number of {path}"
            )
        case "text":
            return "number of lines" if rest == "lines" else rest
        case _:
            return place


def _json_name(pointer: str) -> str:
    """`/orders/*/id` as `orders[*].id`; the ends `#` and `{}` are no part of it."""
    name = ""
    for part in pointer.split("/")[1:]:
        if part == "*":
            name += "[*]"
        elif part not in {"#", "{}"}:
            name += ("." if name else "") + part.replace("~1", "/").replace("~0", "~")
    return name


def _html_parts(rest: str) -> tuple[str, str, str]:
    """The last two elements of a path, `li in ul.items`; `text` where it is a text node; the attribute's name."""
    parts = rest.split("/")
    attribute = parts.pop()[1:] if parts[-1].startswith("@") else ""
    kind = parts.pop() if parts[-1] == "text()" else ""
    return " in ".join(reversed(parts[-2:])) or "the page", kind.removesuffix("()"), attribute


def _connection(rest: str, text: str, number: int) -> str:
    return "a whole answer" if text == "whole" else text


def _status(rest: str, text: str, number: int) -> str:
    return f"status {text}" if number else "no answer"


def _content_type(rest: str, text: str, number: int) -> str:
    return f"content type {text}" if number and text else "no content type"


def _location(rest: str, text: str, number: int) -> str:
    if rest:
        return f"{rest[1:]}={text} in Location" if number else f"no {rest[1:]} in Location"
    return f"Location {text}" if number else "no Location"


def _cookie(name: str, text: str, number: int) -> str:
    state, _, attributes = text.partition("; ")
    if not number:
        return f"sets no cookie {name}"
    if number > 1 or state not in {"set", "empty", "deleted"}:
        return f"cookie {name}: {text}"
    more = f" ({attributes})" if attributes else ""
    return {
        "set": f"sets the cookie {name}{more}",
        "empty": f"sets the cookie {name} to nothing{more}",
        "deleted": f"deletes the cookie {name}",
    }[state]


def _json(rest: str, text: str, number: int) -> str:
    name = _json_name(rest)
    if rest.endswith("/#"):
        owner = f"the list {name}" if name else "the list"
        if not number:
            return f"there is no list {name}".rstrip()
        if number > 1:
            return f"the lists {name} have {text} items"
        return f"{owner} has {text} {'item' if text == '1' else 'items'}"
    if rest.endswith("/{}"):
        owner = f"the object {name}" if name else "the object"
        if not number:
            return f"there is no object {name}".rstrip()
        if number > 1:
            return f"the objects {name} have the keys {text}"
        return f"{owner} is empty" if text == "empty" else f"{owner} has the keys {text.replace(',', ', ')}"
    if not number:
        return f"there is no {name}" if name else "no JSON value"
    return f"{name or 'the JSON value'} is {text}"


def _html(rest: str, text: str, number: int) -> str:
    path, kind, attribute = _html_parts(rest)
    if kind == "text":
        return f"the text of {path} is {text}" if number else f"no text in {path}"
    if attribute:
        return f"{attribute} of {path} is {text or 'empty'}" if number else f"no {attribute} of {path}"
    return f"no {path}" if not number else f"{number} times {path}" if number > 1 else f"one {path}"


def _text(rest: str, text: str, number: int) -> str:
    if rest == "lines":
        return "no lines of text" if not number else f"{text} line of text" if text == "1" else f"{text} lines of text"
    return f"{rest} is {text!r}" if number else f"no {rest}"


def _body(rest: str, text: str, number: int) -> str:
    if not number:
        return "no such body"
    if text == "empty":
        return "an empty body"
    return f"a body of {text}" if ", SHA-256 " in text else f"the body is {text}"


_WORDS: Final[dict[str, Callable[[str, str, int], str]]] = {
    "connection": _connection,
    "status": _status,
    "content-type": _content_type,
    "location": _location,
    "cookie": _cookie,
    "json": _json,
    "html": _html,
    "text": _text,
    "body": _body,
}


def body_instead(difference: Difference, broken: Outcome) -> tuple[str, ...]:
    """What came in place of a text that the step expects: an answer that only lacks something tells little."""
    answer = broken.answer
    if difference.place != "expect" or not answer.status or answer.error or not difference.saw.startswith("the body"):
        return ()
    text = plain_text(answer.text)
    words = f"{text[:_MOST_SHOWN].rstrip()} ..." if len(text) > _MOST_SHOWN else text
    return (f"the body has {len(answer.body)} bytes" + (f": {words}" if words else ""),)


def plain_text(page: str) -> str:
    """What a page says, without markup."""
    shown: list[str] = []
    at = 0
    ends = dict.fromkeys((*(f"</{name}>" for name in _UNSEEN), ">"), 0)
    """Where each ending comes next; below 0 where none does, and none is looked for again."""
    while (tag := _OPENING.search(page, at)) is not None:
        shown.append(page[at : tag.start()])
        for ending in (f"</{tag[1]}>", ">"):
            if 0 <= ends.get(ending, -1) < tag.end():
                ends[ending] = page.find(ending, tag.end())
            if ends.get(ending, -1) >= 0:
                at = ends[ending] + len(ending)
                break
        else:
            at = tag.start()
            break
    shown.append(page[at:])
    return " ".join(html.unescape(" ".join(shown)).split())
