"""Who sends a request, by whatever has judged it."""

import logging
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from starlette.authentication import BaseUser, UnauthenticatedUser

from fungible.core.callers import SUBJECT, is_authenticated, subject_of


class NamedUser(BaseUser):
    """As Starlette 0.41's `SimpleUser`: authenticated, with a username, and `identity` left to whoever subclasses it."""

    def __init__(self, username: Any) -> None:
        self.username = username

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def display_name(self) -> str:
        return "Ada"


class BareUser(BaseUser):
    """Says that it is authenticated, and shows a name that others may have, too."""

    is_authenticated = True
    display_name = "Ada"


class Lazy:
    """Fails in its own way as long as nobody has loaded it."""

    is_authenticated = True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise LookupError(name)


@pytest.mark.parametrize(
    ("scope", "subject"),
    [
        ({}, None),
        ({SUBJECT: "ann", "session": SimpleNamespace(subject="bob")}, "ann"),
        ({"session": SimpleNamespace(subject="bob")}, "bob"),
        ({"session": {}}, None),
        ({"user": SimpleNamespace(is_authenticated=True, identity="eve")}, "eve"),
        ({"user": SimpleNamespace(is_authenticated=True, pk=7)}, "7"),
        ({"user": SimpleNamespace(is_authenticated=True, pk=0, username="root")}, "0"),
        ({"user": SimpleNamespace(is_authenticated=True, identity="", username="eve")}, "eve"),
        ({"user": SimpleNamespace(is_authenticated=True, identity=UUID(int=7))}, str(UUID(int=7))),
        ({"user": SimpleNamespace(is_authenticated=False, pk=7)}, None),
        ({"user": NamedUser("ada")}, "ada"),
        ({"user": UnauthenticatedUser()}, None),
    ],
)
def test_the_subject_is_who_was_authenticated(scope: dict[str, Any], subject: str | None) -> None:
    assert subject_of(scope) == subject


@pytest.mark.parametrize(
    "user",
    [
        BareUser(),
        Lazy(),
        NamedUser(""),
        NamedUser(None),
        SimpleNamespace(is_authenticated=True, identity=lambda: "ada"),
        SimpleNamespace(is_authenticated=True, identity=object()),
        SimpleNamespace(is_authenticated=True, identity=True),
        SimpleNamespace(is_authenticated=True, email="ada@example.org"),
    ],
)
def test_a_user_who_can_not_be_told_from_others_is_nobody_and_yet_authenticated(user: Any) -> None:
    assert subject_of({"user": user}) is None
    assert is_authenticated({"user": user})


def test_a_user_who_can_not_be_told_from_others_is_logged_once_for_its_class(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Unknown:
        is_authenticated = True

    with caplog.at_level(logging.WARNING, "fungible.callers"):
        for _ in range(3):
            subject_of({"user": Unknown()})
    [record] = caplog.records
    assert "Unknown has no identity, pk, username" in record.getMessage()
    assert "Give the class an `identity`" in record.getMessage()


@pytest.mark.parametrize(
    ("scope", "found"),
    [
        ({}, False),
        ({"user": None}, False),
        ({"user": UnauthenticatedUser()}, False),
        ({"user": NamedUser("ada")}, True),
        # A framework's user who says nothing of it was put there by whoever authenticated.
        ({"user": SimpleNamespace(name="ada")}, True),
        ({SUBJECT: "ann"}, True),
        ({"session": SimpleNamespace(subject="bob")}, True),
    ],
)
def test_who_may_have_been_authenticated_counts_as_authenticated(scope: dict[str, Any], found: bool) -> None:
    assert is_authenticated(scope) is found
