"""Cookies that we never made: no error, no ID adopted, no question to the store; and each one is counted."""

import asyncio
import os
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fungible.core.keyring import KeyRing
from fungible.core.sealing import Sealer, to_base64url
from fungible.sessions import Sessions
from fungible.sessions.cookies import new_id, signed_id
from sessions.visiting import NAME, SECRET, Browser, Events, WatchedStore, sessions_over

MODES = ("stored", "snapshot", "sealed")
ANOTHERS = "another secret, also of enough bytes"


def instance(mode: str) -> tuple[Sessions, WatchedStore, Events]:
    store, events = WatchedStore(), Events()
    return sessions_over(None if mode == "sealed" else store, mode=mode, on_event=events), store, events


async def good_cookie(sessions: Sessions) -> str:
    visitor = Browser()
    await visitor.put(sessions, user="ada")
    assert visitor.cookie is not None
    return visitor.cookie


async def forgeries(mode: str, good: str) -> list[str]:
    """Values that look like ours."""
    elsewhere = await good_cookie(
        sessions_over(None if mode == "sealed" else WatchedStore(), mode=mode, secret=ANOTHERS)
    )
    middle = len(good) // 2
    flipped = "A" if good[middle] != "A" else "B"
    return [
        elsewhere,
        good[:-1],
        good[1:],
        good + "A",
        good[:middle] + flipped + good[middle + 1 :],
        good[:middle],
        good.lower(),
        good.swapcase(),
        f'"{good}"',
        good + "=",
        good.replace("-", "+").replace("_", "/") if "-" in good or "_" in good else good + "==",
        signed_id(new_id(), KeyRing([ANOTHERS])),
        Sealer(KeyRing([SECRET]), purpose="another").seal(b"data"),
        Sealer(KeyRing([SECRET]), purpose="session" if mode == "snapshot" else "session-snapshot").seal(b"data"),
        Sealer(KeyRing([SECRET]), purpose="session-snapshot" if mode == "snapshot" else "session").seal(b"\xc1"),
        to_base64url(os.urandom(52)),
        to_base64url(os.urandom(6000)),
        os.urandom(8192).decode("latin-1").replace(";", ""),
        "",
        "a" * 100_000,
        "é€",
        "\x00",
        "%00",
        "null",
        "../../etc/passwd",
        "' OR 1=1 --",
    ]


@pytest.mark.parametrize("mode", MODES)
async def test_what_we_did_not_make_is_refused_without_asking_the_store(mode: str) -> None:
    sessions, store, events = instance(mode)
    good = await good_cookie(sessions)
    store.calls.clear()
    for text in await forgeries(mode, good):
        events.seen.clear()
        session = await sessions.load(f"{NAME}={text}")
        assert dict(session) == {}, text
        assert session.is_new
        assert store.calls == [], text
        assert events.seen == ["cookie_refused"], text
    assert dict(await sessions.load(f"{NAME}={good}")) == {"user": "ada"}


@pytest.mark.parametrize("mode", MODES)
async def test_no_id_that_we_did_not_issue_is_adopted(mode: str) -> None:
    sessions, _, _ = instance(mode)
    for text in await forgeries(mode, await good_cookie(sessions)):
        visitor = Browser(text)
        await visitor.put(sessions, n=1)
        assert visitor.cookie != text
        assert await visitor.see(sessions) == {"n": 1}
        assert await Browser(text).see(sessions) == {}


@pytest.mark.parametrize("mode", ["stored", "snapshot"])
async def test_a_signed_id_that_the_store_does_not_know_is_not_adopted(mode: str) -> None:
    sessions, store, events = instance(mode)
    await good_cookie(sessions)
    visitor = Browser(await good_cookie(sessions_over(WatchedStore(), mode=mode)))
    before = visitor.cookie
    store.calls.clear()
    assert await visitor.see(sessions) == {}
    assert store.calls == ["get"]
    assert events.seen[-1] == "session_unknown"
    await visitor.put(sessions, n=1)
    assert visitor.cookie != before
    assert await Browser(before).see(sessions) == {}


@pytest.mark.parametrize("mode", ["stored", "snapshot"])
async def test_a_cookie_from_before_the_sign_out_is_dead(mode: str) -> None:
    sessions, _, _ = instance(mode)
    visitor = Browser()
    await visitor.sign_in(sessions, "ada")
    await visitor.see(sessions)
    replayed = Browser(visitor.cookie)
    await visitor.sign_out(sessions)
    assert visitor.cookie is None
    assert await replayed.see(sessions) == {}
    await replayed.put(sessions, n=1)
    assert await replayed.see(sessions) == {"n": 1}


@pytest.mark.parametrize("mode", MODES)
async def test_of_many_cookies_of_our_name_few_are_looked_at(mode: str) -> None:
    sessions, store, events = instance(mode)
    good = await good_cookie(sessions)
    store.calls.clear()
    junk = "; ".join(f"{NAME}={number}" for number in range(100))
    assert dict(await sessions.load(junk)) == {}
    assert store.calls == []
    assert 1 <= len(events.seen) <= 10
    # One that another host of the domain has planted before ours does not hide ours.
    assert dict(await sessions.load(f"{NAME}=planted; x=1; {NAME}={good}")) == {"user": "ada"}
    assert dict(await sessions.load(f"{NAME}={good}; {NAME}=planted")) == {"user": "ada"}


@pytest.mark.parametrize("mode", MODES)
async def test_names_that_only_resemble_ours_are_others(mode: str) -> None:
    sessions, _, events = instance(mode)
    good = await good_cookie(sessions)
    for header in (
        f"x{NAME}={good}",
        f"{NAME}x={good}",
        f"{NAME.lower()}={good}",
        f"x={NAME}={good}",
        NAME,
        f"{NAME};",
    ):
        assert dict(await sessions.load(header)) == {}
    assert events.seen == []
    for header in (f"a=1;{NAME}={good}", f" {NAME}={good} ;", f"a;;; {NAME}={good};b"):
        assert dict(await sessions.load(header)) == {"user": "ada"}


HEADERS = st.text(st.characters(max_codepoint=255), max_size=60)
PAIRS = st.lists(
    st.tuples(st.sampled_from([NAME, "a", "__Host-", ""]), st.text(st.characters(max_codepoint=255), max_size=120)),
    max_size=6,
).map(lambda pairs: "; ".join(f"{name}={value}" for name, value in pairs))


@pytest.mark.parametrize("mode", MODES)
def test_no_header_makes_loading_fail_or_ask_the_store(mode: str) -> None:
    @settings(max_examples=150, deadline=None, database=None)
    @given(HEADERS | PAIRS | st.binary(max_size=90).map(lambda raw: f"{NAME}={to_base64url(raw)}"))
    @example(f"{NAME}=")
    @example(f"{NAME}={'A' * 70}")
    @example(f"{NAME}={'A' * 4096}")
    def never(header: str) -> None:
        sessions, store, _ = instance(mode)
        session: Any = asyncio.run(sessions.load(header))
        assert session.is_new
        assert store.calls == []

    never()
