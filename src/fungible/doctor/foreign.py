"""Sessions of other libraries: what is wrong with them whatever home they are given."""

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from fungible.doctor.diagnosis import Found
from fungible.stores.contract import Guarantees, Reach, Survives
from fungible.stores.postures import Finding, Home, Severity

_WAY_OUT: Final = "use fungible.sessions, or its adapter for your framework"

COOKIE: Final = Finding(
    code="session-cookie-lost-update",
    severity=Severity.HIGH,
    kind="session",
    home="cookie:",
    problem="would lose one of two changes that overlap, and stay good after its sign-out",
    way_out=_WAY_OUT,
)
"""The state itself is in a signed or encrypted cookie: the last answer wins, and no server can take it back."""

RECORD: Final = Finding(
    code="session-record-lost-update",
    severity=Severity.MEDIUM,
    kind="session",
    home="",
    problem="would lose one of two changes that overlap",
    way_out=_WAY_OUT,
)
"""The state is one record that is read whole and written whole: the last writer wins."""

# By the full name of the class, so that no framework need be imported, or installed.
IN_COOKIES: Final = frozenset(
    {
        "flask.sessions.SecureCookieSessionInterface",
        "litestar.middleware.session.client_side.ClientSideSessionBackend",
        "starlette.middleware.sessions.SessionMiddleware",
    }
)
# These do nothing by themselves: another object that is looked at says where the state is.
CARRIERS: Final = frozenset({"litestar.middleware.session.base.SessionMiddleware"})


def in_cookie(seat: str) -> Found:
    """What there is to say of a session that is in a cookie."""
    home = Home("session", COOKIE.home, Guarantees(reach=Reach.FLEET, survives=Survives.MACHINE), seat)
    return Found(homes=(home,), findings=(replace(COOKIE, seat=seat),))


def catalogue() -> Iterator[Finding]:
    """Every finding of this module, each with an empty home: what the reference lists."""
    yield replace(COOKIE, home="")
    yield RECORD
