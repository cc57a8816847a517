"""The moved shop: all but uploads and exports is served by any instance, from each home that its state may have."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "examples" / "shop" / "moved"
NAIVE = ROOT / "examples" / "shop" / "naive"
FUNGIBLE = [sys.executable, "-m", "fungible.cli.main"]


def home_url(home: str, request: pytest.FixtureRequest) -> str:
    """The URL of a home, its tables made; nothing of an earlier test is in it."""
    if home == "sqlite":
        return ""
    server = request.getfixturevalue({"redis": "redis_server"}.get(home, f"{home}_server"))
    server.reset()
    if home in {"postgresql", "mariadb"}:
        subprocess.run([*FUNGIBLE, "storage", "migrate", server.url], check=True, timeout=60)
    return str(server.url)


SILENT = {"scatter", "crash", "warm", "repeat", "race", "drain"}


# Sessions live in each of them; what else moved is tried in one that a machine shares, and in one that all do.
FLOWS = {"sqlite": None, "redis": None, "postgresql": "cart", "mariadb": "cart"}


@pytest.mark.parametrize("home", FLOWS)
def test_nothing_is_found_but_in_uploads_and_the_export(
    home: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    url = home_url(home, request)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    one_flow = [] if FLOWS[home] is None else ["--flow", FLOWS[home]]
    run = subprocess.run(
        [*FUNGIBLE, "check", "--file", str(SHOP / "check.toml"), "--quiet", "--json", str(report), *one_flow],
        env=os.environ | {"PATH": path} | ({"SHOP_STORE": url} if url else {}),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(report.read_text())
    assert found["verdict"] == "stateless"
    assert {ran["name"] for ran in found["schedules"] if ran["runs"]} == SILENT


def test_every_flow_but_uploads_and_the_export_is_checked() -> None:
    naive, moved = (tomllib.loads((shop / "check.toml").read_text()) for shop in (NAIVE, SHOP))
    flows = [{flow["name"] for flow in checked["flows"]} for checked in (naive, moved)]
    assert flows[0] - flows[1] == {"picture", "export"}
    assert set(moved["schedules"]) == SILENT
    # Each flow is what it is in the other shop; that of the cart has signing out, too.
    steps = [{flow["name"]: flow["steps"] for flow in checked["flows"]} for checked in (naive, moved)]
    assert all(steps[0][name] == steps[1][name] for name in flows[1] - {"cart"})


def test_it_refuses_to_start_without_a_secret(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "uvicorn", "shop:app", "--port", "0"],
        # It makes its folders where it runs.
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "SHOP_SECRET"}
        | {"SHOP_STORE": "memory:", "PYTHONPATH": str(SHOP)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 3
    assert "the secret has 0 bytes" in run.stderr


def test_what_is_remembered_of_a_database_is_not_shown_for_a_copy_of_it(tmp_path: Path) -> None:
    def identity() -> str:
        program = "import database; database.create_and_fill(); print(database.database_id())"
        run = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env=os.environ | {"SHOP_SECRET": "x" * 32, "SHOP_STORE": "memory:", "PYTHONPATH": str(SHOP)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return run.stdout.strip()

    first = identity()
    assert identity() == first
    file = tmp_path / "data" / "shop.db"
    shutil.copyfile(file, tmp_path / "backup.db")
    (tmp_path / "backup.db").replace(file)
    assert identity() != first


def test_what_has_not_moved_is_the_same_in_both_shops() -> None:
    assert (SHOP / "exports.py").read_bytes() == (NAIVE / "exports.py").read_bytes()
    modules = {module.name for module in NAIVE.glob("*.py")}
    assert modules == {module.name for module in SHOP.glob("*.py")}


def test_the_doctor_accepts_the_shop_on_one_machine_and_refuses_it_on_three() -> None:
    for machines, status in (("1", 0), ("3", 78)):
        command = [*FUNGIBLE, "doctor", "--instances", "3", "--machines", machines, "--home"]
        run = subprocess.run([*command, "session=sqlite:///data/state.db"], capture_output=True, text=True, timeout=60)
        assert run.returncode == status, run.stdout
