"""Opens sessions of one kind, and refuses those that the declared instances can't share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

from fungible.core.errors import SettingError
from fungible.core.keyring import KeyRing, key_ring
from fungible.sessions.contract import Sessions
from fungible.sessions.sealed import SealedSessions
from fungible.sessions.settings import MAX_COOKIE_BYTES, SessionSettings
from fungible.sessions.snapshots import SnapshotSessions
from fungible.sessions.stored import StoredSessions
from fungible.stores.contract import Guarantees, Reach, Store, Survives
from fungible.stores.postures import Deployment, Home, require

Mode = Literal["stored", "snapshot", "sealed"]
IN_THE_BROWSER: Final = Guarantees(reach=Reach.FLEET, survives=Survives.MACHINE, max_record_bytes=MAX_COOKIE_BYTES)
"""What a sealed cookie promises: each instance that a visitor comes to sees it."""


def open_sessions(
    store: Store | None,
    secret: str | bytes | Iterable[str | bytes] | KeyRing,
    settings: SessionSettings,
    *,
    mode: Mode = "stored",
    instances: int | None = None,
    machines: int | None = None,
    now: Callable[[], float] = time.time,
) -> Sessions:
    """Sessions of the kind `mode`, for the middleware, the adapters, and code that signs people out.

    Raises:
        SettingError: a setting can't be taken.
        PostureError: several instances can't share sessions that are kept in this store.
    """
    ring = key_ring(secret)
    if mode == "sealed":
        if store is not None:
            raise SettingError("mode='sealed' keeps sessions in cookies and takes no store; 'snapshot' joins both")
        return SealedSessions(ring, settings, now=now)
    if mode not in ("stored", "snapshot"):
        raise SettingError(f"mode={mode!r} must be 'stored', 'snapshot' or 'sealed'")
    if store is None:
        raise SettingError(f"mode={mode!r} needs a store: store=open_store('redis://localhost')")
    require("session", store, Deployment.declared(instances=instances, machines=machines))
    kind = StoredSessions if mode == "stored" else SnapshotSessions
    return kind(store, ring, settings, now=now)


def homes_of(store: Store | None, mode: Mode) -> Sequence[Home]:
    """Where sessions of that kind are kept."""
    if store is None or mode == "sealed":
        return (Home(kind="session", home="cookie:", guarantees=IN_THE_BROWSER, seat="SessionMiddleware"),)
    return (Home(kind="session", home=store.home, guarantees=store.guarantees, seat="SessionMiddleware"),)
