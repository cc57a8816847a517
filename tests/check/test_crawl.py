import secrets
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, abort, jsonify, redirect, request
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import assert_same_requests

from fungible.check.flows.binding import bind
from fungible.check.flows.crawl import crawl
from fungible.check.flows.form_filling import Account, filled, kind_of_form
from fungible.check.flows.html_forms import read_page
from fungible.check.http.jar import Jar
from fungible.check.http.template import captured, request_for
from fungible.check.model import Answer, Exchange, Flow, SignIn, Step


def notes_app() -> Flask:
    """Accounts, notes with random ids, a file each; tokens in its forms are good once and for one session."""
    app = Flask(__name__)
    users: dict[str, str] = {}
    sessions: dict[str, dict[str, Any]] = {}
    notes: dict[str, str] = {}

    def session() -> dict[str, Any]:
        return sessions.get(request.cookies.get("sid", ""), {})

    def page(body: str) -> Response:
        sid, held = request.cookies.get("sid", ""), session()
        answer = Response("", mimetype="text/html")
        if not held:
            sid, held = secrets.token_hex(16), {}
            answer.set_cookie("sid", sid, httponly=True)
        held["csrf"] = secrets.token_urlsafe(24)
        sessions[sid] = held
        user = held.get("user")
        menu = (
            '<form method="post" action="/logout">%s<button>Sign out</button></form>'
            if user
            else '<a href="/login">Sign in</a> <a href="/register">Sign up</a>'
        )
        answer.set_data(
            (
                f"<nav><a href='/'>Home</a><a href=/about>About</a><a href='https://elsewhere.test/'>x</a>{menu}</nav>Hello {user or 'you'} {body}"
            ).replace("%s", f'<input type="hidden" name="csrf" value="{held["csrf"]}">')
        )
        return answer

    def check() -> None:
        if not secrets.compare_digest(session().pop("csrf", "-"), request.form.get("csrf", "")):
            abort(403)

    @app.get("/")
    def home() -> Response:
        rows = "".join(
            f'<li><a href="/notes/{n}">{t}</a><form method=post action="/notes/{n}/delete">%s<button>Delete</button></form></li>'
            for n, t in notes.items()
        )
        form = '<form method="post" action="/notes" enctype="multipart/form-data">%s<textarea name="text"></textarea><input type=file name=file><input type=checkbox name=pin checked></form>'
        return page(f"<ul>{rows}</ul>" + (form if session().get("user") else ""))

    @app.get("/about")
    def about() -> Response:
        return page(
            "About <a href='/missing'>m</a><a href='/notes/all/delete'>Delete all</a><a href='/style.css'>s</a><a href='/old'>o</a>"
        )

    @app.get("/old")
    def old() -> Any:
        return redirect("/about", 301)

    @app.get("/register")
    def register_form() -> Response:
        return page(
            '<form method="post">%s<input name="username"><input type="email" name="email"><input type="password" name="password"><input type="password" name="password2"></form>'
        )

    @app.post("/register")
    def register() -> Any:
        check()
        if request.form["username"] in users or request.form["password"] != request.form["password2"]:
            abort(409)
        users[request.form["username"]] = request.form["password"]
        return redirect("/login", 303)

    @app.get("/login")
    def login_form() -> Response:
        return page(
            '<form method="post" action="/login">%s<input name="username"><input type="password" name="password"><button>Sign in</button></form>'
        )

    @app.post("/login")
    def login() -> Any:
        check()
        if users.get(request.form["username"]) != request.form["password"]:
            abort(401)
        session()["user"] = request.form["username"]
        return redirect("/")

    @app.post("/notes")
    def add() -> Any:
        check()
        assert request.files["file"].read().startswith(b"\x89PNG")
        made = secrets.token_hex(8)
        notes[made] = request.form["text"]
        return redirect(f"/notes/{made}")

    @app.get("/notes/<note>")
    def read(note: str) -> Any:
        if not session().get("user"):
            return redirect("/login")
        return page(f"<p>{notes[note]}</p>") if note in notes else abort(404)

    @app.post("/notes/<note>/delete")
    def delete(note: str) -> Any:
        raise AssertionError("a walk must not delete")

    @app.post("/logout")
    def logout() -> Any:
        check()
        sessions.pop(request.cookies["sid"])
        answer = redirect("/")
        answer.delete_cookie("sid")
        return answer

    return app


def sender(app: Flask, values: dict[str, str] | None = None) -> Callable[[Step], Answer]:
    jar = Jar()
    held = {"host": "localhost"} if values is None else values

    def send(step: Step) -> Answer:
        sent = request_for(step, held, host="localhost", scheme="http", cookies=jar)
        client = app.test_client(use_cookies=False)
        got = client.open(sent.target, method=sent.method, headers=list(sent.headers), data=sent.body)
        answer = Answer(status=got.status_code, headers=tuple(got.headers.items()), body=got.data)
        if not any(name.lower() == "cookie" for name in step.headers):
            for name, value in answer.headers:
                if name.lower() == "set-cookie":
                    jar.take(value, sent.target)
        for capture in step.capture:
            value = captured(capture, answer, jar)
            assert value is not None, (step, answer.text)
            held[capture.name] = value
        return answer

    return send


def lines(exchanges: list[Exchange]) -> list[str]:
    return [f"{one.step.method} {one.step.path} {one.answer.status}" for one in exchanges]


def test_a_walk_signs_up_and_in_sends_forms_reads_again_and_signs_out() -> None:
    exchanges = crawl(sender(notes_app()))
    seen = lines(exchanges)
    assert seen[:6] == [
        "GET / 200",
        "GET /register 200",
        "POST /register 303",
        "GET /login 200",
        "GET / 200",
        "GET /login 200",
    ]
    assert "POST /login 302" in seen
    assert "POST /notes 302" in seen
    made = seen.index("POST /notes 302")
    assert seen[made + 1].startswith("GET /notes/")
    assert "GET / 200" in seen[made + 2 :]
    out = seen.index("POST /logout 302")
    assert seen[out + 1 :] == ["GET / 200", *seen[out + 2 :]]
    assert len(seen) - out <= 4
    assert seen.count("POST /notes 302") == 1
    assert not any("delete" in line or "style.css" in line or "elsewhere" in line for line in seen)
    assert len(seen) <= 24
    assert len({one.step.id for one in exchanges}) == len(exchanges)
    assert exchanges[-1].step.id.startswith("replay-")
    assert exchanges[-1].step.headers["Cookie"].startswith("sid=")


def test_a_walk_can_be_bound_and_made_again_on_a_fresh_application() -> None:
    exchanges = crawl(sender(notes_app()))
    flow = bind(exchanges)
    assert_same_requests(flow, exchanges)
    send = sender(notes_app(), {"host": "localhost"})
    assert [send(step).status for step in flow.steps] == [one.answer.status for one in exchanges]


def test_the_limit_holds() -> None:
    for limit in (1, 5, 8, 12, 40):
        assert len(crawl(sender(notes_app()), limit=limit)) <= limit


def test_an_application_that_does_not_answer_gives_nothing() -> None:
    assert crawl(lambda _: Answer(error="connection refused")) == []


def test_links_in_json_are_followed() -> None:
    app = Flask(__name__)
    app.add_url_rule(
        "/",
        "a",
        lambda: jsonify(
            items_url="/items", docs="https://elsewhere.test/", remove="/items/delete", here="http://localhost/me"
        ),
    )
    app.add_url_rule("/items", "b", lambda: jsonify([{"id": 1, "href": "/items/1"}, {"id": 2, "href": "/items/2"}]))
    app.add_url_rule("/items/<n>", "c", lambda n: jsonify(id=n))
    app.add_url_rule("/me", "d", lambda: jsonify(ok=True))
    assert lines(crawl(sender(app))) == ["GET / 200", "GET /me 200", "GET /items 200", "GET /items/1 200"]


def test_a_form_is_filled_by_names_and_types() -> None:
    page = """<form method=post enctype="multipart/form-data">
      <input type=hidden name=t value="&amp;x"><input name=title maxlength=5><input type=email name=mail>
      <input type=number name=n min=3><input type=date name=d><input name=zip pattern="[0-9]{5}">
      <select name=s><option value="">-<option value=b>B</select><textarea name=c>
kept</textarea>
      <input type=checkbox name=k value=1><input type=radio name=r value=1><input type=radio name=r value=2>
      <input type=file name=f><input name=off disabled><button name=go value=1>Go</button><button name=no>No</button></form>"""
    form = read_page(page).forms[0]
    assert kind_of_form(form, "/") == "other"
    fields = filled(form, Account())
    assert fields["form"] == {
        "t": "&x",
        "title": "fungi",
        "mail": "fungible@example.org",
        "n": "3",
        "d": "2026-01-15",
        "zip": "12345",
        "s": "b",
        "c": "kept",
        "k": "1",
        "r": "1",
        "go": "1",
    }
    assert fields["files"][0].filename == "fungible.png"


def test_kinds_of_forms() -> None:
    def kind(text: str, path: str = "/") -> str:
        return kind_of_form(read_page(text).forms[0], path)

    assert kind("<form method=post><input type=password name=p></form>", "/login") == "sign-in"
    assert kind("<form method=post><input type=password name=p><button>Create account</button></form>") == "register"
    assert kind("<form method=post><input type=password name=p><input type=password name=q></form>") == "register"
    assert (
        kind("<form method=post><input type=password name=old_password><input type=password name=new></form>")
        == "harmful"
    )
    assert kind("<form method=post><button>Log out</button></form>") == "sign-out"
    assert kind("<form method=post action=/x/delete></form>") == "harmful"
    assert kind("<form><input name=q></form>") == "search"
    assert kind("<form method=post>You may delete it later<input name=q></form>") == "other"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([200, 302, 404, 500]),
            st.text(max_size=60)
            | st.sampled_from(
                [
                    "<form method=post><input type=password name=p>",
                    "<a href='/logout'>x</a><a href=/a/1>",
                    '["/b"]',
                    "<a href='//['>",
                ]
            ),
            st.sampled_from(["text/html", "application/json", ""]),
            st.sampled_from(["/", "/x?y", "http://[", ""]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_whatever_an_application_answers_the_walk_ends(rows: list[tuple[int, str, str, str]]) -> None:
    asked = 0

    def send(step: Step) -> Answer:
        nonlocal asked
        asked += 1
        status, body, kind, location = rows[asked % len(rows)]
        return Answer(status=status, headers=(("Content-Type", kind), ("Location", location)), body=body.encode())

    exchanges = crawl(send)
    assert len(exchanges) == asked <= 24
    flow: Flow = bind(exchanges)
    assert len(flow.steps) == len(exchanges)


def closed_shop() -> Flask:
    """An application below /shop in which nobody can register."""
    app = Flask(__name__)
    sessions: set[str] = set()

    @app.get("/shop")
    def shop() -> str:
        if request.cookies.get("sid") in sessions:
            return '<h1>Hello</h1><a href="/shop/orders">Orders</a>'
        return '<form method="post" action="/shop/enter"><input name="kdnr"><input type="password" name="pin"></form>'

    @app.post("/shop/enter")
    def enter() -> Any:
        if request.form.to_dict() != {"kdnr": "ada", "pin": "lovelace"}:
            abort(403)
        answer = redirect("/shop", 303)
        sid = secrets.token_hex(16)
        sessions.add(sid)
        answer.set_cookie("sid", sid)
        return answer

    @app.get("/shop/orders")
    def orders() -> str:
        return "<ul><li>kite</li></ul>" if request.cookies.get("sid") in sessions else abort(403)

    return app


ADA = SignIn(user="ada", password="lovelace")


def test_a_walk_begins_where_it_is_told_and_signs_in_with_the_account_it_is_given():
    exchanges = crawl(sender(closed_shop()), begin="/shop", sign_in=ADA)
    assert lines(exchanges)[:4] == ["GET /shop 200", "POST /shop/enter 303", "GET /shop 200", "GET /shop/orders 200"]


def test_without_an_account_nobody_signs_in():
    exchanges = crawl(sender(closed_shop()), begin="/shop")
    assert all(exchange.step.method == "GET" for exchange in exchanges)


def test_http_basic_is_answered_with_the_account():
    app = Flask(__name__)

    @app.get("/admin")
    def admin() -> Any:
        if request.authorization and (request.authorization.username, request.authorization.password) == (
            "ada",
            "lovelace",
        ):
            return "<a href=/admin/log>log</a>"
        return Response("who?", 401, {"WWW-Authenticate": "Basic realm=admin"})

    exchanges = crawl(sender(app), begin="/admin", sign_in=ADA)
    assert lines(exchanges)[:2] == ["GET /admin 401", "GET /admin 200"]
    assert exchanges[1].step.auth == ("ada", "lovelace")


def test_an_account_is_shown_without_its_password():
    assert "lovelace" not in repr(ADA) + repr(Account("ada", known=True, password="lovelace"))
