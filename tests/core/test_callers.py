"""Who sends a request, by whatever has judged it."""

from types import SimpleNamespace
from typing import Any

import pytest

from fungible.core.callers import SUBJECT, subject_of


@pytest.mark.parametrize(
    ("scope", "subject"),
    [
        ({}, None),
        ({SUBJECT: "ann", "session": SimpleNamespace(subject="bob")}, "ann"),
        ({"session": SimpleNamespace(subject="bob")}, "bob"),
        ({"session": {}}, None),
        ({"user": SimpleNamespace(is_authenticated=True, identity="eve")}, "eve"),
        ({"user": SimpleNamespace(is_authenticated=True, pk=7)}, "7"),
        ({"user": SimpleNamespace(is_authenticated=False, pk=7)}, None),
    ],
)
def test_the_subject_is_who_was_authenticated(scope: dict[str, Any], subject: str | None) -> None:
    assert subject_of(scope) == subject
