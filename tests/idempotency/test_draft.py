"""The points of the IETF draft, each by its number, on every kind of store.

Source: draft-ietf-httpapi-idempotency-key-header-07.
"""

import asyncio
from email.utils import parsedate_to_datetime

import pytest
from contracts.backends import Backend

from idempotency.calling import KEY, Shop, guarded, is_problem, order


async def test_i1_quoted_and_bare_form_are_one_key(backend: Backend) -> None:
    shop = Shop()
    app = guarded(shop, backend.open())
    for form in (f'"{KEY}"', KEY, f'  "{KEY}"  ', f'"{KEY}";version=1', f"  {KEY} "):
        assert (await order(app, form)).text == "order 1"
    assert shop.effects == 1
    # A key with quotes and backslashes in it, too.
    assert (await order(app, 'a"b\\c')).text == (await order(app, '"a\\"b\\\\c"')).text == "order 2"


async def test_i2_a_missing_key_is_refused_where_one_is_required_and_let_through_elsewhere(backend: Backend) -> None:
    shop = Shop()
    app = guarded(shop, backend.open(), required=True, routes={"/search": {"required": False}})
    assert is_problem(await order(app, None), 400, "idempotency_key_missing")
    assert shop.effects == 0
    assert (await order(app, None, path="/search")).status_code == 201
    assert (await order(app, None, method="PUT")).status_code == 201, "PUT is idempotent by itself"


async def test_i3_another_payload_under_the_key_is_refused(backend: Backend) -> None:
    shop = Shop()
    app, other = (guarded(shop, backend.open()) for _ in range(2))
    await order(app)
    assert is_problem(await order(other, body=b"lamp"), 422, "idempotency_key_reused")
    assert (shop.effects, (await order(other)).text) == (1, "order 1")


async def test_i3_another_payload_is_refused_while_the_first_is_under_way(backend: Backend) -> None:
    shop = Shop()
    shop.held = asyncio.Event()
    app = guarded(shop, backend.open())
    first = asyncio.create_task(order(app))
    await shop.begun.wait()
    assert is_problem(await order(app, body=b"lamp"), 422, "idempotency_key_reused")
    shop.held.set()
    assert (await first).status_code == 201


async def test_i4_a_retry_is_refused_with_retry_after_while_the_first_is_under_way(backend: Backend) -> None:
    shop = Shop()
    shop.held = asyncio.Event()
    app, other = guarded(shop, backend.open()), guarded(shop, backend.open(), retry_after_s=3)
    first = asyncio.create_task(order(app))
    await shop.begun.wait()
    refused = await order(other)
    assert is_problem(refused, 409, "idempotency_unfinished")
    assert refused.headers["retry-after"] == "3"
    shop.held.set()
    assert (await first).text == (await order(other)).text == "order 1"
    assert shop.effects == 1


async def test_i4_a_retry_waits_for_the_first_where_that_is_asked_for(backend: Backend) -> None:
    shop = Shop()
    shop.held = asyncio.Event()
    app = guarded(shop, backend.open(), wait_s=60)
    first = asyncio.create_task(order(app))
    await shop.begun.wait()
    waiting = [asyncio.create_task(order(app)) for _ in range(5)]
    await asyncio.sleep(0)
    shop.held.set()
    assert {answer.text for answer in await asyncio.gather(first, *waiting)} == {"order 1"}
    assert shop.effects == 1


async def test_i4_a_wait_ends_with_a_refusal(backend: Backend) -> None:
    shop = Shop()
    shop.held = asyncio.Event()
    app = guarded(shop, backend.open(), wait_s=0.05)
    first = asyncio.create_task(order(app))
    await shop.begun.wait()
    assert is_problem(await order(app), 409, "idempotency_unfinished")
    shop.held.set()
    await first


@pytest.mark.parametrize("status", [200, 201, 204, 302, 400, 402, 404, 409, 422, 500, 502])
async def test_i5_a_retry_gets_what_was_answered_be_it_success_or_error(status: int) -> None:
    shop = Shop()
    shop.status = status
    app = guarded(shop)
    first, again = await order(app), await order(app)
    assert (first.status_code, first.content) == (again.status_code, again.content) == (status, b"order 1")
    assert (shop.effects, again.headers["idempotent-replayed"]) == (1, "true")


async def test_i6_the_header_says_when_the_key_expires_and_then_it_does(backend: Backend) -> None:
    shop = Shop()
    app = guarded(shop, backend.open(), ttl_s=100, lease_s=5, routes={"/long": {"ttl_s": 1000}})
    for path, ttl_s in (("/orders", 100), ("/long", 1000)):
        first, again = await order(app, path=path), await order(app, path=path)
        told = parsedate_to_datetime(first.headers["idempotency-key-expires"]).timestamp()
        assert ttl_s - 10 < told - backend.now() <= ttl_s
        assert again.headers["idempotency-key-expires"] == first.headers["idempotency-key-expires"]
    assert shop.effects == 2
    backend.advance(99 - 5)
    assert (await order(app)).text == "order 1"
    backend.advance(7)
    assert (await order(app)).text == "order 3"
    assert (await order(app, path="/long")).text == "order 2"


async def test_i7_the_fingerprint_is_of_method_target_content_type_and_body() -> None:
    shop = Shop()
    app = guarded(shop)
    await order(app, path="/orders?dry=1", **{"content-type": "text/plain"})
    alike = await order(
        app, path="/orders?dry=1", **{"content-type": "text/plain", "traceparent": "00-1", "x-try": "2"}
    )
    assert alike.text == "order 1"
    for path, content_type, body in (
        ("/orders?dry=0", "text/plain", b"mug"),
        ("/orders", "text/plain", b"mug"),
        ("/orders?dry=1", "application/json", b"mug"),
        ("/orders?dry=1", "text/plain", b"mugs"),
        ("/orders?dry=1", "text/plain", b""),
    ):
        answer = await order(app, path=path, body=body, **{"content-type": content_type})
        assert is_problem(answer, 422, "idempotency_key_reused"), (path, content_type, body)
    assert shop.effects == 1


async def test_i7_the_application_may_say_what_must_be_equal() -> None:
    shop = Shop()
    app = guarded(shop, fingerprint=lambda scope, body: body.partition(b";")[0])
    assert (await order(app, body=b"mug;at=1")).text == (await order(app, body=b"mug;at=2")).text == "order 1"
    assert is_problem(await order(app, body=b"lamp;at=1"), 422, "idempotency_key_reused")
