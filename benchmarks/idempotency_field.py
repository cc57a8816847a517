"""Who is measured by `idempotency`: ours on each store, ours in the application's own transaction, and peers."""

from typing import Final

from benchmarks.contestants import Contestant
from benchmarks.idempotency_kills import Promise

LEASE_S: Final = 2.0
_DRIVERS: Final = {"redis": ("redis", "hiredis"), "postgresql": ("asyncpg",), "mysql": ("asyncmy",), "sqlite": ()}
_SHOP: Final = ("fastapi", "starlette")
_SET: Final = (("LEASE_S", str(LEASE_S)), ("WAIT_S", "0"))


def _stored(store: str, *, after_crash: str) -> Contestant:
    name = f"fungible{'' if after_crash == 'retry' else ' at most once'} ({store})"
    needs, module = ("fungible", *_SHOP, *_DRIVERS[store]), "idempotency_fungible"
    env = (*_SET, ("AFTER_CRASH", after_crash))
    return Contestant(name, f"{module}:middleware", store, needs, prepare=f"{module}:prepare", env=env)


def _transactional(store: str) -> Contestant:
    needs, module = ("fungible", *_SHOP, *_DRIVERS[store]), "idempotency_transactional"
    name = f"fungible transactional ({store})"
    return Contestant(name, f"{module}:middleware", store, needs, prepare=f"{module}:prepare", env=_SET)


def _peer(distribution: str) -> Contestant:
    factory = f"idempotency_peers:{distribution.replace('-', '_')}"
    return Contestant(distribution, factory, "redis", (distribution, *_SHOP, "redis", "hiredis"))


STORED: Final = tuple(_stored(store, after_crash="retry") for store in _DRIVERS)
AT_MOST_ONCE: Final = tuple(_stored(store, after_crash="refuse") for store in _DRIVERS)
TRANSACTIONAL: Final = tuple(_transactional(store) for store in ("postgresql", "mysql", "sqlite"))
PEERS: Final = (
    *map(
        _peer,
        ("asgi-idempotency-header", "idemptx", "fastapi-idempotency-key", "fastidempotent", "ichido"),
    ),
    Contestant("none", "idempotency_peers:none", "redis", _SHOP),
)
PROMISES: Final[dict[Contestant, Promise]] = {
    **dict.fromkeys(TRANSACTIONAL, Promise.EXACTLY_ONCE),
    **dict.fromkeys(STORED, Promise.AT_LEAST_ONCE),
    **dict.fromkeys(AT_MOST_ONCE, Promise.AT_MOST_ONCE),
}
FIELD: Final = (*TRANSACTIONAL, *STORED, *AT_MOST_ONCE, *PEERS)
