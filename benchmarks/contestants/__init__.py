"""Who is measured: Fungible, its peers, and the bare applications and drivers that each is held against.

Each contestant is a small module with a factory that gives an ASGI application, run by uvicorn with one worker. The
store is named by STORE_URL in the environment. All of them answer the routes of `routes.py`.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata

SERVER = ("uvicorn",)


@dataclass(frozen=True)
class Contestant:
    """One application.

    `needs` are the distributions that it imports, first the one it is about; `over` is the name of the bare application
    whose cost is subtracted from its own; `prepare` is a function that makes its tables, run once in a process of its own.
    """

    name: str
    factory: str
    store: str = ""
    needs: tuple[str, ...] = ()
    over: str = ""
    prepare: str = ""
    env: tuple[tuple[str, str], ...] = ()
    note: str = ""
    """What it asks for beside `needs`: said where it does not run."""

    @property
    def ours(self) -> bool:
        return self.name.startswith("fungible")


@dataclass
class LeftOut:
    """Who can't be measured here, and why; and who of ours has failed, which is never just left out."""

    reasons: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def instead_of_failing(self, contestant: Contestant) -> Iterator[None]:
        """Notes who does not run, and goes on with the others."""
        try:
            yield
        except (RuntimeError, OSError, EOFError) as error:
            words = f"{contestant.note}; {error}" if contestant.note else str(error)
            (self.failed if contestant.ours else self.reasons)[contestant.name] = words

    def __str__(self) -> str:
        return "\n".join(
            [f"left out: {name}: {reason}" for name, reason in self.reasons.items()]
            + [f"FAILED: {name}: {reason}" for name, reason in self.failed.items()]
        )


def missing(contestant: Contestant) -> str:
    """Why it can't run with this Python: empty if it can."""
    absent = [name for name in (*SERVER, *contestant.needs) if _version(name) is None]
    return f"not installed: {', '.join(absent)} (pip install -r benchmarks/requirements.txt)" if absent else ""


def versions(contestants: Sequence[Contestant]) -> str:
    """What is measured: `starlette 1.10.0, starsessions 2.2.1, ...`."""
    names = dict.fromkeys(
        name for name in (*SERVER, "uvloop", "httptools", *(need for one in contestants for need in one.needs))
    )
    return ", ".join(f"{name} {version}" for name in names if (version := _version(name)))


def _version(requirement: str) -> str | None:
    try:
        return metadata.version(re.split(r"[\[<>=]", requirement)[0])
    except metadata.PackageNotFoundError:
        return None


STARLETTE, FASTAPI, LITESTAR, FLASK = "bare Starlette", "bare FastAPI", "bare Litestar", "bare Flask (a2wsgi)"
_REDIS_PY = ("redis", "hiredis")
_STORES = {
    "redis": _REDIS_PY,
    "postgresql": ("asyncpg",),
    "mysql": ("asyncmy",),
    "sqlite": (),
    "memcached": (),
}


def _ours(store: str, mode: str) -> Contestant:
    name = f"fungible {'' if mode == 'stored' else f'{mode} '}({store})"
    needs = ("fungible", "starlette", *_STORES[store])
    module = "fungible_starlette"
    return Contestant(
        name, f"{module}:application", store, needs, STARLETTE, prepare=f"{module}:prepare", env=(("MODE", mode),)
    )


OURS = {store: _ours(store, "stored") for store in _STORES}
SNAPSHOT = {store: _ours(store, "snapshot") for store in _STORES}
BARE = (
    Contestant(STARLETTE, "starlette_bare:application", needs=("starlette",)),
    Contestant(FASTAPI, "fastapi_redis_sdk:bare", needs=("fastapi",)),
    Contestant(LITESTAR, "litestar_redis:bare", needs=("litestar",)),
    Contestant(FLASK, "flask_session_redis:bare", needs=("flask", "a2wsgi")),
)
PEERS = (
    Contestant("Starlette (cookie)", "starlette_cookie:application", "", ("starlette", "itsdangerous"), STARLETTE),
    Contestant(
        "starsessions (Redis)",
        "starsessions_redis:application",
        "redis",
        ("starsessions", "starlette", *_REDIS_PY),
        STARLETTE,
    ),
    Contestant("Litestar (Redis)", "litestar_redis:application", "redis", ("litestar", *_REDIS_PY), LITESTAR),
    Contestant(
        "Flask-Session (Redis)",
        "flask_session_redis:application",
        "redis",
        ("Flask-Session", "flask", "a2wsgi", "msgspec", *_REDIS_PY),
        FLASK,
    ),
    Contestant(
        "fastapi-redis-sdk",
        "fastapi_redis_sdk:application",
        "redis",
        ("fastapi-redis-sdk", "fastapi", *_REDIS_PY),
        FASTAPI,
        note="needs Redis 7.4 or newer (HEXPIRE)",
    ),
)
DJANGO = (
    Contestant("Django cache (Redis)", "django_sessions:cache", "redis", ("Django", *_REDIS_PY)),
    Contestant(
        "Django db (PostgreSQL)",
        "django_sessions:database",
        "postgresql",
        ("Django", "psycopg"),
        prepare="django_sessions:prepare",
    ),
)
FLOORS = (
    Contestant(
        "floor: one hiredis connection", "floor_redis:application", "redis", ("starlette", "hiredis"), STARLETTE
    ),
    Contestant("floor: asyncpg", "floor_asyncpg:application", "postgresql", ("starlette", "asyncpg"), STARLETTE),
    Contestant("floor: asyncmy", "floor_asyncmy:application", "mysql", ("starlette", "asyncmy"), STARLETTE),
    Contestant("floor: sqlite3", "floor_sqlite:application", "sqlite", ("starlette",), STARLETTE),
)
