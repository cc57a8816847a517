"""Who sends a request: one word for it, whichever middleware found it out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

SUBJECT: Final = "fungible.subject"
"""Where a middleware that has judged a request's credentials leaves whom they name, in the ASGI scope."""


def subject_of(scope: Mapping[str, Any]) -> str | None:
    """The authenticated subject of a request; None where nobody has been authenticated by the time of the call.

    By what a token says, else who is signed in with the session, else what Starlette's or Django's authentication left
    in `scope["user"]`. A middleware that asks must therefore stand inside the one that answers.
    """
    subject = scope.get(SUBJECT)
    if subject is None:
        subject = getattr(scope.get("session"), "subject", None)
    if subject is None:
        user = scope.get("user")
        if getattr(user, "is_authenticated", False) is True:
            subject = getattr(user, "identity", None) or getattr(user, "pk", None) or getattr(user, "username", None)
    return None if subject is None else str(subject)
