"""Any sequence of refreshes, retries, thefts and sign-outs, by a few instances, gives what a model of families gives."""

import asyncio
from typing import Any

import pytest
from contracts.backends import Backend, make_backend
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule

from fungible.tokens.families import MOST_RECENT
from fungible.tokens.refresh_errors import InvalidRefreshTokenError, RefreshReusedError
from tokens.use.rig import AsyncClock, refresh_over

EXAMPLES = {"memory": 40, "sqlite": 10}
GRACE_S, ABSOLUTE_S = 10.0, 500.0
INSTANCES = st.integers(0, 2)
SUBJECTS = st.sampled_from(["ada", "grace"])


class Family:
    """Its tokens in order, and when each but the last was spent."""

    def __init__(self, subject: str, token: str, begun_s: float) -> None:
        self.subject = subject
        self.tokens = [token]
        self.spent_s: list[float] = []
        self.begun_s = begun_s
        self.ended = False


def machine_of(backend: Backend) -> type[RuleBasedStateMachine]:
    """The machine that compares refresh tokens on this backend with the model."""

    class Machine(RuleBasedStateMachine):
        held = Bundle("held")
        """What somebody has: a family, and which one of its tokens."""

        def __init__(self) -> None:
            super().__init__()
            self.runner = asyncio.Runner()
            self.clock = AsyncClock()
            self.families: list[Family] = []

        @initialize()
        def begin(self) -> None:
            backend.empty()
            self.instances = [
                refresh_over(backend.open(), now=self.clock, grace_s=GRACE_S, idle_s=ABSOLUTE_S, absolute_s=ABSOLUTE_S)
                for _ in range(3)
            ]

        def teardown(self) -> None:
            self.runner.run(backend.close())
            self.runner.close()

        @rule(target=held, instance=INSTANCES, subject=SUBJECTS)
        def sign_in(self, instance: int, subject: str) -> Any:
            begun = self.runner.run(self.instances[instance].begin(subject))
            self.families.append(Family(subject, begun.refresh_token, self.clock.time_s))
            return self.families[-1], 0

        def expected(self, family: Family, at: int) -> str:
            if family.ended or self.clock.time_s - family.begun_s >= ABSOLUTE_S:
                return "invalid"
            if at == len(family.tokens) - 1:
                return "rotated"
            in_time = self.clock.time_s - family.spent_s[at] <= GRACE_S
            return "repeated" if in_time and len(family.spent_s) - at <= MOST_RECENT else "reused"

        @rule(target=held, instance=INSTANCES, token=held)
        def refresh(self, instance: int, token: Any) -> Any:
            family, at = token
            wanted = self.expected(family, at)
            try:
                found = self.runner.run(self.instances[instance].refresh(family.tokens[at]))
            except RefreshReusedError:
                assert wanted == "reused"
                family.ended = True
                return multiple()
            except InvalidRefreshTokenError:
                assert wanted == "invalid"
                return multiple()
            assert found.subject == family.subject
            if wanted == "rotated":
                assert not found.repeated
                assert found.refresh_token not in family.tokens
                family.tokens.append(found.refresh_token)
                family.spent_s.append(self.clock.time_s)
            else:
                assert wanted == "repeated"
                assert found.repeated
                assert found.refresh_token == family.tokens[at + 1]
            return family, at + 1

        @rule(instance=INSTANCES, token=held)
        def sign_out(self, instance: int, token: Any) -> None:
            family, at = token
            self.runner.run(self.instances[instance].end(family.tokens[at]))
            family.ended = True

        @rule(instance=INSTANCES, subject=SUBJECTS)
        def sign_out_everywhere(self, instance: int, subject: str) -> None:
            self.runner.run(self.instances[instance].end_all(subject))
            for family in self.families:
                family.ended = family.ended or family.subject == subject

        @rule(seconds=st.sampled_from([1.0, 6.0, 11.0, 200.0]))
        def wait(self, seconds: float) -> None:
            self.clock.time_s += seconds

    return Machine


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_families_do_what_the_model_does(name: str, request: pytest.FixtureRequest) -> None:
    machine = machine_of(make_backend(name, request)).TestCase
    machine.settings = settings(
        max_examples=EXAMPLES[name],
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    machine("runTest").runTest()
