"""An upload is found in the files by what was really sent."""

import base64
from pathlib import Path
from typing import Any

import pytest

from fungible.check.model import FilePart, Step
from fungible.check.witness.files import holds_upload

VALUES = {"run": "k4x9z", "title": "A kite with a tail"}


def found(tmp_path: Path, kept: bytes, **fields: Any) -> str | None:
    file = tmp_path / "kept"
    file.write_bytes(kept)
    return holds_upload([Step(**({"id": "s", "method": "POST", "path": "/"} | fields))], [("kept", file)], VALUES)


@pytest.mark.parametrize(
    "fields",
    [
        {"files": (FilePart(field="f", filename="a", content="{{run}} is what begins it"),)},
        {"files": (FilePart(field="f", filename="a", content_base64=base64.b64encode(b"k4x9z is what").decode()),)},
        {"body": "{{run}} is what begins it"},
        {"body": "{{title}}"},
    ],
)
def test_a_value_at_its_beginning_hides_no_upload(fields: Any, tmp_path: Path) -> None:
    assert found(tmp_path, b"...k4x9z is what begins it... A kite with a tail", **fields) == "kept"


@pytest.mark.parametrize("text", ["{{run}} is something else", "{{unknown}}", "{{run}}"[:2]])
def test_what_was_not_sent_is_not_found(text: str, tmp_path: Path) -> None:
    assert found(tmp_path, b"k4x9z is what begins it, {{unknown}}", body=text) is None
