"""The store is away: what each limit's `on_unavailable` says holds, and ends by itself."""

import asyncio
import logging
from collections.abc import Iterator

import pytest
from limit_asking import Events, Time, WatchedStore, application, ask, limit_of
from servers import RedisServer

from fungible.limits import Limiter
from fungible.limits.outages import ASK_AGAIN_S
from fungible.stores import open_store
from fungible.stores.memory import MemoryStore

RETURNS_WITHIN_S = 30


def away(clock: Time) -> WatchedStore:
    store = WatchedStore(MemoryStore(now=clock))
    store.away = True
    return store


def limiter_over(store: WatchedStore, clock: Time, *, instances: int = 1, events: Events | None = None) -> Limiter:
    return Limiter(store, instances=instances, monotonic=clock, now=clock, on_event=events or Events())


async def test_open_allows_everything() -> None:
    clock = Time()
    limiter, limit = limiter_over(away(clock), clock), limit_of(2, on_unavailable="open")
    answers = [await limiter.take(limit) for _ in range(20)]
    assert {(answer.allowed, answer.counted) for answer in answers} == {(True, "nowhere")}


async def test_closed_allows_nothing() -> None:
    clock = Time()
    limiter, limit = limiter_over(away(clock), clock), limit_of(2, on_unavailable="closed")
    answers = [await limiter.take(limit) for _ in range(20)]
    assert {(answer.allowed, answer.counted) for answer in answers} == {(False, "nowhere")}
    assert answers[0].retry_after_s > 0


@pytest.mark.parametrize(
    ("limit", "instances", "each"), [(100, 4, 25), (100, 3, 33), (5, 3, 1), (2, 5, 1), (10, 1, 10)]
)
async def test_share_allows_each_instance_its_part(limit: int, instances: int, each: int) -> None:
    clock = Time()
    limiter = limiter_over(away(clock), clock, instances=instances)
    shared = limit_of(limit, on_unavailable="share")
    answers = [await limiter.take(shared, "ada") for _ in range(limit + 5)]
    assert sum(answer.allowed for answer in answers) == each
    assert {answer.counted for answer in answers} == {"here"}
    assert (await limiter.take(shared, "grace")).allowed


async def test_the_shares_of_all_instances_come_back_at_the_limits_rate() -> None:
    clock = Time()
    instances = [limiter_over(away(clock), clock, instances=4) for _ in range(4)]
    shared = limit_of(100, per_s=100, on_unavailable="share")

    async def flood() -> int:
        return sum([(await each.take(shared)).allowed for each in instances for _ in range(60)])

    assert await flood() == 100
    clock.now_s += 40.01
    assert await flood() == 40


async def test_a_share_is_never_less_than_one_request_costs() -> None:
    clock = Time()
    limiter = limiter_over(away(clock), clock, instances=10)
    shared = limit_of(20, cost=5, on_unavailable="share")
    assert [(await limiter.take(shared)).allowed for _ in range(2)] == [True, False]


@pytest.mark.parametrize("instances", [2, 1000])
@pytest.mark.parametrize(("limit", "burst"), [(1, 1), (1, 10), (10, 1), (999_999_999_999_999, 1)])
async def test_a_share_of_the_slowest_limit_is_a_limit_too(instances: int, limit: int, burst: int) -> None:
    clock = Time()
    limiter = limiter_over(away(clock), clock, instances=instances)
    shared = limit_of(limit, per_s=3.1e8, burst=burst, on_unavailable="share")
    answers = [await limiter.take(shared) for _ in range(burst + 1)]
    assert answers[0].allowed
    assert not answers[-1].allowed
    assert {answer.counted for answer in answers} == {"here"}


async def test_while_it_is_away_one_request_a_second_asks_it_and_the_others_do_not_wait() -> None:
    clock = Time()
    store, limit = away(clock), limit_of(on_unavailable="open")
    limiter = limiter_over(store, clock)
    for _ in range(50):
        await limiter.take(limit)
    assert len(store.calls) == 1
    clock.now_s += ASK_AGAIN_S
    for _ in range(50):
        await limiter.take(limit)
    assert len(store.calls) == 2


async def test_it_is_counted_by_all_again_when_the_store_is_back() -> None:
    clock = Time()
    store, limit = away(clock), limit_of(2, on_unavailable="share")
    limiter = limiter_over(store, clock)
    await limiter.take(limit)
    store.away = False
    clock.now_s += ASK_AGAIN_S
    answers = [await limiter.take(limit) for _ in range(3)]
    assert [(answer.allowed, answer.counted) for answer in answers] == [
        (True, "everywhere"),
        (True, "everywhere"),
        (False, "everywhere"),
    ]


async def test_an_outage_is_one_line_in_the_log_and_its_end_another(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="fungible.limits")
    clock, events = Time(), Events()
    store, limit = away(clock), limit_of(on_unavailable="open")
    limiter = limiter_over(store, clock, events=events)
    for _ in range(5):
        for _ in range(20):
            await limiter.take(limit)
        clock.now_s += ASK_AGAIN_S
    assert len(store.calls) == 5
    store.away = False
    for _ in range(20):
        await limiter.take(limit, "other", cost=1)
    assert [record.getMessage() for record in caplog.records if record.name == "fungible.limits"] == [
        "the store memory: is unavailable: it is switched off; limits go by on_unavailable until it answers",
        "the store answers again; limits are counted by all instances together",
    ]
    assert [name for name in events.names if name != "refused"] == ["store_unavailable", "store_back"]


async def test_a_call_lost_with_its_connection_is_no_outage() -> None:
    clock, events = Time(), Events()
    store = WatchedStore(MemoryStore(now=clock))
    limiter, limit = limiter_over(store, clock, events=events), limit_of(50, on_unavailable="closed")
    asked, answered = asyncio.Event(), asyncio.Event()

    class Slow:
        """Loses the first call, after another was answered."""

        async def take(self, *arguments: object, **options: object) -> object:
            asked.set()
            await answered.wait()
            store.away = True
            try:
                return await WatchedStore.__getattr__(store, "take")(*arguments, **options)
            finally:
                store.away = False

    limiter._store, slow = Slow(), limiter._store  # type: ignore[assignment]
    lost = asyncio.create_task(limiter.take(limit))
    await asked.wait()
    limiter._store = slow
    assert (await limiter.take(limit)).allowed
    answered.set()
    assert (await lost).counted == "nowhere"
    assert (await limiter.take(limit)).allowed
    assert "store_unavailable" not in events.names


async def test_requests_get_503_or_their_answer_as_the_limit_says() -> None:
    store = WatchedStore()
    store.away = True
    closed = await ask(application(limit_of(on_unavailable="closed"), store=store))
    assert (closed.status, closed.headers["retry-after"]) == (503, "1")
    assert b"temporary-reduced-capacity" in closed.body
    assert b'"code": "store_unavailable"' in closed.body
    assert "ratelimit" not in closed.headers
    opened = await ask(application(limit_of(on_unavailable="open"), store=store))
    assert (opened.status, opened.headers["ratelimit-policy"]) == (200, '"api";q=2;w=3600')
    assert "ratelimit" not in opened.headers
    shared = await ask(application(limit_of(on_unavailable="share"), store=store))
    assert (shared.status, shared.headers["ratelimit"]) == (200, '"api";r=1;t=1800')


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[RedisServer]:
    redis_server.reset()
    yield redis_server
    redis_server.revive()


@pytest.mark.parametrize("hurt", ["kill", "pause"])
@pytest.mark.parametrize(("policy", "status"), [("open", 200), ("closed", 503), ("share", 200)])
async def test_a_redis_that_is_killed_or_silent_is_no_error_and_counts_when_it_returns(
    redis: RedisServer, hurt: str, policy: str, status: int
) -> None:
    store = open_store(redis.url, timeout_s=0.3)
    limit = limit_of(3, on_unavailable=policy)
    app = application(limit, store=store)
    assert (await ask(app)).status == 200
    getattr(redis, hurt)()
    statuses = [answer.status for answer in await asyncio.gather(*(ask(app) for _ in range(2)))]
    assert statuses == [status, status]
    redis.revive()
    async with asyncio.timeout(RETURNS_WITHIN_S):
        while (await app.limiter.take(limit, "somebody")).counted != "everywhere":  # noqa: ASYNC110
            # Reconnects wait a while, and so does who was told that it is away.
            await asyncio.sleep(0.02)
    assert (await ask(app, client=("192.0.2.9", 1))).headers["ratelimit"] == '"api";r=2;t=2400'
    await store.aclose()
