"""The rules of the house: who imports whom, what importing costs, what the locks and the Makefile hold."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "fungible"
PACKAGES = sorted(path.parent for path in PACKAGE.rglob("__init__.py"))

KINDS = {"sessions", "tokens", "idempotency", "cache", "limits"}
TOOLKIT = {"core", "stores", *KINDS, "outbox", "jobs", "notify", "files"}
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "stores": {"core"},
    **{kind: {"core", "stores"} for kind in KINDS},
    "outbox": {"core", "stores"},
    "jobs": {"core", "stores", "outbox"},
    "notify": {"core", "stores", "outbox", "limits"},
    "files": {"core", "stores"},
    "adapters": TOOLKIT,
    "doctor": TOOLKIT | {"adapters"},
    "portal": TOOLKIT | {"adapters", "doctor"},
    "check": {"core"},
    "cli": TOOLKIT | {"adapters", "doctor", "portal", "check"},
}


def folders_imported(module: Path) -> Iterator[tuple[int, str]]:
    """The folders of ours that a module imports anywhere in it, with the line: `(3, "core")`."""
    where = module.relative_to(PACKAGE.parent).with_suffix("").parts
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(where[: len(where) - node.level]) if node.level else ""
            source = ".".join(part for part in (base, node.module) if part)
            # `from fungible import core` names the folder after the word import.
            names = [f"{source}.{alias.name}" for alias in node.names]
        for name in names:
            first, _, rest = name.partition(".")
            if first == "fungible":
                yield node.lineno, rest.partition(".")[0]


def test_a_folder_imports_only_what_the_house_allows() -> None:
    wrong: list[str] = []
    for module in sorted(PACKAGE.rglob("*.py")):
        inside = module.relative_to(PACKAGE).parts
        folder = inside[0] if len(inside) > 1 else ""
        if folder:
            assert folder in MAY_IMPORT, f"{folder} has no place in the order of the house"
        # `python -m fungible` is the command line; beside it nothing at the top imports anything of ours.
        allowed = MAY_IMPORT[folder] | {folder} if folder else {"cli"} if inside == ("__main__.py",) else set[str]()
        wrong += [
            f"{module.relative_to(ROOT)}:{line} imports fungible.{name}"
            for line, name in folders_imported(module)
            # `from fungible import __version__` takes a constant from a module that imports nothing.
            if name not in allowed | {"__version__"}
        ]
    assert not wrong


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_every_public_name_exists(package: Path) -> None:
    module = importlib.import_module(".".join(package.relative_to(PACKAGE.parent).parts))
    names: list[str] = getattr(module, "__all__", [])
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(module, name)] == []


WATCH = """
import sys
seen = []
watching = True

def hook(event, arguments):
    if watching and (event == "open" or event.split(".")[0] in {"socket", "subprocess", "os.system"}):
        seen.append((event, str(arguments[0]) if arguments else ""))

sys.addaudithook(hook)
__import__(sys.argv[1])
watching = False
for event, argument in seen:
    print(event, argument, sep="\\t")
"""


def events_of_importing(name: str) -> list[tuple[str, str]]:
    """What Python's audit hooks report while a module is imported: files opened, sockets, processes."""
    run = subprocess.run(
        [sys.executable, "-B", "-c", WATCH, name], capture_output=True, text=True, check=True, timeout=60
    )
    return [(line.partition("\t")[0], line.partition("\t")[2]) for line in run.stdout.splitlines()]


def test_importing_fungible_reads_its_own_module_and_nothing_else() -> None:
    for event, argument in events_of_importing("fungible"):
        assert event == "open"
        assert Path(argument).is_relative_to(PACKAGE)
        assert Path(argument).suffix in {".py", ".pyc"}


@pytest.mark.parametrize("name", ["fungible.core", "fungible.check", "fungible.cli"])
def test_importing_a_part_opens_no_socket_and_reads_only_modules(name: str) -> None:
    for event, argument in events_of_importing(name):
        assert event == "open", argument
        assert Path(argument).suffix in {".py", ".pyc", ".so", ".pyd"}


LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_holds_names_versions_and_hashes_but_no_address(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE), "an option for pip, such as an index or a place to look"
    requirements = re.findall(r"^\S+==.*(?:\n    --hash=.*)*", text, re.MULTILINE)
    assert requirements
    assert [found.splitlines()[0] for found in requirements if "--hash=sha256:" not in found] == []


def test_the_demo_lock_takes_the_versions_of_the_development_lock() -> None:
    demo, dev = (
        set(re.findall(r"^(\S+==[^\s;\\]+)", (ROOT / "requirements" / name).read_text(encoding="utf-8"), re.MULTILINE))
        for name in ("demo.txt", "dev.txt")
    )
    assert demo <= dev


def test_every_make_command_that_is_written_down_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):(?!=)", makefile, re.MULTILINE))
    written = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / ".ci" / "run", *(ROOT / "docs").rglob("*.md")]
    named: set[str] = set()
    for text in (path.read_text(encoding="utf-8") for path in written if "_build" not in path.parts):
        for words in re.findall(r"(?:^|`|\$ )make ((?:[a-z]+ ?)+)", text, re.MULTILINE):
            named |= set(words.split())
    assert {"demo", "test"} <= named
    assert named <= targets
