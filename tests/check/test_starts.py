"""What a check costs in starts, counted by the application itself: each start leaves a file."""

import shutil
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest
from apps.catalogue import HERE

from fungible.check.engine import Check
from fungible.check.model import CheckFile

APP = HERE / "counts_its_starts.py"
FLOW = [
    {"id": "sign-in", "method": "POST", "path": "/login", "json": {"user": "ada"}},
    {"id": "put", "method": "PUT", "path": "/cart/mug", "json": {"quantity": 1}},
    {"id": "cart", "path": "/cart"},
    {"id": "order", "method": "POST", "path": "/orders", "capture": [{"name": "order", "from": "json", "path": "id"}]},
    {"id": "look", "path": "/orders/{{order}}"},
    {"id": "cart-again", "path": "/cart"},
]


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "not-declared"])
@pytest.mark.parametrize(("faulty", "most"), [(False, 8), (True, 16)], ids=["nothing-to-find", "one-fault"])
def test_a_flow_of_six_steps_costs_few_starts(faulty: bool, most: int, declared: bool, tmp_path: Path) -> None:
    store = tmp_path / "store"
    # Where no instance has a view of its own, whether it is declared or not.
    started = Path(tempfile.mkdtemp(prefix="starts-", dir="/dev/shm"))
    for folder in (store, tmp_path / "app"):
        folder.mkdir()
    try:
        target = {
            "start": f"{sys.executable} {APP} {{port}}",
            "directory": str(tmp_path / "app"),
            "env": {"SHARED_DIR": str(store if declared else started), "STARTED": str(started)}
            | ({"FAULTY": "1"} if faulty else {}),
            "shared": [str(store)] if declared else [],
        }
        document = {"target": target, "flows": [{"name": "shop", "steps": FLOW}]}
        report = Check(check_file=msgspec.convert(document, CheckFile), directory=tmp_path).run()
        starts = len(list(started.glob("start-*")))
    finally:
        shutil.rmtree(started)
    assert [finding.kind for finding in report.findings] == (["session"] if faulty else []), report.reason
    assert report.verdict == ("stateful" if faulty else "stateless"), report.reason
    assert starts == report.starts
    assert starts <= most
