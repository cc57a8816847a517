"""Callers, routes, leases and fences: points B1 to B7, on every kind of store."""

import asyncio
from typing import Any

import pytest
from contracts.backends import Backend
from contracts.clock import Clock
from starlette.authentication import BaseUser

from fungible.core.callers import SUBJECT
from fungible.idempotency import Attempt, KeyReusedError, LeaseLostError, attempt_of
from fungible.idempotency.claims import Claim, Claims, Finished, Request
from fungible.idempotency.options import NOT_BEGUN, Options
from fungible.stores import StoreUnavailableError
from fungible.stores.memory import MemoryStore
from idempotency.calling import KEY, FlakyStore, Shop, call_raw, guarded, is_problem, order


class SignedIn:
    """What stands outside of the middleware, and says who is authenticated."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.subject: str | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.subject is not None:
            scope[SUBJECT] = self.subject
        await self.app(scope, receive, send)


async def test_b1_nobody_is_handed_the_answer_of_another_subject(backend: Backend) -> None:
    shop = Shop()
    app = SignedIn(guarded(shop, backend.open()))
    texts: dict[str, str] = {}
    for app.subject in ("ada", "bob", "ada", "bob"):
        text = (await order(app, headers={})).text
        assert texts.setdefault(app.subject, text) == text
    assert texts == {"ada": "order 1", "bob": "order 2"}


async def test_b1_a_subject_keeps_its_keys_when_its_token_is_renewed() -> None:
    shop = Shop()
    app = SignedIn(guarded(shop))
    app.subject = "ada"
    for token in ("Bearer 1", "Bearer 2"):
        assert (await order(app, headers={"authorization": token})).text == "order 1"


class NamedUser(BaseUser):
    """Starlette 0.41's `SimpleUser`: its `identity` is not implemented."""

    is_authenticated = True

    def __init__(self, username: str) -> None:
        self.username = username


async def test_b1_a_user_without_identity_is_told_apart_by_name_and_a_nameless_one_shares_with_nobody() -> None:
    shop = Shop()
    app = guarded(shop, anonymous="share", caller_header=None)

    async def ask(user: Any) -> Any:
        sent = await call_raw(app, [(b"idempotency-key", KEY.encode())], user=user)
        return sent[0]["status"], sent[1]["body"]

    named = [await ask(NamedUser(name)) for name in ("ada", "bob", "ada")]
    assert named == [(201, b"order 1"), (201, b"order 2"), (201, b"order 1")]
    assert (await ask(None))[1] == b"order 3"
    status, body = await ask(NamedUser(""))
    assert (status, b"idempotency_caller_unknown" in body) == (400, True)


async def test_b1_where_nobody_is_authenticated_a_header_tells_callers_apart(backend: Backend) -> None:
    shop = Shop()
    app = guarded(shop, backend.open(), caller_header="X-Api-Key")
    for name, text in (("ada", "order 1"), ("bob", "order 2"), ("ada", "order 1")):
        assert (await order(app, headers={"x-api-key": name})).text == text
    # Who is named by a header is not who has that name as a subject.
    named = SignedIn(app)
    named.subject = "ada"
    assert (await order(named, headers={})).text == "order 3"


async def test_b1_the_application_may_say_who_calls() -> None:
    shop = Shop()
    app = guarded(shop, scope=lambda scope: scope["query_string"].decode() or None)
    assert (await order(app, path="/orders?ada", headers={})).text == "order 1"
    assert (await order(app, path="/orders?bob", headers={})).text == "order 2"
    assert is_problem(await order(app), 400, "idempotency_caller_unknown")


async def test_b1_nobody_in_particular_is_refused_unless_told_otherwise() -> None:
    shop = Shop()
    assert is_problem(await order(guarded(shop), headers={}), 400, "idempotency_caller_unknown")
    assert is_problem(await order(guarded(shop), headers={"authorization": ""}), 400, "idempotency_caller_unknown")
    assert shop.effects == 0
    shared = guarded(shop, anonymous="share")
    assert (await order(shared, headers={})).text == (await order(shared, headers={})).text == "order 1"
    assert (await order(shared)).text == "order 2", "who has a name shares with nobody"


@pytest.mark.parametrize("scheme", ["Digest username=ada, nc=1", "AWS4-HMAC-SHA256 Credential=a", "negotiate YII="])
async def test_b1_credentials_that_differ_at_each_try_are_nobodys(scheme: str) -> None:
    shop = Shop()
    refused = await order(guarded(shop), headers={"authorization": scheme})
    assert is_problem(refused, 400, "idempotency_caller_unknown")
    assert scheme.split()[0].lower() in refused.json()["detail"]
    assert shop.effects == 0
    named = guarded(shop, scope=lambda scope: "ada")
    assert (await order(named, headers={"authorization": scheme})).text == "order 1"


async def test_b2_a_key_is_anothers_on_another_route_or_by_another_method(backend: Backend) -> None:
    shop = Shop()
    app = guarded(shop, backend.open())
    for method, path, text in (
        ("POST", "/orders", "order 1"),
        ("POST", "/refunds", "order 2"),
        ("PATCH", "/orders", "order 3"),
        ("POST", "/orders", "order 1"),
    ):
        assert (await order(app, method=method, path=path)).text == text


async def test_b2_one_key_at_two_hosts_is_two_requests_and_ports_do_not_matter() -> None:
    # Callers may be numbered by tenant, and tenants told apart by host: nobody is handed another tenant's answer.
    shop = Shop()
    app = guarded(shop, scope=lambda scope: "1")
    assert (await order(app, host="a.example")).text == (await order(app, host="A.example:8000")).text == "order 1"
    assert is_problem(await order(app, host="b.example"), 422, "idempotency_key_reused")
    assert (await order(app, key="v6", host="[::1]:1")).text == (await order(app, key="v6", host="[::1]")).text
    assert is_problem(await order(app, key="v6", host="[::2]"), 422, "idempotency_key_reused")
    assert shop.effects == 2


async def test_b2_applications_that_share_a_store_are_kept_apart_by_namespace(backend: Backend) -> None:
    shop, store = Shop(), backend.open()
    for namespace, text in (("", "order 1"), ("blog", "order 2"), ("", "order 1")):
        assert (await order(guarded(shop, store, namespace=namespace))).text == text


@pytest.mark.parametrize("status", sorted(NOT_BEGUN))
async def test_b3_an_answer_that_says_that_work_has_not_begun_is_not_kept(backend: Backend, status: int) -> None:
    shop = Shop()
    app = guarded(shop, backend.open())
    shop.status = status
    refused = await order(app)
    assert (refused.status_code, "idempotency-key-expires" in refused.headers) == (status, False)
    shop.status = 201
    assert (await order(app)).text == "order 2"
    assert (await order(app)).text == "order 2"


@pytest.mark.parametrize("status", [400, 403, 404, 408, 409, 422, 429, 500, 502, 503])
async def test_b3_whatever_else_a_handler_answers_may_follow_an_effect_and_is_kept(status: int) -> None:
    shop = Shop()
    app = guarded(shop)
    shop.status = status
    assert [(await order(app)).text for _ in range(2)] == ["order 1", "order 1"]


async def test_b3_what_a_stranger_is_refused_by_is_kept_for_a_short_time(backend: Backend) -> None:
    shop = Shop()
    app = SignedIn(guarded(shop, backend.open(), refusal_ttl_s=100, routes={"/once": {"after_crash": "refuse"}}))
    shop.status = 404
    for path in ("/orders", "/once"):
        await order(app, "stranger", path=path)
    app.subject = "ada"
    await order(app, "authenticated")
    app.subject = None
    shop.status = 500
    await order(app, "a 500")
    shop.status = 402

    async def keep(scope: Any) -> None:
        attempt_of(scope).keep()  # type: ignore[union-attr]

    shop.act = keep
    await order(app, "begun")
    backend.advance(101)
    shop.act = None
    assert (await order(app, "stranger")).text == "order 6"
    assert (await order(app, "stranger", path="/once")).text == "order 2"
    assert (await order(app, "a 500")).text == "order 4"
    assert (await order(app, "begun")).text == "order 5"
    app.subject = "ada"
    assert (await order(app, "authenticated")).text == "order 3"


async def test_b3_our_own_refusals_leave_nothing(backend: Backend) -> None:
    shop = Shop()
    app = guarded(shop, backend.open(), max_body_bytes=3)
    assert is_problem(await order(app, body=b"lamps"), 413, "idempotency_request_too_large")
    assert is_problem(await order(app, headers={}), 400, "idempotency_caller_unknown")
    assert (await order(app)).text == "order 1"


async def test_b3_the_application_says_which_statuses_are_kept_and_a_handler_knows_best() -> None:
    shop = Shop()
    app = guarded(shop, skip_statuses=[422], routes={"/strict": {"skip_statuses": []}})
    shop.status = 422
    assert [(await order(app)).text for _ in range(2)] == ["order 1", "order 2"]
    assert [(await order(app, path="/strict")).text for _ in range(2)] == ["order 3", "order 3"]

    async def keep(scope: Any) -> None:
        attempt_of(scope).keep()  # type: ignore[union-attr]

    async def free(scope: Any) -> None:
        attempt_of(scope).free()  # type: ignore[union-attr]

    shop.act = keep
    assert [(await order(app, "kept")).text for _ in range(2)] == ["order 4", "order 4"]
    shop.act, shop.status = free, 201
    assert [(await order(app, "freed")).text for _ in range(2)] == ["order 5", "order 6"]


def request(fingerprint: bytes = b"f", **options: Any) -> Request:
    return Request("idempotency:test", fingerprint, b"caller", Options(**options))


async def test_b4_a_live_attempt_keeps_its_key_for_longer_than_its_lease(backend: Backend) -> None:
    claims, others = Claims(backend.open()), Claims(backend.open())
    claim = await claims.claim(request(lease_s=30))
    assert isinstance(claim, Claim)
    for _ in range(4):
        backend.advance(20)
        await claims.beat(claim)
        with pytest.raises(Exception, match="under way"):
            await others.claim(request())
    await claims.finish(claim, b"done")
    found = await others.claim(request())
    assert isinstance(found, Finished)
    assert found.result == b"done"


async def test_b4_the_middleware_renews_the_lease_for_as_long_as_a_handler_runs() -> None:
    # The store's clock stands still, so that the lease can't run out between two renewals.
    clock = Clock()
    shop, store = Shop(), FlakyStore(MemoryStore(now=clock))
    shop.held = asyncio.Event()
    app = guarded(shop, store, lease_s=0.05)
    first = asyncio.create_task(order(app))
    await shop.begun.wait()
    for round_ in range(1, 4):
        await store.has_called("change", round_)
        clock.time_s += 0.04
    assert is_problem(await order(app), 409, "idempotency_unfinished")
    shop.held.set()
    assert (await first).text == (await order(app)).text == "order 1"


async def test_b4_a_renewal_that_fails_once_is_made_up_for_by_the_next() -> None:
    shop, store = Shop(), FlakyStore(MemoryStore(now=Clock()))
    shop.held = asyncio.Event()
    app = guarded(shop, store, lease_s=0.05)
    first = asyncio.create_task(order(app))
    await shop.begun.wait()
    store.away_before = {"change"}
    await store.has_called("change", 2)
    store.away_before = set()
    shop.held.set()
    assert (await first).text == (await order(app)).text == "order 1"


async def test_b4_the_key_of_a_crashed_attempt_is_free_after_its_lease_and_for_one_only(backend: Backend) -> None:
    crashed = Claims(backend.open())
    await crashed.claim(request(lease_s=30))
    others = [Claims(backend.open()) for _ in range(4)]
    backend.advance(25)
    with pytest.raises(Exception, match="under way"):
        await others[0].claim(request())
    backend.advance(6)
    found = await asyncio.gather(*(other.claim(request()) for other in others), return_exceptions=True)
    assert sum(isinstance(each, Claim) for each in found) == 1


async def test_b5_an_owner_whose_lease_was_taken_can_not_store(backend: Backend) -> None:
    slow, quick = Claims(backend.open()), Claims(backend.open())
    stale = await slow.claim(request())
    assert isinstance(stale, Claim)
    backend.advance(31)
    fresh = await quick.claim(request())
    assert isinstance(fresh, Claim)
    for attempt in (
        slow.finish(stale, b"stale"),
        slow.beat(stale),
        slow.free(stale),
        slow.finish_late(stale, b"stale"),
    ):
        with pytest.raises(LeaseLostError):
            await attempt
    assert stale.lost
    await quick.finish(fresh, b"fresh")
    with pytest.raises(LeaseLostError):
        await slow.finish_late(stale, b"stale")
    found = await slow.claim(request())
    assert isinstance(found, Finished)
    assert found.result == b"fresh"


async def test_b5_an_owner_whose_lease_ran_out_can_not_store_even_if_nobody_came(backend: Backend) -> None:
    claims = Claims(backend.open())
    claim = await claims.claim(request())
    assert isinstance(claim, Claim)
    backend.advance(31)
    with pytest.raises(LeaseLostError):
        await claims.finish(claim, b"late")
    assert isinstance(await claims.claim(request()), Claim)


async def test_b5_an_owner_who_has_freed_the_key_can_not_store(backend: Backend) -> None:
    claims = Claims(backend.open())
    first = await claims.claim(request())
    assert isinstance(first, Claim)
    stale = Claim(first.request, first.record, first.owner, first.term)
    await claims.free(first)
    second = await claims.claim(request())
    assert isinstance(second, Claim)
    with pytest.raises(LeaseLostError):
        await claims.finish(stale, b"stale")
    with pytest.raises(LeaseLostError):
        await claims.free(stale)
    await claims.finish(second, b"second")


async def test_b5_who_lost_the_lease_answers_what_was_kept_instead(backend: Backend) -> None:
    slow_shop, quick_shop = Shop(), Shop()
    slow_shop.held = asyncio.Event()
    quick_shop.parts = [b"the one that is kept"]
    slow, quick = guarded(slow_shop, backend.open()), guarded(quick_shop, backend.open())
    stale = asyncio.create_task(order(slow))
    await slow_shop.begun.wait()
    backend.advance(31)
    assert (await order(quick)).text == "the one that is kept"
    slow_shop.held.set()
    answer = await stale
    assert (answer.text, answer.headers["idempotent-replayed"]) == ("the one that is kept", "true")


async def test_b5_a_handler_can_ask_whether_it_has_lost_its_lease(backend: Backend) -> None:
    claims = Claims(backend.open())
    claim = await claims.claim(request())
    assert isinstance(claim, Claim)
    attempt = Attempt(KEY, claim.request.key, is_lost=lambda: claim.lost)
    attempt.check()
    backend.advance(31)
    with pytest.raises(LeaseLostError):
        await claims.beat(claim)
    with pytest.raises(LeaseLostError):
        attempt.check()


async def test_b5_a_lease_that_was_not_renewed_in_time_is_lost_by_the_owners_clock_alone() -> None:
    clock, store = Clock(), FlakyStore()
    claims = Claims(store, clocks=(clock,))
    claim = await claims.claim(request(lease_s=30))
    assert isinstance(claim, Claim)
    attempt = Attempt(KEY, claim.request.key, is_lost=lambda: claim.lost)
    clock.time_s += 26
    attempt.check()
    await claims.beat(claim)
    clock.time_s += 26
    attempt.check()
    # Cut off from the store, or stopped for so long: nobody could have told it.
    store.away_before = {"change"}
    with pytest.raises(StoreUnavailableError):
        await claims.beat(claim)
    clock.time_s += 2
    assert attempt.lost
    with pytest.raises(LeaseLostError):
        attempt.check()


async def test_b5_a_renewal_counts_from_when_it_was_asked_for_and_a_claim_as_well() -> None:
    clock = Clock()

    class SlowStore(FlakyStore):
        def __getattr__(self, verb: str) -> Any:
            if verb in ("put", "change"):
                clock.time_s += 20
            return super().__getattr__(verb)

    claims = Claims(SlowStore(), clocks=(clock,))
    claim = await claims.claim(request(lease_s=30))
    assert isinstance(claim, Claim)
    assert not claim.lost
    clock.time_s += 8
    assert claim.lost
    await claims.beat(claim)
    assert not claim.lost
    clock.time_s += 8
    assert claim.lost


async def test_b5_an_attempt_that_has_lost_its_lease_leaves_its_failure_to_nobody() -> None:
    """What it answers is not kept where nobody else is at work, so that a retry runs."""
    shop = Shop()
    app = guarded(shop, lease_s=30)

    async def act(scope: Any) -> None:
        attempt = attempt_of(scope)
        assert attempt is not None
        attempt._is_lost = lambda: shop.effects == 1
        attempt.check()

    shop.act = act
    assert is_problem(await order(app), 409, "idempotency_lease_lost")
    assert (await order(app)).status_code == 201


async def test_b5_one_that_finds_out_and_answers_gives_the_answer_that_is_kept() -> None:
    clock = Clock()
    store, slow, quick = MemoryStore(now=clock), Shop(), Shop()
    slow.held = asyncio.Event()
    quick.parts = [b"the one that is kept"]
    stale = guarded(slow, store)

    async def act(scope: Any) -> None:
        attempt = attempt_of(scope)
        assert attempt is not None
        await slow.held.wait()  # type: ignore[union-attr]
        attempt._is_lost = lambda: True
        with pytest.raises(LeaseLostError):
            attempt.check()

    slow.act = act
    first = asyncio.create_task(order(stale))
    await slow.begun.wait()
    clock.time_s += 31
    assert (await order(guarded(quick, store))).text == "the one that is kept"
    slow.held.set()
    assert (await first).text == "the one that is kept"


async def test_b6_replays_are_marked_and_first_answers_are_not(backend: Backend) -> None:
    shop = Shop()
    app = guarded(shop, backend.open())
    assert "idempotent-replayed" not in (await order(app)).headers
    assert (await order(app)).headers["idempotent-replayed"] == "true"


async def test_b6_calls_to_others_can_carry_a_key_that_every_attempt_derives_alike() -> None:
    seen: list[str] = []
    shop = Shop()

    async def act(scope: Any) -> None:
        attempt = attempt_of(scope)
        assert attempt is not None
        seen.append(attempt.derived_key("charge") + attempt.derived_key("mail"))
        attempt.free()

    shop.act = act
    app = guarded(shop)
    for key in (KEY, KEY, "another"):
        await order(app, key)
    assert seen[0] == seen[1] != seen[2]
    assert seen[0][:43] != seen[0][43:]


async def test_b7_expired_keys_are_removed(backend: Backend) -> None:
    claims = Claims(backend.open())
    claim = await claims.claim(request(ttl_s=60))
    assert isinstance(claim, Claim)
    await claims.finish(claim, b"done")
    with pytest.raises(KeyReusedError):
        await claims.claim(request(b"other"))
    backend.advance(61)
    assert await backend.open().get("idempotency:test") is None
    assert isinstance(await claims.claim(request(b"other")), Claim)
