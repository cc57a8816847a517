"""A shared cache as RFC 9111 describes it: what ends a stored response, conditions, and how answers look."""

import asyncio
from typing import Any

import pytest
from contracts.backends import Backend

from cache.asking import Origin, instance, is_stored, two
from cache.working import CountingStore
from fungible.cache import CacheMiddleware
from fungible.core.errors import SettingError
from fungible.stores.memory import MemoryStore


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_an_unsafe_method_ends_what_is_stored_for_its_target_and_where_it_leads(method: str) -> None:
    origin = Origin()
    one, other, _ = two(origin)

    async def stored(path: str) -> bool:
        answer = await other.get(path, headers={"cache-control": "only-if-cached"})
        return answer.status_code == 200

    paths = ["/a", "/a?b", "/b", "/b/c", "/d"]
    for path in paths:
        await one.get(path)
    origin.headers += [("location", "/b/c"), ("content-location", "http://shop.example:80/d")]
    assert [await stored(path) for path in paths] == [True] * 5
    origin.status = 404
    await one.request(method, "/a")
    assert await stored("/a"), "nothing was changed"
    origin.status = 201
    await one.request(method, "/a")
    assert [await stored(path) for path in paths] == [False, True, True, False, False]


async def test_an_unsafe_method_does_not_end_what_is_stored_for_another_host() -> None:
    origin = Origin()
    one, _, _ = two(origin)
    await one.get("http://other.example/a")
    origin.headers.append(("location", "http://other.example/a"))
    await one.post("/b")
    assert (await one.get("http://other.example/a")).text == "body 1"


async def test_a_client_that_has_the_response_gets_304_from_any_instance(backend: Backend) -> None:
    origin = Origin()
    one, other = (instance(origin, backend.open(), now=backend.now) for _ in range(2))
    etag = (await one.get("/")).headers["etag"]
    for field in (etag, f'"x", W/{etag}', "*"):
        answer = await other.get("/", headers={"if-none-match": field})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
        assert "content-length" not in answer.headers
        assert answer.headers["cache-control"] == "max-age=60"
    assert (await other.get("/", headers={"if-none-match": '"x"'})).text == "body 1"


async def test_an_entity_tag_is_the_same_on_instances_that_share_nothing_and_a_miss_is_answered_by_304() -> None:
    origin = Origin()
    origin.body = lambda: [b"the ", b"same"]
    one, other = instance(origin, MemoryStore()), instance(origin, MemoryStore())
    etag = (await one.get("/")).headers["etag"]
    answer = await other.get("/", headers={"if-none-match": etag})
    assert (answer.status_code, origin.count) == (304, 2)
    assert not any(name == b"if-none-match" for name, _ in origin.asked[1]["headers"])
    assert (await other.get("/")).text == "the same"


async def test_the_entity_tag_of_the_application_stands_also_where_nothing_is_stored() -> None:
    for control in ("max-age=60", "no-store"):
        origin = Origin(control)
        origin.headers.append(("etag", 'W/"own"'))
        one, other, _ = two(origin)
        assert (await one.get("/")).headers["etag"] == 'W/"own"'
        assert (await other.get("/", headers={"if-none-match": '"own"'})).status_code == 304


async def test_last_modified_answers_where_there_is_no_entity_tag_in_the_request() -> None:
    origin = Origin()
    origin.headers.append(("last-modified", "Fri, 15 Jan 2027 08:00:00 GMT"))
    one, other, _ = two(origin)
    await one.get("/")
    for since, status in (("Fri, 15 Jan 2027 08:00:00 GMT", 304), ("Fri, 15 Jan 2027 07:00:00 GMT", 200), ("x", 200)):
        assert (await other.get("/", headers={"if-modified-since": since})).status_code == status


async def test_head_is_answered_by_what_get_has_stored() -> None:
    origin = Origin()
    origin.headers.append(("content-length", "6"))
    one, other, _ = two(origin)
    assert (await other.head("/")).headers["cache-status"] == "fungible; fwd=uri-miss"
    await one.get("/")
    answer = await other.head("/")
    assert (answer.content, answer.headers["content-length"], origin.count) == (b"", "6", 2)
    assert "hit" in answer.headers["cache-status"]


async def test_several_headers_of_one_name_and_all_bytes_come_back_as_they_were() -> None:
    origin = Origin()
    origin.headers += [("link", "</a>"), ("link", "</b>"), ("x-é".encode("latin-1").decode("latin-1")[:2] + "y", "z")]
    origin.body = lambda: [bytes(range(256)), b"", b"\0"]
    one, other, _ = two(origin)
    first, second = await one.get("/"), await other.get("/")
    assert first.content == second.content == bytes(range(256)) + b"\0"
    assert second.headers.get_list("link") == ["</a>", "</b>"]


async def test_a_long_response_passes_through_and_is_not_stored() -> None:
    for declared in (False, True):
        origin = Origin()
        origin.body = lambda: [b"x" * 600, b"y" * 600]
        if declared:
            origin.headers.append(("content-length", "1200"))
        one, other, _ = two(origin, max_body_bytes=1000)
        for client in (one, other):
            assert (await client.get("/")).content == b"x" * 600 + b"y" * 600
        assert origin.count == 2


async def test_a_response_that_breaks_off_is_not_stored_and_nobody_waits_for_it() -> None:
    origin = Origin()
    origin.breaks = True
    one, other, _ = two(origin)
    with pytest.raises(ConnectionError):
        await one.get("/")
    origin.breaks = False
    assert (await other.get("/")).text == "body 2"
    short = Origin()
    short.headers.append(("content-length", "100"))
    assert not await is_stored(short)


async def test_a_hit_costs_one_command_and_what_is_not_stored_soon_none() -> None:
    store, origin = CountingStore(), Origin()
    one = instance(origin, store)
    await one.get("/")
    store.calls.clear()
    assert "hit" in (await one.get("/")).headers["cache-status"]
    assert store.calls == ["get"]
    private = instance(Origin("private"), store)
    await private.get("/private")
    store.calls.clear()
    for _ in range(5):
        await private.get("/private")
    assert store.calls == []


async def test_other_protocols_and_methods_pass_through() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    middleware = CacheMiddleware(app, store=MemoryStore(), instances=1)
    for kind in ("lifespan", "websocket"):
        await middleware({"type": kind}, None, None)  # type: ignore[arg-type]
    assert seen == ["lifespan", "websocket"]
    origin = Origin()
    one, _, _ = two(origin)
    await one.get("/")
    await one.options("/")
    assert (await one.get("/")).text == "body 1"


def test_its_home_is_known_before_it_is_built_and_settings_are_looked_at() -> None:
    store = MemoryStore()
    middleware = CacheMiddleware(Origin(), store=store, instances=1)
    assert list(middleware.homes()) == list(CacheMiddleware.homes_declared(store=store, max_body_bytes=1))
    assert middleware.homes()[0].kind == "cache"
    for wrong in (
        {"max_body_bytes": 1 << 20},
        {"cache_name": "a b"},
        {"cache_name": ""},
        {"prefix": "\n"},
        {"lease_s": 0},
    ):
        with pytest.raises(SettingError):
            CacheMiddleware(Origin(), store=store, instances=1, **wrong)  # type: ignore[arg-type]


async def test_where_the_store_is_away_requests_pass_through_and_304_still_works() -> None:
    store, origin = CountingStore(), Origin()
    origin.body = lambda: [b"same"]
    one = instance(origin, store)
    store.is_away = True
    first = await one.get("/")
    assert (first.text, first.headers["cache-status"]) == ("same", "fungible; fwd=bypass")
    assert (await one.get("/", headers={"if-none-match": first.headers["etag"]})).status_code == 304
    assert (await one.post("/")).status_code == 200
    assert len(store.calls) == 1


async def test_what_was_changed_while_the_store_was_away_is_ended_when_it_is_back() -> None:
    store, origin = CountingStore(), Origin("max-age=600")
    one = instance(origin, store)
    await one.get("/")
    store.is_away = True
    await one.post("/")
    store.is_away = False
    async with asyncio.timeout(30):
        while (await one.get("/", headers={"cache-control": "only-if-cached"})).status_code == 200:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
