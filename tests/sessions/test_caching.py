"""What a shared cache may store never carries a session's cookie."""

from typing import Any

import httpx
import pytest
from contracts.clock import Clock
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from fungible.cache.middleware import CacheMiddleware
from fungible.core.asgi import Header
from fungible.sessions import SessionMiddleware
from fungible.sessions.caching import is_shared, kept_private
from fungible.stores.memory import MemoryStore
from sessions.visiting import NAME, SECRET, Events, application, client

NOW = 1_800_000_000.0
LATER, EARLIER = "Sun, 01 Jan 2040 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"
SHARED = [
    {"cache-control": "public"},
    {"cache-control": "public, max-age=60"},
    {"cache-control": "max-age=60"},
    {"cache-control": "S-MaxAge=5, max-age=0"},
    {"cache-control": 'max-age="60"'},
    {"cache-control": 'private="x-user, set-cookie", max-age=60'},
    {"cache-control": 'max-age=60, extension="private, no-store"'},
    {"cache-control": "no-transform", "expires": LATER},
    {"expires": LATER},
    {"cache-control": "private", "cdn-cache-control": "max-age=60"},
    {"cache-control": "no-store", "CDN-Cache-Control": "public"},
    {"cloudflare-cdn-cache-control": "max-age=60"},
    {"surrogate-control": "max-age=60"},
    {"cache-control": "no-store", "edge-control": "cache-maxage=1d"},
    {"x-accel-expires": "60"},
]
NOT_SHARED = [
    {},
    {"cache-control": "private, max-age=60"},
    {"cache-control": "public, private"},
    {"cache-control": "no-store"},
    {"cache-control": "no-cache, max-age=60"},
    {"cache-control": "public, max-age=0, must-revalidate"},
    {"cache-control": "max-age=60, s-maxage=0"},
    {"cache-control": "max-age=0"},
    {"cache-control": "private", "expires": LATER},
    {"expires": EARLIER},
    {"expires": "0"},
    {"cdn-cache-control": "no-store"},
    {"x-accel-expires": "0"},
    {"x-public": "public"},
]


def fields(said: dict[str, str]) -> list[Header]:
    return [(name.encode(), value.encode()) for name, value in said.items()]


@pytest.mark.parametrize("said", SHARED, ids=str)
def test_what_others_may_be_given_is_known_for_it(said: dict[str, str]) -> None:
    assert is_shared(fields(said), now=NOW)


@pytest.mark.parametrize("said", NOT_SHARED, ids=str)
def test_and_so_is_what_they_may_not(said: dict[str, str]) -> None:
    assert not is_shared(fields(said), now=NOW)


@pytest.mark.parametrize("said", [*SHARED, *NOT_SHARED], ids=str)
def test_what_is_kept_private_is_stored_by_no_shared_cache(said: dict[str, str]) -> None:
    changes = kept_private(fields(said))
    left = [field for field in fields(said) if field[0].lower() not in changes]
    left += [(name, value) for name, value in changes.items() if value is not None]
    assert not is_shared(left, now=NOW)
    control = [value for name, value in left if name == b"cache-control"]
    assert len(control) == 1
    assert b"private" in control[0] or b"no-store" in control[0]


def test_what_browsers_are_told_stays() -> None:
    said = fields({"cache-control": "public, max-age=60, s-maxage=600, no-transform"})
    assert kept_private(said) == {b"cache-control": b"max-age=60, no-transform, private"}
    assert kept_private(fields({"cache-control": "private, max-age=5"})) == {}
    assert kept_private([]) == {b"cache-control": b"no-store"}


@pytest.mark.parametrize("size", [4_000, 64_000])
@pytest.mark.parametrize("piece", [",", '"', "\\", '"\\"', "a=,", ' ,"'])
def test_fields_of_any_length_are_read(size: int, piece: str) -> None:
    text = (piece * size).encode()
    kept_private([(b"cache-control", text), (b"cdn-cache-control", text)])
    assert is_shared([(b"cache-control", text + b'",max-age=60'), (b"expires", text)], now=NOW) in (True, False)


# --- through the middleware ---


def page(**headers: str) -> Any:
    """A page for all visitors, from a handler that does not look at the session."""

    async def home(request: Request) -> Response:
        return PlainTextResponse("home", headers=headers)

    return home


async def count(request: Request) -> Response:
    return PlainTextResponse(str(request.session.increment("n")), headers={"cache-control": "public, max-age=60"})


async def sign_in(request: Request) -> Response:
    await request.session.rotate(subject="ada")
    return PlainTextResponse("", headers={"cache-control": "s-maxage=60", "cdn-cache-control": "max-age=60"})


async def leave(request: Request) -> Response:
    await request.session.end()
    return PlainTextResponse("", headers={"expires": LATER})


async def clear(request: Request) -> Response:
    request.session.clear()
    return PlainTextResponse("", headers={"surrogate-control": "max-age=60"})


async def look(request: Request) -> Response:
    return PlainTextResponse(str(dict(request.session)))


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.time_s = NOW
    return clock


@pytest.mark.parametrize("mode", ["stored", "snapshot", "sealed"])
@pytest.mark.parametrize("said", SHARED, ids=str)
async def test_a_longer_life_waits_for_a_response_that_is_not_for_all(
    mode: str, said: dict[str, str], clock: Clock
) -> None:
    app = application(page(**said), count, look, mode=mode, now=clock, idle_timeout_s=1000)
    async with client(app) as browser:
        await browser.get("/count")
        # Both a longer life and a fresh copy are due.
        clock.time_s += 500
        for _ in range(2):
            answer = await browser.get("/home")
            assert "set-cookie" not in answer.headers
            assert {name: answer.headers.get(name) for name in said} == said
        assert "set-cookie" in (await browser.get("/look")).headers
        clock.time_s += 900
        assert (await browser.get("/look")).text == "{'n': 1}"


@pytest.mark.parametrize("mode", ["stored", "snapshot", "sealed"])
@pytest.mark.parametrize("path", ["/count", "/sign_in", "/leave", "/clear"])
async def test_a_cookie_that_has_to_go_makes_the_response_private_and_says_so(
    mode: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    events = Events()
    async with client(application(count, sign_in, leave, clear, mode=mode, on_event=events)) as browser:
        for _ in range(2):
            await browser.get("/count")
        events.seen.clear()
        browser.cookies.extract_cookies(answer := await browser.get(path))
        if path == "/count" and mode == "stored":
            # The second time nothing is due.
            browser.cookies.clear()
            answer = await browser.get(path)
        assert answer.headers["set-cookie"].startswith(NAME)
        assert "cookie" in answer.headers["vary"].lower()
        assert not is_shared(answer.headers.raw, now=NOW)
        assert {"private", "no-store"} & {*answer.headers["cache-control"].split(", ")}
        assert "public" not in answer.headers["cache-control"]
        assert "made_private" in events.seen
    assert "was sent as private" in caplog.text


@pytest.mark.parametrize("name", ["X-Cookie-Consent", "Cookies", "X-Cookie", "Accept, X-Cookie-Consent"])
async def test_a_field_whose_name_only_resembles_cookie_is_not_taken_for_it(name: str) -> None:
    async def named(request: Request) -> Response:
        return PlainTextResponse(str(request.session.get("n")), headers={"vary": name})

    async with client(application(named)) as browser:
        answer = await browser.get("/named")
        assert answer.headers.get_list("vary") == [name, "Cookie"]


@pytest.mark.parametrize("name", ["Cookie", "accept,COOKIE ", "*"])
async def test_and_where_it_is_named_it_is_not_named_again(name: str) -> None:
    async def named(request: Request) -> Response:
        return PlainTextResponse(str(request.session.get("n")), headers={"vary": name})

    async with client(application(named)) as browser:
        assert (await browser.get("/named")).headers.get_list("vary") == [name]


async def test_fields_that_come_as_an_iterator_all_arrive() -> None:
    async def once(scope: Any, receive: Any, send: Any) -> None:
        scope["session"]["n"] = 1
        said = [(b"cache-control", b"max-age=60"), (b"x-mine", b"1"), (b"vary", b"Accept")]
        await send({"type": "http.response.start", "status": 200, "headers": iter(said)})
        await send({"type": "http.response.body", "body": b""})

    async with client(SessionMiddleware(once, secret=SECRET, store=MemoryStore(), instances=1)) as browser:
        answer = await browser.get("/")
    assert (answer.headers["x-mine"], answer.headers["cache-control"]) == ("1", "max-age=60, private")
    assert answer.headers.get_list("vary") == ["Accept", "Cookie"]


@pytest.mark.parametrize("personal", [False, True])
async def test_our_own_cache_around_the_sessions_stores_no_sessions_cookie(personal: bool) -> None:
    async def fresh(request: Request) -> Response:
        request.session["n"] = 1
        return PlainTextResponse("", headers={"cache-control": "public, max-age=60"})

    app = CacheMiddleware(application(fresh), store=MemoryStore(), store_personal=personal, instances=1)
    seen = set[str]()
    for _ in range(3):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://example.org") as browser:
            seen.add((await browser.get("/fresh")).headers["set-cookie"])
    assert len(seen) == 3
