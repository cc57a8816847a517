"""The documentation builds without a warning, leaves nothing out, and its code blocks do what they say.

Comments in a page say what to do with the code block below them:

- `<!-- file: NAME -->`: the block is a file of that name, for the commands that follow.
- `<!-- test: STATUS -->`: each line of a console block that begins with `$ ` is run beside the files so far, and the
  last one ends with that exit status. Lines below a command must come in its output, in this order; `...` on a line
  stands for any text, and on a line of its own for any lines.
"""

import argparse
import ast
import html
import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from fungible.check import checkfile, model
from fungible.check.suites import pytest_plugin
from fungible.cli.main import build_parser
from fungible.core.errors import SettingError
from fungible.doctor.report import all_findings
from fungible.stores import open_store

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
sys.path.insert(0, str(DOCS / "_ext"))  # as docs/conf.py does
BLOCK = re.compile(
    r"(?:^<!-- (?P<order>file|test): (?P<value>\S+) -->\n)?^```(?P<language>[a-z]+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A code block of a page, and what the comment above it says."""

    page: Path
    line: int
    language: str
    text: str
    order: str = ""
    value: str = ""

    def __str__(self) -> str:
        return f"{self.page.relative_to(DOCS if self.page.is_relative_to(DOCS) else ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """The code blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, found.start("text")),
            found["language"],
            found["text"],
            found["order"] or "",
            found["value"] or "",
        )
        for found in BLOCK.finditer(text)
    ]


BLOCKS = [block for page in [*PAGES, ROOT / "README.md"] for block in blocks_of(page)]


# --- what is written, and what is left out ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation as HTML."""
    if importlib.util.find_spec("sphinx") is None:
        reason = "sphinx is not installed"
        pytest.fail(reason) if os.environ.get("FUNGIBLE_REQUIRE") == "all" else pytest.skip(reason)
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", str(out / "doctrees")]
    run = subprocess.run([*command, str(DOCS), str(out / "html")], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return out / "html"


def page_of(site: Path, name: str) -> str:
    """A page of the built documentation."""
    return (site / name).read_text(encoding="utf-8")


def test_every_kind_of_finding_has_a_section_that_reports_can_link_to(site: Path) -> None:
    page = page_of(site, "reference/findings.html")
    assert [kind for kind in get_args(model.Kind) if f'id="{kind}"' not in page] == []


def test_every_schedule_has_a_section(site: Path) -> None:
    page = page_of(site, "reference/schedules.html")
    assert [name for name in model.SCHEDULES if f'id="{name}"' not in page] == []


def test_every_finding_of_the_doctor_has_an_entry_below_its_kind_of_state(site: Path) -> None:
    page = page_of(site, "reference/postures.html")
    for finding in all_findings():
        section = page.partition(f'<section id="{finding.kind}">')[2].partition("</section>")[0]
        assert f">{finding.code}</span>" in section, finding.code


def options_of(parser: argparse.ArgumentParser) -> list[str]:
    """All options of a parser and its commands."""
    found: list[str] = []
    for action in parser._actions:
        found += action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                found += options_of(sub)
    return found


def test_every_option_of_the_command_line_has_an_entry(site: Path) -> None:
    text = html.unescape(re.sub(r"<[^>]+>", "", page_of(site, "reference/command-line.html")))
    missing = [name for name in options_of(build_parser()) if not re.search(rf"(?<![\w-]){name}(?![\w-])", text)]
    assert not missing


PLUGIN_OPTIONS = re.findall(r'"(--fungible-[a-z-]+)"', Path(pytest_plugin.__file__).read_text(encoding="utf-8"))


def test_every_option_of_the_pytest_plugin_has_an_entry() -> None:
    page = (DOCS / "how-to" / "scatter-a-pytest-suite.md").read_text(encoding="utf-8")
    assert [name for name in PLUGIN_OPTIONS if f"| `{name} " not in page] == []


def test_every_option_that_a_page_names_exists() -> None:
    # Of pytest, of what a start command runs, and of other tools.
    others = {*PLUGIN_OPTIONS, "--port", "--daemon", "--no-deps", "--wheel-dir"}
    known = {*options_of(build_parser()), *others}
    for page in [*PAGES, ROOT / "README.md"]:
        text = page.read_text(encoding="utf-8")
        for line in text.splitlines():
            if "fungible" in line or line.lstrip().startswith(("-", "`--")) or "`--" in line:
                named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", line))
                assert named <= known, f"{page.name}: {named - known}"


@pytest.mark.parametrize(
    "url",
    [
        "memory:",
        "sqlite:///a.db",
        "redis://h",
        "rediss://h",
        "redis+sentinel://h/s",
        "redis+cluster://h",
        "postgresql://h/d",
        "mysql://h/d",
        "memcached://h",
    ],
)
def test_every_option_of_a_stores_url_has_an_entry(url: str) -> None:
    with pytest.raises(SettingError, match="there is no option") as refused:
        open_store(f"{url}?no_such_option=1")
    options = str(refused.value).partition("there are: ")[2].split(", ")
    pages = [DOCS / "reference" / "stores.md", DOCS / "how-to" / "connect-to-a-store.md"]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    assert [name for name in options if not re.search(rf"(?<!\w){name}(?!\w)", text)] == []


@pytest.mark.parametrize(("page", "root"), [("check-file", model.CheckFile), ("report", model.Report)])
def test_every_key_of_a_format_has_an_entry(site: Path, page: str, root: type) -> None:
    reference = importlib.import_module("reference")
    text = page_of(site, f"reference/{page}.html")
    for found in reference.reachable(root):
        section = text.partition(f'<section id="{found.__name__.lower()}">')[2].partition("</section>")[0]
        missing = [key for key in found.__struct_encode_fields__ if f">{key}</span>" not in section]
        assert not missing, found.__name__


def test_every_page_is_reached_from_the_front_page(site: Path) -> None:
    # Sphinx warns of a page in no toctree; this holds the front page to name each of the four parts.
    front = page_of(site, "index.html")
    for part in ("tutorials", "how-to", "reference", "explanation"):
        assert f'href="{part}/index.html"' in front


def test_links_between_pages_in_the_readme_lead_to_files() -> None:
    for target in re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / target).is_file(), target


# --- code blocks ------------------------------------------------------------------------------------------------------


def parsed(block: Block) -> Any:
    """A block of data, read as what it says it is."""
    match block.language:
        case "toml":
            return tomllib.loads(block.text)
        case "yaml":
            return yaml.safe_load(block.text)
        case _:
            return json.loads(block.text)


DATA = [block for block in BLOCKS if block.language in {"toml", "yaml", "json"}]


@pytest.mark.parametrize("block", DATA, ids=str)
def test_data_in_the_docs_is_well_formed_and_check_files_are_valid(block: Block) -> None:
    document = parsed(block)
    if isinstance(document, dict) and document.keys() & {"target", "flows", "schedules"}:
        checkfile.parse(block.text, block.language)  # type: ignore[arg-type]


PYTHON = [block for block in BLOCKS if block.language == "python"]


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_in_the_docs_runs(block: Block, tmp_path: Path) -> None:
    ast.parse(block.text)
    for earlier in blocks_of(block.page):
        if earlier.order == "file" and earlier.line < block.line:  # which it may import
            (tmp_path / earlier.value).write_text(earlier.text, encoding="utf-8")
    script = tmp_path / (block.value if block.order == "file" else "block.py")
    script.write_text(block.text, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, script.name], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr


def environment() -> dict[str, str]:
    """What commands of the docs run with: the same Python first, and what the pages let the reader set."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return os.environ | {
        "PATH": path,
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "SESSION_SECRET": "only-for-this-test, of 32 bytes or more",
    }


SCENES = [page for page in PAGES if any(block.order == "test" for block in blocks_of(page))]


@pytest.mark.parametrize("page", SCENES, ids=lambda page: page.stem)
def test_commands_in_the_docs_do_what_the_page_says(page: Path, tmp_path: Path) -> None:
    for block in blocks_of(page):
        if block.order == "file":
            (tmp_path / block.value).write_text(block.text, encoding="utf-8")
        elif block.order == "test":
            commands = commands_of(block.text)
            for at, (command, expected) in enumerate(commands):
                run = subprocess.run(
                    ["/bin/sh", "-c", command],
                    cwd=tmp_path,
                    env=environment(),
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=300,
                )
                wanted = int(block.value) if at == len(commands) - 1 else 0
                assert run.returncode == wanted, f"{block}: {command}\n{run.stdout}\n{run.stderr}"
                missing = first_missing(expected, run.stdout.splitlines())
                assert missing is None, f"{block}: {command}: no line {missing!r} in\n{run.stdout}"


def commands_of(text: str) -> list[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines of output below it."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found:
            found[-1][1].append(line)
    return found


def first_missing(expected: list[str], lines: list[str]) -> str | None:
    """The first expected line that does not come after those before it; None where all do."""
    left = iter(" ".join(line.split()) for line in lines)
    for line in expected:
        wanted = " ".join(line.split())
        if wanted in {"", "..."}:
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in wanted.split("...")))
        if not any(pattern.fullmatch(found) for found in left):
            return line
    return None


# --- the reference of Python names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "module",
    [
        "fungible.stores",
        "fungible.sessions",
        "fungible.tokens",
        "fungible.idempotency",
        "fungible.cache",
        "fungible.limits",
    ],
)
def test_every_public_name_has_an_entry(site: Path, module: str) -> None:
    page = page_of(site, f"reference/{module.rpartition('.')[2]}.html")
    names: list[str] = importlib.import_module(module).__all__
    assert [name for name in names if f'id="{name.lower().replace("_", "-")}"' not in page] == []


@pytest.mark.parametrize("framework", ["fastapi", "fastapi_tokens", "litestar", "flask"])
def test_every_public_name_of_an_adapter_has_an_entry_of_its_own(site: Path, framework: str) -> None:
    page = page_of(site, "reference/adapters.html")
    for name in importlib.import_module(f"fungible.adapters.{framework}").__all__:
        assert f">{name}<" in page, name


def test_the_entry_of_a_constant_says_what_stands_below_it_and_not_below_the_next(site: Path) -> None:
    text = html.unescape(re.sub(r"<[^>]+>", "", page_of(site, "reference/adapters.html")))
    assert text.count("async def cart(session: CurrentSession)") == 1
    assert text.count("async def orders(user_id: CurrentSubject)") == 2  # in the example, and in its entry


EVENT = re.compile(r'notice\(\s*"([a-z_]+)"')


def test_every_event_of_sessions_has_an_entry() -> None:
    page = (DOCS / "reference" / "sessions.md").read_text(encoding="utf-8")
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src/fungible/sessions").glob("*.py"))
    events = set(EVENT.findall(source))
    assert "merged" in events
    assert [name for name in sorted(events) if f"| `{name}` |" not in page] == []
