"""What was refused once must be refused by every instance, also by those that accepted it before it was withdrawn."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from apps.catalogue import BY_NAME
from test_faults import told

from fungible.check.engine import Check
from fungible.check.model import CheckFile, Report

FIRST, SECOND = {"user": "ada", "password": "first horse"}, {"user": "ada", "password": "second horse"}
VISIT: list[tuple[str, Any, int]] = [
    ("/users", FIRST, 201),
    ("/password", {"password": "second horse"}, 200),
    ("/sign-out", None, 200),
    ("/sign-in", FIRST, 401),
    ("/sign-in", SECOND, 201),
]
"""As long as it is, sign-up and refusal never meet at one instance where steps take turns, alone or in pairs."""


def recorded() -> dict[str, Any]:
    def entry(path: str, body: Any, status: int) -> dict[str, Any]:
        mime = "application/json"
        return {
            "request": {
                "method": "POST",
                "url": f"http://shop.test{path}",
                "headers": [{"name": "Content-Type", "value": mime}],
                "postData": {"mimeType": mime, "text": json.dumps(body)},
            },
            "response": {"status": status, "headers": [], "content": {"mimeType": mime, "text": "{}"}},
        }

    return {"log": {"version": "1.2", "entries": [entry(*one) for one in VISIT]}}


def written() -> list[dict[str, Any]]:
    return [
        {"id": f"step-{at}", "method": "POST", "path": path, "json": body, "expect": {"status": [status]}}
        for at, (path, body, status) in enumerate(VISIT)
    ]


def checked(name: str, tmp_path: Path, flow: dict[str, Any], **env: str) -> Report:
    for folder in ("shared", "app"):
        (tmp_path / folder).mkdir()
    shared = str(tmp_path / "shared")
    target = {
        "start": BY_NAME[name].command,
        "directory": str(tmp_path / "app"),
        "shared": [shared],
        "env": {"SHARED_DIR": shared, **env},
    }
    check_file = msgspec.convert({"target": target, "flows": [flow]}, CheckFile)
    return Check(check_file=check_file, directory=tmp_path, schedules=("scatter", "warm")).run()


@pytest.mark.parametrize("name", ["python_old_password", "node_old_password"])
@pytest.mark.parametrize("how", ["recorded", "written"])
def test_an_old_password_that_one_instance_remembers_is_found(how: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "visit.har").write_text(json.dumps(recorded()))
    flow = {"har": "visit.har"} if how == "recorded" else {"steps": written()}
    report = checked(name, tmp_path, flow)
    assert len(report.findings) == 1, told(report)
    found = report.findings[0]
    assert "401" in found.expected, told(report)
    assert "201" in found.saw, told(report)
    assert (found.severity, found.shown) == ("BREAKING", "3 of 3"), told(report)
    assert [request.path for request in found.witness] == ["/users", "/password", "/sign-in"], told(report)


@pytest.mark.parametrize("name", ["python_old_password", "node_old_password"])
def test_where_nothing_is_remembered_a_recording_finds_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / "visit.har").write_text(json.dumps(recorded()))
    report = checked(name, tmp_path, {"har": "visit.har"}, MENDED="1")
    assert (report.verdict, report.findings) == ("stateless", ()), told(report)
