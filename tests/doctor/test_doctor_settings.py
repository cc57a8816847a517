"""The settings file: what it can say, and what it gets for saying something else."""

from pathlib import Path

import pytest

from fungible.core.errors import SettingError
from fungible.core.urls import parse_home_url
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


@pytest.mark.parametrize(
    ("url", "value", "filled"),
    [
        ("redis://:${X}@cache/0", "1/2?3#4@5%:", "redis://:1%2F2%3F3%234%405%25%3A@cache/0"),
        ("redis://${X}:pw@cache/0", "a@b", "redis://a%40b:pw@cache/0"),
        ("redis://u:a${X}b@cache/0", "/", "redis://u:a%2Fb@cache/0"),
        ("${X}", "redis://:pw@cache/0?prefix=a", "redis://:pw@cache/0?prefix=a"),
        ("${X}?timeout_s=1", "redis://:pw@cache/0", "redis://:pw@cache/0?timeout_s=1"),
        ("${X}://cache/0", "rediss", "rediss://cache/0"),
        ("redis+cluster://${X}", "a:1,[::1]:2", "redis+cluster://a:1,[::1]:2"),
        ("redis+sentinel://:pw@${X}/main?db=1", "a:1,b:2", "redis+sentinel://:pw@a:1,b:2/main?db=1"),
        ("sqlite:///${X}/a.db", "/var/50%#1?", "sqlite:////var/50%25%231%3F/a.db"),
        (
            "redis+sentinel://a/m?sentinel_password=${X}",
            "a&b=+c",
            "redis+sentinel://a/m?sentinel_password=a%26b%3D%2Bc",
        ),
        ("rediss://cache?ca=${X}", "/etc/my ca.pem", "rediss://cache?ca=/etc/my%20ca.pem"),
        ("redis://cache?${X}", "prefix=a&timeout_s=1", "redis://cache?prefix=a&timeout_s=1"),
    ],
)
def test_a_variable_stands_in_a_url_as_what_it_is(tmp_path: Path, url: str, value: str, filled: str) -> None:
    path = write(tmp_path, "fungible.toml", f'[homes]\nsession = "{url}"\n')
    assert load_settings(path, {"X": value}).homes == {"session": filled}


@pytest.mark.parametrize("value", ["1/2", "12#34", "a?b", "p@ss", "100%"])
@pytest.mark.parametrize("url", ["redis://:${X}@cache/0", "postgresql://ada:${X}@db/app", "mysql://ada:${X}@db/app"])
def test_no_password_from_the_environment_changes_which_home_is_judged(tmp_path: Path, url: str, value: str) -> None:
    path = write(tmp_path, "fungible.toml", f'[homes]\nsession = "{url}"\n')
    parsed = parse_home_url(load_settings(path, {"X": value}).homes["session"])
    assert parsed.password == value
    assert parsed.redacted == parse_home_url(url.replace("${X}", "pw")).redacted
