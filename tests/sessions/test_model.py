"""Browsers, instances and requests under way in any order, beside a model that says what each of them must see."""

import asyncio
import os
from typing import Any

import hypothesis
import pytest
from contracts.backends import Backend
from contracts.clock import Clock
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from fungible.core.sealing import to_base64url
from fungible.sessions import Session
from fungible.stores.memory import MemoryStore
from sessions.visiting import Browser, WatchedStore, sessions_over

IDLE_S = 10_000
BROWSERS = st.integers(0, 2)
INSTANCES = st.integers(0, 1)
SUBJECTS = st.sampled_from(["ada", "bob"])


class Line:
    """One visitor's session, through all its IDs."""

    def __init__(self, values: dict[str, Any], subject: str | None) -> None:
        self.values = {**values, "list": [*values.get("list", [])]}
        self.subject = subject
        self.alive = True
        self.sign_ins = 0
        """Rotations after which not the same named subject is signed in as before."""

    def view(self) -> "Line":
        return Line(self.values, self.subject)

    def apply(self, token: str) -> None:
        self.values = {**self.values, "n": self.values.get("n", 0) + 1, token: 1, "list": [*self.values["list"], token]}


class Place:
    """What one ID, and so one cookie, leads to."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.dead_at = float("inf")
        self.shows: Line | None = None
        """What stood when the ID was rotated: nothing that came later is ever shown."""
        self.next: Place | None = None
        self.gone = False
        """Whether it was ended by itself, and not what it leads to."""

    @property
    def subject(self) -> str | None:
        return (self.shows or self.line).subject

    @property
    def same_subject(self) -> bool:
        """Whether the same subject is signed in all the way to where it leads."""
        return self.next is None or (self.next.subject == self.subject and self.next.same_subject)

    @property
    def leads(self) -> bool:
        """Whether it is still known where it leads."""
        return not self.gone and (self.next is None or self.next.leads)

    def end(self, *, came_later: bool) -> bool:
        """Ends it, and what it leads to as long as the same subject is signed in there; gives whether all is over."""
        self.gone = True
        if self.next is None:
            self.line.alive = False
            return True
        if self.next.subject != self.subject or (self.subject is None and came_later):
            return False
        return self.next.end(came_later=came_later)


class UnderWay:
    """A request that has read its session, and has not written yet."""

    def __init__(self, browser: Browser, session: Session, place: Place | None, rotated: bool) -> None:
        self.browser, self.session, self.place, self.rotated = browser, session, place, rotated
        self.line = None if place is None else place.line
        self.subject = None if place is None else place.subject
        self.sign_ins = 0 if place is None else place.line.sign_ins


class Visits(RuleBasedStateMachine):
    """Each rule is a request, or a part of one."""

    backend: Backend | None = None

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        if self.backend is None:
            store: Any = MemoryStore(now=self.clock)
        else:
            store = self.backend.open()
        self.store = WatchedStore(store)
        # Servers have real clocks: there no old ID dies while an example runs.
        self.grace_s = 10 if self.backend is None else 600
        settings = {"idle_timeout_s": IDLE_S, "absolute_timeout_s": 4 * IDLE_S, "tombstone_s": 9_000}
        self.instances = [
            sessions_over(self.store, now=self.clock, rotation_grace_s=self.grace_s, **settings) for _ in range(2)
        ]
        self.browsers = [Browser() for _ in range(3)]
        self.places: dict[str | None, Place] = {}
        self.under_way: list[UnderWay] = []
        self.tokens = 0
        # A server's data stays from one example to the next.
        self.world = os.urandom(8).hex()

    def teardown(self) -> None:
        if self.backend is not None:
            self.loop.run_until_complete(self.backend.close())
        self.loop.close()

    # --- the model ---

    def at(self, cookie: str | None) -> tuple[Place | None, bool]:
        """Where a cookie leads now, and whether by an ID that was rotated."""
        place = self.places.get(cookie)
        if place is None or self.clock() >= place.dead_at or not (place.line.alive and place.leads):
            return None, False
        if place.subject is not None and not place.same_subject:
            return None, False
        return place, place.shows is not None

    def token(self) -> str:
        self.tokens += 1
        return f"t{self.tokens}"

    def load(self, browser: Browser, instance: int) -> UnderWay:
        place, rotated = self.at(browser.cookie)
        self.store.calls.clear()
        session = self.run(browser.load(self.instances[instance]))
        if browser.cookie is None:
            assert self.store.calls == []
        expected = {} if place is None else (place.shows or place.line).values
        seen = dict(session)
        assert {**seen, "list": sorted(seen.get("list", []))} == {**expected, "list": sorted(expected.get("list", []))}
        request = UnderWay(browser, session, place, rotated)
        assert session.subject == request.subject
        return request

    def change(self, request: UnderWay) -> str:
        token = self.token()
        request.session[token] = 1
        request.session.setdefault("list", []).append(token)
        request.session.increment("n")
        return token

    def answer(self, request: UnderWay, instance: int) -> str | None:
        """Ends a request; the cookie that its answer had."""
        set_cookie = self.run(request.browser.answer(self.instances[instance], request.session))
        return request.browser.cookie if set_cookie is not None else None

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def wrote(self, request: UnderWay, token: str, instance: int) -> None:
        """A request that only wrote is answered."""
        cookie = self.answer(request, instance)
        if request.place is None:
            assert cookie is not None
            assert cookie not in self.places
            line = Line({}, None)
            line.apply(token)
            self.places[cookie] = Place(line)
            return
        assert cookie is None
        if request.place.line.alive and not request.rotated and request.sign_ins == request.place.line.sign_ins:
            request.place.line.apply(token)

    def forked(self, cookie: str | None, values: dict[str, Any], subject: str | None, token: str) -> None:
        assert cookie is not None
        assert cookie not in self.places
        line = Line(values, subject)
        line.apply(token)
        self.places[cookie] = Place(line)

    # --- requests ---

    @rule(browser=BROWSERS, instance=INSTANCES)
    def look(self, browser: int, instance: int) -> None:
        request = self.load(self.browsers[browser], instance)
        self.store.calls.clear()
        assert self.answer(request, instance) is None
        assert self.store.calls == []

    @rule(browser=BROWSERS, instance=INSTANCES)
    def write(self, browser: int, instance: int) -> None:
        request = self.load(self.browsers[browser], instance)
        self.wrote(request, self.change(request), instance)

    @rule(browser=BROWSERS, instance=INSTANCES)
    def begin(self, browser: int, instance: int) -> None:
        request = self.load(self.browsers[browser], instance)
        if request.place is not None and len(self.under_way) < 4:
            self.under_way.append(request)

    @rule(instance=INSTANCES, data=st.data())
    def finish(self, instance: int, data: st.DataObject) -> None:
        if self.under_way:
            request = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
            self.wrote(request, self.change(request), instance)

    @rule(browser=BROWSERS, instance=INSTANCES, subject=SUBJECTS | st.none())
    def rotate(self, browser: int, instance: int, subject: str | None) -> None:
        subject = subject and f"{subject} {self.world}"
        request = self.load(self.browsers[browser], instance)
        token = self.change(request)
        self.run(request.session.rotate(subject=subject))
        place = request.place
        after = subject or request.subject
        cookie = self.answer(request, instance)
        if place is None:
            self.forked(cookie, {}, after, token)
        elif place.shows is not None and after == request.subject and (after, place.line.subject) != (None, None):
            assert cookie is None
        elif place.shows is not None:
            self.forked(cookie, place.shows.values, after, token)
        else:
            assert cookie is not None
            assert cookie not in self.places
            place.next = self.places[cookie] = Place(place.line)
            place.dead_at = self.clock() + self.grace_s
            signed_out = request.subject is not None and after != request.subject
            place.shows = Line({}, None) if signed_out else place.line.view()
            place.line.apply(token)
            place.line.subject = after
            place.line.sign_ins += after is None or after != request.subject

    @rule(browser=BROWSERS, instance=INSTANCES)
    def sign_out(self, browser: int, instance: int) -> None:
        request = self.load(self.browsers[browser], instance)
        self.run(request.session.end())
        before = request.browser.cookie
        cookie = self.answer(request, instance)
        if request.place is not None:
            over = request.place.end(came_later=request.rotated)
            assert (request.browser.cookie, cookie) == (None if over else before, None)

    @rule(instance=INSTANCES, subject=SUBJECTS)
    def sign_out_everywhere(self, instance: int, subject: str) -> None:
        subject = f"{subject} {self.world}"
        self.run(self.instances[instance].end_all(subject))
        for place in self.places.values():
            if place.line.subject == subject:
                place.line.alive = False

    @rule(browser=BROWSERS, data=st.data())
    def replay(self, browser: int, data: st.DataObject) -> None:
        """A browser comes with any cookie that there ever was: an old one, or one that was planted."""
        if self.places:
            cookies = [*self.places]
            self.browsers[browser].cookie = cookies[data.draw(st.integers(0, len(cookies) - 1))]

    @rule(browser=BROWSERS, raw=st.binary(min_size=54, max_size=54))
    def forge(self, browser: int, raw: bytes) -> None:
        self.browsers[browser].cookie = to_base64url(raw)
        self.store.calls.clear()
        assert dict(self.run(self.browsers[browser].load(self.instances[0]))) == {}
        assert self.store.calls == []

    @rule(seconds=st.sampled_from([4, 7, 11]))
    def time_passes(self, seconds: int) -> None:
        if self.backend is None:
            self.clock.time_s += seconds

    @rule()
    def nobody_comes_for_long(self) -> None:
        if self.backend is None:
            self.clock.time_s += IDLE_S + 1
            for place in self.places.values():
                place.line.alive = False

    @invariant()
    def the_devices_of_a_subject_are_those_that_are_alive(self) -> None:
        for subject in (f"ada {self.world}", f"bob {self.world}"):
            alive = {
                id(place.line) for place in self.places.values() if place.line.alive and place.line.subject == subject
            }
            listed = self.run(self.instances[0].sessions_of(subject))
            assert len(listed) == len(alive)


def model(backend: Backend | None, examples: int, steps: int) -> None:
    class OnThatStore(Visits):
        pass

    OnThatStore.backend = backend
    run_state_machine_as_test(
        OnThatStore,
        settings=hypothesis.settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_whatever_happens_each_browser_sees_what_it_must() -> None:
    model(None, 150, 40)


@pytest.mark.parametrize("backend", ["sqlite", "postgresql", "mysql", "redis", "memcached"], indirect=True)
def test_and_the_same_on_every_kind_of_store(backend: Backend) -> None:
    model(backend, 8, 25)
