"""From a kind of state and a URL to the home: what it promises, without opening it."""

from typing import Final
from urllib.parse import urlsplit

from fungible.core.errors import MissingExtraError, SettingError
from fungible.core.urls import parse_home_url
from fungible.doctor.diagnosis import Found
from fungible.stores.contract import Guarantees, Lack, Reach, Survives
from fungible.stores.needs import NEEDS
from fungible.stores.opening import ALIASES, open_store
from fungible.stores.postures import Home

LOCAL_DISK: Final = Guarantees(reach=Reach.MACHINE, survives=Survives.MACHINE)
SERVER: Final = Guarantees(reach=Reach.FLEET, survives=Survives.MACHINE)
REDIS: Final = Guarantees(
    reach=Reach.FLEET, survives=Survives.PROCESS, lacks=frozenset({Lack.RESTART, Lack.RECENT_WRITES})
)
MEMCACHED: Final = Guarantees(
    reach=Reach.FLEET, survives=Survives.PROCESS, lacks=frozenset({Lack.EVICTS, Lack.RESTART})
)

# Homes that are no stores, and the kinds of state they can hold; None: any.
PLACES: Final[dict[str, tuple[Guarantees, tuple[str, ...] | None]]] = {
    "file": (LOCAL_DISK, None),
    "s3": (SERVER, ("upload",)),
    "smtp": (SERVER, ("notifier",)),
    "smtps": (SERVER, ("notifier",)),
    "ldap": (SERVER, ("users",)),
    "ldaps": (SERVER, ("users",)),
}


def home_of(kind: str, url: str, seat: str) -> Found:
    """The home that a URL names. Opens no connection.

    Args:
        kind: One of `fungible.stores.needs.NEEDS`.
        url: As `open_store` takes it, or `file:`, `s3:`, `smtp:`, `ldap:` for what is no store.
        seat: Where the home is declared, in words.
    Raises:
        SettingError: there is no such kind, or the URL can't be read. The message has no password.
    """
    if kind not in NEEDS:
        raise SettingError(f"{seat}: there is no kind of state {kind!r}; there are: {', '.join(NEEDS)}")
    try:
        scheme = parse_home_url(url).scheme
        if scheme in PLACES:
            return Found(homes=(_place(kind, url, scheme, seat),))
        store = open_store(url)
    except SettingError as error:
        raise SettingError(f"{seat}, {kind}: {error}") from None
    except MissingExtraError as error:
        return _without_driver(kind, url, seat, error)
    return Found(homes=(Home(kind, store.home, store.guarantees, seat),))


def _place(kind: str, url: str, scheme: str, seat: str) -> Home:
    guarantees, kinds = PLACES[scheme]
    if kinds is not None and kind not in kinds:
        raise SettingError(f"{scheme}: can hold {' and '.join(kinds)}, no {kind}")
    # The path of a file is shown as it is, with the slash that says where it begins.
    home = f"file:{urlsplit(url).path}" if scheme == "file" else parse_home_url(url).redacted
    return Home(kind, home, guarantees, seat)


def _without_driver(kind: str, url: str, seat: str, error: MissingExtraError) -> Found:
    """Judged by the scheme alone: doctor may run where the application's drivers are not installed."""
    parsed = parse_home_url(url)
    scheme = ALIASES.get(parsed.scheme, parsed.scheme)
    home = Home(kind, parsed._replace(scheme=scheme).redacted, assumed(scheme), seat)
    return Found(homes=(home,), notes=(f"{error}; {kind} was judged without it, and without the options of its URL",))


def assumed(scheme: str) -> Guarantees:
    """What a backend promises with no options, for where its module can't be imported; sizes of records aside."""
    return REDIS if scheme.startswith("redis") else SERVER
