"""Finds the values in a recording that came from an earlier answer, and makes references of them.

A value is a reference where it stood in an answer before any request sent it. Of several places it could have come
from, the surest kind of place counts (`Rank`), then the latest answer that did not merely repeat its own request.
"""

import re
from collections.abc import Mapping, Sequence

import msgspec

from fungible.check.flows.leaves import Leaf, Rank, leaf_in_text, leaves
from fungible.check.flows.recorded_cookies import take_cookies
from fungible.check.flows.sinks import Piece, Ref, Sink, request_text, rewritten, sinks_of
from fungible.check.flows.values import is_id_key, is_no_value, is_opaque, is_plain_word, stem, stems_of_path, varies
from fungible.check.http.jar import Jar
from fungible.check.http.template import captured, names_in
from fungible.check.model import Capture, Exchange, Flow, Step

LONG = 6
"""From this length on, equal is the same; shorter values need a reason."""
WITHIN = 8
"""From this length on, a value is found inside a longer one."""
_MAX_SINK = 200_000
_MAX_TEXT = 2_000_000


def bind(exchanges: Sequence[Exchange], *, name: str = "flow", cookies: Mapping[str, str] | None = None) -> Flow:
    """The flow of a recording, its values bound.

    Args:
        exchanges: Requests and answers in the order they were made, step ids unique.
        name: The flow's name.
        cookies: What the visitor had before the first request.
    Returns:
        A flow that, sent to the recorded answers, makes the recorded requests again.
    """
    return _Recording(exchanges, dict(cookies or {})).bound(name)


def confirm(flow: Flow, first: Mapping[str, str], second: Mapping[str, str]) -> Flow:
    """The flow with a default for each captured value that two runs, each from fresh, had in common.

    A constant can't break a run, so a step that fails to give it again is no finding of its own.
    """

    def confirmed(capture: Capture) -> Capture:
        value = first.get(capture.name)
        if capture.default is not None or value is None or second.get(capture.name) != value:
            return capture
        return msgspec.structs.replace(capture, default=value)

    steps = [msgspec.structs.replace(step, capture=tuple(map(confirmed, step.capture))) for step in flow.steps]
    return msgspec.structs.replace(flow, steps=tuple(steps))


class _Recording:
    """The recording while it is bound. `_found` holds the leaves, by value, that some request may repeat."""

    def __init__(self, exchanges: Sequence[Exchange], cookies: dict[str, str]) -> None:
        self._exchanges = exchanges
        self._cookies = cookies
        self._sinks = [sinks_of(one.step) for one in exchanges]
        self._sent = [request_text(one.step) for one in exchanges]
        self._exact = [{sink.text for sink in sinks} for sinks in self._sinks]
        self._jars = self._replayed_jars()
        self._captures: dict[int, list[Capture]] = {}
        self._names: set[str] = {"host"} | {
            n for one in exchanges for n in names_in([one.step.path, *one.step.headers.values(), one.step.body or ""])
        }
        self._chosen: dict[tuple[int, Capture], str] = {}
        self._first_sent: dict[str, int] = {}
        self._found, self._starts = self._index()

    def bound(self, name: str) -> Flow:
        steps = [
            rewritten(one.step, lambda sink, at=at: self._pieces(at, sink)) for at, one in enumerate(self._exchanges)
        ]
        done = [
            msgspec.structs.replace(step, capture=(*step.capture, *self._captures.get(at, ())))
            for at, step in enumerate(steps)
        ]
        return Flow(name=name, steps=tuple(done), cookies=self._cookies)

    def _replayed_jars(self) -> list[Jar]:
        """The jar after each step, as a run that gets the recorded answers would have it."""
        jar = Jar()
        for name, value in self._cookies.items():
            jar.set(name, value)
        after: list[Jar] = []
        for one in self._exchanges:
            if not _has_cookie_header(one.step):
                take_cookies(jar, one.step.path, one.answer)
            after.append(jar.copy())
        return after

    def _index(self) -> tuple[dict[str, list[tuple[int, Leaf]]], dict[str, set[str]]]:
        """Leaves that equal a sink, or that are machine-made and start somewhere inside one; the latter by start too."""
        texts = {sink.text for sinks in self._sinks for sink in sinks if sink.text and len(sink.text) <= _MAX_SINK}
        inside = {
            text[at : at + WITHIN] for text in texts if len(text) > WITHIN for at in range(len(text) - WITHIN + 1)
        }
        found: dict[str, list[tuple[int, Leaf]]] = {}
        starts: dict[str, set[str]] = {}

        def wanted(value: str) -> bool:
            return value in texts or value[:WITHIN] in inside

        for at, one in enumerate(self._exchanges[:-1]):
            for leaf in leaves(one.answer, one.step.path, wanted):
                within = leaf.value[:WITHIN] in inside and is_opaque(leaf.value)
                if leaf.value in texts or within:
                    found.setdefault(leaf.value, []).append((at, leaf))
                if within:
                    starts.setdefault(leaf.value[:WITHIN], set()).add(leaf.value)
        return found, starts

    def _pieces(self, at: int, sink: Sink) -> list[Piece] | None:
        text = sink.text
        if is_no_value(text) or len(text) > _MAX_SINK:
            return None
        name = self._reference(at, sink, text)
        if name is not None:
            return [Ref(name)]
        if len(text) > WITHIN and (pieces := self._within(at, sink)) is not None:
            return pieces
        if is_opaque(text) and (name := self._from_text(at, text)) is not None:
            return [Ref(name)]
        return None

    def _within(self, at: int, sink: Sink) -> list[Piece] | None:
        """The text taken apart at the values inside it, longest first where several start at one place."""
        text, pieces, done, here = sink.text, list[Piece](), 0, 0
        while here <= len(text) - WITHIN:
            name, end = None, here
            if here == 0 or not text[here - 1].isalnum():
                for value in sorted(self._starts.get(text[here : here + WITHIN], ()), key=len, reverse=True):
                    end = here + len(value)
                    if text.startswith(value, here) and not text[end : end + 1].isalnum():
                        name = self._reference(at, sink, value)
                    if name is not None:
                        break
            if name is None:
                here += 1
                continue
            pieces += [text[done:here], Ref(name)] if here > done else [Ref(name)]
            done = here = end
        if not done:
            return None
        return [*pieces, text[done:]] if done < len(text) else pieces

    def _reference(self, at: int, sink: Sink, value: str) -> str | None:
        """The name of a capture for the value, from the best of its places."""
        held = [(n, leaf) for n, leaf in self._found.get(value, ()) if n < at]
        if sink.kind == "cookie":
            held = [
                (n, leaf) for n, leaf in held if leaf.label == sink.key or (len(value) >= WITHIN and is_opaque(value))
            ]
        elif len(value) < LONG:
            held = [(n, leaf) for n, leaf in held if self._short_fits(n, leaf, sink)]
        else:
            held = [(n, leaf) for n, leaf in held if _long_fits(leaf, sink, value)]
        if not held or self._is_clients_own(value, sink, min(n for n, _ in held)):
            return None
        # An answer that repeats its own request is an echo; the value was known before.
        held = [(n, leaf) for n, leaf in held if not self._repeats(n, value)] or held
        held.sort(key=lambda one: (not _names_it(one[1], sink), one[1].rank, -one[0]))
        for n, leaf in held[:40]:
            if (name := self._capture(n, leaf)) is not None:
                return name
        return None

    def _short_fits(self, at: int, leaf: Leaf, sink: Sink) -> bool:
        """A short value counts where an identifier goes and where the names around both speak of one thing."""
        if not leaf.is_id or sink.kind in {"header", "text"}:
            return False
        if leaf.route is not None and leaf.capture.source == "body":
            return sink.kind == "path" and _is_route(leaf.route, sink)
        if sink.kind == "path":
            return stem(sink.key) in leaf.about and _varies_or_named(sink.text, leaf)
        if leaf.label == sink.key and leaf.capture.source != "cookie":
            return True
        if not is_id_key(sink.key):
            return False
        wanted = stem(sink.key)
        return (
            wanted in leaf.about
            if wanted not in {"id", "pk", "uuid", "key"}
            else bool(stems_of_path(sink.path) & leaf.about)
        )

    def _is_clients_own(self, value: str, sink: Sink, answered: int) -> bool:
        """True where the client sent the value before, or in the very request whose answer has it first."""
        if value in self._cookies.values():
            return True
        if len(value) >= LONG:
            return self._sent_first(value) <= answered
        earlier = [one for sinks in self._sinks[: answered + 1] for one in sinks if one.text == value]
        if sink.kind == "path":
            return any(one.kind == "path" and one.key == sink.key for one in earlier) or any(
                one.kind in {"json", "number", "form"} and is_id_key(one.key) for one in earlier
            )
        return any(one.key == sink.key and one.kind != "path" for one in earlier)

    def _sent_first(self, value: str) -> int:
        if value not in self._first_sent:
            self._first_sent[value] = next(
                (n for n in range(len(self._sent)) if self._sends(n, value)), len(self._sent)
            )
        return self._first_sent[value]

    def _repeats(self, at: int, value: str) -> bool:
        """True where the request names the value itself; a short one may be there for another reason."""
        if len(value) >= LONG:
            return self._sends(at, value)
        return any(one.text == value and (one.kind == "path" or is_id_key(one.key)) for one in self._sinks[at])

    def _sends(self, at: int, value: str) -> bool:
        return value in self._exact[at] or (is_opaque(value) and value in self._sent[at])

    def _from_text(self, at: int, value: str) -> str | None:
        """A capture by what stands around the value in the latest answer that has it anywhere."""
        written = value.encode()
        having = [n for n in range(at) if written in self._exchanges[n].answer.body]
        if not having or self._sent_first(value) <= having[0]:
            return None
        for n in reversed(having):
            leaf = None if self._sends(n, value) else leaf_in_text(value, self._exchanges[n].answer.text[:_MAX_TEXT])
            if leaf is not None and (name := self._capture(n, leaf)) is not None:
                return name
        return None

    def _capture(self, at: int, leaf: Leaf) -> str | None:
        """The name of a capture that takes this leaf out of its answer; None where it would take something else."""
        key = at, leaf.capture
        if key in self._chosen:
            return self._chosen[key]
        try:
            if captured(leaf.capture, self._exchanges[at].answer, self._jars[at]) != leaf.value:
                return None
        except (re.error, RecursionError, OverflowError):
            return None
        name = self._new_name(leaf.label)
        may_be_constant = not is_opaque(leaf.value) or leaf.value.isdigit()
        default = leaf.value if may_be_constant else None
        self._captures.setdefault(at, []).append(msgspec.structs.replace(leaf.capture, name=name, default=default))
        self._chosen[key] = name
        return name

    def _new_name(self, label: str) -> str:
        base = re.sub(r"[^A-Za-z0-9_]+", "_", label).strip("_")[:40]
        base = base.lower() if base.isupper() or "-" in label else base
        base = base if re.match(r"[A-Za-z]", base) else f"value_{base}".rstrip("_")
        name, count = base, 1
        while name in self._names:
            count += 1
            name = f"{base}_{count}"
        self._names.add(name)
        return name


def _has_cookie_header(step: Step) -> bool:
    return any(name.lower() == "cookie" for name in step.headers)


def _varies_or_named(text: str, leaf: Leaf) -> bool:
    """True for what can be an identifier at all: it has a digit, or stood under an identifier's key."""
    return varies(text) or is_id_key(leaf.label)


def _is_route(route: tuple[str | None, ...], sink: Sink) -> bool:
    """True where the sink is the open segment of a link that leads to just this path."""
    return len(route) == len(sink.segments) and all(
        (wanted is None and n == sink.index) or wanted == given
        for n, (wanted, given) in enumerate(zip(route, sink.segments, strict=True))
    )


def _long_fits(leaf: Leaf, sink: Sink, value: str) -> bool:
    if is_plain_word(value) and not leaf.is_id:
        return False
    if sink.kind == "path" or leaf.route is not None:
        return is_opaque(value) or varies(value) or leaf.rank is Rank.JSON_ID
    return leaf.capture.header != "Location" or leaf.capture.regex is not None or is_opaque(value)


def _names_it(leaf: Leaf, sink: Sink) -> bool:
    """True where the names on both sides are the same: preferred for all values, asked for with short ones."""
    if sink.kind == "path":
        return stem(sink.key) in leaf.about
    return leaf.label.lower() == sink.key.lower() or stem(sink.key) in leaf.about
