"""Rotation: no planted ID shows who signed in, no request under way loses by it, and no old ID lives on."""

import asyncio

import pytest
from contracts.backends import Backend
from contracts.clock import Clock

from fungible.sessions import Sessions
from fungible.stores import StoreUnavailableError
from fungible.stores.memory import MemoryStore
from sessions.visiting import Browser, Events, WatchedStore, sessions_over


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> WatchedStore:
    return WatchedStore(MemoryStore(now=clock))


@pytest.fixture
def sessions(store: WatchedStore, clock: Clock) -> Sessions:
    return sessions_over(store, now=clock)


async def test_signing_in_gives_a_new_id_and_keeps_the_values(sessions: Sessions) -> None:
    visitor = Browser()
    await visitor.put(sessions, cart=["book"])
    before = visitor.cookie
    await visitor.sign_in(sessions, "ada")
    assert visitor.cookie != before
    assert await visitor.see(sessions) == {"cart": ["book"], "user": "ada"}


async def test_a_planted_id_never_shows_who_signed_in(sessions: Sessions) -> None:
    attacker, visitor = Browser(), Browser()
    await attacker.put(sessions, bait=1)
    visitor.cookie = attacker.cookie
    planted = attacker.cookie
    await visitor.sign_in(sessions, "ada")
    assert await attacker.see(sessions) == {"bait": 1}
    assert attacker.cookie == planted


async def test_nor_through_a_rotation_before_the_sign_in(sessions: Sessions) -> None:
    attacker, visitor = Browser(), Browser()
    await attacker.put(sessions, bait=1)
    visitor.cookie = attacker.cookie
    between = await visitor.load(sessions)
    await between.rotate()
    await visitor.answer(sessions, between)
    await visitor.sign_in(sessions, "ada")
    assert await attacker.see(sessions) == {"bait": 1}


async def test_nor_where_the_one_who_planted_it_has_rotated_it_away_first(sessions: Sessions) -> None:
    attacker, visitor = Browser(), Browser()
    await attacker.put(sessions, bait=1)
    visitor.cookie = attacker.cookie
    away = await attacker.load(sessions)
    await away.rotate()
    await attacker.answer(sessions, away)
    await visitor.sign_in(sessions, "ada")
    assert await attacker.see(sessions) == {"bait": 1}
    assert await visitor.see(sessions) == {"bait": 1, "user": "ada"}


async def test_nor_where_the_application_only_rotates_and_names_no_subject(sessions: Sessions) -> None:
    attacker, visitor = Browser(), Browser()
    await attacker.put(sessions, bait=1)
    visitor.cookie = attacker.cookie
    signing_in = await visitor.load(sessions)
    signing_in["user"] = "ada"
    await signing_in.rotate()
    await visitor.answer(sessions, signing_in)
    assert await attacker.see(sessions) == {"bait": 1}
    assert await visitor.see(sessions) == {"bait": 1, "user": "ada"}


async def test_a_rotated_id_shows_nothing_once_the_visitor_has_signed_out(sessions: Sessions) -> None:
    visitor, other_tab = Browser(), Browser()
    await visitor.sign_in(sessions, "ada")
    other_tab.cookie = visitor.cookie
    rotating = await visitor.load(sessions)
    await rotating.rotate()
    await visitor.answer(sessions, rotating)
    assert await other_tab.see(sessions) == {"user": "ada"}
    leaving = await visitor.load(sessions)
    await leaving.end()
    assert await other_tab.see(sessions) == {}


@pytest.mark.parametrize("loaded", ["before", "after"])
async def test_nor_to_a_request_that_saves_and_looks_again(sessions: Sessions, loaded: str) -> None:
    attacker, visitor = Browser(), Browser()
    await attacker.put(sessions, bait=["1"])
    visitor.cookie = attacker.cookie
    slow = await attacker.load(sessions)
    await visitor.sign_in(sessions, "ada")
    await visitor.put(sessions, bait=["1", "secret"])
    if loaded == "after":
        slow = await attacker.load(sessions)
    slow["bait"].append("2")
    slow["more"] = 1
    await slow.save()
    assert dict(slow) == {"bait": ["1", "2"], "more": 1}
    assert slow.subject is None
    slow["more"] = 2
    await attacker.answer(sessions, slow)
    assert attacker.answers[1:] == []
    assert dict(slow) == {"bait": ["1", "2"], "more": 2}
    # Of the session that has gone on it has neither seen nor changed anything.
    assert await visitor.see(sessions) == {"bait": ["1", "secret"], "user": "ada"}


async def test_signing_in_with_an_id_that_leads_on_does_not_sign_in_who_holds_the_next_one(sessions: Sessions) -> None:
    attacker, visitor = Browser(), Browser()
    await attacker.put(sessions, bait=1)
    visitor.cookie = attacker.cookie
    away = await attacker.load(sessions)
    await away.rotate()
    await attacker.answer(sessions, away)
    signing_in = await visitor.load(sessions)
    signing_in.subject = "ada"
    signing_in["user"] = "ada"
    await visitor.answer(sessions, signing_in)
    assert (await visitor.load(sessions)).subject == "ada"
    assert (await attacker.load(sessions)).subject is None
    assert "user" not in await attacker.see(sessions)


async def test_who_was_signed_in_is_not_shown_after_another_signed_in(sessions: Sessions) -> None:
    browser = Browser()
    await browser.sign_in(sessions, "ada")
    old = Browser(browser.cookie)
    await browser.sign_in(sessions, "bob")
    assert await old.see(sessions) == {}
    again = await old.load(sessions)
    assert again.subject is None
    await again.rotate()
    await old.answer(sessions, again)
    assert (await old.load(sessions)).subject is None


async def test_signing_out_by_the_subject_leaves_nobody_signed_in(sessions: Sessions) -> None:
    browser = Browser()
    await browser.sign_in(sessions, "ada")
    old = Browser(browser.cookie)
    session = await browser.load(sessions)
    session.subject = None
    del session["user"]
    await browser.answer(sessions, session)
    assert (await browser.load(sessions)).subject is None
    assert (await old.load(sessions)).subject is None
    assert await old.see(sessions) == {}


@pytest.mark.parametrize("mode", ["stored", "snapshot", "sealed"])
async def test_a_visitor_without_a_session_signs_in_by_the_subject_alone(mode: str) -> None:
    sessions = sessions_over(None if mode == "sealed" else MemoryStore(), mode=mode)
    for how in ("rotate", "set"):
        visitor = Browser()
        session = await visitor.load(sessions)
        if how == "rotate":
            await session.rotate(subject="ada")
        else:
            session.subject = "ada"
        await visitor.answer(sessions, session)
        assert (await visitor.load(sessions)).subject == "ada"


async def test_writes_under_way_find_the_session_through_many_rotations(sessions: Sessions) -> None:
    visitor = Browser()
    await visitor.sign_in(sessions, "ada")
    slow = await visitor.load(sessions)
    for _ in range(20):
        session = await visitor.load(sessions)
        await session.rotate()
        await visitor.answer(sessions, session)
    slow["late"] = 1
    await sessions.write(slow)
    assert sessions.set_cookie(slow) is None
    assert await visitor.see(sessions) == {"user": "ada", "late": 1}
    await slow.end()
    assert await visitor.see(sessions) == {}


async def test_an_old_id_is_dead_after_its_grace_but_writes_under_way_are_still_kept(
    sessions: Sessions, clock: Clock
) -> None:
    visitor = Browser()
    await visitor.sign_in(sessions, "ada")
    old = Browser(visitor.cookie)
    slow = await old.load(sessions)
    session = await visitor.load(sessions)
    await session.rotate()
    await visitor.answer(sessions, session)
    clock.time_s += 9
    assert await old.see(sessions) == {"user": "ada"}
    clock.time_s += 2
    assert await old.see(sessions) == {}
    slow["late"] = 2
    await sessions.write(slow)
    assert await visitor.see(sessions) == {"user": "ada", "late": 2}


@pytest.mark.parametrize("mode", ["stored", "snapshot"])
@pytest.mark.parametrize("before", [None, "bob", "ada"])
@pytest.mark.parametrize("begun", ["before", "after"])
@pytest.mark.parametrize("named", [True, False])
async def test_an_id_from_before_a_sign_in_changes_nothing_of_what_it_leads_to(
    store: WatchedStore, mode: str, before: str | None, begun: str, named: bool, caplog: pytest.LogCaptureFixture
) -> None:
    events = Events()
    one, two = (sessions_over(store, mode=mode, on_event=events, revocation_bound_s=1e-9) for _ in range(2))
    attacker, visitor = Browser(), Browser()
    await attacker.put(one, bait=1)
    if before is not None:
        await attacker.sign_in(one, before)
    # With the copy that a snapshot has.
    await attacker.see(one)
    visitor.cookie = attacker.cookie
    slow = await attacker.load(two)
    signing_in = await visitor.load(one)
    signing_in["user"] = "victim"
    await signing_in.rotate(subject="victim" if named else None)
    await visitor.answer(one, signing_in)
    if begun == "after":
        slow = await attacker.load(two)
    slow["ship_to"] = "attacker"
    if before is None or named:
        await attacker.answer(two, slow)
        assert "ship_to" not in await visitor.see(one)
        assert "write_refused" in events.seen
        assert "dropped" in caplog.text
    else:
        # Who was signed in has got a new ID, and goes on: so does what was under way.
        await attacker.answer(two, slow)
        assert ("ship_to" in await visitor.see(one)) is (begun == "before")


@pytest.mark.parametrize("mode", ["stored", "snapshot"])
@pytest.mark.parametrize("how", ["end", "clear"])
@pytest.mark.parametrize("begun", ["before", "after"])
@pytest.mark.parametrize("before", [None, "bob"])
async def test_an_id_from_before_a_sign_in_neither_ends_the_session_nor_takes_its_cookie_back(
    store: WatchedStore, mode: str, how: str, begun: str, before: str | None
) -> None:
    events = Events()
    one, two = (sessions_over(store, mode=mode, on_event=events, revocation_bound_s=1e-9) for _ in range(2))
    attacker, visitor = Browser(), Browser()
    await attacker.put(one, bait=1)
    if before is not None:
        await attacker.sign_in(one, before)
    visitor.cookie = attacker.cookie
    slow = await attacker.load(two)
    await visitor.sign_in(one, "victim")
    if begun == "after":
        slow = await attacker.load(two)
    if how == "end":
        await slow.end()
    else:
        slow.clear()
    # What is set then would begin a session of nobody's, with a cookie that came after that of the sign-in.
    slow["more"] = 1
    assert await attacker.answer(two, slow) is None
    assert (await visitor.load(two)).subject == "victim"
    assert "end_refused" in events.seen
    assert await attacker.see(one) == {}


@pytest.mark.parametrize("begun", ["before", "after"])
async def test_a_sign_out_under_way_ends_a_session_that_was_only_given_a_new_id(sessions: Sessions, begun: str) -> None:
    visitor, other = Browser(), Browser()
    await visitor.sign_in(sessions, "ada")
    other.cookie = visitor.cookie
    leaving = await other.load(sessions)
    session = await visitor.load(sessions)
    await session.rotate()
    await visitor.answer(sessions, session)
    if begun == "after":
        leaving = await other.load(sessions)
    await leaving.end()
    await other.answer(sessions, leaving)
    assert other.cookie is None
    assert await visitor.see(sessions) == {}


async def test_nobody_who_only_rotates_is_taken_back_to_before_a_sign_in(store: WatchedStore) -> None:
    for begun in ("before", "after"):
        sessions, visitor = sessions_over(store), Browser()
        await visitor.put(sessions, cart=1)
        tab = Browser(visitor.cookie)
        slow = await tab.load(sessions)
        await visitor.sign_in(sessions, "ada")
        if begun == "after":
            slow = await tab.load(sessions)
        await slow.rotate()
        assert await tab.answer(sessions, slow) is None


@pytest.mark.parametrize("mode", ["stored", "snapshot"])
@pytest.mark.parametrize("how", ["rotate", "set", "value"])
@pytest.mark.parametrize("cleared", [True, False])
async def test_who_signs_in_after_a_save_that_found_the_session_ended_gets_one_of_their_own(
    store: WatchedStore, mode: str, how: str, cleared: bool
) -> None:
    sessions = sessions_over(store, mode=mode, subject_key="user")
    visitor = Browser()
    await visitor.sign_in(sessions, "old")
    slow = Browser(visitor.cookie)
    session = await slow.load(sessions)
    session["attempt"] = 1
    await visitor.sign_out(sessions)
    await session.save()
    if cleared:
        session.clear()
    session["user"] = "bob"
    if how == "rotate":
        await session.rotate(subject="bob")
    elif how == "set":
        session.subject = "bob"
    session["more"] = 1
    assert "Max-Age=0;" not in (await slow.answer(sessions, session) or "Max-Age=0;")
    again = await slow.load(sessions)
    assert (again.subject, dict(again)) == ("bob", {"user": "bob", "more": 1})
    assert [info.values["more"] for info in await sessions.sessions_of("bob")] == [1]


async def test_what_a_request_sets_after_it_found_its_session_ended_is_dropped_aloud(
    sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    visitor = Browser()
    await visitor.sign_in(sessions, "ada")
    slow = Browser(visitor.cookie)
    session = await slow.load(sessions)
    session["attempt"] = 1
    await visitor.sign_out(sessions)
    await session.save()
    assert "dropped" in caplog.text
    session.clear()
    session["later"] = 1
    assert await slow.answer(sessions, session) is None
    assert await slow.see(sessions) == {}


@pytest.mark.parametrize("ring", [False, True])
@pytest.mark.parametrize("mode", ["stored", "snapshot"])
async def test_a_cookie_is_set_by_nobody_whose_id_was_rotated_since_it_was_read(
    store: WatchedStore, clock: Clock, mode: str, ring: bool
) -> None:
    secrets = ["only for tests, and long enough for that", "another secret, also of enough bytes"]
    one, two = (sessions_over(store, mode=mode, secret=secrets, now=clock) for _ in range(2))
    for saved in (False, True):
        visitor = Browser()
        await visitor.put(sessions_over(store, mode=mode, secret=secrets[1 if ring else 0]), n=1)
        tab = Browser(visitor.cookie)
        clock.time_s += 3 * 86_400
        slow = await tab.load(two)
        if saved:
            # Its own write was in time, its answer is not; and its life was extended with it.
            slow["m"] = 1
            await slow.save()
        await visitor.sign_in(one, "ada")
        assert await tab.answer(two, slow) is None


async def test_a_longer_life_never_brings_the_old_cookie_back(sessions: Sessions, clock: Clock) -> None:
    visitor = Browser()
    await visitor.put(sessions, n=1)
    clock.time_s += 3 * 86_400
    slow = await visitor.load(sessions)
    session = await visitor.load(sessions)
    await session.rotate()
    await visitor.answer(sessions, session)
    new = visitor.cookie
    assert await visitor.answer(sessions, slow) is None
    assert visitor.cookie == new


async def test_an_outage_at_the_end_of_a_read_does_not_fail_it_because_of_a_former_key(store: WatchedStore) -> None:
    secrets = ["only for tests, and long enough for that", "another secret, also of enough bytes"]
    visitor = Browser()
    await visitor.put(sessions_over(store, secret=secrets[1]), n=1)
    both = sessions_over(store, secret=secrets)
    session = await visitor.load(both)

    async def away(verb: str, number: int, done: bool) -> None:
        raise StoreUnavailableError(home="memory:", reason="away")

    store.meets = away
    assert await visitor.answer(both, session) is None


async def test_a_former_keys_cookie_is_signed_anew(store: WatchedStore) -> None:
    visitor = Browser()
    await visitor.put(sessions_over(store, secret="another secret, also of enough bytes"), n=1)
    old = visitor.cookie
    both = sessions_over(
        store, secret=["only for tests, and long enough for that", "another secret, also of enough bytes"]
    )
    assert await visitor.see(both) == {"n": 1}
    assert visitor.cookie != old
    assert await visitor.see(sessions_over(store)) == {"n": 1}


async def test_a_double_click_on_sign_in_gives_two_cookies_that_work(backend: Backend) -> None:
    sessions, other = sessions_over(backend.open()), sessions_over(backend.open())
    visitor = Browser()
    await visitor.put(sessions, cart=["book"])
    clicks = [Browser(visitor.cookie), Browser(visitor.cookie)]
    await asyncio.gather(clicks[0].sign_in(sessions, "ada"), clicks[1].sign_in(other, "ada"))
    for click in clicks:
        assert click.cookie != visitor.cookie
        assert await click.see(other) == {"cart": ["book"], "user": "ada"}
    assert await other.end_all("ada") == 2
    for click in clicks:
        assert await click.see(sessions) == {}


async def test_no_rotation_comes_between_the_two_steps_of_an_end(store: WatchedStore, sessions: Sessions) -> None:
    visitor, other = Browser(), Browser()
    await visitor.sign_in(sessions, "ada")
    other.cookie = visitor.cookie
    rotating = await other.load(sessions)
    rotating["n"] = 1

    async def rotate_before_the_delete(verb: str, number: int, done: bool) -> None:
        nonlocal rotated
        if verb == "delete" and not rotated:
            rotated = True
            await rotating.rotate()

    rotated = False
    store.meets = rotate_before_the_delete
    await visitor.sign_out(sessions)
    assert rotated
    await other.answer(sessions, rotating)
    assert await other.see(sessions) == {}
    assert await sessions.sessions_of("ada") == []


async def test_a_second_rotation_under_way_does_not_outlive_the_sign_out(sessions: Sessions) -> None:
    visitor, slow = Browser(), Browser()
    await visitor.sign_in(sessions, "ada")
    slow.cookie = visitor.cookie
    rotating = await slow.load(sessions)
    session = await visitor.load(sessions)
    await session.rotate()
    await visitor.answer(sessions, session)
    await visitor.sign_out(sessions)
    await rotating.rotate()
    await slow.answer(sessions, rotating)
    assert await slow.see(sessions) == {}
    assert await sessions.sessions_of("ada") == []


async def test_a_sign_in_whose_former_session_was_ended_meanwhile_begins_a_new_one(sessions: Sessions) -> None:
    visitor, slow = Browser(), Browser()
    await visitor.put(sessions, cart=["book"])
    slow.cookie = visitor.cookie
    signing_in = await slow.load(sessions)
    await visitor.sign_out(sessions)
    signing_in["user"] = "ada"
    await signing_in.rotate(subject="ada")
    await slow.answer(sessions, signing_in)
    assert await slow.see(sessions) == {"user": "ada"}


async def test_the_subject_follows_the_value_that_names_it(store: WatchedStore) -> None:
    events = Events()
    sessions = sessions_over(store, subject_key="user", on_event=events)
    visitor = Browser()
    await visitor.put(sessions, cart=1)
    before = visitor.cookie
    await visitor.put(sessions, user="ada")
    assert visitor.cookie != before
    assert [info.values["user"] for info in await sessions.sessions_of("ada")] == ["ada"]
    same = visitor.cookie
    await visitor.put(sessions, user="ada")
    assert visitor.cookie == same
    session = await visitor.load(sessions)
    del session["user"]
    await visitor.answer(sessions, session)
    assert await sessions.sessions_of("ada") == []
    assert await visitor.see(sessions) == {"cart": 1}
