"""Points I5, B4, B5 as a model: attempts of several instances on one key, while time goes on, in any order."""

from typing import Any

from contracts.clock import Clock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from fungible.idempotency import KeyReusedError, LeaseLostError, OutcomeUnknownError, Unfinished
from fungible.idempotency.claims import Claim, Claims, Finished, Request
from fungible.idempotency.options import Options
from fungible.stores.memory import MemoryStore

LEASE_S, TTL_S = 10.0, 100.0


class Attempts(RuleBasedStateMachine):
    """What is known here: who has the key, until when, and what was stored, until when."""

    claims_held = Bundle("claims_held")
    after_crash: Any = "retry"

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.claims = Claims(MemoryStore(now=self.clock))
        self.options = Options(lease_s=LEASE_S, ttl_s=TTL_S, after_crash=self.after_crash)
        self.holder: Claim | None = None
        self.held_until = 0.0
        self.stored: bytes | None = None
        self.stored_until = 0.0
        self.effects = 0
        self.begun = self.unknown = False

    def run(self, coroutine: Any) -> Any:
        # Memory never waits: a coroutine that uses it alone ends at its first step.
        try:
            coroutine.send(None)
        except StopIteration as ended:
            return ended.value
        raise AssertionError("it waits for something")

    def live(self) -> bool:
        return self.holder is not None and self.clock() < self.held_until

    def kept(self) -> bool:
        return self.stored is not None and self.clock() < self.stored_until

    @rule(target=claims_held)
    def claim(self) -> Any:
        request = Request("idempotency:model", b"f", b"c", self.options)
        try:
            found = self.run(self.claims.claim(request))
        except Unfinished:
            assert self.live()
            return multiple()
        except OutcomeUnknownError:
            assert self.after_crash == "refuse"
            assert self.begun
            assert not self.live()
            return multiple()
        if isinstance(found, Finished):
            assert self.kept()
            assert found.result == self.stored
            return multiple()
        assert not self.live(), "two attempts at once"
        assert not self.kept(), "run again although its result is kept"
        assert not (self.begun and self.after_crash == "refuse"), "run again, although once at most"
        self.holder, self.held_until = found, self.clock() + LEASE_S
        self.effects += 1
        self.begun = True
        return found

    @rule()
    def reuse(self) -> None:
        request = Request("idempotency:model", b"other", b"c", self.options)
        if not (self.live() or self.kept() or self.begun):
            return
        try:
            found = self.run(self.claims.claim(request))
        except KeyReusedError:
            return
        except OutcomeUnknownError:
            return
        # Freed, or crashed without a trace: this is a first request. It is freed again.
        assert isinstance(found, Claim)
        assert not self.live()
        assert not self.kept()
        self.run(self.claims.free(found))
        self.holder, self.begun = None, False

    @rule(claim=claims_held)
    def beat(self, claim: Claim) -> None:
        mine = claim is self.holder and self.live()
        try:
            self.run(self.claims.beat(claim))
        except LeaseLostError:
            assert not mine
        else:
            assert mine
            self.held_until = max(self.held_until, self.clock() + LEASE_S)

    @rule(claim=consumes(claims_held), result=st.binary(max_size=4))
    def finish(self, claim: Claim, result: bytes) -> None:
        mine = claim is self.holder and self.live()
        try:
            self.run(self.claims.finish(claim, result))
        except LeaseLostError:
            assert not mine
        else:
            assert mine, "stored by an owner whose lease was taken"
            self.stored, self.stored_until, self.holder = result, self.clock() + TTL_S, None

    @rule(claim=consumes(claims_held))
    def free(self, claim: Claim) -> None:
        mine = claim is self.holder and self.live()
        try:
            self.run(self.claims.free(claim))
        except LeaseLostError:
            assert not mine
        else:
            assert mine
            self.holder, self.begun = None, False

    @rule(seconds=st.sampled_from([1.0, 4.0, 11.0, 101.0]))
    def time_goes_on(self, seconds: float) -> None:
        self.clock.time_s += seconds
        if self.stored is not None and not self.kept():
            self.stored, self.begun = None, False
        if self.begun and self.clock() > self.held_until + TTL_S - LEASE_S:
            # The trace of at-most-once ends with the time for which results are kept.
            self.begun = self.begun and self.live()

    @invariant()
    def nobody_shares(self) -> None:
        assert not (self.live() and self.kept())


class AtMostOnce(Attempts):
    """The same where a cut-off attempt must not be followed by another."""

    after_crash = "refuse"


limits = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestAtLeastOnce = Attempts.TestCase
TestAtLeastOnce.settings = limits
TestAtMostOnce = AtMostOnce.TestCase
TestAtMostOnce.settings = limits
