"""`FUNGIBLE_REQUIRE=all` turns every skip into a failure that names what is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

def test_passes(): pass

def test_skips(): pytest.skip("redis-server is not installed")

@pytest.mark.skipif(True, reason="needs Linux")
def test_is_marked(): pass

@pytest.fixture
def database(): pytest.skip("postgres is not installed")

def test_has_a_fixture_that_skips(database): pass

@pytest.mark.xfail
def test_is_expected_to_fail(): assert False
"""
WHOLE = 'import pytest\npytest.importorskip("no_such_library_is_there")\n'


def outcome(folder: Path, **env: str) -> tuple[int, str]:
    """Exit status and output of a small suite beside this folder's conftest."""
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    (folder / "test_some.py").write_text(TESTS, encoding="utf-8")
    (folder / "test_whole.py").write_text(WHOLE, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--continue-on-collection-errors", "."]
    known = {name: text for name, text in os.environ.items() if name not in {"FUNGIBLE_REQUIRE", "PYTEST_ADDOPTS"}}
    run = subprocess.run(command, cwd=folder, env=known | env, capture_output=True, text=True, timeout=120)
    return run.returncode, run.stdout


@pytest.mark.parametrize("env", [{}, {"FUNGIBLE_REQUIRE": ""}], ids=["unset", "empty"])
def test_a_skip_is_a_skip(tmp_path: Path, env: dict[str, str]) -> None:
    status, said = outcome(tmp_path, **env)
    assert status == 0
    assert "1 passed, 4 skipped, 1 xfailed" in said


def test_with_all_required_a_skip_fails_and_names_what_is_missing(tmp_path: Path) -> None:
    status, said = outcome(tmp_path, FUNGIBLE_REQUIRE="all")
    assert status == 1
    assert "1 failed, 1 passed, 1 xfailed, 3 errors" in said
    library = "could not import 'no_such_library_is_there'"
    for reason in ("redis-server is not installed", "needs Linux", "postgres is not installed", library):
        assert f"FUNGIBLE_REQUIRE=all lets nothing be skipped: {reason}" in said
