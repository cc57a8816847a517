"""What clients are told, to the letter of draft-ietf-httpapi-ratelimit-headers-11 and RFC 9110."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limit_asking import Time, application, ask, limit_of

from fungible.limits import Limit
from fungible.limits.decision import Decision
from fungible.limits.fields import effective_window_s
from fungible.stores.memory import MemoryStore


async def test_every_response_says_the_policy_and_what_is_left() -> None:
    app = application(limit_of(100, per_s=60))
    answer = await ask(app)
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.headers["ratelimit-policy"] == '"api";q=100;w=60'
    assert answer.headers["ratelimit"] == '"api";r=99;t=60'
    assert "retry-after" not in answer.headers
    for _ in range(49):
        answer = await ask(app)
    assert answer.headers["ratelimit"] == '"api";r=50;t=30'


async def test_several_policies_are_one_list() -> None:
    app = application(limit_of(2), limit_of(50, name="day", per_s=86_400))
    answer = await ask(app)
    assert answer.headers["ratelimit-policy"] == '"api";q=2;w=3600, "day";q=50;w=86400'
    assert answer.headers["ratelimit"] == '"api";r=1;t=1800, "day";r=49;t=84672'


async def test_a_refusal_is_a_problem_that_says_which_limit_and_when_to_come_back() -> None:
    app = application(limit_of(1), limit_of(50, name="day", per_s=86_400))
    await ask(app)
    refused = await ask(app)
    assert refused.status == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["retry-after"] == "3600"
    assert refused.headers["ratelimit-policy"] == '"api";q=1;w=3600, "day";q=50;w=86400'
    assert refused.headers["ratelimit"] == '"api";r=0;t=3600'
    assert refused.headers["cache-control"] == "no-store"
    assert json.loads(refused.body) == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Request cannot be satisfied as assigned quota has been exceeded",
        "status": 429,
        "detail": "The limit 'api' is over. Please try again in 3600 s.",
        "code": "rate_limited",
        "violated-policies": ["api"],
    }


async def test_retry_after_is_not_earlier_than_the_end_of_any_window_that_is_told() -> None:
    app = application(limit_of(50, name="day", per_s=86_400), limit_of(1, per_s=5))
    await ask(app)
    refused = await ask(app)
    assert refused.headers["retry-after"] == "5"
    # Two requests have been counted by the first limit; its window, of more than a day, is left out.
    assert refused.headers["ratelimit"] == '"day";r=48, "api";r=0;t=5'


async def test_who_comes_back_when_told_is_served() -> None:
    clock = Time()
    app = application(limit_of(3, per_s=10), store=MemoryStore(now=clock))
    app.limiter._monotonic = clock
    for _ in range(3):
        assert (await ask(app)).status == 200
    for _ in range(5):
        refused = await ask(app)
        assert refused.status == 429
        clock.now_s += int(refused.headers["retry-after"])
        assert (await ask(app)).status == 200


async def test_retry_after_may_be_spread() -> None:
    draws = iter([0, 3, 2])
    asked: list[int] = []

    def draw(below: int) -> int:
        asked.append(below)
        return next(draws)

    app = application(limit_of(1), retry_jitter_s=3, draw=draw)
    await ask(app)
    assert [(await ask(app)).headers["retry-after"] for _ in range(3)] == ["3600", "3603", "3602"]
    assert asked == [4, 4, 4]


@pytest.mark.parametrize(
    ("limit", "per_s", "policy"),
    [
        (100, 60, "q=100;w=60"),
        (10, 0.5, "q=20;w=1"),
        (3, 1.5, "q=4;w=2"),
        (1, 90.5, "q=1;w=91"),
        (7, 1.0, "q=7;w=1"),
    ],
)
def test_a_window_is_told_in_whole_seconds(limit: int, per_s: float, policy: str) -> None:
    assert Limit("api", limit, per_s=per_s, on_unavailable="open").policy == f'"api";{policy}'


@given(
    number=st.integers(1, 10_000),
    per_s=st.floats(0.01, 100_000),
    burst=st.integers(1, 10_000),
    used=st.integers(1, 10_000),
)
def test_the_ratio_that_is_told_never_exceeds_the_rate(number: int, per_s: float, burst: int, used: int) -> None:
    # Section 8.5: a client may divide what is left by the window, and go by that.
    limit = Limit("api", number, per_s=per_s, on_unavailable="open", burst=burst)
    left = max(burst - used, 0)
    found = Decision(True, left, 0.0, min(used, burst) * limit.interval_s)
    window = effective_window_s(limit, found)
    assert window >= 1
    assert left / window <= number / per_s * (1 + 1e-9) or left <= 1
    if not left:
        assert window <= math.ceil(limit.interval_s + 1e-6)


async def test_an_application_may_send_one_response_to_several_clients() -> None:
    headers = [(b"content-type", b"text/plain")]

    async def same(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]

    app = application(limit_of(), app=same)
    await ask(app)
    assert headers == [(b"content-type", b"text/plain")]
