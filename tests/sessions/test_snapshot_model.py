"""One browser, two instances with snapshots, and requests under way for as long as they like, beside a model."""

import asyncio
from typing import Any

import hypothesis
from contracts.clock import Clock
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from fungible.sessions import Session
from fungible.stores.memory import MemoryStore
from sessions.visiting import Browser, sessions_over

INSTANCES = st.integers(0, 1)


class Pages(RuleBasedStateMachine):
    """The browser keeps the cookie of the last answer, and has many requests under way."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        store = MemoryStore(now=self.clock)
        # Each use of a copy asks the feed: how long a revocation may take to be known is not what is tried here.
        self.instances = [
            sessions_over(store, mode="snapshot", now=self.clock, revocation_bound_s=1e-9) for _ in range(2)
        ]
        self.browser = Browser()
        self.cookies: set[str] = set()
        self.under_way: list[tuple[Session, str | None]] = []
        self.subject: str | None = None
        self.n = 0
        self.signed_in: set[str] = set()
        self.numbers = 0

    def teardown(self) -> None:
        following = asyncio.all_tasks(self.loop)
        for task in following:
            task.cancel()
        self.run(asyncio.wait(following) if following else asyncio.sleep(0))
        self.loop.close()

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def answer(self, session: Session, instance: int) -> None:
        self.run(self.browser.answer(self.instances[instance], session))
        if self.browser.cookie is not None:
            self.cookies.add(self.browser.cookie)

    def load(self, instance: int) -> Session:
        return self.run(self.browser.load(self.instances[instance]))

    @rule(instance=INSTANCES)
    def look(self, instance: int) -> None:
        session = self.load(instance)
        assert (session.subject, session.get("n", 0)) == (self.subject, self.n)
        self.answer(session, instance)

    @rule(instance=INSTANCES)
    def write(self, instance: int) -> None:
        session = self.load(instance)
        self.n = session.increment("n")
        self.answer(session, instance)

    @rule(instance=INSTANCES)
    def begin(self, instance: int) -> None:
        if self.browser.cookie is not None and len(self.under_way) < 5:
            session = self.load(instance)
            session.get("n")
            self.under_way.append((session, self.subject))

    @rule(instance=INSTANCES, number=st.integers(0, 4), writes=st.booleans())
    def finish(self, instance: int, number: int, writes: bool) -> None:
        if number < len(self.under_way):
            session, subject = self.under_way.pop(number)
            stands = self.subject is not None and subject == self.subject
            if writes and (stands or session.subject is not None):
                session.increment("n")
                self.n += stands
            self.answer(session, instance)

    @rule(instance=INSTANCES)
    def sign_in(self, instance: int) -> None:
        session = self.load(instance)
        self.numbers += 1
        self.subject = f"subject {self.numbers}"
        self.signed_in.add(self.subject)
        self.n = session.get("n", 0)
        self.run(session.rotate(subject=self.subject))
        self.answer(session, instance)

    @rule(instance=INSTANCES)
    def rotate(self, instance: int) -> None:
        if self.subject is not None:
            session = self.load(instance)
            self.run(session.rotate())
            self.answer(session, instance)

    @rule(instance=INSTANCES, everywhere=st.booleans())
    def sign_out(self, instance: int, everywhere: bool) -> None:
        session = self.load(instance)
        self.run(session.end_all() if everywhere else session.end())
        self.answer(session, instance)
        self.subject, self.n = None, 0

    @rule(seconds=st.sampled_from([1, 9, 11, 59, 61, 121, 125]))
    def time_passes(self, seconds: int) -> None:
        self.clock.time_s += seconds

    @invariant()
    def nobody_is_signed_in_who_has_left(self) -> None:
        for cookie in self.cookies:
            for instance in self.instances:
                found = self.run(Browser(cookie).load(instance)).subject
                assert found in (None, self.subject)

    @invariant()
    def nobody_is_signed_out_who_has_not(self) -> None:
        for instance in self.instances:
            session = self.run(self.browser.load(instance))
            assert (session.subject, session.get("n", 0)) == (self.subject, self.n)


def test_whatever_order_the_answers_of_a_page_come_in_they_hide_nothing_and_bring_nothing_back() -> None:
    run_state_machine_as_test(
        Pages,
        settings=hypothesis.settings(
            max_examples=150,
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
