"""Each framework as several processes over one store: nothing is lost, nobody signed out comes back."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import RedisServer
from services import (
    DJANGO_ASGI,
    DJANGO_WSGI,
    FASTAPI,
    FLASK,
    FRAMEWORKS,
    Framework,
    Gate,
    Service,
    Visitor,
    good,
    running,
    visiting,
)

from fungible.stores.redis.link import LONGEST_WAIT_S

ADDS = 50


@pytest.fixture(scope="module", params=FRAMEWORKS, ids=str)
def service(
    request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    framework: Framework = request.param
    with running(framework, f"{redis_server.url}?timeout_s=1", tmp_path_factory.mktemp(framework.name)) as service:
        yield service


async def all_added(visitor: Visitor, count: int, path: str = "/add") -> None:
    """Has a visitor add many things in requests that have all read the session before one of them writes."""
    await visitor.add("first")
    twins = [visitor.twin() for _ in range(count)]
    async with Gate() as gate, asyncio.TaskGroup() as adding:
        for number, twin in enumerate(twins):
            adding.create_task(twin.add(number, gate.port, path=path))
        await gate.arrived(count)
        gate.open()
    session = await visitor.me()
    assert sorted(session["cart"]["items"]) == sorted(["first", *map(str, range(count))])
    assert sum(name.startswith("item-") for name in session) == count + 1
    assert session["count"] == count + 1


def test_of_many_additions_at_once_none_is_lost(service: Service) -> None:
    async def scenario() -> None:
        async with visiting(service) as visitor:
            await all_added(visitor, ADDS)

    asyncio.run(scenario())


@pytest.mark.parametrize("framework", [FASTAPI, FLASK, DJANGO_WSGI], ids=str)
def test_none_is_lost_where_the_processes_share_a_file(framework: Framework, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with visiting(service) as visitor:
            await all_added(visitor, ADDS)

    with running(framework, f"sqlite:///{tmp_path / 'sessions.db'}?timeout_s=20", tmp_path) as service:
        asyncio.run(scenario())


def test_a_request_that_began_before_a_sign_out_does_not_undo_it(service: Service) -> None:
    async def scenario() -> None:
        async with visiting(service) as visitor, Gate() as gate:
            await visitor.add("first")
            await visitor.post("/sign-in", user="ada")
            old = visitor.twin()
            slow = asyncio.create_task(old.get("/slow", gate=str(gate.port)))
            await gate.arrived(1)
            await visitor.post("/sign-out")
            assert visitor.cookies == {}
            gate.open()
            answer = await slow
            # Answered as if nothing had happened, and without a cookie that could follow that of the sign-out.
            assert answer.status_code == 200
            assert answer.json()["cart"] == {"items": ["first"]}
            assert old.set_cookies == []
            assert await old.me() == {}
            assert await visitor.me() == {}

    asyncio.run(scenario())


def test_a_sign_out_everywhere_ends_the_sessions_of_other_browsers(service: Service) -> None:
    async def scenario() -> None:
        async with visiting(service) as laptop:
            phone = laptop.twin()
            for browser in (laptop, phone):
                await browser.post("/sign-in", user="ada")
                assert (await browser.me())["user"] == "ada"
            await laptop.post("/sign-out-everywhere")
            assert await phone.me() == {}

    asyncio.run(scenario())


def test_a_sign_in_brings_a_new_id_and_the_old_one_shows_nothing_of_it(service: Service) -> None:
    async def scenario() -> None:
        async with visiting(service) as visitor:
            await visitor.add("first")
            planted = visitor.twin()
            await visitor.post("/sign-in", user="ada")
            assert visitor.cookie != planted.cookie
            session = await visitor.me()
            assert session["user"] == "ada"
            assert session["cart"] == {"items": ["first"]}
            assert "user" not in await planted.me()

    asyncio.run(scenario())


def test_an_addition_that_was_under_way_at_a_sign_in_is_not_seen_after_it_and_takes_no_cookie_back(
    service: Service,
) -> None:
    async def scenario() -> None:
        async with visiting(service) as visitor, Gate() as gate:
            await visitor.add("first")
            other_tab = visitor.twin()
            adding = asyncio.create_task(other_tab.add("second", gate.port))
            await gate.arrived(1)
            await visitor.post("/sign-in", user="ada")
            gate.open()
            await adding
            assert other_tab.set_cookies == []
            session = await visitor.me()
            assert (session["user"], session["cart"]) == ("ada", {"items": ["first"]})

    asyncio.run(scenario())


@pytest.mark.parametrize("framework", FRAMEWORKS, ids=str)
def test_a_page_that_was_read_before_a_sign_in_takes_no_cookie_back(
    framework: Framework, redis_server: RedisServer, tmp_path: Path
) -> None:
    async def scenario() -> None:
        for reads in (True, False):
            async with visiting(service) as visitor, Gate() as gate:
                await visitor.add("first")
                # One at each process: where the sign-in was, and where nobody can know of it yet.
                tabs = [visitor.twin() for _ in range(4)]
                query = {"gate": str(gate.port), **({"reads": "1"} if reads else {})}
                slow = [asyncio.create_task(tab.get("/slow", **query)) for tab in tabs]
                await gate.arrived(4)
                await visitor.post("/sign-in", user="ada")
                gate.open()
                assert [answer.status_code for answer in await asyncio.gather(*slow)] == [200] * 4
                assert [tab.set_cookies for tab in tabs] == [[]] * 4
                assert (await visitor.me())["user"] == "ada"

    with running(framework, f"{redis_server.url}?timeout_s=5", tmp_path, mode="snapshot") as service:
        asyncio.run(scenario())


def test_an_id_that_was_never_issued_is_not_taken(service: Service) -> None:
    async def scenario() -> None:
        async with visiting(service) as visitor:
            await visitor.add("first")
            (name, real), *_ = visitor.cookies.items()
            forged = real[:20] + ("A" if real[20] != "A" else "B") + real[21:]
            for chosen in (forged, "x" * len(real), "short", "%00\u00e4\"'", "A" * 8000):
                other = visitor.twin()
                other.cookies = {name: chosen}
                assert await other.me() == {}
                await other.add("mine")
                assert other.cookies[name] not in (chosen, real)
            assert (await visitor.me())["cart"] == {"items": ["first"]}

    asyncio.run(scenario())


def test_the_cookie_is_host_only_for_https_and_out_of_reach_of_scripts(service: Service) -> None:
    async def scenario() -> None:
        async with visiting(service) as visitor:
            answer = await visitor.add("first")
            (cookie,) = visitor.set_cookies
            attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
            assert cookie.startswith("__Host-session=")
            assert {"path=/", "httponly", "secure", "samesite=lax"} <= attributes
            assert not any(part.startswith("domain") for part in attributes)
            assert answer.headers["cache-control"] == "no-store"
            assert "cookie" in answer.headers["vary"].lower()

    asyncio.run(scenario())


def test_a_visitor_who_leaves_nothing_gets_no_cookie(service: Service) -> None:
    async def scenario() -> None:
        async with visiting(service) as visitor:
            await visitor.get("/plain")
            assert await visitor.me() == {}
            assert visitor.set_cookies == []

    asyncio.run(scenario())


def test_a_session_that_is_only_read_brings_no_second_cookie(service: Service) -> None:
    async def scenario() -> None:
        async with visiting(service) as visitor:
            await visitor.add("first")
            await visitor.add("second")
            await visitor.me()
            assert len(visitor.set_cookies) == 1

    asyncio.run(scenario())


def test_while_the_store_is_away_the_answer_is_503_and_afterwards_everybody_is_still_signed_in(
    service: Service, redis_server: RedisServer
) -> None:
    async def scenario() -> None:
        async with visiting(service) as visitor, Gate() as gate:
            await visitor.add("first")
            await visitor.post("/sign-in", user="ada")
            stranger = Visitor(visitor._client, service)
            cookie = dict(visitor.cookies)
            writing = asyncio.create_task(visitor.twin().get("/slow", gate=str(gate.port)))
            await gate.arrived(1)
            redis_server.kill()
            try:
                gate.open()
                for refused in await asyncio.gather(writing, visitor.get("/me"), visitor.post("/sign-out")):
                    assert refused.status_code == 503
                    assert int(refused.headers["retry-after"]) >= 1
                    assert refused.headers["cache-control"] == "no-store"
                    assert "set-cookie" not in refused.headers
                assert await stranger.me() == {}
            finally:
                redis_server.start()
            assert visitor.cookies == cookie
            # Each instance comes back by itself, in its own time: one that nobody asks looks again at the next request
            # after this. Which one of a server's workers answers is not for us to choose.
            await asyncio.sleep(2 * LONGEST_WAIT_S)
            async with asyncio.timeout(30):
                while any([(await visitor.get("/me")).status_code == 503 for _ in range(8)]):
                    continue
            session = await visitor.me()
            assert session["user"] == "ada"
            assert "late" not in session

    asyncio.run(scenario())


# --- what only some frameworks have -----------------------------------------------------------------------------------


@pytest.mark.parametrize("service", [FLASK], ids=str, indirect=True)
def test_flask_views_that_are_coroutines_lose_nothing_either(service: Service) -> None:
    async def scenario() -> None:
        async with visiting(service) as visitor:
            await all_added(visitor, ADDS, "/add-async")

    asyncio.run(scenario())


@pytest.mark.parametrize("service", [FASTAPI], ids=str, indirect=True)
def test_fastapi_endpoints_in_worker_threads_can_rotate(service: Service) -> None:
    async def scenario() -> None:
        async with visiting(service) as visitor:
            await visitor.add("first")
            before = visitor.cookie
            good(await visitor.post("/sign-in-blocking", user="ada"))
            assert visitor.cookie != before
            assert good(await visitor.get("/subject")).json() == "ada"
            assert (await visitor.me())["cart"] == {"items": ["first"]}

    asyncio.run(scenario())


@pytest.mark.parametrize("framework", [DJANGO_WSGI, DJANGO_ASGI], ids=str)
def test_djangos_own_middleware_loses_nothing_and_revives_nobody(
    framework: Framework, redis_server: RedisServer, tmp_path: Path
) -> None:
    environment = {
        **framework.environment,
        "SESSION_MIDDLEWARE": "django.contrib.sessions.middleware.SessionMiddleware",
    }
    djangos = Framework(framework.name, framework.module, framework.server, framework.needs, environment)
    if framework is DJANGO_ASGI:
        environment |= {"SYNCHRONOUS_ACCESS": ""}

    async def scenario(service: Service) -> None:
        async with visiting(service) as visitor, Gate() as gate:
            await all_added(visitor, 10)
            await visitor.post("/sign-in", user="ada")
            old = visitor.twin()
            slow = asyncio.create_task(old.get("/slow", gate=str(gate.port)))
            await gate.arrived(1)
            await visitor.post("/sign-out")
            gate.open()
            # As Django does: a 400 for the request whose session was ended.
            assert (await slow).status_code == 400
            assert await old.me() == {}

    with running(djangos, redis_server.url, tmp_path) as service:
        asyncio.run(scenario(service))
