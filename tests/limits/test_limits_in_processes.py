"""Three processes, one client: exactly the limit, also if the server forgets its scripts or is killed meanwhile."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest
from contracts.backends import RedisBackend
from contracts.processes import Processes
from limit_asking import KINDS, Time, limit_of
from servers import RedisServer

from fungible.limits import Limiter
from fungible.limits.outages import ASK_AGAIN_S
from fungible.stores import open_store

PATIENT_S = 30


def added(counts: Iterable[dict[int, int]]) -> Counter[int]:
    total: Counter[int] = Counter()
    for count in counts:
        total.update(count)
    return total


@pytest.mark.parametrize("backend", [kind for kind in KINDS if kind != "memory"], indirect=True)
async def test_of_400_requests_at_3_processes_exactly_100_are_served(
    backend: RedisBackend, processes: Processes
) -> None:
    # 402, as three do not divide 400.
    got = await processes.race(backend.url, "limit_racers:requests", limit=100, each=134)
    assert added(got) == {200: 100, 429: 302}


@pytest.mark.parametrize("backend", ["redis"], indirect=True)
async def test_the_count_goes_on_if_the_server_forgets_its_scripts(backend: RedisBackend, processes: Processes) -> None:
    first = await processes.race(backend.url, "limit_racers:requests", limit=100, each=20)
    backend.forget_scripts()
    second = await processes.race(backend.url, "limit_racers:requests", limit=100, each=20)
    assert added([*first, *second]) == {200: 100, 429: 20}


@pytest.fixture
def killed(redis_server: RedisServer) -> Iterator[RedisServer]:
    redis_server.reset()
    yield redis_server
    redis_server.revive()


async def test_the_count_goes_on_if_the_server_is_killed_and_comes_back(killed: RedisServer) -> None:
    store = open_store(killed.url, timeout_s=PATIENT_S)
    clock = Time()
    limiter, limit = Limiter(store, instances=1, monotonic=clock), limit_of(100)
    before = await asyncio.gather(*(limiter.take(limit) for _ in range(60)))
    killed.kill()
    under_way = [asyncio.create_task(limiter.take(limit)) for _ in range(20)]
    await asyncio.sleep(0)
    await asyncio.to_thread(killed.start)
    during = await asyncio.gather(*under_way)
    clock.now_s += ASK_AGAIN_S
    # One finds out that it is back; the others are counted again.
    found = await limiter.take(limit)
    after = [found, *await asyncio.gather(*(limiter.take(limit) for _ in range(60)))]
    # It keeps every write that it has answered. What was lost with the connection was taken or not, and not allowed.
    lost = sum(answer.counted == "nowhere" for answer in during)
    allowed = sum(answer.allowed for answer in (*before, *during, *after))
    assert 100 - lost <= allowed <= 100
    assert not (await limiter.take(limit)).allowed
    await store.aclose()
