"""Sealed sessions: all in the cookie, never more than a browser keeps, and keys can be exchanged."""

import os

import pytest
from contracts.clock import Clock

from fungible.core.errors import SettingError
from fungible.sessions import SessionTooLargeError
from sessions.visiting import NAME, Browser, sessions_over

OLD, NEW = "the former secret, of enough bytes too", "the current secret, of enough bytes too"


async def test_it_refuses_to_grow_past_its_budget_and_names_the_largest_values() -> None:
    sessions, visitor = sessions_over(None, mode="sealed"), Browser()
    await visitor.put(sessions, small=1)
    before = visitor.cookie
    with pytest.raises(SessionTooLargeError) as refused:
        await visitor.put(sessions, photo=os.urandom(2500), letter="x" * 700, note="y" * 20, tiny=1)
    assert [name for name, _ in refused.value.largest] == ["photo", "letter", "note"]
    assert "'photo' with 25" in str(refused.value)
    assert refused.value.size_bytes > refused.value.max_bytes == 4000
    assert visitor.cookie == before
    assert await visitor.see(sessions) == {"small": 1}


async def test_what_fits_goes_into_one_cookie() -> None:
    sessions, visitor = sessions_over(None, mode="sealed"), Browser()
    await visitor.put(sessions, photo=os.urandom(2800))
    [only] = visitor.answers
    assert 3700 < len(only.partition(";")[0]) <= 4001
    assert len((await visitor.see(sessions))["photo"]) == 2800


async def test_keys_are_exchanged_without_signing_anybody_out() -> None:
    visitor = Browser()
    await visitor.put(sessions_over(None, mode="sealed", secret=OLD), n=1)
    first = visitor.cookie
    assert await visitor.see(sessions_over(None, mode="sealed", secret=[NEW, OLD])) == {"n": 1}
    assert visitor.cookie != first
    assert await visitor.see(sessions_over(None, mode="sealed", secret=NEW)) == {"n": 1}
    assert await Browser(first).see(sessions_over(None, mode="sealed", secret=NEW)) == {}


async def test_idle_and_absolute_timeouts_hold() -> None:
    clock = Clock()
    sessions = sessions_over(None, mode="sealed", now=clock, idle_timeout_s=100, absolute_timeout_s=250)
    visitor = Browser()
    await visitor.put(sessions, n=1)
    copy = Browser(visitor.cookie)
    for _ in range(40):
        clock.time_s += 6
        assert await visitor.see(sessions) == {"n": 1}
    assert await copy.see(sessions) == {}
    assert len(visitor.answers) <= 20
    clock.time_s += 11
    assert await visitor.see(sessions) == {}


async def test_signing_out_takes_the_cookie_and_what_follows_is_another_session() -> None:
    sessions, visitor = sessions_over(None, mode="sealed"), Browser()
    await visitor.sign_in(sessions, "ada")
    await visitor.sign_out(sessions)
    assert visitor.cookie is None
    assert visitor.answers[-1].startswith(f"{NAME}=; ")
    await visitor.sign_in(sessions, "ada")
    session = await visitor.load(sessions)
    session.clear()
    session["fresh"] = 1
    await visitor.answer(sessions, session)
    assert await visitor.see(sessions) == {"fresh": 1}
    assert (await visitor.load(sessions)).subject is None


async def test_what_needs_a_store_says_so() -> None:
    sessions, visitor = sessions_over(None, mode="sealed"), Browser()
    session = await visitor.sign_in(sessions, "ada")
    for verb in (session.end_all, session.others):
        with pytest.raises(SettingError, match="needs a store"):
            await verb()
    with pytest.raises(SettingError, match="needs a store"):
        await sessions.end_by_handle("")


async def test_the_cookie_tells_nothing_of_what_is_in_it() -> None:
    sessions, one, other = sessions_over(None, mode="sealed"), Browser(), Browser()
    await one.put(sessions, secret="4111")
    await other.put(sessions, secret="4111")
    assert one.cookie != other.cookie
    assert "4111" not in (one.cookie or "")
