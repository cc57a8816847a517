"""Point F5: answers larger than a record are kept in several; those larger than the limit are sent, and never made twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from contracts.backends import Backend
from contracts.clock import Clock
from msgspec.structs import replace
from servers import MemcachedServer
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from fungible.idempotency import IdempotencyKeys, ResponseNotKeptError, ResponseTooLargeError, idempotent
from fungible.idempotency.parts import Parts
from fungible.stores import open_store
from fungible.stores.memory import MemoryStore
from idempotency.calling import KEY, FlakyStore, Shop, call_raw, guarded, is_problem, order, starlette
from idempotency.test_transactional import Instance, place

__all__ = ["place"]

LARGE = bytes(range(256)) * 20_000  # about 5 MB: six records


class SmallRecords(FlakyStore):
    """A store whose records are small, so that many parts cost little."""

    def __init__(self, store: Any = None, *, max_record_bytes: int = 1124) -> None:
        super().__init__(store)
        self.guarantees = replace(self.guarantees, max_record_bytes=max_record_bytes)


def shop_of(body: bytes) -> Shop:
    shop = Shop()
    shop.parts = [body[start : start + 700_000] for start in range(0, len(body), 700_000)]
    return shop


async def test_f5_an_answer_of_several_records_is_replayed_by_any_instance(backend: Backend) -> None:
    shop = shop_of(LARGE)
    one, other = guarded(shop, backend.open()), guarded(shop, backend.open())
    first, again = await order(one), await order(other)
    assert first.content == again.content == LARGE
    assert again.headers["idempotent-replayed"] == "true"
    assert first.headers["idempotency-key-expires"] == again.headers["idempotency-key-expires"]
    assert shop.effects == 1


async def test_f5_by_default_16_mib_are_kept() -> None:
    shop = shop_of(b"x" * ((16 << 20) - 1000))
    app = guarded(shop, MemoryStore())
    assert (await order(app)).content == (await order(app)).content
    assert shop.effects == 1


async def test_f5_memcached_keeps_them_as_well(memcached_server: MemcachedServer) -> None:
    shop = shop_of(LARGE)
    store = open_store(memcached_server.url)
    app = guarded(shop, store)
    assert (await order(app)).content == (await order(app)).content == LARGE
    await store.aclose()


async def test_f5_nothing_is_seen_before_the_last_part_and_parts_are_not_written_twice() -> None:
    """The store goes away in the middle: the answer is given, and stored when the store is back."""
    store = SmallRecords()
    shop = shop_of(b"x" * 1000)
    app = guarded(shop, store)
    parts: list[str] = []
    put = store.store.put

    async def counted(key: str, fields: Any, **options: Any) -> Any:
        if key.count(":") > 1:
            parts.append(key)
            if len(parts) == 4:
                store.away_before = {"put", "change", "get"}
        return await put(key, fields, **options)

    store.store.put = counted  # type: ignore[method-assign]
    assert (await order(app)).text == "x" * 1000
    assert (await order(app)).status_code == 503
    store.away_before = set()
    other = guarded(shop, store, wait_s=60)
    assert (await order(other)).text == "x" * 1000
    assert (shop.effects, len(parts)) == (1, len(set(parts)))
    await app.drain()


async def test_f5_parts_outlive_the_record_that_names_them_and_then_expire() -> None:
    clock = Clock()
    store = SmallRecords(MemoryStore(now=clock))
    shop = shop_of(b"x" * 1000)
    app = guarded(shop, store, ttl_s=100)
    await order(app)
    clock.time_s += 99
    assert (await order(app)).headers["idempotent-replayed"] == "true"
    clock.time_s += 120
    assert not any([await store.get(key) for key in store.store._records])


async def test_f5_where_a_part_is_lost_a_retry_is_told_so_and_nothing_runs_again() -> None:
    store = SmallRecords()
    shop = shop_of(b"x" * 1000)
    app = guarded(shop, store)
    await order(app)
    [part, *_] = sorted(key for key in store.store._records if key.count(":") > 1)
    await store.delete(part)
    for _ in range(2):
        assert is_problem(await order(app), 409, "idempotency_response_not_kept")
    assert shop.effects == 1


async def test_f5_who_lost_the_key_leaves_no_parts() -> None:
    clock = Clock()
    store = SmallRecords(MemoryStore(now=clock))
    slow, quick = shop_of(b"s" * 1000), shop_of(b"q" * 1000)
    slow.held = asyncio.Event()
    stale = asyncio.create_task(order(guarded(slow, store)))
    await slow.begun.wait()
    clock.time_s += 31
    assert (await order(guarded(quick, store))).text == "q" * 1000
    kept = len(store.store._records)
    slow.held.set()
    assert (await stale).text == "q" * 1000
    assert len(store.store._records) == kept


async def test_f5_an_answer_over_the_limit_is_sent_whole_and_a_retry_is_told_that_it_was_not_kept(
    backend: Backend,
) -> None:
    shop = shop_of(LARGE)
    app = guarded(shop, backend.open(), max_response_bytes=1_000_000)
    first = await order(app)
    assert (first.status_code, first.content, "idempotency-key-expires" in first.headers) == (201, LARGE, False)
    assert first.headers.get_list("set-cookie") == ["a=1", "b=2"]
    for _ in range(2):
        answer = await order(app)
        assert is_problem(answer, 409, "idempotency_response_not_kept")
        assert "do not repeat" in answer.json()["detail"]
    assert is_problem(await order(app, body=b"lamp"), 422, "idempotency_key_reused")
    assert shop.effects == 1


async def test_f5_headers_over_the_limit_are_sent_as_well() -> None:
    shop = Shop()
    shop.headers = [(b"x-long", b"y" * 2000)]
    app = guarded(shop, max_response_bytes=1000)
    first = await order(app)
    assert (first.text, first.headers["x-long"]) == ("order 1", "y" * 2000)
    assert is_problem(await order(app), 409, "idempotency_response_not_kept")


async def test_f5_it_is_kept_that_it_was_not_before_the_first_byte_is_sent() -> None:
    store, kept = MemoryStore(), list[bytes]()
    app = guarded(shop_of(b"x" * 3000), store, max_response_bytes=1000)

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        async def looked(message: Any) -> None:
            kept.extend(record.fields["s"] for record in store._records.values())
            await send(message)

        await app(scope, receive, looked)

    await order(watched)
    assert set(kept) == {b"d"}


async def test_f5_of_an_answer_over_the_limit_that_says_that_nothing_was_done_nothing_is_kept() -> None:
    shop = shop_of(b"x" * 3000)
    shop.status = 401
    app = guarded(shop, max_response_bytes=1000)
    for _ in range(2):
        assert (await order(app)).text == "x" * 3000
    assert shop.effects == 2


async def test_f5_a_stream_is_made_no_faster_than_it_is_taken_and_ends_when_its_client_goes() -> None:
    made = 0
    ended = asyncio.Event()

    async def stream(request: Request) -> Response:
        async def parts() -> Any:
            nonlocal made
            try:
                while True:
                    made += 1
                    yield b"x" * 100
            finally:
                ended.set()

        return StreamingResponse(parts())

    app = starlette(stream, MemoryStore(), max_response_bytes=10_000)
    taken, gone, open_gate = 0, asyncio.Event(), asyncio.Event()
    messages = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal taken
        taken += len(message.get("body", b""))
        if taken > 10_000:
            open_gate.set()
        if taken > 20_000:
            gone.set()
            await ended.wait()

    headers = [(b"idempotency-key", KEY.encode()), (b"authorization", b"Bearer ada")]
    scope = {"type": "http", "method": "POST", "path": "/stream", "query_string": b"", "headers": headers}
    await app(scope, receive, send)
    assert open_gate.is_set()
    assert made <= 202
    assert (await call_raw(app, headers[:1], body=b"", path="/stream", raw_path=b"/stream"))[0]["status"] == 409


async def test_f5_where_the_client_has_gone_before_the_limit_a_stream_is_ended_at_it() -> None:
    shop = shop_of(b"x" * 3000)
    shop.held = asyncio.Event()
    app = guarded(shop, max_response_bytes=1000)
    first = asyncio.create_task(order(app))
    await shop.begun.wait()
    first.cancel()
    await asyncio.wait({first})
    shop.held.set()
    await app.drain()
    assert is_problem(await order(app), 409, "idempotency_response_not_kept")
    assert shop.effects == 1


async def test_f5_an_application_that_fails_in_a_long_answer_is_not_run_again() -> None:
    shop = shop_of(b"x" * 3000)

    async def fail() -> None:
        raise ValueError("after the answer")

    shop.afterwards = fail
    app = guarded(shop, max_response_bytes=1000)
    assert (await order(app)).content == b"x" * 3000
    assert is_problem(await order(app), 409, "idempotency_response_not_kept")


async def test_f5_where_the_store_takes_less_than_it_says_the_answer_is_given_and_not_kept() -> None:
    store = FlakyStore(MemoryStore())
    store.guarantees = replace(store.guarantees, max_record_bytes=3 << 20)
    app = guarded(shop_of(LARGE), store)
    app._claims._parts.part_bytes = 2 << 20
    assert (await order(app)).content == LARGE
    assert is_problem(await order(app), 409, "idempotency_response_not_kept")


async def test_f5_results_of_functions_are_kept_in_parts_too_and_over_the_limit_later_calls_are_told() -> None:
    ran: list[int] = []
    store = SmallRecords()
    keys = IdempotencyKeys(store, instances=1, max_response_bytes=2000)

    @idempotent(keys, key="{size}")
    async def make(size: int) -> str:
        ran.append(size)
        return "x" * size

    assert await make(1000) == await make(1000) == "x" * 1000
    assert await make(3000) == "x" * 3000
    with pytest.raises(ResponseNotKeptError):
        await make(3000)
    assert ran == [1000, 3000]


def test_f5_parts_are_cut_to_what_the_store_takes() -> None:
    for max_record_bytes, part_bytes in ((1 << 20, 960_000), (65_536, 64_512)):
        parts = Parts(SmallRecords(max_record_bytes=max_record_bytes))
        assert parts.part_bytes == part_bytes
        assert [parts.placed("n", bytes(size)).count for size in (part_bytes, part_bytes + 1)] == [1, 2]


async def test_f5_in_a_transaction_a_long_answer_is_kept_in_several_rows(place: Any) -> None:
    async with Instance(place) as one, Instance(place) as other:
        one.shop.parts = [LARGE]
        first, again = await order(one.app), await order(other.app)
        assert first.content == again.content == LARGE
        assert again.headers["idempotent-replayed"] == "true"
        assert (one.kept.effects(), one.kept.rows(), other.shop.effects) == (1, 6, 0)


async def test_f5_rows_of_an_earlier_life_of_the_key_are_replaced_and_all_are_swept(place: Any) -> None:
    clock = Clock()
    async with Instance(place, ttl_s=100, now=clock) as one:
        for body in (LARGE, LARGE[:3_000_000], b"short"):
            one.shop.parts = [body]
            assert (await order(one.app)).content == (await order(one.app)).content == body
            clock.time_s += 101
        async with one.database.begin() as connection:
            keys = IdempotencyKeys(now=clock)
            while await keys.sweep(connection):
                pass
        assert one.kept.rows() == 0


async def test_f5_a_transaction_whose_effect_is_undone_leaves_no_parts(place: Any) -> None:
    async with Instance(place, max_keys=1) as one:
        one.shop.parts = [LARGE]
        one.shop.status = 503
        assert (await order(one.app)).content == LARGE
        assert (one.kept.effects(), one.kept.rows()) == (0, 0)
        one.shop.status = 201
        # The rows of parts are nobody's: the caller's one key is one.
        assert (await order(one.app)).status_code == 201


async def test_f5_in_a_transaction_of_ones_own_an_answer_over_the_limit_is_refused_before_the_commit(
    place: Any,
) -> None:
    scope: Any = {
        "type": "http",
        "method": "POST",
        "path": "/orders",
        "headers": [(b"idempotency-key", b"k"), (b"authorization", b"Bearer ada")],
    }
    async with Instance(place) as one:

        async def work() -> None:
            keys = IdempotencyKeys(max_response_bytes=100)
            async with one.database.begin() as connection, keys.transaction(scope, connection, body=b"") as attempt:
                await one.database.execute(connection)
                attempt.finish((201, [], b"x" * 101))

        with pytest.raises(ResponseTooLargeError):
            await work()
        assert (one.kept.effects(), one.kept.rows()) == (0, 0)
