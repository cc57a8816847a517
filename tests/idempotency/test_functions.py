"""`@idempotent`: any async function, one effect a key, whoever asks and however often."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from contracts.backends import Backend

from fungible.core.errors import SettingError
from fungible.idempotency import (
    AnswerUnreadableError,
    FailedBeforeError,
    IdempotencyKeys,
    InvalidKeyError,
    KeyReusedError,
    OutcomeUnknownError,
    Unfinished,
    idempotent,
)
from fungible.stores import StoreUnavailableError
from fungible.stores.memory import MemoryStore
from idempotency.calling import FlakyStore


class Charges:
    """A function that must run once, and its arguments each time it did."""

    def __init__(self, store: Any, *, options: Any = None, **decorated: Any) -> None:
        self.seen: list[Any] = []
        self.held: asyncio.Event | None = None
        self.begun = asyncio.Event()
        self.error: Exception | None = None
        self.result: Any = None
        self.keys = IdempotencyKeys(store, instances=1, **(options or {}))
        decorated = {"key": "charge:{order_id}", "name": "charge", **decorated}

        @idempotent(self.keys, **decorated)
        async def charge(order_id: int, cents: int = 100) -> Any:
            self.seen.append((order_id, cents))
            self.begun.set()
            if self.held is not None:
                await self.held.wait()
            if self.error is not None:
                raise self.error
            return self.result or {"charged": cents, "number": len(self.seen)}

        self.charge = charge


async def test_i5_a_function_runs_once_for_each_key_on_any_instance(backend: Backend) -> None:
    one, other = Charges(backend.open()), Charges(backend.open())
    first = await one.charge(1)
    assert first == await other.charge(1) == await other.charge(order_id=1, cents=5) == {"charged": 100, "number": 1}
    assert await other.charge(2) == {"charged": 100, "number": 1}
    assert (one.seen, other.seen) == ([(1, 100)], [(2, 100)])


async def test_i4_of_many_calls_at_once_one_runs_and_the_others_wait(backend: Backend) -> None:
    charges = [Charges(backend.open(), wait_s=60) for _ in range(3)]
    results = await asyncio.gather(*(each.charge(7) for each in charges for _ in range(5)))
    assert [len(each.seen) for each in charges].count(1) == 1
    assert results == [{"charged": 100, "number": 1}] * 15


async def test_i4_without_a_wait_a_call_under_way_is_an_error() -> None:
    charges = Charges(MemoryStore())
    charges.held = asyncio.Event()
    first = asyncio.create_task(charges.charge(1))
    await charges.begun.wait()
    with pytest.raises(Unfinished):
        await charges.charge(1)
    charges.held.set()
    assert await first == await charges.charge(1)


async def test_i3_what_must_be_equal_is_compared_where_the_application_says_so() -> None:
    charges = Charges(MemoryStore(), compare=lambda order_id, cents: cents)
    await charges.charge(1, 100)
    await charges.charge(1, 100)
    with pytest.raises(KeyReusedError):
        await charges.charge(1, 200)


async def test_f4_every_caller_gets_the_same_value_of_the_same_types() -> None:
    charges = Charges(MemoryStore())
    charges.result = (Decimal("9.99"), datetime(2026, 1, 1, tzinfo=UTC), b"\x00", None)
    first, again = await charges.charge(1), await charges.charge(1)
    assert first == again == list(charges.result)


async def test_f3_a_function_that_raised_is_not_run_again_unless_told_so(backend: Backend) -> None:
    kept, freed = Charges(backend.open()), Charges(backend.open(), on_error="free", name="freed")
    kept.error = freed.error = ValueError("card declined")
    with pytest.raises(ValueError, match="card declined"):
        await kept.charge(1)
    with pytest.raises(FailedBeforeError, match="ValueError: card declined") as found:
        await kept.charge(1)
    assert (found.value.error_type, found.value.error_text) == ("ValueError", "card declined")
    for _ in range(2):
        with pytest.raises(ValueError, match="card declined"):
            await freed.charge(1)
    assert (len(kept.seen), len(freed.seen)) == (1, 2)


async def test_f3_a_result_that_can_not_be_kept_does_not_let_it_run_again() -> None:
    charges = Charges(MemoryStore())
    charges.result = object()
    with pytest.raises(TypeError, match="object"):
        await charges.charge(1)
    with pytest.raises(FailedBeforeError, match="TypeError"):
        await charges.charge(1)
    assert len(charges.seen) == 1


async def test_f6_a_caller_that_is_cancelled_does_not_end_the_work() -> None:
    charges = Charges(MemoryStore(), wait_s=60)
    charges.held = asyncio.Event()
    first = asyncio.create_task(charges.charge(1))
    await charges.begun.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    charges.held.set()
    assert await charges.charge(1) == {"charged": 100, "number": 1}
    assert len(charges.seen) == 1


async def test_f7_a_store_that_is_away_is_an_error_or_lets_it_run() -> None:
    store = FlakyStore()
    strict, open_ = Charges(store), Charges(store, options={"on_unavailable": "open"})
    store.away_before = {"put"}
    with pytest.raises(StoreUnavailableError):
        await strict.charge(1)
    assert await open_.charge(1) == {"charged": 100, "number": 1}
    assert strict.seen == []


async def test_f7_a_result_that_can_not_be_stored_at_once_is_given_and_stored_later() -> None:
    store = FlakyStore()
    charges = Charges(store, options={"wait_s": 60})
    store.away_before = {"change"}
    first = await charges.charge(1)
    store.away_before = set()
    assert await charges.charge(1) == first
    assert len(charges.seen) == 1


async def test_f1_at_most_once_a_cut_off_call_is_not_run_again(backend: Backend) -> None:
    one, other = (Charges(backend.open(), options={"after_crash": "refuse"}) for _ in range(2))
    one.held = asyncio.Event()
    first = asyncio.create_task(one.charge(1))
    await one.begun.wait()
    backend.advance(31)
    with pytest.raises(OutcomeUnknownError):
        await other.charge(1)
    assert other.seen == []
    one.held.set()
    await asyncio.gather(first, return_exceptions=True)


async def test_b2_functions_are_kept_apart_by_name_and_keys_may_be_functions() -> None:
    store = MemoryStore()
    one = Charges(store, key=lambda order_id, cents=0: f"{order_id}-{cents}")
    other = Charges(store, name="refund")
    await one.charge(1, 2)
    await one.charge(1, 3)
    await other.charge(1, 2)
    assert (len(one.seen), len(other.seen)) == (2, 1)
    with pytest.raises(InvalidKeyError):
        await Charges(store, key=lambda *_: "").charge(1)


async def test_i6_a_result_is_kept_for_so_long(backend: Backend) -> None:
    charges = Charges(backend.open(), ttl_s=100, options={"lease_s": 5})
    await charges.charge(1)
    backend.advance(94)
    await charges.charge(1)
    backend.advance(7)
    await charges.charge(1)
    assert len(charges.seen) == 2


def test_functions_need_a_store() -> None:
    with pytest.raises(SettingError, match="store"):
        idempotent(IdempotencyKeys(), key="x")


async def test_a_result_that_a_later_release_has_kept_is_not_made_again_and_not_an_error_of_another_kind() -> None:
    store = MemoryStore()
    charges = Charges(store)
    await charges.charge(1)
    [key] = store._records
    record = await store.get(key)
    assert record is not None
    await store.change(record, {"v": b"\xc1"})
    with pytest.raises(AnswerUnreadableError):
        await charges.charge(1)
    assert len(charges.seen) == 1


@pytest.mark.parametrize(
    "key", ["charge:{order_id}:{cents}", lambda order_id, cents: f"{len(str(order_id))}:{order_id}:{cents}"]
)
async def test_i5_two_calls_never_meet_in_one_key_and_a_default_makes_no_other_key(key: Any) -> None:
    charges = Charges(MemoryStore(), key=key)
    await charges.charge("7", 100)  # type: ignore[arg-type]
    # One effect: the default is what was given, and a retry may say 7 for "7".
    await charges.charge("7")  # type: ignore[arg-type]
    if isinstance(key, str):
        await charges.charge(7)
    assert len(charges.seen) == 1
    await charges.charge("7:100", "5")  # type: ignore[arg-type]
    await charges.charge("7", "100:5")  # type: ignore[arg-type]
    assert len(charges.seen) == 3


async def test_i5_arguments_whose_text_differs_in_each_process_make_no_key() -> None:
    charges = Charges(MemoryStore())
    with pytest.raises(TypeError, match="object"):
        await charges.charge(object())  # type: ignore[arg-type]
    assert charges.seen == []
