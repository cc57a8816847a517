"""`fungible explain` says offline what the reference says, from the one table of kinds."""

import importlib
import shlex
import sys
from pathlib import Path
from typing import get_args

import pytest

from fungible.check.findings.fixes import FRAMEWORKS, PROTOCOLS, docs_for, fix_for
from fungible.check.findings.framework_fixes import FRAMEWORK_FIXES
from fungible.check.findings.kinds import KINDS
from fungible.check.findings.protocols import PROTOCOL_FIXES
from fungible.check.model import Kind
from fungible.cli.main import main

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs" / "_ext"))


def said(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("kind", get_args(Kind))
def test_the_docs_of_a_finding_are_a_command_that_prints_what_the_reference_says(kind: Kind, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    program, *arguments = shlex.split(docs_for(kind))
    assert (program, main(arguments)) == ("fungible", 0)
    out = capsys.readouterr().out
    assert all(len(line) <= 80 or " " not in line.strip() for line in out.splitlines())
    reference = importlib.import_module("reference")
    page = reference.finding(kind)
    about = KINDS[kind]
    for text in (about.title, about.severity, about.what, about.fix, *(fix_for(kind, name) for name in FRAMEWORKS)):
        assert said(text) in said(out)
        assert reference.prose(text).replace("|", "\\|") in page.replace("\n", " ") or reference.prose(text) in page


def test_every_kind_is_in_the_table_and_every_framework_has_a_name():
    assert set(KINDS) == set(get_args(Kind))
    assert set(FRAMEWORK_FIXES) - {"starlette"} == set(FRAMEWORKS)
    assert set(PROTOCOL_FIXES) == set(PROTOCOLS)


def test_without_a_kind_all_are_listed(capsys):
    assert main(["explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(KINDS)


@pytest.mark.parametrize(("name", "words"), [("sesion", "did you mean 'session'?"), ("xyz", "there are session, ")])
def test_a_kind_that_there_is_not_gets_a_hint_and_status_2(name: str, words: str, capsys):
    assert main(["explain", name]) == 2
    assert words in capsys.readouterr().err
