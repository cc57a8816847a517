"""Handlers that raise, clients that go, stores that are away, answers that are too long: points F3 to F8, but F6."""

import asyncio
from typing import Any

import pytest
from contracts.backends import Backend
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from idempotency.calling import FlakyStore, Shop, call_raw, guarded, is_problem, order, starlette


async def test_f3_a_handler_that_raises_after_its_effect_is_not_run_again(backend: Backend) -> None:
    shop = Shop()
    app = guarded(shop, backend.open())
    shop.error = ValueError("after the effect")
    answers = [await order(app) for _ in range(3)]
    assert shop.effects == 1
    for answer in answers:
        document = answer.json()
        assert (answer.status_code, document["code"]) == (500, "idempotency_handler_failed")
    assert answers[0].content == answers[1].content
    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None, "true", "true"]


async def test_f3_the_error_still_reaches_the_server() -> None:
    shop = Shop()
    shop.error = ValueError("for the log")
    with pytest.raises(ValueError, match="for the log"):
        await call_raw(guarded(shop), [(b"idempotency-key", b"k")])


async def test_f3_where_the_application_says_so_a_handler_that_raised_runs_again(backend: Backend) -> None:
    shop = Shop()
    app = guarded(shop, backend.open(), routes={"/free": {"on_error": "free"}})
    shop.error = ValueError("before the effect")
    assert (await order(app, path="/free")).status_code == 500
    shop.error = None
    assert (await order(app, path="/free")).text == (await order(app, path="/free")).text == "order 2"


async def test_f4_status_every_header_and_exact_bytes_are_replayed(backend: Backend) -> None:
    shop = Shop()
    shop.status = 207
    shop.headers = [
        (b"Set-Cookie", b"a=1; Path=/"),
        (b"content-type", b"application/octet-stream"),
        (b"set-cookie", b"b=\xff\xfe"),
        (b"location", b"/orders/1"),
        (b"x-empty", b""),
        (b"set-cookie", b"a=2"),
    ]
    shop.parts = [bytes(range(256)), b"", b"\x00" * 3]
    app = guarded(shop, backend.open())
    first = await call_raw(app, [(b"idempotency-key", b"k")])
    again = await call_raw(app, [(b"idempotency-key", b"k")])
    own = len(shop.headers)
    assert first[0]["status"] == again[0]["status"] == 207
    assert first[0]["headers"][:own] == again[0]["headers"][:own] == shop.headers
    assert [name for name, _ in again[0]["headers"][own:]] == [b"idempotent-replayed", b"idempotency-key-expires"]
    for sent in (first, again):
        assert b"".join(message["body"] for message in sent[1:]) == bytes(range(256)) + b"\x00" * 3
    assert shop.effects == 1


async def test_f5_a_stream_is_collected_and_replayed(backend: Backend) -> None:
    effects = 0

    async def stream(request: Request) -> Response:
        nonlocal effects
        effects += 1

        async def parts() -> Any:
            for number in range(50):
                yield f"{number}\n" * 100
                await asyncio.sleep(0)

        return StreamingResponse(parts())

    app = starlette(stream, backend.open())
    first, again = await order(app, path="/stream"), await order(app, path="/stream")
    assert first.content == again.content
    assert (len(first.text.splitlines()), effects) == (5000, 1)


async def test_f5_a_large_answer_is_replayed_as_well(backend: Backend) -> None:
    shop = Shop()
    shop.parts = [b"x" * 900_000]
    app = guarded(shop, backend.open())
    assert (await order(app)).content == (await order(app)).content == b"x" * 900_000
    assert shop.effects == 1


async def test_f5_the_server_is_not_asked_to_send_a_file_past_us() -> None:
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope["extensions"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    extensions = {"http.response.pathsend": {}, "http.response.trailers": {}, "tls": {}}
    await call_raw(guarded(app), [(b"idempotency-key", b"k")], extensions=extensions)
    assert seen == {"tls": {}}


async def test_f7_a_store_that_is_away_refuses_by_default_and_nothing_is_run() -> None:
    shop, store = Shop(), FlakyStore()
    app = guarded(shop, store)
    store.away_before = {"put"}
    refused = await order(app)
    assert is_problem(refused, 503, "store_unavailable")
    assert int(refused.headers["retry-after"]) >= 1
    assert shop.effects == 0
    store.away_before = set()
    assert (await order(app)).text == "order 1"


async def test_f7_a_route_may_go_on_without_protection_while_the_store_is_away() -> None:
    shop, store = Shop(), FlakyStore()
    app = guarded(shop, store, routes={"/search": {"on_unavailable": "open"}}, max_response_bytes=1000)
    store.away_before = {"put"}
    shop.parts = [b"x" * 2000]
    for _ in range(2):
        answer = await order(app, path="/search", body=b"the body")
        assert (answer.status_code, len(answer.content)) == (201, 2000)
    assert (shop.effects, shop.bodies) == (2, [b"the body"] * 2)
    assert (await order(app)).status_code == 503


async def test_f7_a_store_that_goes_in_the_middle_does_not_hide_the_effect_and_gets_its_answer_later() -> None:
    shop, store = Shop(), FlakyStore()
    app = guarded(shop, store)
    store.away_before = {"change"}
    first = await order(app)
    assert (first.status_code, first.text) == (201, "order 1")
    # Until the answer is stored the lease stands in the way of a second effect.
    assert is_problem(await order(app), 409, "idempotency_unfinished")
    store.away_before = set()
    await app.drain()
    assert ((await order(app)).text, shop.effects) == ("order 1", 1)


async def test_f7_an_answer_that_was_stored_although_the_store_did_not_say_so_is_replayed() -> None:
    shop, store = Shop(), FlakyStore()
    app = guarded(shop, store)
    store.away_after = {"change"}
    assert (await order(app)).text == "order 1"
    assert (await order(app)).headers["idempotent-replayed"] == "true"
    store.away_after = set()
    await app.drain()
    assert ((await order(app)).text, shop.effects) == ("order 1", 1)


async def test_f7_a_claim_whose_answer_was_lost_runs_nothing() -> None:
    shop, store = Shop(), FlakyStore()
    app = guarded(shop, store)
    store.away_after = {"put"}
    assert is_problem(await order(app), 503, "store_unavailable")
    assert shop.effects == 0


async def test_f7_an_answer_stored_after_its_lease_is_kept_where_nobody_came_meanwhile(backend: Backend) -> None:
    shop, store = Shop(), FlakyStore(backend.open())
    app = guarded(shop, store)
    store.away_before = {"change", "put"}

    async def act(scope: Any) -> None:
        store.away_before = {"change"}

    store.away_before = set()
    shop.act = act
    assert (await order(app)).text == "order 1"
    backend.advance(31)
    store.away_before = set()
    await app.drain()
    assert ((await order(app)).text, shop.effects) == ("order 1", 1)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b'""',
        b"x" * 256,
        b'"' + b"x" * 256 + b'"',
        b"a\x00b",
        b"a\nb",
        b"a\x7f",
        b"\xe9t\xe9",
        b'"open',
        b'"a"b',
        b'"a", "b"',
    ],
    ids=repr,
)
async def test_f8_what_is_no_key_is_refused(value: bytes) -> None:
    shop = Shop()
    sent = await call_raw(guarded(shop), [(b"idempotency-key", value)])
    assert (sent[0]["status"], shop.effects) == (400, 0)
    assert b'"idempotency_key_invalid"' in sent[1]["body"]


@pytest.mark.parametrize("digits", [b"9" * 5000, b"4194305"])
async def test_f8_a_length_of_any_size_is_refused_by_name(digits: bytes) -> None:
    shop = Shop()
    sent = await call_raw(guarded(shop), [(b"idempotency-key", b"k"), (b"content-length", digits)])
    assert (sent[0]["status"], shop.effects) == (413, 0)


async def test_f8_two_keys_in_one_request_are_refused() -> None:
    shop = Shop()
    sent = await call_raw(guarded(shop), [(b"idempotency-key", b"a"), (b"idempotency-key", b"b")])
    assert (sent[0]["status"], shop.effects) == (400, 0)


async def test_f8_the_longest_key_is_taken() -> None:
    assert (await order(guarded(Shop()), "x" * 255)).status_code == 201


async def test_f8_a_caller_may_begin_so_many_keys_and_retries_are_free(backend: Backend) -> None:
    shop = Shop()
    app = guarded(shop, backend.open(), max_keys=3, ttl_s=1000)
    for number in range(3):
        for _ in range(2):
            assert (await order(app, f"key {number}")).status_code == 201
    refused = await order(app, "key 3")
    assert is_problem(refused, 429, "idempotency_too_many_keys")
    assert int(refused.headers["retry-after"]) >= 1
    assert (await order(app, "key 3", headers={"authorization": "Bearer bob"})).status_code == 201
    # They come back one by one.
    backend.advance(1000 / 3 + 1)
    assert [(await order(app, f"key {number}")).status_code for number in (3, 4)] == [201, 429]


async def test_f1_at_most_once_a_cut_off_attempt_is_never_run_again(backend: Backend) -> None:
    shop = Shop()
    shop.held = asyncio.Event()
    app, other = (guarded(shop, backend.open(), after_crash="refuse") for _ in range(2))
    cut_off = asyncio.create_task(order(app))
    await shop.begun.wait()
    assert is_problem(await order(other), 409, "idempotency_unfinished")
    backend.advance(31)  # as if it had been killed: nobody renews the lease
    for _ in range(2):
        unknown = await order(other)
        assert is_problem(unknown, 409, "idempotency_outcome_unknown")
        assert "retry-after" not in unknown.headers
    assert is_problem(await order(other, body=b"lamp"), 422, "idempotency_key_reused")
    assert shop.effects == 1
    cut_off.cancel()
    await asyncio.gather(cut_off, return_exceptions=True)


async def test_f1_at_most_once_whole_requests_are_replayed_and_freed_ones_run_again(backend: Backend) -> None:
    shop = Shop()
    app = guarded(shop, backend.open(), after_crash="refuse")
    assert (await order(app)).text == (await order(app)).text == "order 1"
    shop.status = 425
    assert (await order(app, "other")).text == "order 2"
    shop.status = 201
    assert (await order(app, "other")).text == (await order(app, "other")).text == "order 3"


async def test_f1_at_least_once_a_cut_off_attempt_runs_again_after_its_lease(backend: Backend) -> None:
    shop, again = Shop(), Shop()
    shop.held = asyncio.Event()
    cut_off = asyncio.create_task(order(guarded(shop, backend.open())))
    await shop.begun.wait()
    backend.advance(31)
    assert (await order(guarded(again, backend.open()))).status_code == 201
    assert (shop.effects, again.effects) == (1, 1)
    shop.held.set()
    await cut_off
