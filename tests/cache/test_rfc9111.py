"""A model of RFC 9111, written by its formulas, and the functions that decide: they agree on everything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fungible.cache.directives import CacheControl
from fungible.cache.freshness import Facts, Use, initial_age_s, lifetime_of, lifetime_s, serves_in_error, use

SECONDS = st.integers(0, 100).map(float)
MAYBE = st.none() | SECONDS
INSTANTS = st.integers(1000, 1200).map(float)
RESPONSES = st.builds(
    CacheControl,
    must_revalidate=st.booleans(),
    proxy_revalidate=st.booleans(),
    max_age=MAYBE,
    s_maxage=MAYBE,
    stale_while_revalidate=SECONDS,
    stale_if_error=SECONDS,
)
REQUESTS = st.builds(
    CacheControl,
    no_cache=st.booleans(),
    max_age=MAYBE,
    min_fresh=MAYBE,
    max_stale=MAYBE | st.just(float("inf")),
    stale_if_error=SECONDS,
)


@given(RESPONSES, st.none() | INSTANTS, st.none() | INSTANTS, SECONDS, INSTANTS)
def test_the_freshness_lifetime_is_that_of_section_4_2_1(
    control: CacheControl, date: float | None, expires: float | None, default: float, now: float
) -> None:
    found = lifetime_s(200, Facts(control=control, date=date, expires=expires), default_ttl_s=default, now=now)
    candidates = [
        control.s_maxage,
        control.max_age,
        None if expires is None else max(0.0, expires - (date or now)),
        default or None,
    ]
    assert found == next((each for each in candidates if each is not None), None)


@given(INSTANTS, SECONDS, SECONDS, st.none() | INSTANTS, SECONDS)
def test_the_age_is_that_of_section_4_2_3(
    request_time: float, delay: float, age_value: float, date_value: float | None, resident_time: float
) -> None:
    response_time = request_time + delay
    found = initial_age_s(Facts(age_s=age_value, date=date_value), requested_at=request_time, received_at=response_time)
    apparent_age = max(0, response_time - date_value) if date_value is not None else 0
    response_delay = response_time - request_time
    corrected_age_value = age_value + response_delay
    corrected_initial_age = max(apparent_age, corrected_age_value)
    assert found + resident_time == corrected_initial_age + resident_time


@given(RESPONSES, REQUESTS, SECONDS, SECONDS)
def test_a_stored_response_is_used_as_sections_4_2_4_and_5_2_say(
    control: CacheControl, request: CacheControl, fresh_s: float, age: float
) -> None:
    decided = use(lifetime_of(control, fresh_s), age, request)
    is_fresh = fresh_s > age
    staleness = age - fresh_s
    if request.no_cache:
        assert decided is Use.FORWARD, "5.2.1.4"
    if request.max_age is not None and age > request.max_age:
        assert decided is Use.FORWARD, "5.2.1.1"
    if request.min_fresh is not None and fresh_s - age < request.min_fresh:
        assert decided is Use.FORWARD, "5.2.1.3"
    if not is_fresh and (control.must_revalidate or control.proxy_revalidate):
        assert decided is Use.FORWARD, "5.2.2.2 and 5.2.2.8"
    if decided is Use.FRESH:
        assert is_fresh, "4.2"
    if decided is Use.STALE:
        assert request.max_stale is not None
        assert staleness <= request.max_stale, "5.2.1.2"
        assert control.s_maxage is None, "5.2.2.10"
    if decided is Use.REFRESH:
        assert 0 <= staleness < control.stale_while_revalidate, "RFC 5861 section 3"
    # And nothing is forwarded without a reason.
    asks_for_more = request.no_cache or request.max_age is not None or request.min_fresh is not None
    if is_fresh and not asks_for_more:
        assert decided is Use.FRESH
    revalidates = control.must_revalidate or control.proxy_revalidate
    if not is_fresh and not asks_for_more and not revalidates and staleness < control.stale_while_revalidate:
        assert decided is Use.REFRESH


@given(RESPONSES, REQUESTS, SECONDS, SECONDS)
def test_a_failure_is_excused_as_rfc_5861_section_4_says(
    control: CacheControl, request: CacheControl, fresh_s: float, age: float
) -> None:
    found = serves_in_error(lifetime_of(control, fresh_s), age, request)
    forbidden = control.must_revalidate or control.proxy_revalidate or request.no_cache
    assert found == (not forbidden and age - fresh_s < max(control.stale_if_error, request.stale_if_error))
