"""What every script keeps to, so that it runs wherever scripts of Redis do: read from its text, and in Lua 5.4 too."""

import importlib.resources
import re
from importlib.resources.abc import Traversable

import pytest

from fungible.stores.redis.failures import COMMANDS
from fungible.stores.redis.scripts import Scripts

FOLDER = importlib.resources.files("fungible.stores.redis")
FILES = sorted((file for file in FOLDER.iterdir() if file.name.endswith(".lua")), key=lambda file: file.name)
WORDS = {
    *("and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil", "not"),
    *("or", "repeat", "return", "then", "true", "until", "while"),
}
# In Lua 5.1 and 5.4, and in the sandboxes of Redis and its like. Of libraries only what all of them have.
GLOBALS = {"KEYS", "ARGV", "redis", "struct", "math", "string", "table", "tonumber", "type", "ipairs"}
MEMBERS = {
    *("redis.call", "redis.pcall", "struct.unpack", "math.ceil", "math.floor", "math.max", "math.min"),
    *("string.format", "string.sub", "table.unpack"),
}
UNPACK = "local unpack = table.unpack or unpack"


def code(file: Traversable) -> str:
    """A script without its comments and the contents of its strings."""
    text = re.sub(r"'(?:[^'\\\n]|\\.)*'", "''", file.read_text(encoding="utf-8"))
    return re.sub(r"--[^\n]*", "", text)


def declared(text: str) -> set[str]:
    """The names that it makes its own: locals, loop variables, and parameters."""
    found: set[str] = set()
    for pattern in (
        r"\blocal\s+(?!function\b)([\w\s,]+?)(?=\s*=|\n)",
        r"\bfor\s+([\w\s,]+?)\s*(?:=|\bin\b)",
        r"\bfunction\s+\w+\(([^)]*)\)",
        r"\blocal\s+function\s+(\w+)",
    ):
        for names in re.findall(pattern, text):
            found |= {name.strip() for name in names.split(",") if name.strip() not in {"", "..."}}
    return found


def free(text: str) -> set[str]:
    """The names that it uses beside those of members: `redis` of `redis.call`."""
    return set(re.findall(r"(?<![\w.])[A-Za-z_]\w*", text)) - WORDS


def test_each_verb_has_a_script_and_each_script_a_verb() -> None:
    assert {file.name.removesuffix(".lua") for file in FILES} == set(Scripts._fields)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
class TestScript:
    def test_it_uses_no_global_but_what_every_engine_has(self, file: Traversable) -> None:
        # A global that is written is one of these, too: `name = 1` without a `local` for it.
        text = code(file).replace(UNPACK, "local unpack = table.unpack")
        assert free(text) - declared(text) - GLOBALS == set()
        members = re.findall(r"(?<![\w.])(?:redis|struct|math|string|table)\.\w+", text)
        assert set(members) - MEMBERS == set()

    def test_it_writes_to_no_global(self, file: Traversable) -> None:
        # To a name of its own invention is what the rule above finds.
        assert re.findall(rf"(?<![\w.])(?:{'|'.join(GLOBALS)})\b(?:[.\[][\w.\[\]]*)?\s*=(?!=)", code(file)) == []

    def test_it_unpacks_as_lua_5_4_does_too(self, file: Traversable) -> None:
        text = code(file)
        if re.search(r"(?<![\w.])unpack\(", text):
            assert text.index(UNPACK) < re.search(r"(?<![\w.])unpack\(", text).start()  # type: ignore[union-attr]

    def test_its_only_key_is_the_one_that_it_is_given(self, file: Traversable) -> None:
        # By which a cluster sends it to the right node, and rights are held against it.
        text = file.read_text(encoding="utf-8")
        assert set(re.findall(r"KEYS\b[^\s,)]*", re.sub(r"--[^\n]*", "", text))) == {"KEYS[1]"}
        calls = re.findall(r"(?:redis\.p?call|(?<!function )\btry)\('(\w+)'(?:, ?([^,)]+))?", text)
        assert calls
        assert {key for command, key in calls if command != "TIME"} <= {"key", "KEYS[1]"}

    def test_it_runs_no_command_but_those_that_its_users_are_told_to_permit(self, file: Traversable) -> None:
        text = file.read_text(encoding="utf-8")
        commands = re.findall(r"(?:redis\.p?call|(?<!function )\btry)\('(\w+)'", text)
        assert {command.lower() for command in commands} <= set(COMMANDS)
        # Every call names its command outright, so that the line above sees it.
        assert len(re.findall(r"redis\.p?call\((?!'|command)", text)) == 0


def test_every_command_that_users_are_told_to_permit_is_run_and_tried_at_the_first_ping() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in FILES if file.name != "check.lua")
    run = {command.lower() for command in re.findall(r"redis\.call\('(\w+)'", text)}
    tried = {command.lower() for command in re.findall(r"try\('(\w+)'", (FOLDER / "check.lua").read_text())}
    assert run == tried == set(COMMANDS) - {"eval", "evalsha"}
