"""Django: the session engine and the middleware, with its own auth, messages, CSRF and test client."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import timedelta
from typing import Any

import pytest

pytest.importorskip("django", reason="django is not installed")

from django.contrib.auth import get_user_model, login, update_session_auth_hash
from django.contrib.sessions.backends.base import UpdateError
from django.core.management import call_command
from django.http import HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client
from django.test.utils import override_settings
from django.utils import timezone
from django_project import DJANGOS, OURS, REST, SECRET, doing

from fungible.adapters.django.expiry import EXPIRES_AT, EXPIRY, has_expired, note_expiry
from fungible.adapters.django.opening import opened
from fungible.adapters.django.sessions import SessionStore
from fungible.core.bridge import BridgeError
from fungible.core.errors import SettingError
from fungible.sessions import SessionReadOnlyError
from fungible.stores.postures import PostureError

NAME = "sessionid"
AWAY = {"store": "sqlite:////nowhere/sessions.db"}


@pytest.fixture(scope="module", autouse=True)
def _database() -> None:
    call_command("migrate", verbosity=0)
    get_user_model().objects.create_user("ada", password="secret")
    get_user_model().objects.create_user("grace", password="secret")


@pytest.fixture(params=[OURS, DJANGOS], ids=["our middleware", "Django's middleware"])
def either(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of a project with one middleware or the other."""
    with override_settings(MIDDLEWARE=[request.param, *REST]):
        yield Client()


@pytest.fixture
def client() -> Client:
    return Client()


def did(client: Client, do: Callable[[Any], Any]) -> Any:
    """What a view does with its request."""
    doing["do"] = do
    return client.get("/do").json()["did"]


def key_of(client: Client) -> str:
    return str(client.cookies[NAME].value)


def coming_with(key: str) -> Client:
    client = Client()
    client.cookies[NAME] = key
    return client


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


# --- requests ---------------------------------------------------------------------------------------------------------


def test_what_a_request_leaves_the_next_one_finds(either: Client) -> None:
    either.get("/put", {"key": "cart", "value": "mug"})
    assert either.get("/me").json() == {"cart": "mug"}


def test_what_changes_inside_of_values_is_kept_without_a_flag(either: Client) -> None:
    either.get("/add", {"item": "mug"})
    either.get("/add", {"item": "lamp"})
    assert either.get("/me").json() == {"cart": {"items": ["mug", "lamp"]}}


def test_login_brings_a_new_key_and_the_old_one_shows_nothing_of_it(either: Client) -> None:
    either.get("/put", {"key": "cart", "value": "mug"})
    planted = key_of(either)
    either.get("/sign-in")
    assert key_of(either) != planted
    assert either.get("/private").content == b"ada"
    assert either.get("/me").json()["cart"] == "mug"
    assert "_auth_user_id" not in coming_with(planted).get("/me").json()


def test_logout_ends_the_session_for_good(either: Client) -> None:
    either.get("/sign-in")
    key = key_of(either)
    assert either.get("/sign-out").cookies[NAME]["max-age"] == 0
    assert coming_with(key).get("/me").json() == {}


def test_somebody_elses_login_takes_nothing_over(either: Client) -> None:
    either.get("/sign-in")
    either.get("/put", {"key": "cart", "value": "adas"})
    either.force_login(get_user_model().objects.get(username="grace"))
    assert either.get("/private").content == b"grace"
    assert "cart" not in either.get("/me").json()


def test_a_change_of_password_keeps_this_session_and_gives_it_a_new_key(either: Client) -> None:
    either.get("/sign-in")
    before = key_of(either)
    did(either, lambda request: update_session_auth_hash(request, request.user))
    assert key_of(either) != before
    assert either.get("/private").content == b"ada"


def test_a_key_that_was_never_issued_is_not_taken(either: Client) -> None:
    either.get("/put", {"key": "cart", "value": "mug"})
    real = key_of(either)
    for chosen in (real[:-1] + ("A" if real[-1] != "A" else "B"), "a" * 32, "a" * len(real), "x", "ä"):
        other = coming_with(chosen)
        assert other.get("/me").json() == {}
        other.get("/put", {"key": "mine", "value": "yes"})
        assert key_of(other) not in (chosen, real)
    assert either.get("/me").json() == {"cart": "mug"}


def test_messages_in_the_session_come_once(either: Client) -> None:
    either.get("/say")
    assert either.get("/said").json() == ["saved"]
    assert either.get("/said").json() == []


@override_settings(CSRF_USE_SESSIONS=True)
def test_csrf_tokens_can_be_kept_in_the_session(either: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    token = strict.get("/protected").content.decode()
    assert strict.post("/protected").status_code == 403
    assert strict.post("/protected", headers={"X-CSRFToken": token}).status_code == 200


def test_the_test_client_can_sign_in_and_change_a_session(either: Client) -> None:
    session = either.session
    session["cart"] = "mug"
    session.save()
    assert either.get("/me").json() == {"cart": "mug"}
    assert either.login(username="ada", password="secret")
    assert either.get("/private").content == b"ada"
    assert either.session["cart"] == "mug"
    either.logout()
    assert either.get("/me").json() == {}


def test_an_answer_of_500_keeps_nothing(either: Client) -> None:
    either.get("/broken")
    assert either.get("/me").json() == {}


def test_a_visitor_who_leaves_nothing_gets_no_cookie(either: Client) -> None:
    assert not either.get("/me").cookies
    assert not either.get("/plain").cookies


def test_answers_that_depend_on_the_session_are_kept_out_of_shared_caches(client: Client) -> None:
    assert not client.get("/plain").has_header("Vary")
    assert client.get("/me")["Vary"] == "Cookie"
    assert client.get("/put", {"key": "cart", "value": "mug"})["Cache-Control"] == "no-store"


def test_the_cookie_is_set_once_and_not_at_every_change(client: Client) -> None:
    assert NAME in client.get("/put", {"key": "cart", "value": "mug"}).cookies
    assert NAME not in client.get("/put", {"key": "cart", "value": "lamp"}).cookies


def test_settings_of_the_cookie_count(client: Client) -> None:
    chosen = {"SECURE": True, "SAMESITE": "Strict", "PATH": "/shop", "DOMAIN": "example.org", "NAME": "sid", "AGE": 600}
    with override_settings(**{f"SESSION_COOKIE_{name}": value for name, value in chosen.items()}):
        cookie = client.get("/put", {"key": "cart", "value": "mug"}).cookies["sid"]
    for name, value in {
        "secure": True,
        "httponly": True,
        "samesite": "Strict",
        "path": "/shop",
        "domain": "example.org",
        "max-age": 600,
    }.items():
        assert cookie[name] == value


# --- the session ------------------------------------------------------------------------------------------------------


def test_a_session_can_be_made_saved_found_and_deleted_without_a_request() -> None:
    made = SessionStore()
    assert made.session_key is None
    assert made.is_empty()
    made["cart"] = ["mug"]
    made.save()
    assert made.session_key
    assert made.exists(made.session_key)
    found = SessionStore(made.session_key)
    assert found.load()["cart"] == ["mug"]
    assert found.session_key == made.session_key
    found.delete(found.session_key)
    assert not made.exists(made.session_key)
    assert SessionStore(made.session_key).load() == {}


def test_create_makes_an_empty_session_with_a_key_at_once() -> None:
    session = SessionStore()
    session.create()
    key = session.session_key
    assert session.exists(key)
    session["cart"] = "mug"
    session.create()
    assert session.session_key != key
    assert SessionStore(session.session_key)["cart"] == "mug"
    assert SessionStore(key).load() == {}


def test_cycle_key_keeps_the_values_under_a_new_key() -> None:
    session = SessionStore()
    session["cart"] = "mug"
    session.save()
    before = session.session_key
    session.cycle_key()
    assert session.modified
    # Asked for, the new key is drawn at once.
    assert session.session_key != before
    assert SessionStore(session.session_key)["cart"] == "mug"


def test_clear_empties_a_session_and_flush_ends_it() -> None:
    session = SessionStore()
    session["cart"] = "mug"
    session.save()
    key = session.session_key
    session.clear()
    session.save()
    assert session.session_key == key
    assert SessionStore(key).load() == {}
    assert session.exists(key)
    session.flush()
    assert session.session_key is None
    assert session.is_empty()
    assert not session.exists(key)


def test_saving_what_was_ended_meanwhile_raises_djangos_error_and_revives_nothing() -> None:
    session = SessionStore()
    session["cart"] = "mug"
    session.save()
    slow = SessionStore(session.session_key)
    assert slow["cart"] == "mug"
    session.flush()
    slow["late"] = True
    with pytest.raises(UpdateError):
        slow.save()
    assert not slow.exists(slow.session_key)


def test_the_methods_of_our_sessions_are_there(client: Client) -> None:
    assert [did(client, lambda request: request.session.increment("views")) for _ in range(3)] == [1, 2, 3]
    client.get("/sign-in")
    other = Client()
    other.get("/sign-in")
    user = get_user_model().objects.get(username="ada")
    assert did(client, lambda request: request.session.subject) == str(user.pk)
    assert did(client, lambda request: len(request.session.others())) >= 2
    assert did(client, lambda request: request.session.end_all(keep_this=True)) >= 1
    assert other.get("/me").json() == {}
    assert client.get("/private").content == b"ada"
    did(client, lambda request: request.session.end_all(str(user.pk)))
    assert client.get("/me").json() == {}


def test_expired_sessions_are_cleared_by_the_store_itself() -> None:
    call_command("clearsessions")


# --- expiry -----------------------------------------------------------------------------------------------------------


def test_the_cookie_lives_as_long_as_the_session_says(client: Client) -> None:
    assert client.get("/put", {"key": "cart", "value": "mug"}).cookies[NAME]["max-age"] == 1_209_600
    doing["do"] = lambda request: request.session.set_expiry(0)
    assert client.get("/do").cookies[NAME]["max-age"] == ""
    assert did(client, lambda request: request.session.get_expire_at_browser_close())
    doing["do"] = lambda request: request.session.set_expiry(600)
    assert client.get("/do").cookies[NAME]["max-age"] == 600
    doing["do"] = lambda request: request.session.set_expiry(None)
    assert client.get("/do").cookies[NAME]["max-age"] == 1_209_600


def test_a_date_that_is_over_ends_the_session_at_the_server() -> None:
    session = SessionStore()
    session.set_expiry(timezone.now() + timedelta(days=1))
    session.save()
    assert session.exists(session.session_key)
    session.set_expiry(timezone.now() - timedelta(seconds=1))
    session.save()
    assert not session.exists(session.session_key)
    assert SessionStore(session.session_key).load() == {}
    assert opened().run(opened().sessions.store.get(f"session:{opened().handle(session.session_key)}")) is None


def test_seconds_without_a_change_end_the_session_at_the_server() -> None:
    session = SessionStore()
    session.set_expiry(300)
    session.save()
    inner = session.load()
    until = inner[EXPIRES_AT]
    assert 300 <= until - time.time() <= 331
    assert not has_expired(inner, until - 1)
    assert has_expired(inner, until)
    note_expiry(inner, until - 1)
    assert inner[EXPIRES_AT] >= until + 299
    del inner[EXPIRY]
    note_expiry(inner, until)
    assert EXPIRES_AT not in inner


def test_a_session_can_live_longer_than_the_settings_say_but_not_forever() -> None:
    def left_s(session: SessionStore) -> float:
        record = opened().run(opened().sessions.store.get(f"session:{opened().handle(session.session_key)}"))
        assert record is not None
        return record.expires_at - time.time()

    session = SessionStore()
    session["cart"] = "mug"
    session.save()
    assert 13 * 86_400 < left_s(session) <= 14 * 86_400
    session.set_expiry(60 * 86_400)
    session.save()
    assert 59 * 86_400 < left_s(session) <= 60 * 86_400
    session.set_expiry(1000 * 86_400)
    session.save()
    assert 89 * 86_400 < left_s(session) <= 90 * 86_400


@override_settings(SESSION_SAVE_EVERY_REQUEST=True)
def test_where_every_request_counts_as_a_change_the_cookie_follows(client: Client) -> None:
    did(client, lambda request: request.session.set_expiry(10))
    before = client.get("/me").json()[EXPIRES_AT]
    assert client.get("/me").json()[EXPIRES_AT] >= before


# --- ASGI -------------------------------------------------------------------------------------------------------------


def test_views_that_are_coroutines_read_and_write_like_others() -> None:
    async def change(request: Any) -> int:
        request.session["cart"] = {"items": ["mug"]}
        request.session["cart"]["items"].append("lamp")
        return len(request.session.keys())

    async def scenario() -> None:
        client = AsyncClient()
        doing["do"] = change
        assert (await client.get("/do-async")).json()["did"] == 1
        assert (await client.get("/me-async")).json() == {"cart": {"items": ["mug", "lamp"]}}
        assert (await client.get("/me")).json() == {"cart": {"items": ["mug", "lamp"]}}
        assert not (await client.get("/plain-async")).has_header("Vary")

    run(scenario())


@pytest.mark.parametrize("middleware", [OURS, DJANGOS], ids=["our middleware", "Django's middleware"])
def test_djangos_asynchronous_methods_do_what_the_others_do(middleware: str) -> None:
    async def use(request: Any) -> Any:
        session = request.session
        await session.aset("one", 1)
        await session.aupdate({"two": 2, "three": 3})
        assert await session.apop("three") == 3
        assert await session.ahas_key("one")
        assert await session.asetdefault("one", 5) == 1
        assert await session.aget("two") == 2
        await session.aset_expiry(600)
        assert await session.aget_expiry_age() == 600
        await session.asave()
        key = session.session_key
        assert await session.aexists(key)
        await session.acycle_key()
        await session.asave()
        assert session.session_key != key
        return sorted(await session.akeys())

    async def finish(request: Any) -> None:
        await request.session.aflush()

    async def scenario() -> None:
        client = AsyncClient()
        doing["do"] = use
        keys = (await client.get("/do-async")).json()["did"]
        assert keys == sorted(["one", "two", EXPIRY, EXPIRES_AT])
        doing["do"] = finish
        await client.get("/do-async")
        assert (await client.get("/me")).json() == {}

    with override_settings(MIDDLEWARE=[middleware, *REST]):
        run(scenario())


def test_signing_in_and_out_in_views_that_are_coroutines() -> None:
    async def scenario() -> None:
        client = AsyncClient()
        user = await get_user_model().objects.aget(username="ada")
        await client.get("/put", {"key": "cart", "value": "mug"})
        planted = client.cookies[NAME].value
        await client.aforce_login(user)
        assert client.cookies[NAME].value != planted
        assert await (await client.asession()).aget("cart") == "mug"
        await client.get("/sign-out-async")
        assert (await client.get("/me-async")).json() == {}

    run(scenario())


def test_looking_at_a_session_that_was_not_loaded_inside_an_event_loop_says_what_to_await() -> None:
    session = SessionStore()
    session.create()

    async def look() -> None:
        SessionStore(session.session_key)["cart"]

    with pytest.raises(BridgeError, match="await the asynchronous method"):
        run(look())

    async def cycle() -> None:
        held = SessionStore(session.session_key)
        await held.acycle_key()
        with pytest.raises(BridgeError, match="asave"):
            _ = held.session_key
        await held.asave()
        assert held.session_key != session.session_key

    run(cycle())


# --- caches, and once the response has begun --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["stored", "snapshot"])
@pytest.mark.parametrize("field", ["Cache-Control: public, max-age=60", "CDN-Cache-Control: max-age=60"])
def test_what_a_shared_cache_may_store_carries_no_cookie(mode: str, field: str) -> None:
    given = {"store": "memory:", "mode": mode, "freshness_s": 1e-6}
    name, _, value = field.partition(": ")

    def look(request: Any) -> HttpResponse:
        request.session.get("cart")
        return HttpResponse("", headers={name: value})

    def cycle(request: Any) -> HttpResponse:
        request.session.cycle_key()
        return HttpResponse("", headers={name: value})

    with override_settings(FUNGIBLE_SESSION=given, SESSION_SAVE_EVERY_REQUEST=True):
        client = Client()
        client.get("/put", {"key": "cart", "value": "mug"})
        doing["answer"] = look
        answer = client.get("/answer")
        assert (NAME in answer.cookies, answer[name]) == (False, value)
        doing["answer"] = cycle
        answer = client.get("/answer")
        assert NAME in answer.cookies
        assert answer["Vary"] == "Cookie"
        assert "public" not in answer["Cache-Control"]
        assert {"private", "no-store"} & {*answer["Cache-Control"].split(", ")}
        assert not answer.has_header("CDN-Cache-Control")


def streaming(client: Client, do: Callable[[Any], Any]) -> list[Exception]:
    """A request whose view does something while its response is streamed; gives what was raised."""
    raised: list[Exception] = []

    def stream(request: Any) -> StreamingHttpResponse:
        def parts() -> Iterator[bytes]:
            yield b"first"
            try:
                do(request)
            except SessionReadOnlyError as error:
                raised.append(error)

        return StreamingHttpResponse(parts())

    doing["answer"] = stream
    assert b"".join(client.get("/answer").streaming_content) == b"first"
    return raised


NEED_A_COOKIE: dict[str, Callable[[Any], Any]] = {
    "cycle_key": lambda request: request.session.cycle_key(),
    "sign in": lambda request: login(request, get_user_model().objects.get(username="ada")),
    "create": lambda request: request.session.create(),
    "begin another": lambda request: (request.session.flush(), request.session.update({"fresh": 1})),
}


@pytest.mark.parametrize("do", NEED_A_COOKIE.values(), ids=NEED_A_COOKIE)
@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
def test_what_needs_a_cookie_is_refused_while_the_response_is_streamed(
    client: Client, do: Callable[[Any], Any], known: bool
) -> None:
    if known:
        client.get("/put", {"key": "cart", "value": "mug"})
    assert "once the response has begun" in str(streaming(client, do)[0])


def test_what_needs_only_the_store_is_kept_while_the_response_is_streamed(client: Client) -> None:
    client.get("/put", {"key": "cart", "value": "mug"})
    assert streaming(client, lambda request: request.session.update({"late": 1})) == []
    assert client.get("/me").json() == {"cart": "mug", "late": 1}
    assert streaming(client, lambda request: request.session.flush()) == []
    assert client.get("/me").json() == {}


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "need FUNGIBLE_SESSION"),
        ({}, "must be a URL"),
        ({"store": "memory:", "mod": "stored"}, "there is no 'mod'"),
        ({"store": "memory:", "mode": "sealed"}, "'stored' or 'snapshot'"),
        ({"store": "memory:", "secret": "short"}, "has 5 bytes"),
        ({"store": "nowhere:"}, "no store has the scheme"),
        ({"store": "memory:", "absolute_timeout_s": 1}, "idle_timeout_s"),
    ],
)
def test_settings_that_cannot_be_taken_are_refused_at_start(given: Any, message: str) -> None:
    with override_settings(FUNGIBLE_SESSION=given), pytest.raises(SettingError, match=message):
        Client().get("/plain")


def test_a_store_that_two_instances_cannot_share_is_refused_at_start() -> None:
    given = {"store": "memory:", "instances": 2}
    with override_settings(FUNGIBLE_SESSION=given), pytest.raises(PostureError, match="memory:"):
        Client().get("/plain")


def test_the_middleware_refuses_another_engine() -> None:
    engine = "django.contrib.sessions.backends.signed_cookies"
    with override_settings(SESSION_ENGINE=engine), pytest.raises(SettingError, match="SESSION_ENGINE"):
        Client().get("/plain")


def test_a_cookie_that_browsers_would_reject_is_refused() -> None:
    with override_settings(SESSION_COOKIE_SAMESITE="None"), pytest.raises(SettingError, match="not secure"):
        Client().get("/plain")


def test_cookies_of_a_former_secret_key_are_taken_and_made_anew(tmp_path: Any) -> None:
    given = {"store": f"sqlite:///{tmp_path / 'sessions.db'}"}
    with override_settings(FUNGIBLE_SESSION=given):
        client = Client()
        client.get("/put", {"key": "cart", "value": "mug"})
        former = key_of(client)
        with override_settings(SECRET_KEY=SECRET[::-1], SECRET_KEY_FALLBACKS=["short", SECRET]):
            assert client.get("/me").json() == {"cart": "mug"}
            assert key_of(client) != former
        with override_settings(SECRET_KEY=SECRET[::-1]):
            assert client.get("/me").json() == {"cart": "mug"}
            assert coming_with(former).get("/me").json() == {}


@override_settings(FUNGIBLE_SESSION={"store": "memory:", "mode": "snapshot"})
def test_snapshots_have_a_session_key_that_stays(client: Client) -> None:
    client.get("/put", {"key": "cart", "value": "mug"})
    keys = {did(client, lambda request: request.session.session_key) for _ in range(3)}
    assert len(keys) == 1
    assert SessionStore(keys.pop())["cart"] == "mug"
    assert client.session["cart"] == "mug"
    assert client.login(username="ada", password="secret")
    assert client.get("/private").content == b"ada"
    client.get("/sign-out")
    assert client.get("/me").json() == {}


# --- a store that is away ---------------------------------------------------------------------------------------------


@pytest.fixture
def signed_in() -> str:
    client = Client()
    client.get("/sign-in")
    return key_of(client)


@pytest.mark.parametrize("path", ["/me", "/private", "/sign-out"])
def test_a_request_that_looks_at_its_session_answers_503(signed_in: str, path: str) -> None:
    with override_settings(FUNGIBLE_SESSION=AWAY | {"retry_after_s": 7}):
        client = coming_with(signed_in)
        answer = client.get(path)
        assert (answer.status_code, answer["Retry-After"], answer["Cache-Control"]) == (503, "7", "no-store")
        assert not answer.cookies
        assert client.get("/plain").status_code == 200


def test_an_answer_whose_session_could_not_be_kept_becomes_a_503() -> None:
    with override_settings(FUNGIBLE_SESSION=AWAY):
        answer = Client().get("/put", {"key": "cart", "value": "mug"})
        assert (answer.status_code, answer["Retry-After"]) == (503, "2")
        assert b"kept" not in answer.content
        assert not answer.cookies


def test_a_middleware_that_looks_at_the_session_gets_a_503_too(signed_in: str) -> None:
    middleware = [OURS, *REST, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    with override_settings(FUNGIBLE_SESSION=AWAY, MIDDLEWARE=middleware):
        client = coming_with(signed_in)
        client.raise_request_exception = False
        assert client.get("/plain").status_code == 503


def test_under_asgi_the_answers_are_the_same(signed_in: str) -> None:
    async def scenario() -> None:
        client = AsyncClient()
        assert (await client.get("/put", {"key": "cart", "value": "mug"})).status_code == 503
        assert (await client.get("/me-async")).status_code == 200
        client.cookies[NAME] = signed_in
        assert (await client.get("/me-async"))["Retry-After"] == "2"

    with override_settings(FUNGIBLE_SESSION=AWAY):
        run(scenario())


def test_an_empty_session_that_cannot_be_changed_is_given_where_that_is_asked_for(signed_in: str) -> None:
    with override_settings(FUNGIBLE_SESSION=AWAY | {"on_unavailable": "empty"}):
        client = coming_with(signed_in)
        client.raise_request_exception = False
        answer = client.get("/me")
        assert answer.json() == {}
        assert not answer.cookies
        assert client.get("/put", {"key": "cart", "value": "mug"}).status_code == 500


def test_two_changes_that_cannot_be_merged_answer_409_where_that_is_asked_for() -> None:
    with override_settings(FUNGIBLE_SESSION={"store": "memory:", "conflicts": "raise"}):
        client = Client()
        client.get("/put", {"key": "note", "value": "first"})

        def change(request: Any) -> None:
            assert request.session["note"] == "first"
            other = SessionStore(key_of(client))
            other["note"] = "theirs"
            other.save()
            request.session["note"] = "mine"

        doing["do"] = change
        assert client.get("/do").status_code == 409
        assert client.get("/me").json() == {"note": "theirs"}
