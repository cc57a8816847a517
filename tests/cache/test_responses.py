"""A shared cache as RFC 9111 describes it: what is stored, and for whom it is used."""

import asyncio

import pytest
from contracts.backends import Backend
from starlette.authentication import BaseUser

from cache.asking import Origin, instance, is_stored, two
from cache.working import CountingStore
from fungible.core.callers import SUBJECT


async def test_a_response_is_used_by_another_instance_for_as_long_as_it_is_fresh(backend: Backend) -> None:
    origin = Origin()
    one, other = (instance(origin, backend.open(), now=backend.now) for _ in range(2))
    first = await one.get("/products?page=1")
    assert first.headers["cache-status"] == "fungible; fwd=uri-miss; stored"
    backend.advance(10)
    second = await other.get("/products?page=1")
    assert (second.text, second.headers["cache-status"][:19]) == ("body 1", "fungible; hit; ttl=")
    assert 10 <= int(second.headers["age"]) <= 15
    assert second.headers["date"] == first.headers["date"]
    assert (await other.get("/products?page=2")).text == "body 2"
    backend.advance(60)
    third = await one.get("/products?page=1")
    assert (third.text, "fwd=" in third.headers["cache-status"]) == ("body 3", True)


@pytest.mark.parametrize(
    ("control", "stored"),
    [
        (None, False),
        ("public", False),
        ("max-age=60", True),
        ("s-maxage=60", True),
        ("max-age=0, s-maxage=60", True),
        ("max-age=60, s-maxage=0", False),
        ("max-age=0", False),
        ("max-age=sixty", False),
        ("max-age=60, private", False),
        ('max-age=60, private="x"', False),
        ("max-age=60, no-store", False),
        ("max-age=60, no-cache", False),
        ("max-age=60, no-store, must-understand", True),
    ],
)
async def test_what_a_response_says_of_itself_decides(control: str | None, stored: bool) -> None:
    assert await is_stored(Origin(control)) is stored


async def test_expires_counts_where_max_age_is_missing() -> None:
    for expires, stored in (
        ("Fri, 15 Jan 2027 08:01:00 GMT", True),
        ("Fri, 15 Jan 2027 07:59:00 GMT", False),
        ("0", False),
    ):
        origin = Origin(None)
        origin.headers = [("expires", expires), ("date", "Fri, 15 Jan 2027 08:00:00 GMT")]
        assert await is_stored(origin) is stored


async def test_a_default_lifetime_is_given_only_where_asked_for() -> None:
    assert await is_stored(Origin(None), default_ttl_s=60)
    failed = Origin(None)
    failed.status = 302
    assert not await is_stored(failed, default_ttl_s=60)


@pytest.mark.parametrize(
    ("control", "stored"),
    [("max-age=60", False), ("max-age=60, public", True), ("s-maxage=60", True), ("max-age=60, must-revalidate", True)],
)
async def test_an_authorized_response_is_stored_only_if_it_says_so(control: str, stored: bool) -> None:
    assert await is_stored(Origin(control), {"authorization": "Bearer x"}) is stored
    origin = Origin(control)
    origin.touches = lambda scope: scope.update({SUBJECT: "ada"}) if origin.count == 1 else None
    assert await is_stored(origin) is stored


class Nameless(BaseUser):
    """A user who is authenticated, and of whom nobody can say who it is."""

    is_authenticated = True


async def test_a_response_to_a_user_who_can_not_be_told_from_others_is_stored_only_if_it_says_so() -> None:
    for control, stored in (("max-age=60", False), ("max-age=60, public", True)):
        origin = Origin(control)
        origin.touches = lambda scope, origin=origin: scope.update(user=Nameless()) if origin.count == 1 else None
        assert await is_stored(origin) is stored


async def test_what_is_made_for_one_visitor_is_not_stored_unless_told() -> None:
    class Session(dict[str, str]):
        accessed = True

    for header in (("set-cookie", "id=1"), ("vary", "Cookie"), ("vary", "Authorization")):
        origin = Origin()
        origin.headers.append(header)
        assert not await is_stored(origin)
        assert await is_stored(origin, store_personal=True)
    origin = Origin()
    origin.touches = lambda scope: scope.update(session=Session())
    assert not await is_stored(origin)


@pytest.mark.parametrize("status", [206, 304, 400, 401, 403, 500, 503])
async def test_statuses_that_say_nothing_to_others_are_not_stored(status: int) -> None:
    origin = Origin()
    origin.status = status
    assert not await is_stored(origin)


async def test_a_missing_page_is_stored() -> None:
    origin = Origin()
    origin.status = 404
    assert await is_stored(origin)


async def test_responses_vary_by_the_fields_they_name_and_never_by_a_star() -> None:
    origin = Origin()
    origin.headers.append(("vary", "Accept-Language, accept-encoding"))
    one, other, _ = two(origin)
    german = {"accept-language": "de", "accept-encoding": "gzip"}
    english = {"accept-language": "en", "accept-encoding": "gzip"}
    assert [(await one.get("/", headers=each)).text for each in (german, english)] == ["body 1", "body 2"]
    assert [(await other.get("/", headers=each)).text for each in (german, english)] == ["body 1", "body 2"]
    missed = await other.get("/", headers={**german, "accept-encoding": "br"})
    assert (missed.text, missed.headers["cache-status"]) == ("body 3", "fungible; fwd=vary-miss; stored")
    await other.post("/")
    assert (await one.get("/", headers=german)).text == "body 5"
    assert (await one.get("/", headers=english)).text == "body 6"
    star = Origin()
    star.headers.append(("vary", "*"))
    assert not await is_stored(star)


async def test_responses_that_come_to_vary_by_more_are_told_apart_from_then_on() -> None:
    origin = Origin()
    one, other, clock = two(origin)
    origin.headers.append(("vary", "a"))
    await one.get("/", headers={"a": "1"})
    origin.headers.append(("vary", "b"))
    await one.get("/", headers={"a": "2", "b": "1"})
    clock.time_s += 1
    assert (await other.get("/", headers={"a": "2", "b": "1"})).text == "body 2"
    assert (await other.get("/", headers={"a": "2", "b": "2"})).text == "body 3"


async def test_fields_can_be_made_part_of_the_key() -> None:
    origin = Origin()
    one, other, _ = two(origin, key_headers=["X-Tenant"])
    for tenant, body in (("a", "body 1"), ("b", "body 2"), ("a", "body 1")):
        assert (await one.get("/", headers={"x-tenant": tenant})).text == body
        assert (await other.get("/", headers={"x-tenant": tenant})).text == body


@pytest.mark.parametrize(
    "headers",
    [
        {"x-forwarded-host": "evil.example"},
        {"x-forwarded-proto": "http"},
        {"forwarded": "for=1.2.3.4;host=evil.example"},
        {"x-original-url": "/admin"},
        {"x-http-method-override": "DELETE"},
        {"host": "evil.example"},
    ],
)
async def test_what_a_request_is_routed_by_never_reaches_those_who_have_not_sent_it(headers: dict[str, str]) -> None:
    origin = Origin()
    one, other, _ = two(origin)
    assert (await one.get("/", headers=headers)).text == "body 1"
    assert (await other.get("/")).text == "body 2"
    assert (await other.get("/", headers=headers)).text == "body 1"


PROXIES = [
    {"x-forwarded-host": "shop.example", "x-forwarded-server": "a", "x-forwarded-port": "443"},
    {"x-forwarded-host": "www.shop.example", "x-forwarded-server": "b", "x-forwarded-for": "1.2.3.4"},
    {"forwarded": "host=shop.example;proto=https"},
    {},
]


@pytest.mark.parametrize("vary", [None, "accept-language"])
async def test_what_is_changed_through_one_proxy_is_ended_for_all_of_them(vary: str | None) -> None:
    origin = Origin()
    if vary is not None:
        origin.headers.append(("vary", vary))
    one, other, _ = two(origin)
    for client in (one, other, one):
        for proxy in PROXIES:
            await client.get("/", headers=proxy)
    before = origin.count
    for proxy in PROXIES:
        assert "hit" in (await other.get("/", headers=proxy)).headers["cache-status"]
    for writer in PROXIES:
        await one.put("/", headers=writer)
        bodies = [(await other.get("/", headers=proxy)).text for proxy in PROXIES]
        for number, (proxy, body) in enumerate(zip(PROXIES, bodies, strict=True)):
            assert int(body.removeprefix("body ")) > before, (writer, number)
            assert (await one.get("/", headers=proxy)).status_code == 200
        before = origin.count


async def test_where_all_come_by_one_way_a_hit_costs_one_command_and_two_where_they_do_not() -> None:
    store, origin = CountingStore(), Origin()
    client = instance(origin, store)
    for proxy, commands in ((PROXIES[0], ["get"]), (PROXIES[1], ["get", "get"]), (PROXIES[0], ["get", "get"])):
        await client.get("/", headers=proxy)
        store.calls.clear()
        assert "hit" in (await client.get("/", headers=proxy)).headers["cache-status"]
        assert store.calls == commands
    assert origin.count == 2


async def test_who_comes_by_another_way_and_gets_what_is_not_stored_takes_nothing_from_the_others() -> None:
    origin = Origin()
    one, other, _ = two(origin)
    await one.get("/")
    origin.headers = [("cache-control", "no-store")]
    for _ in range(2):
        await one.get("/", headers={"x-forwarded-host": "evil.example"})
    for client in (one, other):
        assert (await client.get("/")).text == "body 1"


async def test_the_name_of_the_proxy_tells_no_requests_apart() -> None:
    origin = Origin()
    one, other, _ = two(origin)
    await one.get("/", headers={"x-forwarded-server": "a"})
    assert (await other.get("/", headers={"x-forwarded-server": "b"})).text == "body 1"


async def test_whom_a_proxy_forwards_for_is_no_part_of_the_key_and_neither_is_the_case_of_the_host() -> None:
    origin = Origin()
    one, other, _ = two(origin)
    await one.get("/", headers={"forwarded": "for=1.2.3.4", "x-forwarded-for": "1.2.3.4", "host": "shop.example:80"})
    answer = await other.get(
        "/", headers={"forwarded": "for=4.3.2.1", "x-forwarded-for": "4.3.2.1", "host": "SHOP.example"}
    )
    assert answer.text == "body 1"


async def test_a_request_with_a_body_a_range_or_two_hosts_is_none_for_a_cache() -> None:
    origin = Origin()
    one, other, _ = two(origin)
    await one.get("/")
    for headers in ({"range": "bytes=0-1"}, {"if-match": '"a"'}, {"content-length": "1"}):
        answer = await other.get("/", headers=headers)
        assert "fwd=bypass" in answer.headers["cache-status"]
    hosts = [("host", "shop.example"), ("host", "evil.example")]
    assert "fwd=bypass" in (await other.get("/", headers=hosts)).headers["cache-status"]
    assert origin.count == 5


@pytest.mark.parametrize(
    ("control", "used"),
    [
        ("no-cache", False),
        ("no-store", False),
        ("max-age=0", False),
        ("max-age=9", False),
        ("max-age=11", True),
        ("min-fresh=49", True),
        ("min-fresh=51", False),
        ("max-stale", True),
        ("only-if-cached", True),
    ],
)
async def test_what_a_request_says_is_honoured(control: str, used: bool) -> None:
    origin = Origin()
    one, other, clock = two(origin)
    await one.get("/")
    clock.time_s += 10
    answer = await other.get("/", headers={"cache-control": control})
    assert (answer.text == "body 1") is used
    if not used and control != "no-store":
        assert (await one.get("/")).text == "body 2", "what it has brought is stored for the others"


async def test_pragma_counts_where_cache_control_is_missing() -> None:
    origin = Origin()
    one, _, _ = two(origin)
    await one.get("/")
    assert (await one.get("/", headers={"pragma": "no-cache"})).text == "body 2"
    assert (await one.get("/", headers={"pragma": "no-cache", "cache-control": "max-age=60"})).text == "body 2"


async def test_only_what_is_stored_may_be_asked_for() -> None:
    origin = Origin()
    one, _, clock = two(origin)
    answer = await one.get("/", headers={"cache-control": "only-if-cached"})
    assert (answer.status_code, answer.json()["code"], origin.count) == (504, "not_cached", 0)
    await one.get("/")
    clock.time_s += 61
    assert (await one.get("/", headers={"cache-control": "only-if-cached"})).status_code == 504
    answer = await one.get("/", headers={"cache-control": "only-if-cached, max-stale=5"})
    assert (answer.text, answer.headers["age"], answer.headers["cache-status"]) == (
        "body 1",
        "61",
        "fungible; hit; ttl=-1",
    )


@pytest.mark.parametrize("said", ["max-age=60, must-revalidate", "s-maxage=60", "max-age=60, proxy-revalidate"])
async def test_a_client_does_not_get_what_is_stale_where_the_response_forbids_it(said: str) -> None:
    origin = Origin(f"{said}, stale-if-error=600")
    one, _, clock = two(origin)
    await one.get("/")
    clock.time_s += 61
    assert (await one.get("/", headers={"cache-control": "max-stale"})).text == "body 2"


async def test_a_stale_response_is_used_while_one_instance_gets_the_next() -> None:
    origin = Origin("max-age=60, stale-while-revalidate=30")
    one, other, clock = two(origin)
    await one.get("/")
    clock.time_s += 70
    origin.go.clear()
    origin.begun.clear()
    for client in (one, other, one, other):
        assert (await client.get("/")).text == "body 1"
    await origin.begun.wait()
    assert origin.count == 2
    origin.go.set()
    async with asyncio.timeout(30):
        while (answer := await other.get("/")).text == "body 1":  # noqa: ASYNC110 - it is got in the background
            await asyncio.sleep(0.005)
    assert (answer.text, origin.count) == ("body 2", 2)
    clock.time_s += 100
    assert (await other.get("/")).text == "body 3", "after that time it is used no more"


@pytest.mark.parametrize("how", ["status", "raises"])
async def test_a_stale_response_is_used_where_the_application_fails(how: str) -> None:
    origin = Origin("max-age=60, stale-if-error=600")
    one, other, clock = two(origin)
    await one.get("/")
    clock.time_s += 100
    if how == "status":
        origin.status = 503
    else:
        origin.raises = RuntimeError("broken")
    for client in (one, other, one):
        answer = await client.get("/")
        assert (answer.status_code, answer.text, answer.headers["cache-status"]) == (
            200,
            "body 1",
            "fungible; hit; ttl=-40",
        )
    assert origin.count == 2, "it is left alone for a moment"
    clock.time_s += 600
    if how == "status":
        assert (await one.get("/")).status_code == 503
    else:
        with pytest.raises(RuntimeError, match="broken"):
            await one.get("/")
        origin.raises = None
        assert (await one.get("/")).status_code == 200


async def test_the_age_of_a_response_that_comes_from_another_cache_counts() -> None:
    origin = Origin()
    origin.headers += [("age", "50"), ("cache-status", "other; hit")]
    one, other, clock = two(origin)
    await one.get("/")
    clock.time_s += 9
    answer = await other.get("/")
    assert (answer.headers["age"], answer.headers["cache-status"]) == ("59", "other; hit, fungible; hit; ttl=1")
    clock.time_s += 1
    assert (await other.get("/")).text == "body 2"
