"""What other processes do with sessions in races. Each function gets its process's store and number."""

import asyncio

from fungible.stores import Store
from sessions.visiting import Browser, sessions_over


async def add(store: Store, number: int, *, cookie: str, tasks: int, mode: str) -> int:
    """Requests of one visitor at once: each adds to everything that can be added to. Gives how many."""
    sessions = sessions_over(store, mode=mode)

    async def request(task: int) -> None:
        session = await Browser(cookie).load(sessions)
        await asyncio.sleep(0)
        name = f"{number}.{task}"
        session[f"k{name}"] = task
        session["list"].append(name)
        session["cart"]["items"].append(name)
        session["cart"]["by"][name] = 1
        session.increment("n")
        session.increment(("stats", "views"), 2)
        await sessions.write(session)

    # As many at once as a browser sends; the next ones follow.
    for start in range(0, tasks, 6):
        await asyncio.gather(*(request(task) for task in range(start, min(start + 6, tasks))))
    return tasks


async def leave(store: Store, number: int, *, cookies: list[str]) -> list[str]:
    """Process 0 signs out; in the others a request is under way, and changes or rotates. Gives the cookies they got."""
    sessions = sessions_over(store)
    browsers = [Browser(cookie) for cookie in cookies]

    async def request(browser: Browser) -> None:
        if number == 0:
            await browser.sign_out(sessions)
            return
        session = await browser.load(sessions)
        await asyncio.sleep(0)
        session["late"] = number
        if number == 2:
            await session.rotate()
        await browser.answer(sessions, session)

    for start in range(0, len(browsers), 5):
        await asyncio.gather(*(request(browser) for browser in browsers[start : start + 5]))
    return [browser.cookie for browser in browsers if browser.cookie]


async def rotate(store: Store, number: int, *, cookie: str, tasks: int) -> str | None:
    """Process 0 rotates again and again; the others write what they began before. Gives the last cookie."""
    sessions, browser = sessions_over(store, rotation_grace_s=60), Browser(cookie)
    if number == 0:
        while len((await store.since("loaded")).items) < 2:  # noqa: ASYNC110 - what is waited for is in other processes
            await asyncio.sleep(0.005)
        for turn in range(5):
            session = await browser.load(sessions)
            session["turn"] = turn
            await session.rotate()
            await browser.answer(sessions, session)
        return browser.cookie
    under_way = [await browser.load(sessions) for _ in range(tasks)]
    await store.append("loaded", b"", ttl_s=600)
    for task, session in enumerate(under_way):
        session[f"{number}.{task}"] = 1
        session.increment("n")
        await sessions.write(session)
        assert sessions.set_cookie(session) is None
    return None


async def sign_in(store: Store, number: int, *, cookie: str) -> str | None:
    """Every process answers a click on "sign in"."""
    browser = Browser(cookie)
    await browser.sign_in(sessions_over(store), "ada")
    return browser.cookie


async def end_all(store: Store, number: int, *, cookies: dict[str, str]) -> list[str]:
    """Process 0 ends all sessions of each subject, while the others rotate them. Gives the cookies they got."""
    sessions = sessions_over(store)
    browsers = [Browser(cookie) for cookie in cookies.values()]
    if number == 0:
        for subject in cookies:
            await sessions.end_all(subject)
        return []

    async def request(browser: Browser) -> None:
        for _ in range(3):
            session = await browser.load(sessions)
            await session.rotate()
            await browser.answer(sessions, session)

    for browser in browsers:
        await request(browser)
    return [cookie for browser in browsers for cookie in [browser.cookie] if cookie]
