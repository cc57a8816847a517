"""The client half: renewed early and once, a 401 tried again once, and no refresh token spent twice by its own side."""

import asyncio
import gzip
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from contracts.backends import Backend
from contracts.clock import Clock
from contracts.processes import Processes
from starlette.responses import JSONResponse, Response

from fungible.core.errors import SettingError
from fungible.core.keyring import key_ring
from fungible.core.leases import Term
from fungible.core.sealing import Sealer
from fungible.stores.memory import MemoryStore
from fungible.tokens import client_renewing
from fungible.tokens.client import (
    ClientTokens,
    Held,
    HeldUnreadableError,
    MemoryHolder,
    OAuthRefresh,
    RefreshFailedError,
    RefreshingAuth,
    SignInNeededError,
    StoreHolder,
    TokenHolder,
)
from tokens.servers import HTTPServer, http
from tokens.use.conftest import KINDS
from tokens.use.service import SECRET, Service


async def signed_in(**options: Any) -> tuple[Service, MemoryHolder, ClientTokens]:
    service = Service(MemoryStore())
    tokens = await service.sign_in(now=time.time(), **options)
    return service, MemoryHolder(tokens), tokens


async def test_while_tokens_are_good_nothing_is_renewed_and_the_holder_is_asked_once() -> None:
    service, holder, tokens = await signed_in()
    loads: list[int] = []

    class Watched(MemoryHolder):
        async def load(self) -> Held | None:
            loads.append(1)
            return await holder.load()

    async with service.http(service.auth(Watched())) as http:
        for _ in range(5):
            assert (await http.get("/orders")).text == tokens.access_token
    assert (service.refreshes, len(loads)) == (0, 1)


async def test_tokens_are_renewed_before_they_end_and_once_for_all_requests() -> None:
    service, holder, tokens = await signed_in()
    clock = Clock()
    async with service.http(service.auth(holder, now=clock, early_s=30, chance=lambda: 0.5)) as http:
        clock.time_s += 250
        assert (await http.get("/orders")).text == tokens.access_token
        clock.time_s += 6
        answers = await asyncio.gather(*(http.get("/orders") for _ in range(50)))
        # Those that came while one of them renewed went on with what was still good.
        assert {answer.status_code for answer in answers} == {200}
        assert (await http.get("/orders")).text != tokens.access_token
    assert service.refreshes == 1


async def test_requests_that_find_the_tokens_ended_all_wait_for_one_renewal() -> None:
    service, holder, tokens = await signed_in()
    clock = Clock()
    async with service.http(service.auth(holder, now=clock)) as http:
        await http.get("/orders")
        clock.time_s += 400
        answers = await asyncio.gather(*(http.get("/orders") for _ in range(50)))
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].text != tokens.access_token
    assert service.refreshes == 1


async def test_a_request_that_is_refused_is_sent_once_more_with_its_body() -> None:
    service, holder, tokens = await signed_in()
    service.refused.add(tokens.access_token)
    async with service.http(service.auth(holder)) as http:
        answer = await http.post("/orders", content=b"one book")
    assert (answer.status_code, service.orders, service.refreshes) == (200, [b"one book"], 1)


async def test_requests_that_are_refused_together_renew_once() -> None:
    service, holder, tokens = await signed_in()
    service.refused.add(tokens.access_token)
    async with service.http(service.auth(holder)) as http:
        answers = await asyncio.gather(*(http.post("/orders", content=b"x") for _ in range(20)))
    assert [answer.status_code for answer in answers] == [200] * 20
    assert service.refreshes == 1


async def test_a_server_that_refuses_everything_is_asked_twice_and_no_more() -> None:
    service, holder, _ = await signed_in()
    asked: list[int] = []

    async def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(1)
        return httpx.Response(401)

    transport = httpx.MockTransport(refuse)
    async with httpx.AsyncClient(transport=transport, auth=service.auth(holder)) as http:
        assert (await http.get("https://api.example/orders")).status_code == 401
        assert (len(asked), service.refreshes) == (2, 1)
        # Nor does each of its refusals spend a refresh token.
        for _ in range(5):
            assert (await http.get("https://api.example/orders")).status_code == 401
    assert (len(asked), service.refreshes) == (7, 1)


async def test_a_refusal_that_is_not_about_the_token_is_left_as_it_is() -> None:
    service, holder, _ = await signed_in()
    transport = httpx.MockTransport(lambda request: httpx.Response(401, headers={"WWW-Authenticate": "Basic"}))
    async with httpx.AsyncClient(transport=transport, auth=service.auth(holder)) as http:
        assert (await http.get("https://api.example/orders")).status_code == 401
    assert service.refreshes == 0


async def test_a_body_that_is_streamed_is_not_sent_again() -> None:
    service, holder, tokens = await signed_in()
    service.refused.add(tokens.access_token)

    async def body() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"book"

    async with service.http(service.auth(holder)) as http:
        assert (await http.post("/orders", content=body())).status_code == 401
        assert (service.orders, service.refreshes) == ([], 0)
        # But the next one has other tokens from the start.
        assert (await http.post("/orders", content=body())).status_code == 200
    assert (service.orders, service.refreshes) == ([b"one book"], 1)


async def test_tokens_go_to_the_origin_they_are_for_alone() -> None:
    service, holder, _ = await signed_in()
    seen: list[str | None] = []

    async def serve(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("authorization"))
        return httpx.Response(200)

    auth = service.auth(holder, only_to="https://api.example")
    async with httpx.AsyncClient(transport=httpx.MockTransport(serve), auth=auth) as http:
        for url in ("https://api.example/x", "https://evil.example/", "http://api.example/", "https://api.example:1/"):
            await http.get(url)
    assert [each is not None for each in seen] == [True, False, False, False]


async def test_who_is_cancelled_while_renewing_does_not_take_the_others_with_them() -> None:
    service, holder, tokens = await signed_in()
    service.refused.add(tokens.access_token)
    reached, go = asyncio.Event(), asyncio.Event()

    async def hold() -> Response | None:
        reached.set()
        await go.wait()
        return None

    service.meets = hold
    async with service.http(service.auth(holder)) as http:
        first = asyncio.create_task(http.get("/orders"))
        await reached.wait()
        others = [asyncio.create_task(http.get("/orders")) for _ in range(5)]
        await asyncio.sleep(0)
        first.cancel()
        others[0].cancel()
        go.set()
        answers = await asyncio.gather(*others[1:])
        with pytest.raises(asyncio.CancelledError):
            await first
    assert [answer.status_code for answer in answers] == [200] * 4
    assert service.refreshes == 1


async def test_a_refresh_token_that_is_taken_no_more_is_not_sent_again() -> None:
    service, holder, tokens = await signed_in()
    await service.tokens.end(tokens.refresh_token)
    service.refused.add(tokens.access_token)
    async with service.http(service.auth(holder)) as http:
        for _ in range(3):
            with pytest.raises(SignInNeededError):
                await http.get("/orders")
        assert service.refreshes == 1
        # Until somebody signs in anew: the holder has it, and the next refusal finds it there.
        held = await holder.load()
        anew = await service.sign_in(now=time.time())
        assert await holder.save(Held(anew), expect=held)
        assert (await http.get("/orders")).text == anew.access_token


async def test_where_the_endpoint_is_away_good_tokens_are_used_to_their_end() -> None:
    service, holder, tokens = await signed_in()
    clock = Clock()

    async def fail() -> Response | None:
        return Response("down", 502)

    service.meets = fail
    async with service.http(service.auth(holder, now=clock)) as http:
        clock.time_s += 290
        for _ in range(3):
            assert (await http.get("/orders")).text == tokens.access_token
        # Tried again after a while, and not by each request.
        assert service.refreshes == 1
        clock.time_s += 11
        with pytest.raises(RefreshFailedError, match="502"):
            await http.get("/orders")
        # What was away is there again, and nothing was lost.
        service.meets = Service(MemoryStore()).meets
        assert (await http.get("/orders")).status_code == 200


async def test_an_endpoint_that_does_not_answer_is_given_up() -> None:
    service, holder, tokens = await signed_in()
    service.refused.add(tokens.access_token)

    async def hang() -> Response | None:
        await asyncio.Event().wait()
        return None

    service.meets = hang
    async with service.http(service.auth(holder, timeout_s=0.05)) as http:
        with pytest.raises(RefreshFailedError, match="did not answer"):
            await http.get("/orders")


TOKENS = b'{"access_token": "new.new.new", "token_type": "bearer"}'


@pytest.mark.parametrize("whole", [0, 20, 80], ids=["silent at first", "in its headers", "in its body"])
async def test_an_endpoint_that_drips_is_given_up_when_the_time_for_all_of_it_is_over(whole: int) -> None:
    async with HTTPServer(lambda: http(TOKENS + b" " * 200), whole=whole) as endpoint:
        refresh = OAuthRefresh(endpoint.url, client_id="app", timeout_s=0.3)
        with pytest.raises(RefreshFailedError, match=r"no whole answer in 0\.3 s"):
            await refresh("a token")


@pytest.mark.parametrize(
    "answer",
    [http(TOKENS + b" " * (1 << 20)), http(gzip.compress(TOKENS), extra="content-encoding: gzip\r\n")],
    ids=["too long", "compressed"],
)
async def test_an_answer_that_may_have_no_bound_is_not_read(answer: bytes) -> None:
    async with HTTPServer(lambda: answer) as endpoint:
        with pytest.raises(RefreshFailedError, match="its answer"):
            await OAuthRefresh(endpoint.url, client_id="app")("a token")


@pytest.mark.parametrize(
    "answer",
    [
        JSONResponse({}),
        JSONResponse({"access_token": "x"}),
        JSONResponse({"access_token": "x", "token_type": "mac"}),
        JSONResponse([1]),
        Response("<html>"),
        Response(b"\xff"),
        JSONResponse({"error": "invalid_client"}, 401),
        JSONResponse({"error": "temporarily_unavailable\r\n"}, 400),
        Response("", 302, {"Location": "/"}),
    ],
    ids=range(9),
)
async def test_an_answer_that_has_no_token_is_no_reason_to_sign_in_anew(answer: Response) -> None:
    service, holder, tokens = await signed_in()
    service.refused.add(tokens.access_token)

    async def give() -> Response | None:
        return answer

    service.meets = give
    async with service.http(service.auth(holder)) as http:
        with pytest.raises(RefreshFailedError):
            await http.get("/orders")
    held = await holder.load()
    assert held is not None
    assert (held.tokens, held.claim) == (tokens, "")


async def test_an_endpoint_that_sends_no_refresh_token_goes_on_with_the_one_there_is() -> None:
    service, holder, tokens = await signed_in()
    service.refused.add(tokens.access_token)

    async def give() -> Response | None:
        return JSONResponse({"access_token": "new.new.new", "token_type": "bearer"})

    service.meets = give
    await service.refresh(client_secret="a b:c")(tokens.refresh_token)
    assert service.authorizations == [httpx.BasicAuth("app", "a+b%3Ac")._auth_header]
    assert "client_id" not in service.forms[0]
    renewed = await service.auth(holder)._renewing.tokens(refused=tokens.access_token)
    assert (renewed.access_token, renewed.refresh_token) == ("new.new.new", tokens.refresh_token)
    assert renewed.expires_at is None
    assert service.forms[1] == {
        "grant_type": "refresh_token",
        "client_id": "app",
        "refresh_token": tokens.refresh_token,
    }


async def test_who_has_never_signed_in_is_told_so() -> None:
    service = Service(MemoryStore())
    async with service.http(service.auth(MemoryHolder())) as http:
        with pytest.raises(SignInNeededError, match="sign in first"):
            await http.get("/orders")


def test_a_blocking_client_renews_and_tries_again_too() -> None:
    service, holder, tokens = asyncio.run(signed_in())
    service.refused.add(tokens.access_token)
    with service.blocking_http(service.auth(holder)) as http:
        assert http.post("/orders", content=b"one book").status_code == 200
        assert http.get("/orders").text != tokens.access_token
    assert (service.orders[0], service.refreshes) == (b"one book", 1)


def test_threads_and_event_loops_of_one_process_renew_once() -> None:
    service, holder, tokens = asyncio.run(signed_in())
    service.refused.add(tokens.access_token)
    auth, start = service.auth(holder), threading.Barrier(12)

    def blocking() -> int:
        start.wait()
        with service.blocking_http(auth) as http:
            return http.get("/orders").status_code

    async def several() -> list[int]:
        async with service.http(auth) as http:
            return [each.status_code for each in await asyncio.gather(*(http.get("/orders") for _ in range(5)))]

    def on_a_loop() -> list[int]:
        start.wait()
        return asyncio.run(several())

    with ThreadPoolExecutor(12) as pool:
        blocked = [pool.submit(blocking) for _ in range(6)]
        looped = [pool.submit(on_a_loop) for _ in range(6)]
        assert [each.result(60) for each in blocked] == [200] * 6
        assert [each.result(60) for each in looped] == [[200] * 5] * 6
    assert service.refreshes == 1


@pytest.mark.parametrize("backend", [kind for kind in KINDS if kind != "memory"], indirect=True)
async def test_workers_that_share_a_refresh_token_do_not_trip_reuse_detection(
    backend: Backend, processes: Processes
) -> None:
    store = backend.open()
    # Without a grace: a second use of a token, even in the same moment, would sign everybody out.
    service, holder = Service(store, grace_s=0), StoreHolder(store, "api", secret=SECRET)
    assert await holder.save(Held(await service.sign_in(now=time.time())), expect=None)
    statuses = await processes.race(backend.url, "tokens.use.racers:work", requests=5, rounds=3)
    assert [set(each) for each in statuses] == [{200}] * 3
    held = await holder.load()
    assert held is not None
    assert held.claim == ""
    await service.tokens.refresh(held.tokens.refresh_token, client="app")


async def test_a_worker_that_was_stopped_for_longer_than_its_claim_holds_does_not_spend_the_token_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Others may have spent it meanwhile, and a second use looks like a theft: the family would be revoked."""
    service, _, tokens = await signed_in()
    stopped, spent_at = Clock(), list[float]()
    monkeypatch.setattr(client_renewing, "Term", lambda lease_s: Term(lease_s, clocks=(stopped,)))
    began_s = stopped()

    class Stopping(MemoryHolder):
        """Between the claim and the look at it the process stands still, the first time."""

        async def save(self, held: Held, *, expect: Held | None) -> bool:
            saved = await super().save(held, expect=expect)
            if held.claim and stopped() == began_s:
                stopped.time_s += 60
            elif held.claim:
                spent_at.append(stopped() - began_s)
            return saved

    clock = Clock()
    clock.time_s += 400
    async with service.http(service.auth(Stopping(tokens), now=clock)) as http:
        assert (await http.get("/orders")).status_code == 200
    # The first claim was given back, and the token was spent under a second one.
    assert (service.refreshes, spent_at) == (1, [60.0])


async def test_a_worker_that_was_killed_while_renewing_leaves_a_claim_that_lapses() -> None:
    service, holder, tokens = await signed_in()
    service.refused.add(tokens.access_token)
    held = await holder.load()
    assert await holder.save(Held(tokens, claim="of the dead"), expect=held)
    async with service.http(service.auth(holder, timeout_s=0.05)) as http:
        assert (await http.get("/orders")).status_code == 200
    assert service.refreshes == 1


async def holds_one_writers_tokens(holder: TokenHolder, other: TokenHolder) -> None:
    tokens = ClientTokens(access_token="a", refresh_token="r", expires_at=1.5, obtained_at=0.5)
    assert await holder.load() is None
    assert await holder.save(Held(tokens), expect=None)
    assert not await other.save(Held(tokens), expect=None)
    mine, theirs = await holder.load(), await other.load()
    assert mine is not None
    assert theirs is not None
    assert (theirs.tokens, theirs.claim) == (tokens, "")
    assert await other.save(Held(tokens, "claimed"), expect=theirs)
    assert not await holder.save(Held(tokens), expect=mine)
    now = await holder.load()
    assert now is not None
    assert now.claim == "claimed"


async def test_a_store_holder_compares_and_sets(backend: Backend) -> None:
    await holds_one_writers_tokens(*(StoreHolder(backend.open(), "api", secret=SECRET) for _ in range(2)))


async def test_a_memory_holder_compares_and_sets() -> None:
    holder = MemoryHolder()
    await holds_one_writers_tokens(holder, holder)


async def test_what_a_store_holds_can_be_read_with_its_secret_and_under_its_name_alone() -> None:
    store = MemoryStore()
    tokens = ClientTokens(access_token="the-access-token", refresh_token="the-refresh-token")
    assert await StoreHolder(store, "one", secret=SECRET).save(Held(tokens), expect=None)
    record = await store.get("client-tokens:one")
    assert record is not None
    assert not any(b"-token" in value for value in record.fields.values())
    with pytest.raises(HeldUnreadableError):
        await StoreHolder(store, "one", secret="another secret, of 32 bytes or more").load()
    await store.put("client-tokens:two", record.fields, ttl_s=60)
    with pytest.raises(HeldUnreadableError):
        await StoreHolder(store, "two", secret=SECRET).load()


async def test_tokens_that_a_later_release_holds_are_told_to_be_unreadable() -> None:
    store = MemoryStore()
    sealer = Sealer(key_ring(SECRET), purpose="client-tokens:one")
    await store.put("client-tokens:one", {"tokens": sealer.seal(b"\x80").encode()}, ttl_s=60)
    with pytest.raises(HeldUnreadableError, match="can't be read"):
        await StoreHolder(store, "one", secret=SECRET).load()


@pytest.mark.parametrize("wrong", [{"early_s": -1}, {"timeout_s": 0}, {"only_to": "api.example"}])
def test_settings_that_can_not_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        RefreshingAuth(MemoryHolder(), Service(MemoryStore()).refresh(), **wrong)
