"""Who sends a request: one word for it, whichever middleware found it out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from fungible.core.log import RepeatedWarning

SUBJECT: Final = "fungible.subject"
"""Where a middleware that has judged a request's credentials leaves whom they name, in the ASGI scope."""
NAMES: Final = ("identity", "pk", "username")
"""What tells users apart, the best first. A display name, or what `str(user)` gives, may be that of two."""
_UNIDENTIFIED: Final = RepeatedWarning(logging.getLogger("fungible.callers"), every_s=600.0)


def subject_of(scope: Mapping[str, Any]) -> str | None:
    """The authenticated subject of a request; None where nobody has been authenticated by the time of the call.

    By what a token says, else who is signed in with the session, else what Starlette's or Django's authentication left
    in `scope["user"]`: its `identity`, `pk` or `username`, the first that it has. A user who has none of them is nobody
    here, which is logged: two users must never be taken for one. A middleware that asks must stand inside the one that
    answers.
    """
    subject = scope.get(SUBJECT)
    if subject is None:
        subject = getattr(scope.get("session"), "subject", None)
    if subject is not None:
        return str(subject)
    user = scope.get("user")
    if user is None or _attribute(user, "is_authenticated") is not True:
        return None
    for name in NAMES:
        found = _text(_attribute(user, name))
        if found is not None:
            return found
    kind = f"{type(user).__module__}.{type(user).__qualname__}"
    _UNIDENTIFIED.warn(
        kind,
        f"a request's user is authenticated, but {kind} has no {', '.join(NAMES)} that could be kept as text: "
        "such users are taken for nobody. Give the class an `identity` that no two users share",
    )
    return None


def is_authenticated(scope: Mapping[str, Any]) -> bool:
    """Whether somebody was authenticated, or may have been: also a user who can't be told from others.

    For decisions that are safe for everybody only where nobody is: what is made for one visitor is not another's.
    """
    user = scope.get("user")
    if user is not None and _attribute(user, "is_authenticated") is not False:
        return True
    return subject_of(scope) is not None


def _attribute(user: object, name: str) -> object:
    """What a user says of themselves; None where the class does not, in whichever way it says so.

    Starlette's `BaseUser` raises NotImplementedError for what a subclass has left out, and a user who is loaded at the
    first look may raise whatever a database can.
    """
    try:
        return getattr(user, name, None)
    except Exception:
        return None


def _text(found: object) -> str | None:
    # Neither a method nor an object that shows no more than where it is in memory: those tell each request from the next.
    if found is None or isinstance(found, bool) or callable(found):
        return None
    if not isinstance(found, int) and type(found).__str__ is object.__str__:
        return None
    return str(found) or None
