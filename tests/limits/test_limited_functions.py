"""Any function can be limited."""

import asyncio

import pytest
from limit_asking import WatchedStore, limit_of
from threads_racing import race

from fungible.core.bridge import BridgeError
from fungible.limits import Limiter, RateLimitedError, limited
from fungible.stores.memory import MemoryStore


async def test_calls_over_the_limit_are_not_made() -> None:
    limiter, made = Limiter(MemoryStore(), instances=1), []

    @limited(limiter, limit_of(2, name="mails"))
    async def send_mail(to: str, *, subject: str = "") -> str:
        """Sends it."""
        made.append(to)
        return f"{to} {subject}"

    assert await send_mail("ada", subject="hello") == "ada hello"
    await send_mail("grace")
    with pytest.raises(RateLimitedError, match=r"the limit 'mails' is over; try again in 1[78]\d\d\.\d s") as caught:
        await send_mail("joan")
    assert made == ["ada", "grace"]
    assert (caught.value.limit, caught.value.code) == ("mails", "rate_limited")
    assert 1799 < caught.value.retry_after_s <= 1800
    assert send_mail.__doc__ == "Sends it."


async def test_a_key_says_whose_limit_it_is_and_none_is_not_counted() -> None:
    limiter = Limiter(MemoryStore(), instances=1)

    @limited(limiter, limit_of(1), key=lambda to, size=1: None if to == "root" else to)
    async def send_mail(to: str, size: int = 1) -> None:
        pass

    await send_mail("ada")
    await send_mail("grace", size=2)
    for _ in range(3):
        await send_mail("root")
    with pytest.raises(RateLimitedError):
        await send_mail("ada")


async def test_a_cost_of_the_call_goes_before_the_limits() -> None:
    limiter = Limiter(MemoryStore(), instances=1)

    @limited(limiter, limit_of(10), cost=6)
    async def compute() -> None:
        pass

    await compute()
    with pytest.raises(RateLimitedError):
        await compute()


async def test_while_the_store_is_away_a_closed_limit_says_that_it_cant_be_counted() -> None:
    store = WatchedStore()
    store.away = True

    @limited(Limiter(store, instances=1), limit_of(1, on_unavailable="closed"))
    async def compute() -> None:
        pass

    with pytest.raises(RateLimitedError, match="can't be counted while its store is away"):
        await compute()


async def test_an_error_of_the_function_is_its_own_and_the_call_was_counted() -> None:
    limiter = Limiter(MemoryStore(), instances=1)

    @limited(limiter, limit_of(1))
    async def broken() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await broken()
    with pytest.raises(RateLimitedError):
        await broken()


def test_a_function_that_blocks_is_limited_as_well_from_any_thread() -> None:
    limiter, made = Limiter(MemoryStore(), instances=1), list[str]()

    @limited(limiter, limit_of(3, name="mails"), key=lambda to: to)
    def send_mail(to: str) -> str:
        made.append(to)
        return to

    refused: list[str] = []

    def send(thread: int, turn: int) -> None:
        try:
            send_mail(f"ada-{turn}")
        except RateLimitedError as error:
            refused.append(error.limit)

    race(send, threads=8, turns=20)
    assert sorted(made) == sorted(f"ada-{turn}" for turn in range(20) for _ in range(3))
    assert refused == ["mails"] * (20 * 5)


async def test_one_that_blocks_and_is_called_where_an_event_loop_runs_is_refused_before_it_is_called() -> None:
    made: list[str] = []

    @limited(Limiter(MemoryStore(), instances=1), limit_of(3))
    def send_mail(to: str) -> None:
        made.append(to)

    with pytest.raises(BridgeError, match="event loop"):
        send_mail("ada")
    await asyncio.to_thread(send_mail, "ada")
    assert made == ["ada"]
