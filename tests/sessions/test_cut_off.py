"""A request that is cut off at any of its store calls leaves the session as it was, or as it was to be."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from contracts.clock import Clock

from fungible.sessions import Session, Sessions
from fungible.stores import StoreUnavailableError
from fungible.stores.memory import MemoryStore
from sessions.visiting import Browser, WatchedStore, nothing_happens, sessions_over

MODES = pytest.mark.parametrize("mode", ["stored", "snapshot"])
HOW = pytest.mark.parametrize("error", [asyncio.CancelledError, StoreUnavailableError])
WHEN = pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
MOST_CALLS = 40


class Scene:
    """A visitor who is signed in, on a store whose n-th call fails."""

    def __init__(self, mode: str) -> None:
        self.clock = Clock()
        self.store = WatchedStore(MemoryStore(now=self.clock))
        self.mode = mode
        self.sessions = self.instance()
        self.visitor = Browser()

    def instance(self) -> Sessions:
        return sessions_over(self.store, mode=self.mode, now=self.clock)

    async def begin(self) -> None:
        await self.visitor.sign_in(self.sessions, "ada")
        await self.visitor.put(self.sessions, cart=["book"], n=1)

    async def cut(
        self, request: Callable[[Session], Awaitable[Any]], at: int, done: bool, error: type[BaseException]
    ) -> bool:
        """Runs a request whose n-th call is cut off; whether it had so many."""
        hit = False

        async def meets(verb: str, number: int, after: bool) -> None:
            nonlocal hit
            if number == at and after == done:
                hit = True
                raise StoreUnavailableError(home="memory:", reason="cut") if error is StoreUnavailableError else error()

        self.store.calls.clear()
        self.store.meets = meets
        try:
            session = await self.visitor.load(self.sessions)
            await request(session)
            await self.visitor.answer(self.sessions, session)
        except (asyncio.CancelledError, StoreUnavailableError):
            assert hit
        finally:
            self.store.meets = nothing_happens
        return len(self.store.calls) > at


async def each_cut(mode: str, done: bool, error: type[BaseException], request: Any, check: Any) -> int:
    """Cuts the request off at each of its calls in turn; how many there are."""
    for at in range(MOST_CALLS):
        scene = Scene(mode)
        await scene.begin()
        had_so_many = await scene.cut(request, at, done, error)
        await check(scene)
        if not had_so_many:
            return at
    raise AssertionError("a request has so many calls?")


async def change(session: Session) -> None:
    session["cart"].append("pen")
    session.increment("n")


@MODES
@HOW
@WHEN
async def test_a_write_is_there_as_a_whole_or_not_at_all(mode: str, error: Any, done: bool) -> None:
    async def check(scene: Scene) -> None:
        seen = await scene.visitor.see(scene.instance())
        assert seen in ({"user": "ada", "cart": ["book"], "n": 1}, {"user": "ada", "cart": ["book", "pen"], "n": 2})

    assert await each_cut(mode, done, error, change, check) >= 2


@MODES
@HOW
@WHEN
async def test_a_rotation_leaves_an_id_that_holds_everything(mode: str, error: Any, done: bool) -> None:
    async def rotate(session: Session) -> None:
        await change(session)
        await session.rotate()

    async def check(scene: Scene) -> None:
        seen = await scene.visitor.see(scene.instance())
        assert seen in ({"user": "ada", "cart": ["book"], "n": 1}, {"user": "ada", "cart": ["book", "pen"], "n": 2})
        # Whatever is left half done is ended with the rest.
        await scene.instance().end_all("ada")
        assert await scene.visitor.see(sessions_over(scene.store, mode=mode, now=scene.clock, freshness_s=1e-9)) == {}
        assert await scene.instance().sessions_of("ada") == []

    assert await each_cut(mode, done, error, rotate, check) >= 4


@MODES
@HOW
@WHEN
async def test_a_sign_in_is_done_or_not_and_the_old_id_shows_nothing_of_it(mode: str, error: Any, done: bool) -> None:
    async def sign_in(session: Session) -> None:
        session["user"] = "bob"
        await session.rotate(subject="bob")

    async def check(scene: Scene) -> None:
        session = await scene.visitor.load(scene.instance())
        assert (session.subject, session.get("user")) in ((None, None), ("ada", "ada"), ("bob", "bob"))

    assert await each_cut(mode, done, error, sign_in, check) >= 4


@MODES
@HOW
@WHEN
async def test_a_sign_out_is_done_or_not_and_can_be_repeated(mode: str, error: Any, done: bool) -> None:
    async def sign_out(session: Session) -> None:
        await session.end()

    async def check(scene: Scene) -> None:
        old = Browser(scene.visitor.cookie)
        seen = await old.see(scene.instance())
        assert seen in ({}, {"user": "ada", "cart": ["book"], "n": 1})
        if not seen:
            # No instance goes by a copy of what is dead.
            assert await scene.visitor.see(scene.instance()) == {}
        again = await old.load(scene.instance())
        await again.end()
        assert await old.see(scene.instance()) == {}
        await scene.instance().end_all("ada")
        assert await scene.instance().sessions_of("ada") == []

    assert await each_cut(mode, done, error, sign_out, check) >= 4


@MODES
@HOW
@WHEN
async def test_signing_out_everywhere_can_be_repeated_until_nobody_is_left(mode: str, error: Any, done: bool) -> None:
    async def end_all(session: Session) -> None:
        await session.end_all("ada")

    async def check(scene: Scene) -> None:
        session = await scene.visitor.load(scene.instance())
        assert session.subject in (None, "ada")
        await scene.instance().end_all("ada")
        assert (await scene.visitor.load(scene.instance())).subject is None
        assert await scene.instance().sessions_of("ada") == []

    assert await each_cut(mode, done, error, end_all, check) >= 5


@MODES
async def test_a_sign_in_that_failed_and_is_swallowed_signs_nobody_in_under_the_old_id(mode: str) -> None:
    scene = Scene(mode)
    await scene.visitor.put(scene.sessions, cart=1)
    planted = Browser(scene.visitor.cookie)

    async def sign_in(session: Session) -> None:
        session.subject = "ada"
        session["user"] = "ada"
        try:
            await session.save()
        except StoreUnavailableError:
            return

    assert await scene.cut(sign_in, 1, False, StoreUnavailableError)
    assert await planted.see(scene.instance()) == {"cart": 1}
    assert (await scene.visitor.load(scene.instance())).subject == "ada"
