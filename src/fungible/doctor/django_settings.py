"""What a module of Django settings says of where sessions and caches are. Django itself is not asked, nor imported."""

import re
import tempfile
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, Final, cast

from msgspec.structs import replace

from fungible.core.errors import SettingError
from fungible.doctor.applications import imported, without_logins
from fungible.doctor.diagnosis import Found
from fungible.doctor.foreign import RECORD, in_cookie
from fungible.doctor.homes import LOCAL_DISK, MEMCACHED, REDIS, SERVER, home_of
from fungible.stores.contract import Guarantees, Reach, Survives
from fungible.stores.postures import Home

BACKENDS: Final = "django.contrib.sessions.backends."
PROCESS: Final = Guarantees(reach=Reach.PROCESS, survives=Survives.NOTHING)
# By the last part of BACKEND, which libraries other than Django's own use too.
CACHES: Final[dict[str, tuple[str, Guarantees]]] = {
    "LocMemCache": ("memory:", PROCESS),
    "FileBasedCache": ("file:", LOCAL_DISK),
    "RedisCache": ("redis:", REDIS),
    "PyMemcacheCache": ("memcached:", MEMCACHED),
    "PyLibMCCache": ("memcached:", MEMCACHED),
}
LOCAL_MEMORY: Final[dict[str, Any]] = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}


def homes_of_django(module: str) -> Found:
    """The homes that a module of Django settings declares, `package.settings`.

    Raises:
        SettingError: it can't be imported, or names a cache or a database that it does not have.
    """
    settings = imported(module)
    found = Found()
    caches: object = getattr(settings, "CACHES", LOCAL_MEMORY)
    if not isinstance(caches, Mapping):
        raise SettingError(f"CACHES in {module} is no dict")
    for alias in cast("Mapping[str, object]", caches):
        found += _cache(settings, alias, "cache", f"CACHES[{alias!r}] in {module}")
    if any(str(name).endswith("SessionMiddleware") for name in getattr(settings, "MIDDLEWARE", ())):
        found += _sessions(settings, f"SESSION_ENGINE in {module}")
    return found


def _sessions(settings: ModuleType, seat: str) -> Found:
    engine = str(getattr(settings, "SESSION_ENGINE", f"{BACKENDS}db"))
    if engine.startswith("fungible."):
        return _ours(settings, seat)
    alias = str(getattr(settings, "SESSION_CACHE_ALIAS", "default"))
    match engine.removeprefix(BACKENDS):
        case "signed_cookies":
            return in_cookie(seat)
        case "file":
            folder = getattr(settings, "SESSION_FILE_PATH", None) or tempfile.gettempdir()
            found = Found(homes=(Home("session", f"file:{folder}", LOCAL_DISK, seat),))
        case "cache":
            found = _cache(settings, alias, "session", seat)
        case "db":
            found = _database(settings, "default", "session", seat)
        case "cached_db":
            # The database keeps them, but the cache is read first: one that some instances do not see has old copies,
            # and what else it promises does not matter.
            copies = _cache(settings, alias, "session", seat)
            apart = tuple(home for home in copies.homes if home.guarantees.reach is not Reach.FLEET)
            found = replace(copies, homes=apart) + _database(settings, "default", "session", seat)
        case _:
            return Found(notes=(f"{seat}: {engine} is not known, and was not judged",))
    lost = (replace(RECORD, home=home.home, seat=seat) for home in found.homes[-1:])
    return found + Found(findings=tuple(lost))


def _ours(settings: ModuleType, seat: str) -> Found:
    given: object = getattr(settings, "FUNGIBLE_SESSION", None)
    url: object = cast("Mapping[str, object]", given).get("store") if isinstance(given, Mapping) else None
    if not isinstance(url, str):
        raise SettingError(f"{seat} is Fungible's, which needs FUNGIBLE_SESSION = {{'store': 'redis://…'}}")
    return home_of("session", url, f"FUNGIBLE_SESSION, {seat}")


def _cache(settings: ModuleType, alias: str, kind: str, seat: str) -> Found:
    """The home that a cache is, for a kind of state that is kept in it."""
    cache = _entry(getattr(settings, "CACHES", LOCAL_MEMORY), alias, seat)
    backend = str(cache.get("BACKEND", ""))
    name = backend.rpartition(".")[2]
    if name == "DatabaseCache":
        return _database(settings, "default", kind, seat)
    if name == "DummyCache":
        return Found() if kind == "cache" else Found(notes=(f"{seat}: {backend} keeps nothing",))
    if name not in CACHES:
        return Found(notes=(f"{seat}: {backend} is not known, and was not judged",))
    scheme, guarantees = CACHES[name]
    places = ",".join(_places(cache.get("LOCATION", ""))) if scheme != "memory:" else ""
    slashes = "" if scheme in {"memory:", "file:"} or not places else "//"
    return Found(homes=(Home(kind, f"{scheme}{slashes}{places}", guarantees, seat),))


def _places(location: object) -> Iterator[str]:
    """Hosts or paths of a cache's LOCATION, which is one, several, or several in one text; without logins."""
    several = cast("list[object]", location) if isinstance(location, list | tuple) else [location]
    for text in several:
        for place in re.split("[,;]", without_logins(str(text))):
            yield place.rpartition("://")[2].rpartition("@")[2].partition("?")[0]


def _database(settings: ModuleType, alias: str, kind: str, seat: str) -> Found:
    """The home that a database is, for a kind of state that is kept in it."""
    database = _entry(getattr(settings, "DATABASES", {}), alias, seat)
    engine = str(database.get("ENGINE", "")).rpartition(".")[2]
    name = str(database.get("NAME", ""))
    if engine in {"sqlite3", "spatialite"}:
        in_memory = not name or ":memory:" in name or "mode=memory" in name
        guarantees = PROCESS if in_memory else LOCAL_DISK
        return Found(homes=(Home(kind, f"sqlite:{name or ':memory:'}", guarantees, seat),))
    if not engine or engine == "dummy":
        return Found(notes=(f"{seat}: DATABASES[{alias!r}] names no database, and was not judged",))
    host = str(database.get("HOST", "") or "localhost")
    return Found(homes=(Home(kind, f"{engine}://{host}/{name}", SERVER, seat),))


def _entry(table: object, alias: str, seat: str) -> Mapping[str, Any]:
    entries = cast("Mapping[str, Any]", table) if isinstance(table, Mapping) else dict[str, Any]()
    found = entries.get(alias)
    if not isinstance(found, Mapping):
        raise SettingError(f"{seat}: there is no {alias!r} in CACHES or DATABASES")
    return cast("Mapping[str, Any]", found)
