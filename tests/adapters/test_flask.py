"""Flask: `flask.session` on our sessions."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("flask", reason="flask is not installed")

import flask
from flask import Flask, flash, get_flashed_messages, request
from flask.testing import FlaskClient
from werkzeug.exceptions import ServiceUnavailable

from fungible.adapters.flask import FlaskSession, FungibleSessions, session
from fungible.core.errors import SettingError
from fungible.doctor.applications import homes_of
from fungible.sessions import SessionReadOnlyError
from fungible.stores import Store, open_store
from fungible.stores.memory import MemoryStore
from fungible.stores.postures import PostureError

SECRET = "only for tests, and long enough for that"
NAME = "__Host-session"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def application(store: Store | None = None, *, config: dict[str, Any] | None = None, **options: Any) -> Flask:
    app = Flask(__name__)
    app.config.update({"SECRET_KEY": SECRET, **(config or {})})
    if options.get("mode") != "sealed":
        options["store"] = open_store("memory:") if store is None else store
    FungibleSessions(app, **options)

    @app.get("/plain")
    def plain() -> str:
        return "plain"

    @app.get("/me")
    def me() -> dict[str, Any]:
        return dict(session)

    @app.post("/put/<key>/<value>")
    def put(key: str, value: str) -> str:
        session[key] = value
        return "kept"

    return app


def client_of(app: Flask) -> FlaskClient:
    return app.test_client()


def cookie_of(client: FlaskClient) -> str:
    cookie = client.get_cookie(NAME)
    assert cookie is not None
    return cookie.value


def view(app: Flask, path: str, do: Callable[[], Any]) -> None:
    app.add_url_rule(path, path, lambda: do() or "", methods=["GET", "POST"])


# --- the mapping ------------------------------------------------------------------------------------------------------


def test_flask_session_is_a_mutable_mapping() -> None:
    app = application()

    def use() -> dict[str, Any]:
        flask.session["one"] = 1
        flask.session.update(two=2, three=3)
        del flask.session["three"]
        assert flask.session.pop("two") == 2
        assert "one" in flask.session
        assert len(flask.session) == 1
        assert list(flask.session) == ["one"]
        assert flask.session.new
        assert flask.session.modified
        assert flask.session.accessed
        flask.session.modified = True
        return dict(flask.session)

    view(app, "/use", use)
    assert client_of(app).get("/use").json == {"one": 1}


def test_what_changes_inside_of_values_is_kept_without_a_flag() -> None:
    app = application()
    view(app, "/begin", lambda: session.update(cart={"items": []}))
    view(app, "/add", lambda: session["cart"]["items"].append("mug"))
    client = client_of(app)
    client.get("/begin")
    client.get("/add")
    client.get("/add")
    assert client.get("/me").json == {"cart": {"items": ["mug", "mug"]}}


def test_values_keep_their_types() -> None:
    from datetime import UTC, datetime
    from decimal import Decimal
    from uuid import UUID

    values = {"at": datetime(2026, 11, 21, tzinfo=UTC), "price": Decimal("9.99"), "id": UUID(int=7), "raw": b"\x00"}
    app = application()
    seen: dict[str, Any] = {}
    view(app, "/begin", lambda: session.update(values))
    view(app, "/look", lambda: seen.update(session))
    client = client_of(app)
    client.get("/begin")
    client.get("/look")
    assert seen == values


def test_a_value_that_cannot_be_kept_is_an_error_where_it_is_set() -> None:
    app = application()
    view(app, "/bad", lambda: session.update(user=object()))
    app.testing = True
    with pytest.raises(TypeError, match="user"):
        client_of(app).get("/bad")


def test_flashed_messages_come_with_the_next_page_and_once() -> None:
    app = application()
    view(app, "/flash", lambda: (flash("saved", "success"), flash("really"))[:0])
    view(app, "/page", lambda: get_flashed_messages(with_categories=True))
    client = client_of(app)
    client.get("/flash")
    assert client.get("/page").json == [["success", "saved"], ["message", "really"]]
    assert client.get("/page").json is None


# --- its life ---------------------------------------------------------------------------------------------------------


def test_signing_in_and_out_from_a_view() -> None:
    app = application()
    view(app, "/in", lambda: session.rotate(subject="ada"))
    view(app, "/out", lambda: session.end())
    view(app, "/subject", lambda: session.subject)
    view(app, "/count", lambda: str(session.increment(("stats", "views"))))
    view(app, "/since", lambda: str(session.created_at))
    client = client_of(app)
    client.post("/put/cart/mug")
    before = cookie_of(client)
    client.get("/in")
    assert cookie_of(client) != before
    assert client.get("/subject").text == "ada"
    assert [client.get("/count").text for _ in range(3)] == ["1", "2", "3"]
    assert float(client.get("/since").text) > 0
    assert "Max-Age=0" in client.get("/out").headers["Set-Cookie"]
    assert client.get("/me").json == {}


def test_setting_a_subject_gives_a_new_id_with_the_response() -> None:
    app = application()
    view(app, "/in", lambda: setattr(session, "subject", "ada"))
    client = client_of(app)
    client.post("/put/cart/mug")
    before = cookie_of(client)
    client.get("/in")
    assert cookie_of(client) != before


def test_a_login_extension_that_only_sets_its_key_gets_a_new_id_by_subject_key() -> None:
    app = application(subject_key="_user_id")
    view(app, "/subject", lambda: session.subject)
    client = client_of(app)
    client.post("/put/cart/mug")
    before = cookie_of(client)
    client.post("/put/_user_id/7")
    assert cookie_of(client) != before
    assert client.get("/subject").text == "7"


def test_signing_out_everywhere_and_the_list_of_devices() -> None:
    app = application()
    view(app, "/in", lambda: session.rotate(subject="ada"))
    view(app, "/others", lambda: str(len(session.others())))
    view(app, "/out", lambda: str(session.end_all()))
    view(app, "/out-elsewhere", lambda: str(session.end_all(keep_this=True)))
    laptop, phone, tablet = (client_of(app) for _ in range(3))
    for client in (laptop, phone, tablet):
        client.post("/put/user/ada")
        client.get("/in")
    assert laptop.get("/others").text == "3"
    assert laptop.get("/out-elsewhere").text == "2"
    assert laptop.get("/me").json == {"user": "ada"}
    assert phone.get("/me").json == {}
    assert laptop.get("/out").text == "1"
    assert laptop.get("/me").json == {}


def test_clear_ends_the_session_and_what_follows_begins_another() -> None:
    app = application()
    view(app, "/out", lambda: session.clear())
    view(app, "/renew", lambda: (session.clear(), session.update(fresh=True))[:0])
    client = client_of(app)
    client.post("/put/cart/mug")
    before = cookie_of(client)
    client.get("/renew")
    assert cookie_of(client) != before
    assert client.get("/me").json == {"fresh": True}
    client.get("/out")
    assert client.get_cookie(NAME) is None


def test_saving_early_is_possible() -> None:
    app = application()
    view(app, "/early", lambda: (session.update(early=True), session.save(), str(session.new))[2])
    client = client_of(app)
    assert client.get("/early").text == "False"
    assert client.get("/me").json == {"early": True}


def test_a_session_that_nobody_uses_ends_after_the_permanent_session_lifetime() -> None:
    clock = Clock()
    app = application(MemoryStore(now=clock), config={"PERMANENT_SESSION_LIFETIME": 3600}, now=clock)
    client = client_of(app)
    client.post("/put/cart/mug")
    for _ in range(5):
        clock.now += 3000
        assert client.get("/me").json == {"cart": "mug"}
    clock.now += 3601
    assert client.get("/me").json == {}


def test_what_is_changed_while_a_response_is_streamed_is_kept() -> None:
    app = application()

    @app.get("/stream")
    def stream() -> flask.Response:
        @flask.stream_with_context
        def parts() -> Iterator[str]:
            yield "first"
            session["streamed"] = True

        session["begun"] = True
        return flask.Response(parts())

    client = client_of(app)
    client.post("/put/cart/mug")
    with client.get("/stream") as answer:
        assert answer.text == "first"
    assert client.get("/me").json == {"cart": "mug", "begun": True, "streamed": True}


def test_a_session_can_be_changed_in_a_test_before_a_request() -> None:
    client = client_of(application())
    with client.session_transaction() as changed:
        assert isinstance(changed, FlaskSession)
        changed["cart"] = "mug"
    assert client.get("/me").json == {"cart": "mug"}
    with client.session_transaction() as changed:
        assert changed["cart"] == "mug"


@pytest.mark.parametrize("mode", ["stored", "snapshot", "sealed"])
def test_every_mode_keeps_sessions(mode: str) -> None:
    client = client_of(application(mode=mode))
    client.post("/put/cart/mug")
    client.post("/put/seen/yes")
    assert client.get("/me").json == {"cart": "mug", "seen": "yes"}
    assert client.get("/me").json == {"cart": "mug", "seen": "yes"}


def test_two_changes_that_cannot_be_merged_answer_409_where_that_is_asked_for() -> None:
    app = application(conflicts="raise")
    client, twin = client_of(app), client_of(app)

    def change() -> None:
        assert session["note"] == "first"
        twin.post("/put/note/theirs")
        session["note"] = "mine"

    view(app, "/change", change)
    client.post("/put/note/first")
    twin.set_cookie(NAME, cookie_of(client))
    assert client.get("/change").status_code == 409
    assert client.get("/me").json == {"note": "theirs"}


# --- the cookie -------------------------------------------------------------------------------------------------------


def attributes_of(client: FlaskClient, path: str = "/put/cart/mug") -> tuple[str, set[str]]:
    name, *attributes = client.post(path).headers["Set-Cookie"].split("; ")
    return name.partition("=")[0], set(attributes)


def test_the_cookie_ends_with_the_browser_unless_the_session_is_permanent() -> None:
    app = application()
    view(app, "/keep", lambda: setattr(session, "permanent", True))
    view(app, "/how", lambda: str(session.permanent))
    client = client_of(app)
    assert not any(part.startswith("Max-Age") for part in attributes_of(client)[1])
    assert client.get("/how").text == "False"
    # Told at once, although the ID is the same.
    assert "Max-Age=2678400" in attributes_of(client, "/keep")[1]
    assert client.get("/how").text == "True"
    assert "Set-Cookie" not in client.post("/keep").headers


def test_a_hook_that_makes_every_session_permanent_makes_none_for_visitors() -> None:
    app = application()
    app.before_request(lambda: setattr(session, "permanent", True))
    client = client_of(app)
    assert "Set-Cookie" not in client.get("/me").headers
    assert "Max-Age=2678400" in attributes_of(client)[1]


def test_flasks_defaults_give_way_to_a_cookie_that_only_this_host_gets_over_https() -> None:
    name, attributes = attributes_of(client_of(application()))
    assert name == NAME
    assert attributes == {"Path=/", "HttpOnly", "Secure", "SameSite=Lax"}


def test_settings_of_the_cookie_count_where_they_are_set() -> None:
    config = {
        "SESSION_COOKIE_NAME": "sid",
        "SESSION_COOKIE_PATH": "/shop",
        "SESSION_COOKIE_DOMAIN": "example.org",
        "SESSION_COOKIE_SAMESITE": "Strict",
        "SESSION_COOKIE_PARTITIONED": True,
    }
    name, attributes = attributes_of(client_of(application(config=config)))
    assert name == "sid"
    wanted = {"Path=/shop", "Domain=example.org", "HttpOnly", "Secure", "SameSite=Strict", "Partitioned"}
    assert attributes == wanted


def test_a_plain_http_server_in_development_has_to_be_asked_for() -> None:
    name, attributes = attributes_of(client_of(application(secure=False)))
    assert name == "session"
    assert "Secure" not in attributes


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"SESSION_COOKIE_HTTPONLY": False}, "must stay on"),
        ({"SESSION_COOKIE_SAMESITE": "Sometimes"}, "same_site"),
        ({"SECRET_KEY": "short"}, "has 5 bytes"),
        ({"SECRET_KEY": None}, "set SECRET_KEY before"),
    ],
)
def test_settings_that_cannot_be_taken_are_refused_at_start(config: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        application(config=config)


def test_a_store_that_two_instances_cannot_share_is_refused_at_start() -> None:
    with pytest.raises(PostureError, match="memory:"):
        application(instances=2)


def test_cookies_of_a_former_secret_key_are_taken_and_made_anew() -> None:
    store = open_store("memory:")
    former = client_of(application(store))
    former.post("/put/cart/mug")
    config = {"SECRET_KEY": SECRET[::-1], "SECRET_KEY_FALLBACKS": ["too short to have signed", SECRET]}
    client = client_of(application(store, config=config))
    client.set_cookie(NAME, cookie_of(former))
    assert client.get("/me").json == {"cart": "mug"}
    assert cookie_of(client) != cookie_of(former)
    assert client.get("/me").json == {"cart": "mug"}


def test_answers_that_depend_on_the_session_are_kept_out_of_shared_caches() -> None:
    client = client_of(application())
    assert "Vary" not in client.get("/plain").headers
    assert client.get("/me").headers["Vary"] == "Cookie"
    assert client.post("/put/cart/mug").headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("field", ["Cache-Control: public, max-age=60", "CDN-Cache-Control: max-age=60"])
@pytest.mark.parametrize("mode", ["stored", "snapshot", "sealed"])
def test_what_a_shared_cache_may_store_carries_no_cookie(mode: str, field: str) -> None:
    clock = Clock()
    app = application(mode=mode, now=clock, idle_timeout_s=1000)
    name, _, value = field.partition(": ")

    @app.get("/public")
    def public() -> flask.Response:
        dict(session)
        return flask.Response("", headers={name: value})

    @app.get("/sign-in")
    def sign_in() -> flask.Response:
        session.rotate(subject="ada")
        return flask.Response("", headers={name: value})

    client = client_of(app)
    client.post("/put/cart/mug")
    clock.now += 500
    answer = client.get("/public")
    assert ("Set-Cookie" in answer.headers, answer.headers[name]) == (False, value)
    assert "Set-Cookie" in client.get("/me").headers
    answer = client.get("/sign-in")
    assert "Set-Cookie" in answer.headers
    assert "Cookie" in answer.vary
    assert "public" not in answer.headers["Cache-Control"]
    assert {"private", "no-store"} & {*answer.headers["Cache-Control"].split(", ")}
    assert "CDN-Cache-Control" not in answer.headers


def test_a_field_whose_name_only_resembles_cookie_is_not_taken_for_it() -> None:
    app = application()

    @app.get("/varies")
    def varies() -> flask.Response:
        dict(session)
        return flask.Response("", headers={"Vary": "X-Cookie-Consent"})

    assert {*client_of(app).get("/varies").vary} == {"X-Cookie-Consent", "Cookie"}


# --- once the response has begun --------------------------------------------------------------------------------------


def streaming(app: Flask, do: Callable[[], Any]) -> list[Exception]:
    """A view that does something while its response is streamed; what was raised."""
    raised: list[Exception] = []

    @app.get("/stream")
    def stream() -> flask.Response:
        @flask.stream_with_context
        def parts() -> Iterator[str]:
            yield "first"
            try:
                do()
            except SessionReadOnlyError as error:
                raised.append(error)

        return flask.Response(parts())

    return raised


NEED_A_COOKIE: dict[str, Callable[[], Any]] = {
    "rotate": lambda: session.rotate(),
    "sign in": lambda: session.rotate(subject="ada"),
    "subject": lambda: setattr(session, "subject", "ada"),
    "permanent": lambda: setattr(session, "permanent", True),
    "begin another": lambda: (session.clear(), session.update(fresh=1)),
}


@pytest.mark.parametrize("do", NEED_A_COOKIE.values(), ids=NEED_A_COOKIE)
@pytest.mark.parametrize("mode", ["stored", "snapshot", "sealed"])
@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
def test_what_needs_a_cookie_is_refused_while_the_response_is_streamed(
    mode: str, do: Callable[[], Any], known: bool
) -> None:
    app = application(mode=mode)
    raised = streaming(app, do)
    client = client_of(app)
    if known:
        client.post("/put/cart/mug")
    with client.get("/stream") as answer:
        assert answer.text == "first"
    assert "once the response has begun" in str(raised[0])


def test_a_visitors_first_values_are_refused_while_the_response_is_streamed() -> None:
    app = application()
    raised = streaming(app, lambda: session.update(late=1))
    client = client_of(app)
    with client.get("/stream") as answer:
        assert answer.text == "first"
    assert "a session can't be begun once the response has begun" in str(raised[0])
    assert client.get("/me").json == {}


@pytest.mark.parametrize("how", ["end", "clear"])
def test_a_session_can_be_ended_while_the_response_is_streamed(how: str) -> None:
    app = application()
    raised = streaming(app, lambda: getattr(session, how)())
    client = client_of(app)
    client.post("/put/cart/mug")
    with client.get("/stream") as answer:
        assert answer.text == "first"
    assert (raised, client.get("/me").json) == ([], {})


def test_a_session_that_is_first_looked_at_while_the_response_is_streamed_is_kept_too() -> None:
    app = application()
    streaming(app, lambda: session.update(late=1))
    client = client_of(app)
    client.post("/put/cart/mug")
    with client.get("/stream") as answer:
        assert answer.text == "first"
    assert client.get("/me").json == {"cart": "mug", "late": 1}


def test_what_is_changed_at_the_teardown_of_a_request_is_kept() -> None:
    app = application()

    @app.teardown_request
    def count(_: object) -> None:
        if request.path == "/me":
            session.increment("looks")

    client = client_of(app)
    client.post("/put/cart/mug")
    client.get("/me").close()
    assert client.get("/me").json == {"cart": "mug", "looks": 1}


def test_what_changes_inside_of_a_sealed_session_while_it_is_streamed_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = application(mode="sealed")
    view(app, "/list", lambda: session.update(items=[]))
    streaming(app, lambda: session["items"].append(1))
    client = client_of(app)
    client.get("/list")
    with client.get("/stream") as answer:
        assert answer.text == "first"
    assert "inside of items is lost" in caplog.text


# --- the application --------------------------------------------------------------------------------------------------


def test_one_object_can_serve_several_applications() -> None:
    sessions = FungibleSessions(store=open_store("memory:"))
    clients: list[FlaskClient] = []
    for secret in (SECRET, SECRET[::-1]):
        app = Flask(__name__)
        app.secret_key = secret
        sessions.init_app(app)
        view(app, "/", lambda: session.update(cart="mug"))
        clients.append(client_of(app))
        clients[-1].get("/")
    assert cookie_of(clients[0]) != cookie_of(clients[1])


def test_it_can_be_put_in_by_hand() -> None:
    app = Flask(__name__)
    app.session_interface = FungibleSessions(store=open_store("memory:"), secret=SECRET)
    view(app, "/", lambda: session.update(cart="mug"))
    assert NAME in client_of(app).get("/").headers["Set-Cookie"]


def test_doctor_sees_where_sessions_are() -> None:
    found = homes_of(application(), "app")
    assert [(home.kind, home.home, home.seat) for home in found.homes] == [
        ("session", "memory:", "FungibleSessions in app")
    ]


PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "migrate-sessions-from-flask.md"


def test_what_flasks_own_cookies_hold_can_be_taken_over_as_the_documentation_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = re.search(r"<!-- file: taking_over.py -->\n```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert block is not None
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SESSION_SECRET", SECRET)
    module: dict[str, Any] = {"__name__": "taking_over"}
    exec(block[1], module)
    app: Flask = module["app"]
    view(app, "/me", lambda: dict(session))
    view(app, "/out", lambda: session.end())

    former = Flask(__name__)
    former.secret_key = SECRET
    view(former, "/", lambda: flask.session.update(user="ada"))
    before = client_of(former)
    before.get("/")
    cookie = before.get_cookie("session")
    assert cookie is not None

    client = client_of(app)
    client.set_cookie("session", cookie.value)
    assert client.get("/me").json == {"user": "ada"}
    assert client.get_cookie("session") is None
    assert client.get("/me").json == {"user": "ada"}
    client.get("/out")
    assert client.get("/me").json is None


# --- a store that is away ---------------------------------------------------------------------------------------------


@pytest.fixture
def signed_in() -> str:
    client = client_of(application())
    client.post("/put/user/ada")
    return cookie_of(client)


def away(**options: Any) -> Flask:
    return application(open_store("sqlite:////nowhere/sessions.db"), **options)


def test_a_view_that_looks_at_its_session_answers_503(signed_in: str) -> None:
    client = client_of(away())
    client.set_cookie(NAME, signed_in)
    answer = client.get("/me")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert "Set-Cookie" not in answer.headers
    assert client.get("/plain").status_code == 200


def test_an_answer_whose_session_could_not_be_kept_becomes_a_503() -> None:
    app = away(retry_after_s=7)

    @app.after_request
    def allow(response: flask.Response) -> flask.Response:
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.set_etag("mine")
        return response

    answer = client_of(app).post("/put/cart/mug")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    assert "kept" not in answer.text
    assert answer.headers["Content-Length"] == str(len(answer.data))
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers
    assert "Set-Cookie" not in answer.headers


def test_the_applications_own_page_for_503_is_shown() -> None:
    app = away()

    @app.errorhandler(503)
    def sorry(error: ServiceUnavailable) -> tuple[dict[str, str], int]:
        return {"sorry": request.path}, 503

    assert client_of(app).post("/put/cart/mug").json == {"sorry": "/put/cart/mug"}


def test_an_empty_session_that_cannot_be_changed_is_given_where_that_is_asked_for(signed_in: str) -> None:
    client = client_of(away(on_unavailable="empty"))
    client.set_cookie(NAME, signed_in)
    assert client.get("/me").json == {}
    assert "Set-Cookie" not in client.get("/me").headers
    assert client.post("/put/cart/mug").status_code == 500
