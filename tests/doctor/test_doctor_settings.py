"""The settings file: what it can say, and what it gets for saying something else."""

from pathlib import Path

import pytest

from fungible.core.errors import SettingError
from fungible.doctor.settings import Settings, find_settings, load_settings

TEXT = 'instances = 3\nmachines = 2\n[homes]\nsession = "redis://user:${PASSWORD}@${HOST}/0"\n'
EXPECTED = Settings(instances=3, machines=2, homes={"session": "redis://user:s3cret@cache/0"})
ENVIRONMENT = {"PASSWORD": "s3cret", "HOST": "cache"}


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_of_its_own_says_it_at_the_top(tmp_path: Path) -> None:
    assert load_settings(write(tmp_path, "fungible.toml", TEXT), ENVIRONMENT) == EXPECTED


def test_pyproject_says_it_in_a_table_of_ours(tmp_path: Path) -> None:
    text = TEXT.replace("[homes]", "[tool.fungible.homes]").replace("instances", "[tool.fungible]\ninstances", 1)
    assert load_settings(write(tmp_path, "pyproject.toml", text), ENVIRONMENT) == EXPECTED


def test_our_own_file_is_found_before_pyproject_and_pyproject_only_with_our_table(tmp_path: Path) -> None:
    assert find_settings(tmp_path) is None
    project = write(tmp_path, "pyproject.toml", "[tool.other]\n")
    assert find_settings(tmp_path) is None
    write(tmp_path, "pyproject.toml", "[tool.fungible]\n")
    assert find_settings(tmp_path) == project
    own = write(tmp_path, "fungible.toml", "")
    assert find_settings(tmp_path) == own


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("fungible.toml", "instance = 3", "unknown field `instance`"),
        ("fungible.toml", "instances = 'three'", "Expected `int | null`, got `str`"),
        ("fungible.toml", "instances = true", "Expected `int | null`, got `bool`"),
        ("fungible.toml", "homes = 3", "Expected `object`"),
        ("fungible.toml", "[homes]\nsession = 3", "Expected `str`"),
        ("fungible.toml", "instances = ", "can't be read"),
        ("fungible.toml", "\udcff", "can't be read"),
        ("fungible.toml", '[homes]\nsession = "redis://${NOWHERE}"', "session: the environment has no NOWHERE"),
        ("pyproject.toml", "[tool.other]", "has no table [tool.fungible]"),
        ("pyproject.toml", "tool = 3", "has no table [tool.fungible]"),
    ],
)
def test_a_file_that_says_something_else_is_refused_by_name(tmp_path: Path, name: str, text: str, words: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(SettingError) as caught:
        load_settings(path, {})
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="can't be read"):
        load_settings(tmp_path / "fungible.toml", {})
