"""Visitors who came before: what an instance learns from serving others' writes may be stale for the next one."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from fungible.check.model import Step
from fungible.check.runs.runner import Move
from fungible.check.runs.subject import Subject


def earlier_visits(subject: Subject, slots: Iterable[int]) -> list[Move]:
    """The whole flow, served to another visitor at each of the slots; nothing of it is judged."""
    return [
        Move(_of_another(step, f"earlier{slot}", subject), slot=slot, earlier=True)
        for slot in slots
        for step in subject.flow.steps
    ]


def _of_another(step: Step, who: str, subject: Subject) -> Step:
    """A step as another visitor sends it: with names and captured values of its own."""
    captured = {capture.name for other in subject.flow.steps for capture in other.capture}
    chosen = sorted((name for name in subject.conditions.names if not name.isdigit()), key=len, reverse=True)
    names = re.compile(rf"(?<![A-Za-z0-9{{])({'|'.join(map(re.escape, chosen))})(?![A-Za-z0-9}}])") if chosen else None

    def own(match: re.Match[str]) -> str:
        name, how = match[1], match[2] or ""
        if name == "run":
            return f"{match[0]}{who}"
        return f"{{{{{who}_{name}{how}}}}}" if name in captured else match[0]

    def renamed(match: re.Match[str]) -> str:
        local, at, domain = match[0].partition("@")
        return f"{local}{who}{{{{run}}}}{at}{domain}"

    def changed(value: Any) -> Any:
        if isinstance(value, str):
            text = re.sub(r"\{\{([A-Za-z_][A-Za-z_0-9-]*)(\|[a-z]+)?\}\}", own, value)
            return names.sub(renamed, text) if names is not None else text
        if isinstance(value, dict):
            return {key: changed(item) for key, item in value.items()}  # pyright: ignore
        if isinstance(value, list | tuple):
            return [changed(item) for item in value]  # pyright: ignore
        return value

    kept = {
        "id": step.id,
        "method": step.method,
        "visitor": f"{step.visitor} ({who})",
        "capture": [{**msgspec.to_builtins(capture), "name": f"{who}_{capture.name}"} for capture in step.capture],
    }
    return msgspec.convert(changed(msgspec.to_builtins(step)) | kept, Step)
