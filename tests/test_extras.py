"""What `pip install` brings: every message and page names an extra that exists and that brings what is missing."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from fungible.stores.opening import BACKENDS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "fungible"
MODULES = sorted(PACKAGE.rglob("*.py"))
PAGES = [
    *(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts),
    *ROOT.glob("*.md"),
    *(path for path in (ROOT / "examples").rglob("*") if path.suffix in {".md", ".py", ".toml", ".txt"}),
    *(ROOT / "benchmarks").glob("*.md"),
]

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
DISTRIBUTIONS = packages_distributions()

# Folders whose modules are imported only where their extra is wanted. What else is imported comes with Fungible itself.
EXTRA_OF = {
    "stores/redis": "redis",
    "stores/postgresql": "postgresql",
    "stores/mysql": "mysql",
    "tokens": "tokens",
    "check": "check",
    "cli/check.py": "check",
}
# Of the application that uses Fungible: it has them, or it would not import the module.
OF_THE_APPLICATION = {
    "adapters": {"asgiref", "django", "fastapi", "flask", "litestar", "starlette", "werkzeug"},
    "cache": {"pydantic"},  # only where a function's annotation names one of its models
    "check/suites": {"pytest", "_pytest", "requests"},
    "idempotency/sql": {"sqlalchemy"},
    "tokens": {"nacl"},  # optional: without it, cryptography does the same more slowly
}


def canonical(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def names_of(requirements: list[str]) -> set[str]:
    """The distributions that requirements name."""
    return {canonical(re.split(r"[^\w.-]", requirement, maxsplit=1)[0]) for requirement in requirements}


def distributions_of(module: str) -> set[str]:
    """The installed distributions that bring an importable module: `yaml` comes with `pyyaml`."""
    return {canonical(name) for name in DISTRIBUTIONS.get(module, [])}


def extras_named(text: str) -> set[str]:
    """The extras in every `fungible[one,two]` of a text."""
    found = re.findall(r"fungible\[([\w, -]+)\]", text)
    return {name.strip() for names in found for name in names.split(",")}


def missing_extra_calls() -> Iterator[tuple[str, dict[str, str]]]:
    """Each place that raises `MissingExtraError` with words of its own, and those words."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "MissingExtraError":
                words = {word.arg: word.value for word in node.keywords}
                constants = {
                    str(name): value.value
                    for name, value in words.items()
                    if isinstance(value, ast.Constant) and isinstance(value.value, str)
                }
                yield f"{path.relative_to(ROOT)}:{node.lineno}", constants


def test_every_extra_that_is_named_anywhere_exists() -> None:
    named = {path: extras_named(path.read_text(encoding="utf-8")) for path in [*MODULES, *PAGES]}
    assert any(named.values())
    assert {
        str(path.relative_to(ROOT)): names - EXTRAS.keys() for path, names in named.items() if names - EXTRAS.keys()
    } == {}


def test_an_error_for_a_missing_module_names_an_extra_that_brings_it() -> None:
    calls = [(place, words) for place, words in missing_extra_calls() if "extra" in words]
    assert calls
    for place, words in calls:
        assert words["extra"] in EXTRAS, place
        if "module" in words:  # else it is what the caught error names
            assert distributions_of(words["module"]) & names_of(EXTRAS[words["extra"]]), place


def test_every_backend_of_a_store_names_an_extra_that_exists() -> None:
    assert {extra for _, _, extra in BACKENDS.values() if extra} <= EXTRAS.keys()


# --- how pages say it is installed ---------------------------------------------------------------------------------------

RELEASED = re.search(r"^## \[\d", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE) is not None


def installs_of(text: str) -> list[str]:
    """What each `pip install` line of a text installs that has our name in it: `fungible[redis]`, `./fungible[check]`."""
    lines = re.findall(r"pip install (.*fungible.*)", text)
    return [word for line in lines for word in re.findall(r"""[^\s'"`]*fungible[^\s'"`]*""", line)]


def test_pages_install_from_a_checkout_as_long_as_there_is_no_release() -> None:
    if RELEASED:
        assert [page for page in PAGES if "no release on a package index" in page.read_text(encoding="utf-8")] == []
        return
    for page in PAGES:
        named = installs_of(page.read_text(encoding="utf-8"))
        # By name alone, pip asks an index, unless Fungible is installed: then it adds an extra to that.
        if named:
            assert "/" in named[0], page
            assert all("/" in name or "[" in name for name in named), page


def test_an_extra_is_added_to_what_is_installed_without_asking_an_index_for_fungible(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--dry-run", "fungible[redis]"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_page_on_installing_names_every_extra_and_what_it_brings() -> None:
    page = (ROOT / "docs" / "how-to" / "install.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", page, re.MULTILINE)
    assert [name for name, _ in rows] == list(EXTRAS)
    for name, brings in rows:
        if name != "all":
            assert names_of([] if brings == "nothing" else brings.split(", ")) == names_of(EXTRAS[name])


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """What a module imports from others than Python and us, outside of `if TYPE_CHECKING`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        for name in {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"fungible"}:
            yield node.lineno, name


def test_what_a_part_imports_is_brought_by_fungible_itself_or_by_the_extra_of_that_part() -> None:
    wrong: list[str] = []
    for path in MODULES:
        inside = path.relative_to(PACKAGE).as_posix()
        brought = names_of(PROJECT["dependencies"])
        theirs: set[str] = set()
        for part, extra in EXTRA_OF.items():
            brought |= names_of(EXTRAS[extra]) if inside.startswith(part) else set()
        for part, modules in OF_THE_APPLICATION.items():
            theirs |= modules if inside.startswith(part) else set()
        wrong += [
            f"{inside}:{line} imports {name}"
            for line, name in imported(path)
            if name not in theirs and not distributions_of(name) & brought
        ]
    assert not wrong


# --- what is said where a module is missing ----------------------------------------------------------------------------

WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""


def said_without(modules: str, code: str, cwd: Path) -> str:
    """What Python prints for code that fails, where some modules are not installed."""
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT + code, modules], cwd=cwd, capture_output=True, text=True, timeout=60
    )
    assert run.returncode != 0, run.stdout
    return run.stdout + run.stderr


COMMAND = "from fungible.cli.main import main; sys.exit(main({}))"


@pytest.mark.parametrize(
    ("modules", "code", "extra"),
    [
        ("hiredis", "from fungible.stores import open_store; open_store('redis://localhost')", "redis"),
        ("hiredis", "from fungible.stores import open_store; open_store('redis+sentinel://localhost/s')", "redis"),
        ("hiredis", "from fungible.stores import open_store; open_store('redis+cluster://localhost')", "redis"),
        ("asyncpg", "from fungible.stores import open_store; open_store('postgresql://localhost/d')", "postgresql"),
        ("asyncmy", "from fungible.stores import open_store; open_store('mysql://localhost/d')", "mysql"),
        ("asyncmy", "from fungible.stores import open_store; open_store('mariadb://localhost/d')", "mysql"),
        ("httpx", "import fungible.tokens.client", "tokens"),
        ("httpx", "from fungible.tokens import RemoteKeys; RemoteKeys('https://a.example/jwks')", "tokens"),
        ("rich,yaml,httpx", COMMAND.format("['check', '--start', 'true {port}']"), "check"),
        ("yaml", COMMAND.format("['check', '--start', 'true {port}']"), "check"),
        ("asyncpg", COMMAND.format("['storage', 'migrate', 'postgresql://localhost/d']"), "postgresql"),
        ("hiredis", "import os; os.environ['FUNGIBLE_SECRET'] = 's' * 32\n"
         + COMMAND.format("['keys', 'new', 'redis://localhost']"), "redis"),
        ("httpx", "import pytest; sys.exit(pytest.main(['-p', 'no:cacheprovider']))", "check"),
    ],
)  # fmt: skip
def test_where_a_module_is_missing_the_first_message_names_the_extra(
    modules: str, code: str, extra: str, tmp_path: Path
) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(fungible_client): ...\n", encoding="utf-8")
    said = said_without(modules, code, tmp_path)
    assert f"pip install 'fungible[{extra}]'" in said
    assert "internal error" not in said
    assert "INTERNALERROR" not in said


def test_without_any_extra_a_token_is_issued_and_judged_and_a_store_of_the_standard_library_opens(
    tmp_path: Path,
) -> None:
    everything = "hiredis,asyncpg,asyncmy,httpx,nacl,rich,yaml"
    code = (
        "from fungible.stores import open_store\n"
        "from fungible.tokens import SigningKeys, TokenIssuer, TokenVerifier\n"
        "for url in ('memory:', 'sqlite:///a.db', 'memcached://localhost'): open_store(url)\n"
        "keys = SigningKeys.generate()\n"
        "text = TokenIssuer(keys, issuer='a', audience='b').issue('ada')\n"
        "sys.exit(TokenVerifier(keys, issuer='a', audience='b').verify(text).subject)\n"
    )
    assert said_without(everything, code, tmp_path).strip() == "ada"
