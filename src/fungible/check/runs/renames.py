"""Names that a visitor chooses, made unique for one run."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fungible.check.model import Step

_SOUGHT = frozenset({"path", "regex", "default"})


class Renames:
    """Names that the visitor chooses, made unique for one run: where `ada` signed up before, `adak3x9` has not."""

    def __init__(self, names: Sequence[str], token: str) -> None:
        self.token = token
        self._unique = {name: _unique(name, token) for name in names}
        self._pattern = _bounded(self._unique)
        self._back = {unique: name for name, unique in self._unique.items()}
        self._back_pattern = re.compile("|".join(map(re.escape, self._back)), re.IGNORECASE) if self._back else None

    def apply(self, step: Step) -> Step:
        """The step with every such name replaced, in what is sent and in what is expected."""
        if self._pattern is None:
            return step
        raw = msgspec.to_builtins(step)
        kept = {"id": step.id, "method": step.method, "visitor": step.visitor}
        # Of a capture only what it looks for in the answer: its name stands in placeholders.
        captures = [
            {**one, **self._replaced({key: one[key] for key in _SOUGHT & one.keys()})} for one in raw.get("capture", ())
        ]
        return msgspec.convert(self._replaced(raw) | kept | {"capture": captures}, Step)

    def undo(self, text: str) -> str:
        """The text with the names as the flow has them."""
        if self._back_pattern is None:
            return text
        return self._back_pattern.sub(
            lambda match: self._back.get(match[0]) or self._back.get(match[0].lower(), match[0]), text
        )

    def _replaced(self, value: Any) -> Any:
        if isinstance(value, str):
            assert self._pattern is not None
            return self._pattern.sub(lambda match: self._unique.get(match[0], match[0]), value)
        if isinstance(value, dict):
            return {key: self._replaced(item) for key, item in value.items()}  # pyright: ignore
        if isinstance(value, list | tuple):
            return [self._replaced(item) for item in value]  # pyright: ignore
        return value


def _bounded(names: Mapping[str, str]) -> re.Pattern[str] | None:
    if not names:
        return None
    longest_first = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    # A placeholder first, which stays as it is: `{{my-ada-id}}` is no text with `ada` in it.
    return re.compile(rf"\{{\{{[^{{}}]*\}}\}}|(?<![A-Za-z0-9])(?:{longest_first})(?![A-Za-z0-9])")


def _unique(name: str, token: str) -> str:
    """A name of the same form that was never used: digits stay digits, an address keeps its domain."""
    if name.isdigit():
        return str(
            int(token, 36) % 9 * 10 ** (len(name) - 1) + int(token, 36) % 10 ** (len(name) - 1) + 10 ** (len(name) - 1)
        )[: len(name)]
    local, at, domain = name.partition("@")
    return local + token + at + domain
