"""Which requests are counted, by what, and in which order."""

from typing import Any

import pytest
from limit_asking import Events, Time, WatchedStore, application, ask, hello, limit_of
from starlette.authentication import BaseUser

from fungible.limits import (
    LimitMiddleware,
    RateLimitedError,
    all_of,
    by_address,
    by_header,
    by_route,
    by_subject,
    first_of,
    limited,
)
from fungible.stores.memory import MemoryStore

ADA, GRACE = ("192.0.2.1", 1), ("192.0.2.2", 1)


async def statuses(app: Any, *requests: dict[str, Any]) -> list[int]:
    return [(await ask(app, **request)).status for request in requests]


async def test_by_default_each_address_has_a_limit() -> None:
    app = application(limit_of(1))
    assert await statuses(app, {"client": ADA}, {"client": GRACE}, {"client": ADA}) == [200, 200, 429]


async def test_by_subject_whoever_is_authenticated_has_a_limit_and_others_are_not_counted() -> None:
    app = application(limit_of(1, by=by_subject))
    ada, grace = {"fungible.subject": "ada"}, {"fungible.subject": "grace"}
    assert await statuses(app, ada, grace, ada, {}, {}) == [200, 200, 429, 200, 200]


class NamedUser(BaseUser):
    """Starlette 0.41's `SimpleUser`: its `identity` is not implemented."""

    is_authenticated = True

    def __init__(self, username: str) -> None:
        self.username = username


async def test_by_subject_a_user_without_identity_is_counted_by_name_and_one_without_a_name_is_not() -> None:
    app = application(limit_of(1, by=by_subject))
    ada, grace, nameless = ({"user": NamedUser(name)} for name in ("ada", "grace", ""))
    assert await statuses(app, ada, grace, ada, nameless, nameless) == [200, 200, 429, 200, 200]


async def test_by_route_everybody_shares_one() -> None:
    app = application(limit_of(1, by=by_route))
    assert await statuses(app, {"path": "/a"}, {"path": "/a", "client": GRACE}, {"path": "/b"}) == [200, 429, 200]
    assert await statuses(app, {"path": "/a", "method": "POST"}) == [200]

    class Route:
        path = "/products/{id}"

    routed = {"route": Route()}
    assert await statuses(app, {"path": "/products/1", **routed}, {"path": "/products/2", **routed}) == [200, 429]


async def test_by_header_each_value_has_a_limit_and_is_not_kept() -> None:
    store = WatchedStore()
    app = application(limit_of(1, by=by_header("X-API-Key")), store=store)
    one, other = {"headers": {"X-Api-Key": "hush-hush"}}, {"headers": {"x-api-key": "another"}}
    assert await statuses(app, one, other, one, {}) == [200, 200, 429, 200]
    assert not any("hush" in key for _, key in store.calls)


async def test_by_a_function_of_ones_own() -> None:
    app = application(limit_of(1, by=lambda scope: scope["path"].strip("/") or None))
    assert await statuses(app, {"path": "/a"}, {"path": "/a"}, {"path": "/"}, {"path": "/"}) == [200, 429, 200, 200]


async def test_first_of_several_and_a_subject_named_like_an_address_is_not_counted_with_it() -> None:
    app = application(limit_of(1, by=first_of(by_subject, by_address)))
    named = {"fungible.subject": "192.0.2.1", "client": GRACE}
    assert await statuses(app, {"client": ADA}, named, named, {"client": ADA}) == [200, 200, 429, 429]


async def test_all_of_several_tells_combinations_apart() -> None:
    app = application(limit_of(1, by=all_of(by_address, by_route)))
    assert await statuses(app, {"path": "/a"}, {"path": "/b"}, {"path": "/a"}) == [200, 200, 429]
    pairs = application(limit_of(1, by=all_of(lambda scope: scope["a"], lambda scope: scope["b"])))
    assert await statuses(pairs, {"a": "x", "b": "y1:z"}, {"a": "xy1:", "b": "z"}) == [200, 200]
    assert await statuses(pairs, {"a": None, "b": "z"}, {"a": None, "b": "z"}) == [200, 200]


async def test_methods_and_paths_narrow_a_limit() -> None:
    app = application(limit_of(1, methods=("POST",), paths=("/login", "/api/*")))
    post = {"method": "POST"}
    assert await statuses(app, {"path": "/login"}, {"path": "/login"}) == [200, 200]
    assert await statuses(app, {"path": "/login", **post}, {"path": "/api/1", **post}) == [200, 429]
    assert await statuses(app, {"path": "/loginn", **post}, {"path": "/apis", **post}) == [200, 200]
    below = {"path": "/shop/login", "root_path": "/shop", **post}
    assert await statuses(app, below) == [429]


async def test_what_is_not_counted_says_nothing_and_asks_nothing() -> None:
    store = WatchedStore()
    app = application(limit_of(1, paths=("/login",)), store=store)
    answer = await ask(app, "/")
    assert set(answer.headers) == {"content-type"}
    assert store.calls == []


async def test_exempt_requests_are_not_counted() -> None:
    app = application(limit_of(1), exempt=lambda scope: scope["path"] == "/healthz")
    assert await statuses(app, {}, {"path": "/healthz"}, {"path": "/healthz"}, {}) == [200, 200, 200, 429]


async def test_who_is_over_their_own_limit_does_not_use_up_what_all_share() -> None:
    app = application(limit_of(1), limit_of(3, name="all", by=lambda scope: "all"))
    assert await statuses(app, *[{"client": ADA}] * 20) == [200] + [429] * 19
    assert (await ask(app, client=GRACE)).headers["ratelimit"].startswith('"api";r=0;t=3600, "all";r=1;')


async def test_what_an_earlier_limit_has_counted_stays_counted_if_a_later_one_refuses() -> None:
    app = application(limit_of(5), limit_of(1, name="all", by=lambda scope: "all"))
    await ask(app, client=GRACE)
    refused = [await ask(app, client=ADA) for _ in range(2)]
    assert [answer.headers["ratelimit"].partition(",")[0] for answer in refused] == ['"api";r=4', '"api";r=3']


async def test_lifespan_is_passed_through() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    await application(limit_of(), app=app)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert seen == ["lifespan"]


async def test_an_error_of_the_application_is_its_own() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("broken")

    with pytest.raises(LookupError):
        await ask(application(limit_of(), app=broken))


async def test_a_limited_function_that_refuses_is_answered_with_429() -> None:
    store = MemoryStore()
    outer = application(limit_of(10), store=store)

    @limited(outer.limiter, limit_of(1, name="mails"))
    async def send_mail() -> None:
        pass

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send_mail()
        await hello(scope, receive, send)

    outer.app = app
    assert (await ask(outer)).status == 200
    refused = await ask(outer)
    assert (refused.status, refused.headers["retry-after"]) == (429, "3600")
    assert refused.headers["ratelimit-policy"] == '"api";q=10;w=3600'
    assert b'"violated-policies": ["mails"]' in refused.body


async def test_a_limited_function_that_refuses_after_the_answer_began_is_an_error() -> None:
    outer = application(limit_of(10))
    mails = limit_of(1, name="mails")
    await outer.limiter.take(mails)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await limited(outer.limiter, mails)(hello)(scope, receive, send)

    outer.app = app
    with pytest.raises(RateLimitedError):
        await ask(outer)


async def test_metrics_are_told_which_limit_refused() -> None:
    events = Events()
    app = application(limit_of(1), on_event=events)
    await statuses(app, {}, {})
    assert events.seen == [("refused", {"limit": "api", "counted": "everywhere"})]


def test_the_doctor_sees_where_it_counts() -> None:
    store = MemoryStore()
    app = application(limit_of(), store=store)
    assert app.homes() == LimitMiddleware.homes_declared(store=store, limits=[])
    [home] = app.homes()
    assert (home.kind, home.home, home.seat) == ("rate-limit", "memory:", "LimitMiddleware")


async def test_a_clock_that_a_test_turns_ends_a_refusal() -> None:
    clock = Time()
    app = LimitMiddleware(hello, store=MemoryStore(now=clock), limits=[limit_of(1)], now=clock, monotonic=clock)
    assert await statuses(app, {}, {}) == [200, 429]
    clock.now_s += 3_600
    assert await statuses(app, {}) == [200]
