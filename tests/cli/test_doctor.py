"""`fungible doctor`: what it takes, what it prints, and its exit status."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fungible.cli.main import main

SHOP = """
from starlette.applications import Starlette
from starlette.middleware import Middleware
from fungible.sessions import SessionMiddleware
from fungible.stores import open_store

app = Starlette(middleware=[Middleware(SessionMiddleware, store=open_store("memory:"), secret="0123456789" * 4)])
"""


class Output(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Runs the command in an empty folder, with nothing declared by the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("FUNGIBLE_INSTANCES", raising=False)
    monkeypatch.delenv("FUNGIBLE_MACHINES", raising=False)

    def forget() -> None:
        for name in ("shop", "shop_settings"):
            sys.modules.pop(name, None)

    def run(*arguments: str) -> Output:
        forget()
        status = main(["doctor", *arguments])
        captured = capsys.readouterr()
        assert "s3cret" not in captured.out + captured.err
        return Output(status, captured.out, captured.err)

    yield run
    # A module of that name would be found by the tests that come after these, in place of their own.
    forget()


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_a_breaking_home_of_several_instances_ends_with_78_and_every_finding(doctor: Any) -> None:
    found = doctor("--instances", "3", "--home", "session=memory:", "--home", "cache=memory:")
    assert found.status == 78
    assert "BREAKING session at memory: would differ on each instance; use redis:" in found.out
    assert "MEDIUM cache at memory: " in found.out
    assert found.out.endswith("1 BREAKING, 1 MEDIUM; this can't run on 3 instances\n")


def test_one_instance_ends_with_0_and_says_what_would_break(doctor: Any) -> None:
    for arguments in (["--instances", "1"], []):
        found = doctor(*arguments, "--home", "session=memory:")
        assert found.status == 0
        assert "BREAKING session at memory: would differ on each instance" in found.out


def test_a_warning_is_printed_and_ends_with_0(doctor: Any) -> None:
    found = doctor("--instances", "3", "--home", "cache=memory:")
    assert found.status == 0
    assert "MEDIUM cache at memory: " in found.out


def test_a_file_serves_the_instances_of_one_machine_only(doctor: Any) -> None:
    home = "session=sqlite:////srv/shop.db"
    assert doctor("--instances", "3", "--machines", "1", "--home", home).status == 0
    found = doctor("--instances", "3", "--machines", "2", "--home", home)
    assert found.status == 78
    assert "would differ on each machine" in found.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no home was found that could be judged"),
        (["--home", "session"], "--home session: KIND=URL was expected"),
        (["--home", "session="], "--home session: KIND=URL was expected"),
        (["--home", "session=redis:user:s3cret@cache"], "--home, session: redis: the login"),
        (["--home", "visit=memory:"], "--home: there is no kind of state 'visit'"),
        (["--instances", "0", "--home", "session=memory:"], "instances is 0; it must be 1 or more"),
        (["--machines", "2", "--home", "session=memory:"], "machines is 2; it must be from 1 to"),
        (["--app", "nowhere:app"], "can't import nowhere: ModuleNotFoundError"),
        (["--django", "nowhere"], "can't import nowhere: ModuleNotFoundError"),
        (["--file", "nowhere.toml"], "nowhere.toml can't be read"),
    ],
)
def test_what_can_not_be_judged_ends_with_2_and_says_why(doctor: Any, arguments: list[str], words: str) -> None:
    found = doctor(*arguments)
    assert found.status == 2
    assert found.out == ""
    assert found.err.startswith(f"fungible doctor: {words}")


def test_an_application_of_which_nothing_is_known_can_not_be_judged(doctor: Any, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("app = object()", encoding="utf-8")
    found = doctor("--instances", "3", "--app", "shop:app")
    assert found.status == 2
    assert "shop:app: nothing in it is known to keep state" in found.err


# --- where homes come from --------------------------------------------------------------------------------------------


def test_an_application_is_judged_by_its_middleware(doctor: Any, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    found = doctor("--instances", "3", "--app", "shop:app")
    assert found.status == 78
    assert "BREAKING session at memory: " in found.out
    assert " in shop:app (session-home-process)" in found.out


def test_django_settings_are_judged(doctor: Any, tmp_path: Path) -> None:
    (tmp_path / "shop_settings.py").write_text(
        "MIDDLEWARE = ['django.contrib.sessions.middleware.SessionMiddleware']\n"
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': 'shop.db'}}\n",
        encoding="utf-8",
    )
    found = doctor("--instances", "3", "--django", "shop_settings")
    assert found.status == 78
    assert "BREAKING session at sqlite:shop.db would differ on each machine" in found.out


SETTINGS = 'instances = 3\nmachines = 1\n[homes]\nsession = "${HOME_OF_SESSIONS}"\ncache = "memory:"\n'


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file where the command looks for it."""
    monkeypatch.setenv("HOME_OF_SESSIONS", "memory:")
    path = tmp_path / "fungible.toml"
    path.write_text(SETTINGS, encoding="utf-8")
    return path


@pytest.mark.usefixtures("settings")
def test_the_settings_file_declares_deployment_and_homes(doctor: Any) -> None:
    found = doctor()
    assert found.status == 78
    assert "2 homes judged for 3 instances on 1 machine: 1 BREAKING, 1 MEDIUM" in found.out
    assert "[homes] in fungible.toml (session-home-process)" in found.out


@pytest.mark.usefixtures("settings")
def test_the_command_line_overrides_the_settings_file(doctor: Any) -> None:
    assert "2 homes judged for 3 instances on 2 machines" in doctor("--machines", "2").out
    assert "2 homes judged for 5 instances on 5 machines" in doctor("--instances", "5").out
    # One kind of state may have several homes on the command line; it then has none of the file's.
    assert doctor("--home", "session=sqlite:////srv/shop.db").status == 0


@pytest.mark.usefixtures("settings")
def test_the_environment_overrides_the_settings_file_and_the_command_line_the_environment(
    doctor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUNGIBLE_INSTANCES", "4")
    monkeypatch.setenv("FUNGIBLE_MACHINES", "2")
    assert "for 4 instances on 2 machines" in doctor().out
    assert "for 4 instances on 3 machines" in doctor("--machines", "3").out
    assert "for 6 instances on 6 machines" in doctor("--instances", "6").out
    monkeypatch.setenv("FUNGIBLE_INSTANCES", "many")
    assert doctor().err == "fungible doctor: FUNGIBLE_INSTANCES='many' must be a whole number, 1 or more\n"


def test_a_settings_file_elsewhere_can_be_named(doctor: Any, settings: Path, tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    settings.rename(tmp_path / "deploy" / "production.toml")
    assert "for 3 instances on 1 machine" in doctor("--file", "deploy/production.toml").out


def test_a_settings_file_that_declares_no_instance_is_refused(doctor: Any, settings: Path) -> None:
    settings.write_text("instances = 0", encoding="utf-8")
    assert doctor().err == "fungible doctor: instances is 0; it must be 1 or more\n"


# --- formats ----------------------------------------------------------------------------------------------------------


def test_json_is_all_there_is_on_standard_output(doctor: Any, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(f"{SHOP}\nprint('hello')", encoding="utf-8")
    found = doctor("--instances", "3", "--app", "shop:app", "--format", "json")
    document = json.loads(found.out)
    assert found.status == document["exit_status"] == 78
    assert [finding["code"] for finding in document["findings"]] == ["session-home-process"]


@pytest.mark.usefixtures("settings")
def test_sarif_points_at_the_settings_file(doctor: Any) -> None:
    (run,) = json.loads(doctor("--format", "sarif").out)["runs"]
    place = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place == {"uri": "fungible.toml", "uriBaseId": "%SRCROOT%"}


def test_sarif_points_at_the_application_without_a_settings_file(doctor: Any, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    (run,) = json.loads(doctor("--instances", "3", "--app", "shop:app", "--format", "sarif").out)["runs"]
    place = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place["uri"] == "shop.py"


def test_a_shell_sees_the_exit_status(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fungible.cli.main", "doctor", "--instances", "2", "--home", "session=memory:"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert run.returncode == 78, run.stderr
    assert run.stderr == ""
