"""Many requests at once on several instances: the application is asked once, and nobody gets what was before a change."""

import asyncio

import pytest
from contracts.backends import Backend

from cache.asking import Origin, instance
from cache.working import until


async def test_a_hundred_misses_on_three_instances_ask_the_application_once(backend: Backend) -> None:
    origin = Origin(held=True)
    clients = [instance(origin, backend.open(), now=backend.now) for _ in range(3)]
    asked = [asyncio.create_task(clients[number % 3].get("/")) for number in range(100)]
    await origin.begun.wait()
    # Time for a second one to ask the application, if it were let: too short a time would only miss that.
    await asyncio.sleep(0.05)
    origin.go.set()
    answers = await asyncio.gather(*asked)
    assert {answer.text for answer in answers} == {"body 1"}
    assert origin.count == 1
    assert sum("fwd=" in answer.headers["cache-status"] for answer in answers) == 1


async def test_requests_for_what_is_not_stored_do_not_wait_for_each_other(backend: Backend) -> None:
    origin = Origin("private", held=True)
    clients = [instance(origin, backend.open(), now=backend.now) for _ in range(2)]
    first = asyncio.create_task(clients[0].get("/"))
    await origin.begun.wait()
    origin.go.set()
    await first
    origin.go.clear()
    asked = [asyncio.create_task(clients[number % 2].get("/")) for number in range(20)]
    # All of them are with the application at the same time.
    await until(lambda: origin.count == 21)
    origin.go.set()
    assert len({answer.text for answer in await asyncio.gather(*asked)}) >= 1


async def test_one_visitors_response_does_not_keep_those_of_others_from_being_stored(backend: Backend) -> None:
    origin = Origin()
    one, other = (instance(origin, backend.open(), now=backend.now) for _ in range(2))
    for client in (one, other):
        assert (await client.get("/", headers={"authorization": "Bearer x"})).status_code == 200
    assert "stored" in (await other.get("/")).headers["cache-status"]
    assert "hit" in (await one.get("/")).headers["cache-status"]


async def test_a_response_made_while_its_target_is_changed_is_not_stored(backend: Backend) -> None:
    origin = Origin("max-age=60", held=True)
    one, other = (instance(origin, backend.open(), now=backend.now) for _ in range(2))
    before = asyncio.create_task(one.get("/"))
    await origin.begun.wait()
    origin.go.set()
    origin.go = asyncio.Event()
    slow = origin.go
    # The held request has been let go; from here on requests are held by another event.
    slow.set()
    await before
    origin.go.clear()
    changing = asyncio.create_task(other.delete("/"))
    await until(lambda: origin.count == 2)
    slow.set()
    await changing
    origin.go = asyncio.Event()
    made = asyncio.create_task(one.get("/"))
    await until(lambda: origin.count == 3)
    held, origin.go = origin.go, asyncio.Event()
    origin.go.set()
    # The application has read its data for the held request; they change now.
    assert (await other.post("/")).status_code == 200
    late = asyncio.create_task(other.get("/"))
    await until(lambda: origin.count == 5)
    held.set()
    assert (await made).text == "body 3"
    assert (await late).text == "body 5"
    for client in (one, other):
        assert (await client.get("/")).text == "body 5"


@pytest.mark.parametrize("how", ["raises", "cancelled"])
async def test_where_the_request_that_is_waited_for_fails_one_other_goes_next(backend: Backend, how: str) -> None:
    origin = Origin(held=True)
    one, other = (instance(origin, backend.open(), now=backend.now) for _ in range(2))
    first = asyncio.create_task(one.get("/"))
    await origin.begun.wait()
    others = [asyncio.create_task(client.get("/")) for client in (one, other) for _ in range(5)]
    # Time to begin to wait; who comes later finds the same.
    await asyncio.sleep(0.05)
    held, origin.go = origin.go, asyncio.Event()
    origin.go.set()
    if how == "raises":
        origin.raises = RuntimeError("broken")
        origin.touches = lambda scope: None if origin.count == 1 else setattr(origin, "raises", None)
        held.set()
    else:
        first.cancel()
    with pytest.raises((RuntimeError, asyncio.CancelledError)):
        await first
    origin.raises = None
    answers = await asyncio.gather(*others)
    assert {answer.text for answer in answers} == {"body 2"}
    assert origin.count == 2
