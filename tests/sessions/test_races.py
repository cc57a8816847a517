"""Several processes and one visitor: everything is counted, and nobody comes back who has left."""

import asyncio

import pytest
from contracts.backends import Backend
from contracts.processes import Processes

from sessions.conftest import KINDS
from sessions.visiting import Browser, sessions_over

pytestmark = pytest.mark.parametrize("backend", [kind for kind in KINDS if kind != "memory"], indirect=True)


@pytest.mark.parametrize("mode", ["stored", "snapshot"])
async def test_of_fifty_additions_in_three_processes_none_is_lost(
    backend: Backend, processes: Processes, mode: str
) -> None:
    sessions, visitor = sessions_over(backend.open(), mode=mode), Browser()
    await visitor.put(sessions, list=[], cart={"items": [], "by": {}}, n=0)
    await visitor.see(sessions)
    await processes.race(backend.url, "sessions.racers:add", cookie=visitor.cookie, tasks=17, mode=mode)
    # Whatever copy the cookie has: what stands in the store.
    seen = await visitor.see(sessions_over(backend.open(), mode=mode, freshness_s=1e-9))
    names = sorted(f"{number}.{task}" for number in range(3) for task in range(17))
    assert sorted(seen["list"]) == names
    assert sorted(seen["cart"]["items"]) == names
    assert sorted(seen["cart"]["by"]) == names
    assert {key for key in seen if key.startswith("k")} == {f"k{name}" for name in names}
    assert (seen["n"], seen["stats"]) == (51, {"views": 102})


async def test_who_signs_out_stays_out_whatever_is_under_way(backend: Backend, processes: Processes) -> None:
    sessions = sessions_over(backend.open())
    browsers = [Browser() for _ in range(50)]
    for browser in browsers:
        await browser.sign_in(sessions, "ada")
    cookies = [browser.cookie for browser in browsers]
    got = await processes.race(backend.url, "sessions.racers:leave", cookies=cookies)
    # A rotation that came first was signed out with what it had rotated; one that came later did nothing.
    for cookie in {*cookies, *(cookie for each in got for cookie in each)}:
        assert "user" not in await Browser(cookie).see(sessions)
    assert await sessions.sessions_of("ada") == []


async def test_rotations_lose_nothing_that_is_under_way(backend: Backend, processes: Processes) -> None:
    sessions, visitor = sessions_over(backend.open()), Browser()
    # The same subject before and after: who signs in is another matter.
    await visitor.sign_in(sessions, "ada")
    await visitor.put(sessions, n=0)
    [cookie, _, _] = await processes.race(backend.url, "sessions.racers:rotate", cookie=visitor.cookie, tasks=10)
    seen = await Browser(cookie).see(sessions)
    names = {f"{number}.{task}" for number in (1, 2) for task in range(10)}
    assert {key for key in seen if key[0] in "12"} == names
    assert (seen["n"], seen["turn"]) == (20, 4)
    assert [info.values["n"] for info in await sessions.sessions_of("ada")] == [20]


async def test_each_answer_to_a_double_click_on_sign_in_has_a_cookie_that_works(
    backend: Backend, processes: Processes
) -> None:
    sessions, visitor = sessions_over(backend.open()), Browser()
    await visitor.put(sessions, cart=["book"])
    cookies = await processes.race(backend.url, "sessions.racers:sign_in", cookie=visitor.cookie)
    for cookie in cookies:
        assert cookie != visitor.cookie
        assert await Browser(cookie).see(sessions) == {"cart": ["book"], "user": "ada"}
    assert await Browser(visitor.cookie).see(sessions) == {"cart": ["book"]}
    assert await sessions.end_all("ada") == 3


async def test_signing_out_everywhere_leaves_nobody_also_while_they_rotate(
    backend: Backend, processes: Processes
) -> None:
    sessions = sessions_over(backend.open())
    cookies: dict[str, str] = {}
    for number in range(15):
        browser = Browser()
        await browser.sign_in(sessions, f"subject {number}")
        cookies[f"subject {number}"] = browser.cookie or ""
    got = await processes.race(backend.url, "sessions.racers:end_all", cookies=cookies)
    for cookie in {*cookies.values(), *(cookie for each in got for cookie in each)}:
        assert (await Browser(cookie).load(sessions)).subject is None
    alive = await asyncio.gather(*(sessions.sessions_of(subject) for subject in cookies))
    assert alive == [[]] * 15
