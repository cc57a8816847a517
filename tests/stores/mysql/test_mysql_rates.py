"""Rates: the statement does what the contract's algorithm does, to the microsecond."""

from contracts.rates import rates
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mysql_drills import connected, opened, run

from fungible.stores import Rate, Taken
from fungible.stores.contract import gcra

RATES = rates(
    st.sampled_from([1, 3, 7, 1000]),
    st.sampled_from([0.001, 1.0, 7.7, 3600.0, 300_000_000.0]),
    st.integers(0, 9),
)
STEPS = st.lists(st.tuples(RATES, st.sampled_from([1, 2, 5, 10, 10**15]), st.integers(-10, 10_000_000)), max_size=25)


def test_every_sequence_is_the_contracts_even_when_the_rate_changes_and_the_clock_is_set_back(url: str) -> None:
    async def migrate() -> None:
        async with opened(url) as store:
            await store.ping()

    run(migrate())

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(STEPS)
    def holds(steps: list[tuple[Rate, int, int]]) -> None:
        async def drill() -> None:
            tat_us, now_us = 0, 1_800_000_000_000_000
            async with opened(f"{url}&pool_size=1") as store, connected(url) as other:
                await store.ping()
                await other.run("DELETE FROM fungible_rates")
                for rate, cost, step_us in steps:
                    now_us += step_us
                    # The clock of the store's only connection stands where we put it.
                    seconds, micros = divmod(now_us, 10**6)
                    clock = f"SET timestamp = {seconds}.{micros:06}"
                    await store._database.write(lambda connection, clock=clock: connection.run(clock))
                    tat_us, wanted = gcra(tat_us, now_us, rate, cost)
                    got: Taken = await store.take("r", rate, cost=cost)
                    assert got == wanted
                    kept = (await other.run("SELECT tat_us FROM fungible_rates")).rows
                    assert kept == ((tat_us,),)

        run(drill())

    holds()
