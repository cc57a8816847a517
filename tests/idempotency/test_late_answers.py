"""Points B3 and B5 where a lease is lost and nobody else has done the work: the answer that is there is the answer."""

import asyncio
from typing import Any

import pytest
from contracts.backends import Backend

from fungible.idempotency import LeaseLostError
from fungible.idempotency.claims import Claim, Claims, Finished, Request
from fungible.idempotency.options import Options
from fungible.stores.contract import ABSENT
from fungible.stores.memory import MemoryStore
from idempotency.calling import FlakyStore, Shop, guarded, is_problem, order
from idempotency.test_functions import Charges

CRASHES = pytest.mark.parametrize("after_crash", ["retry", "refuse"])


def request(fingerprint: bytes = b"f", **options: Any) -> Request:
    return Request("idempotency:test", fingerprint, b"caller", Options(**options))


@CRASHES
async def test_b5_an_answer_that_comes_after_its_lease_is_kept_where_nobody_else_came(
    backend: Backend, after_crash: str
) -> None:
    shop = Shop()

    async def stand_still(_scope: Any) -> None:
        backend.advance(31)

    shop.act = stand_still
    app = guarded(shop, backend.open(), after_crash=after_crash)
    first = await order(app)
    assert (first.status_code, first.text) == (201, "order 1")
    again = await order(app)
    assert (again.text, again.headers["idempotent-replayed"], shop.effects) == ("order 1", "true", 1)


@CRASHES
async def test_b5_an_answer_is_kept_where_its_store_has_forgotten_the_key(backend: Backend, after_crash: str) -> None:
    shop = Shop()

    async def forget(_scope: Any) -> None:
        await asyncio.to_thread(backend.empty)

    shop.act = forget
    app = guarded(shop, backend.open(), after_crash=after_crash)
    assert (await order(app)).text == (await order(app)).text == "order 1"
    assert shop.effects == 1


@CRASHES
async def test_b5_a_result_that_comes_after_its_lease_is_kept_where_nobody_else_came(
    backend: Backend, after_crash: str
) -> None:
    charges = Charges(backend.open(), options={"after_crash": after_crash})
    charges.held = asyncio.Event()
    first = asyncio.create_task(charges.charge(1))
    await charges.begun.wait()
    backend.advance(31)
    charges.held.set()
    assert await first == await charges.charge(1)
    assert len(charges.seen) == 1


async def test_b5_at_most_once_the_owner_knows_the_outcome_and_says_it(backend: Backend) -> None:
    shop = Shop()
    shop.held = asyncio.Event()
    app, other = (guarded(shop, backend.open(), after_crash="refuse") for _ in range(2))
    slow = asyncio.create_task(order(app))
    await shop.begun.wait()
    backend.advance(31)
    assert is_problem(await order(other), 409, "idempotency_outcome_unknown")
    shop.held.set()
    assert (await slow).text == "order 1"
    again = await order(other)
    assert (again.text, again.headers["idempotent-replayed"], shop.effects) == ("order 1", "true", 1)


@pytest.mark.parametrize("fingerprint", [b"f", b"another"])
async def test_b5_at_most_once_the_owner_is_not_kept_from_it_by_who_can_never_begin(
    backend: Backend, fingerprint: bytes
) -> None:
    options = {"after_crash": "refuse"}
    store = backend.open()
    claims, others = Claims(store), Claims(backend.open())
    claim = await claims.claim(request(**options))
    assert isinstance(claim, Claim)
    backend.advance(31)
    # Another one has claimed the key, and stands still before it has found the trace of the first.
    fields = {"s": b"r", "o": b"other", "f": fingerprint}
    await store.put("idempotency:test", fields, ttl_s=30, expect=ABSENT)
    await claims.finish_late(claim, b"done")
    found = await others.claim(request(**options))
    assert isinstance(found, Finished)
    assert found.result == b"done"


async def test_b5_at_most_once_who_never_had_the_trace_does_not_replace_anything(backend: Backend) -> None:
    options = {"after_crash": "refuse"}
    claims, others = Claims(backend.open()), Claims(backend.open())
    first = await claims.claim(request(**options))
    assert isinstance(first, Claim)
    stale = Claim(first.request, first.record, first.owner, first.term)
    await claims.free(first)
    second = await others.claim(request(**options))
    assert isinstance(second, Claim)
    with pytest.raises(LeaseLostError):
        await claims.finish_late(stale, b"stale")
    await others.finish(second, b"second")
    with pytest.raises(LeaseLostError):
        await claims.finish_late(stale, b"stale")


async def test_b5_an_answer_is_kept_where_another_attempt_came_and_freed_the_key(backend: Backend) -> None:
    claims, others = Claims(backend.open()), Claims(backend.open())
    claim = await claims.claim(request())
    assert isinstance(claim, Claim)
    backend.advance(31)
    other = await others.claim(request())
    assert isinstance(other, Claim)
    await others.free(other)
    await claims.finish_late(claim, b"done")
    found = await others.claim(request())
    assert isinstance(found, Finished)
    # It may be repeated, as its own answer may be lost.
    assert await claims.finish_late(claim, b"done") == found.expires_at


@pytest.mark.parametrize(("verb", "options"), [("put", {"after_crash": "refuse"}), ("take", {"max_keys": 3})])
async def test_b3_a_key_whose_store_goes_between_claim_and_work_is_free_again(
    verb: str, options: dict[str, Any]
) -> None:
    class GoneInBetween(FlakyStore):
        """The claim is carried out; the answer to what follows is lost."""

        async def put(self, key: str, *arguments: Any, **more: Any) -> Any:
            if verb == "put" and key.endswith(":begun"):
                self.away_after.add("put")
            return await super().__getattr__("put")(key, *arguments, **more)

    shop, store = Shop(), GoneInBetween(MemoryStore())
    store.away_after = {"take"}
    app = guarded(shop, store, **options)
    assert is_problem(await order(app), 503, "store_unavailable")
    verb, store.away_after = "", set()
    await app.drain()
    assert ((await order(app)).text, (await order(app)).text, shop.effects) == ("order 1", "order 1", 1)


async def test_b3_a_key_that_was_never_begun_leaves_the_trace_of_who_has() -> None:
    class LostTrace(FlakyStore):
        async def put(self, key: str, *arguments: Any, **more: Any) -> Any:
            self.away_before = {"put"} if self.lost and key.endswith(":begun") else set()
            return await super().__getattr__("put")(key, *arguments, **more)

        lost = False

    store = LostTrace(MemoryStore())
    await store.store.put("idempotency:test:begun", {"f": b"f", "o": b"somebody else"}, ttl_s=60)
    shop_claims = Claims(store)
    store.lost = True
    with pytest.raises(Exception, match="told to be away"):
        await shop_claims.claim(request(after_crash="refuse"))
    await shop_claims.settled()
    store.lost = False
    with pytest.raises(Exception, match="not known"):
        await shop_claims.claim(request(after_crash="refuse"))


async def test_an_answer_that_a_later_release_has_kept_may_be_asked_for_again() -> None:
    store, shop = MemoryStore(), Shop()
    app = guarded(shop, store)
    await order(app)
    [key] = store._records
    record = await store.get(key)
    assert record is not None
    await store.change(record, {"v": b"\x80"})
    answer = await order(app)
    assert is_problem(answer, 503, "idempotency_answer_unreadable")
    assert answer.headers["retry-after"] == "1"
    assert shop.effects == 1
