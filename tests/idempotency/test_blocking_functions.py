"""`@idempotent` on a function that blocks: it runs in the thread that calls it, once for each key."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from contracts.backends import Backend
from threads_racing import race

from fungible.core.bridge import BridgeError, run
from fungible.idempotency import FailedBeforeError, IdempotencyKeys, Unfinished, idempotent
from fungible.stores import StoreUnavailableError
from fungible.stores.memory import MemoryStore
from idempotency.calling import FlakyStore


class Charges:
    """A function that must run once, and in which thread it did each time."""

    def __init__(self, store: Any, *, options: Any = None, **decorated: Any) -> None:
        self.ran: list[int] = []
        self.threads: list[int] = []
        self.error: BaseException | None = None
        self.result: Any = None
        self.begun, self.held = threading.Event(), threading.Event()
        self.held.set()
        keys = IdempotencyKeys(store, instances=1, **(options or {}))

        @idempotent(keys, key="charge:{order_id}", name="charge", **decorated)
        def charge(order_id: int) -> Any:
            self.ran.append(order_id)
            self.threads.append(threading.get_ident())
            self.begun.set()
            assert self.held.wait(60)
            if self.error is not None:
                raise self.error
            return self.result or {"number": len(self.ran)}

        self.charge = charge


def test_it_runs_once_for_each_key_in_the_callers_own_thread(backend: Backend) -> None:
    one, other = Charges(backend.open()), Charges(backend.open())
    assert one.charge(1) == other.charge(1) == one.charge(order_id=1) == {"number": 1}
    assert other.charge(2) == {"number": 1}
    assert (one.ran, other.ran, one.threads) == ([1], [2], [threading.get_ident()])


def test_of_many_threads_one_runs_it_and_all_have_its_result() -> None:
    charges = Charges(MemoryStore(), wait_s=60)
    results: list[Any] = []
    race(lambda _, turn: results.append((turn, charges.charge(turn))), threads=6, turns=8)
    assert sorted(charges.ran) == list(range(8))
    assert all(sum(result == (turn, found) for result in results) == 6 for turn, found in results)


def test_a_call_under_way_is_an_error_where_nobody_waits_and_its_lease_is_renewed_meanwhile() -> None:
    store = FlakyStore()
    charges = Charges(store, options={"lease_s": 0.2})
    charges.held.clear()
    first = threading.Thread(target=charges.charge, args=(1,))
    first.start()
    assert charges.begun.wait(60)
    # Two renewals at least: the first one alone could have come before the lease was half over.
    run(store.has_called("change", 2), timeout_s=60)
    with pytest.raises(Unfinished):
        charges.charge(1)
    charges.held.set()
    first.join()
    assert charges.charge(1) == {"number": 1}
    assert charges.ran == [1]


def test_an_error_is_kept_or_frees_the_key() -> None:
    for on_error, times in (("keep", 1), ("free", 2)):
        charges = Charges(MemoryStore(), on_error=on_error)
        charges.error = ValueError("no card")
        with pytest.raises(ValueError, match="no card"):
            charges.charge(1)
        with pytest.raises(FailedBeforeError if on_error == "keep" else ValueError, match="no card"):
            charges.charge(1)
        assert len(charges.ran) == times


def test_an_interrupted_call_is_renewed_no_more() -> None:
    store = FlakyStore()
    charges = Charges(store, options={"lease_s": 0.05})
    charges.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        charges.charge(1)
    renewed = store.calls.count("change")
    charges.error = None
    # It was cut off: after the lease the next one is let in, and its lease is the only one that is renewed.
    charges.held.clear()
    second = Charges(store, wait_s=60)
    assert second.charge(1) == {"number": 1}
    assert store.calls.count("change") == renewed + 1


def test_what_gives_a_coroutine_or_generator_has_done_nothing_and_its_key_is_free() -> None:
    async def later() -> None:
        return None

    for unrun in (later, lambda: (each for each in ())):
        charges = Charges(MemoryStore())
        charges.result = unrun()
        for _ in range(2):
            with pytest.raises(TypeError, match="nothing was run"):
                charges.charge(1)
        charges.result = None
        assert charges.charge(1) == {"number": 3}


def test_a_result_that_can_not_be_kept_is_an_error_and_the_function_is_not_run_again() -> None:
    charges = Charges(MemoryStore())
    charges.result = object()
    with pytest.raises(TypeError, match="object"):
        charges.charge(1)
    with pytest.raises(FailedBeforeError, match="TypeError"):
        charges.charge(1)
    assert charges.ran == [1]


def test_while_the_store_is_away_nothing_runs() -> None:
    store = FlakyStore()
    charges = Charges(store)
    store.away_before = {"put"}
    with pytest.raises(StoreUnavailableError):
        charges.charge(1)
    assert charges.ran == []


async def test_where_an_event_loop_runs_it_is_refused_before_it_runs() -> None:
    charges = Charges(MemoryStore())
    with pytest.raises(BridgeError, match="event loop"):
        charges.charge(1)
    assert await asyncio.to_thread(charges.charge, 1) == {"number": 1}
