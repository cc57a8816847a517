"""The routes that every contestant answers, and what a session holds.

What is measured with many requests is a GET, so that any load generator can send it.

    POST /login                      signs ada in: about 240 bytes of session
    POST /logout                     signs out
    GET  /me                         who is signed in; `nobody` for a visitor without a session
    GET  /write                      counts in the session
    POST /add/{kind}/{item}/{ms}     reads the session, works for that long, adds to it
    GET  /count                      how much of each kind has been added
    POST /slow/{name}                reads the session, waits to be released, adds to it
    GET  /loaded/{name}              answers once that request has read the session
    POST /release/{name}             lets it go on
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import MutableMapping
from typing import Any

USER, NOBODY = "ada", "nobody"
SESSION = {
    "user": USER,
    "email": "ada.lovelace@analytical.example",
    "roles": ["customer", "beta", "newsletter"],
    "csrf": "6d0f3b0a1c9e4f27b58d",
    "locale": "en-GB",
    "theme": {"name": "dark", "density": "compact"},
    "last_seen": "2026-11-21T10:12:31.482913+00:00",
}
SECRET = "a secret that all instances share, 32 bytes or more"
KEY, LIST, MAPPING, COUNTER, INNER_COUNTER = KINDS = ("key", "list", "mapping", "counter", "inner-counter")
"""What is added: a key of its own, an item of a list within, a key of a mapping within, one to a counter, one to a
counter within."""

Session = MutableMapping[str, Any]


def add(session: Session, kind: str, item: str) -> None:
    """Adds one thing to the session. What is within is there from the start, but for counters."""
    if kind == KEY:
        session[f"key-{item}"] = 1
    elif kind == LIST:
        session["cart"]["items"].append(item)
    elif kind == MAPPING:
        session["seen"][item] = 1
    else:
        session.increment("visits" if kind == COUNTER else ("stats", "visits"))  # type: ignore[attr-defined]


def start(session: Session, kinds: tuple[str, ...] = (KEY,)) -> None:
    """Signs in. What is added to within is there from the start only if it is going to be measured."""
    session.update(SESSION)
    if LIST in kinds:
        session["cart"] = {"items": []}
    if MAPPING in kinds:
        session["seen"] = {}


def count(session: Session) -> dict[str, int]:
    """How many of each kind are there."""
    return {
        KEY: sum(name.startswith("key-") for name in session),
        LIST: len(set(session.get("cart", {}).get("items", ()))),
        MAPPING: len(session.get("seen", {})),
        COUNTER: session.get("visits", 0),
        INNER_COUNTER: session.get("stats", {}).get("visits", 0),
    }


class Gates:
    """Holds requests between their reading of the session and their writing to it."""

    def __init__(self) -> None:
        self._loaded: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._released: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def wait(self, name: str) -> None:
        """For the request that is held."""
        self._loaded[name].set()
        await self._released[name].wait()

    async def loaded(self, name: str) -> None:
        """For whoever waits until it is held."""
        await self._loaded[name].wait()

    async def release(self, name: str) -> None:
        """Lets it go on."""
        self._released[name].set()


def pause_s(milliseconds: str | int) -> float:
    return int(milliseconds) / 1000


def pause(milliseconds: str | int) -> None:
    """The work of a request, for applications that run in threads."""
    if seconds := pause_s(milliseconds):
        time.sleep(seconds)
