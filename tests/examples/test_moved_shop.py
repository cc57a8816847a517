"""The moved shop: what has moved is served by any instance, from each home that sessions may have."""

import json
import os
import subprocess
import sys
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


@pytest.mark.parametrize("home", ["sqlite", "redis", "postgresql", "mariadb"])
def test_nothing_is_found_on_sign_in_and_cart(home: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    url = home_url(home, request)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [*FUNGIBLE, "check", "--file", str(SHOP / "check.toml"), "--quiet", "--json", str(report)]
    run = subprocess.run(
        command,
        env=os.environ | {"PATH": path} | ({"SHOP_STORE": url} if url else {}),
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(report.read_text())
    assert found["verdict"] == "stateless"
    assert {ran["name"] for ran in found["schedules"] if ran["runs"]} >= {"scatter", "crash", "warm", "race"}


def test_it_refuses_to_start_without_a_secret(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", "import shop; shop.app.build_middleware_stack()"],
        cwd=SHOP,
        env={key: value for key, value in os.environ.items() if key != "SHOP_SECRET"} | {"SHOP_STORE": "memory:"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 1
    assert "SettingError: the secret has 0 bytes" in run.stderr


def test_what_has_not_moved_is_the_same_in_both_shops() -> None:
    moved = {"signing_in.py", "cart.py", "state.py", "web.py", "shop.py"}
    for module in NAIVE.glob("*.py"):
        if module.name not in moved:
            assert (SHOP / module.name).read_bytes() == module.read_bytes(), module.name


def test_the_doctor_accepts_the_shop_on_one_machine_and_refuses_it_on_three() -> None:
    for machines, status in (("1", 0), ("3", 78)):
        command = [*FUNGIBLE, "doctor", "--instances", "3", "--machines", machines, "--home"]
        run = subprocess.run(
            [*command, "session=sqlite:///sessions/sessions.db"], capture_output=True, text=True, timeout=60
        )
        assert run.returncode == status, run.stdout
