"""What holds in every mode, through the middleware; and what a mode can't do, it says."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from fungible.core.errors import SettingError
from fungible.sessions import Session, SessionMiddleware
from fungible.stores.memory import MemoryStore
from sessions.visiting import NAME, SECRET, application, client

MODES = ["stored", "snapshot", "sealed"]
Does = Callable[[Session], Awaitable[Any]]


class Visitor:
    """A browser, and an application that does in one request what a test says."""

    def __init__(self, mode: str, **settings: Any) -> None:
        async def do(request: Request) -> Response:
            await self.does(request.session)
            if self.fails:
                raise HTTPException(403) if self.fails == "handled" else RuntimeError("unhandled")
            return PlainTextResponse("done")

        async def look(request: Request) -> Response:
            return JSONResponse([dict(request.session), request.session.subject])

        # Two instances over one store, asked in turn.
        store = None if mode == "sealed" else MemoryStore()
        self.apps = [application(do, look, mode=mode, store=store, **settings) for _ in range(2)]
        self.browsers = [client(app) for app in self.apps]
        self.cookies = httpx.Cookies()
        self.fails = ""
        self.turn = 0

    async def ask(self, path: str) -> httpx.Response:
        browser = self.browsers[self.turn % 2]
        self.turn += 1
        browser.cookies = self.cookies
        answer = await browser.get(path)
        self.cookies = browser.cookies
        return answer

    async def do(self, does: Does) -> httpx.Response:
        self.does = does
        return await self.ask("/do")

    async def put(self, **values: Any) -> httpx.Response:
        async def update(session: Session) -> None:
            session.update(values)

        return await self.do(update)

    async def sees(self) -> tuple[dict[str, Any], str | None]:
        values, subject = (await self.ask("/look")).json()
        return values, subject

    @property
    def cookie(self) -> str | None:
        return self.cookies.get(NAME)


async def sign_in(session: Session) -> None:
    await session.rotate(subject="ada")


async def set_subject(session: Session) -> None:
    session.subject = "ada"


async def sign_out(session: Session) -> None:
    await session.end()


async def clear(session: Session) -> None:
    session.clear()


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
@pytest.mark.parametrize("how", [sign_in, set_subject], ids=lambda how: how.__name__)
@pytest.mark.parametrize("mode", MODES)
async def test_the_subject_alone_signs_in(mode: str, how: Does, known: bool) -> None:
    visitor = Visitor(mode)
    if known:
        await visitor.put(cart=["mug"])
    before = visitor.cookie
    assert (await visitor.do(how)).status_code == 200
    assert visitor.cookie not in (None, before)
    assert await visitor.sees() == ({"cart": ["mug"]} if known else {}, "ada")
    await visitor.put(n=1)
    assert (await visitor.sees())[1] == "ada"


@pytest.mark.parametrize("mode", MODES)
async def test_a_value_signs_in_and_out_where_it_names_the_subject(mode: str) -> None:
    async def forget(session: Session) -> None:
        del session["user"]

    visitor = Visitor(mode, subject_key="user")
    await visitor.put(user=7)
    first = visitor.cookie
    assert await visitor.sees() == ({"user": 7}, "7")
    await visitor.do(forget)
    assert await visitor.sees() == ({}, None)
    assert visitor.cookie != first


@pytest.mark.parametrize("mode", MODES)
async def test_a_rotation_keeps_the_values_under_another_cookie(mode: str) -> None:
    async def rotate(session: Session) -> None:
        session["n"] += 1
        await session.rotate()
        session["after"] = True

    visitor = Visitor(mode)
    await visitor.put(n=1)
    before = visitor.cookie
    await visitor.do(rotate)
    assert visitor.cookie != before
    assert await visitor.sees() == ({"n": 2, "after": True}, None)


@pytest.mark.parametrize("mode", MODES)
async def test_a_rotation_of_nothing_makes_nothing(mode: str) -> None:
    async def rotate(session: Session) -> None:
        await session.rotate()

    visitor = Visitor(mode)
    assert "set-cookie" not in (await visitor.do(rotate)).headers


@pytest.mark.parametrize("how", [sign_out, clear], ids=lambda how: how.__name__)
@pytest.mark.parametrize("mode", MODES)
async def test_signing_out_takes_all_of_it_away(mode: str, how: Does) -> None:
    visitor = Visitor(mode)
    await visitor.put(cart=["mug"])
    await visitor.do(sign_in)
    assert (await visitor.do(how)).headers["set-cookie"].startswith(f"{NAME}=; ")
    assert visitor.cookie is None
    assert await visitor.sees() == ({}, None)


@pytest.mark.parametrize("how", [sign_out, clear], ids=lambda how: how.__name__)
@pytest.mark.parametrize("mode", MODES)
async def test_what_follows_a_sign_out_in_one_request_is_another_session(mode: str, how: Does) -> None:
    async def begin_anew(session: Session) -> None:
        await how(session)
        session["fresh"] = 1

    visitor = Visitor(mode)
    await visitor.put(cart=["mug"])
    await visitor.do(sign_in)
    before = visitor.cookie
    await visitor.do(begin_anew)
    assert visitor.cookie not in (None, before)
    assert await visitor.sees() == ({"fresh": 1}, None)


@pytest.mark.parametrize("mode", MODES)
async def test_changes_of_every_kind_are_seen_by_the_next_request(mode: str) -> None:
    async def change(session: Session) -> None:
        session["list"].append(2)
        session["nested"]["deep"]["er"] = True
        session.increment(("stats", "visits"), 3)
        del session["gone"]

    visitor = Visitor(mode)
    await visitor.put(list=[1], nested={"deep": {}}, gone=1, kept=b"bytes".hex())
    await visitor.sees()
    await visitor.do(change)
    seen = {"list": [1, 2], "nested": {"deep": {"er": True}}, "stats": {"visits": 3}, "kept": b"bytes".hex()}
    assert await visitor.sees() == (seen, None)


@pytest.mark.parametrize("mode", MODES)
async def test_saving_early_keeps_what_was_changed_before_and_after(mode: str) -> None:
    async def save(session: Session) -> None:
        session["before"] = 1
        await session.save()
        session["after"] = 2

    visitor = Visitor(mode)
    await visitor.do(save)
    assert await visitor.sees() == ({"before": 1, "after": 2}, None)


@pytest.mark.parametrize("mode", MODES)
async def test_who_leaves_nothing_gets_no_cookie(mode: str) -> None:
    async def nothing(session: Session) -> None:
        session["n"] = 1
        del session["n"]

    visitor = Visitor(mode)
    assert "set-cookie" not in (await visitor.do(nothing)).headers
    assert await visitor.sees() == ({}, None)


@pytest.mark.parametrize("mode", MODES)
async def test_an_error_that_is_answered_keeps_changes_and_one_that_is_not_keeps_none(mode: str) -> None:
    visitor = Visitor(mode)
    await visitor.put(n=1)
    visitor.fails = "handled"
    assert (await visitor.put(handled=True)).status_code == 403
    visitor.fails = "unhandled"
    assert (await visitor.put(unhandled=True)).status_code == 500
    assert await visitor.sees() == ({"n": 1, "handled": True}, None)


@pytest.mark.parametrize("mode", MODES)
async def test_the_session_of_another_visitor_is_another(mode: str) -> None:
    one, other = Visitor(mode), Visitor(mode)
    await one.put(name="one")
    await other.put(name="other")
    assert (await one.sees(), await other.sees()) == (({"name": "one"}, None), ({"name": "other"}, None))


async def all_devices(session: Session) -> None:
    await session.end_all()


async def others(session: Session) -> None:
    assert await session.others() is not None


@pytest.mark.parametrize("how", [all_devices, others], ids=lambda how: how.__name__)
@pytest.mark.parametrize("mode", MODES)
async def test_what_is_for_all_of_a_subjects_sessions_is_done_or_says_what_it_needs(mode: str, how: Does) -> None:
    async def attempt(session: Session) -> None:
        if mode == "sealed":
            with pytest.raises(SettingError, match="needs a store: mode='stored' or 'snapshot'"):
                await how(session)
        else:
            await how(session)

    visitor = Visitor(mode)
    await visitor.do(sign_in)
    assert (await visitor.do(attempt)).status_code == 200
    assert (await visitor.sees())[1] == (None if how is all_devices and mode != "sealed" else "ada")


@pytest.mark.parametrize("mode", MODES)
async def test_a_session_is_ended_by_its_handle_or_it_is_said_what_that_needs(mode: str) -> None:
    sessions = SessionMiddleware(
        PlainTextResponse(""), secret=SECRET, mode=mode, store=None if mode == "sealed" else MemoryStore(), instances=1
    ).sessions  # fmt: skip
    if mode == "sealed":
        with pytest.raises(SettingError, match="needs a store"):
            await sessions.end_by_handle("0" * 48)
    else:
        await sessions.end_by_handle("0" * 48)


@pytest.mark.parametrize("mode", MODES)
def test_conflicts_are_told_where_they_can_be_seen_and_else_refused_at_start(mode: str) -> None:
    options: dict[str, Any] = {"secret": SECRET, "mode": mode, "conflicts": "raise", "instances": 1}
    if mode == "sealed":
        with pytest.raises(SettingError, match=r"conflicts='raise'.*needs a store"):
            SessionMiddleware(PlainTextResponse(""), **options)
    else:
        SessionMiddleware(PlainTextResponse(""), store=MemoryStore(), **options)
