"""Every kind has its severity, words and way out, in every framework; frameworks are recognised by what shows."""

import re
from typing import get_args

import pytest

from fungible.check.findings.fixes import SEVERITY, TITLE, WHAT, docs_for, fix_for
from fungible.check.findings.frameworks import recognise
from fungible.check.findings.protocols import protocol_of
from fungible.check.model import Answer, Kind, Step

KINDS: tuple[Kind, ...] = get_args(Kind)
FRAMEWORKS = ("django", "flask", "fastapi", "express", "spring", "servlet", "rack", "php", "")


def answer(*headers: tuple[str, str], body: bytes = b"", status: int = 200) -> Answer:
    return Answer(status=status, headers=headers, body=body)


FLASK_COOKIE = "eyJ1c2VyIjoiYWRhIn0.aSg1Zw.Xk2vP0dPq3mS8b9yqf1v0m5u3xE"
WERKZEUG_REDIRECT = (
    b"<!doctype html>\n<html lang=en>\n<title>Redirecting...</title>\n<h1>Redirecting...</h1>\n<p>You should be "
    b'redirected automatically to the target URL: <a href="/home">/home</a>. If not, click the link.\n'
)
WERKZEUG_ERROR = (
    b"<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>The requested URL was not "
    b"found on the server. If you entered the URL manually please check your spelling and try again.</p>\n"
)
JSON = ("Content-Type", "application/json; charset=utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_severity_title_meaning_and_a_docs_entry(kind: Kind):
    assert SEVERITY[kind] in {"BREAKING", "HIGH", "MEDIUM"}
    assert TITLE[kind]
    assert "\n" not in TITLE[kind]
    assert len(TITLE[kind]) <= 60
    assert WHAT[kind].endswith(".")
    assert docs_for(kind) == f"fungible explain {kind}"


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_fix_is_one_to_four_sentences(kind: Kind, framework: str):
    fix = fix_for(kind, framework)
    prose = re.sub(r"`[^`]*`", "code", fix)
    assert fix.count("`") % 2 == 0, "a backquote is left open"
    assert prose.endswith((".", ")."))
    assert '"' not in prose, "a setting stands outside backquotes"
    assert 1 <= len(re.findall(r"[.](?:\s|$)", prose)) <= 4


def test_an_unknown_framework_gets_the_general_fix():
    assert fix_for("session", "cobol-on-cogs") == fix_for("session", "")
    assert fix_for("session", "django") != fix_for("session", "")


def test_starlette_is_served_by_the_words_for_fastapi():
    assert fix_for("session", "starlette") == fix_for("session", "fastapi")


@pytest.mark.parametrize(
    ("framework", "kind", "setting"),
    [
        ("django", "session", "SESSION_ENGINE"),
        ("django", "per-instance-secret", "SECRET_KEY_FALLBACKS"),
        ("django", "upload", "STORAGES"),
        ("django", "revived-session", "cached_db"),
        ("flask", "session", "SESSION_TYPE"),
        ("flask", "rate-limit", "storage_uri"),
        ("fastapi", "per-instance-secret", "secret_key=os.environ"),
        ("express", "session", "connect-redis"),
        ("express", "drops-requests", "SIGTERM"),
        ("spring", "session", "spring-session-data-redis"),
        ("php", "session", "session.save_handler"),
    ],
)
def test_a_fix_names_the_setting_of_the_framework(framework: str, kind: Kind, setting: str):
    assert setting in fix_for(kind, framework)


@pytest.mark.parametrize(
    ("answers", "command", "expected"),
    [
        ([], "python manage.py runserver {port}", "django"),
        ([], "python -m django runserver", "django"),
        ([], "gunicorn shop.wsgi:application", "django"),
        ([], "uvicorn shop.asgi:application --port {port}", "django"),
        ([answer(("Set-Cookie", "csrftoken=a; Path=/")), answer(("Set-Cookie", "sessionid=b"))], "", "django"),
        ([answer(body=b'<input type="hidden" name="csrfmiddlewaretoken" value="x">')], "", "django"),
        ([], "flask --app shop run --port {port}", "flask"),
        ([answer(("Server", "Werkzeug/3.1.3 Python/3.12"))], "python app.py", "flask"),
        (
            [answer(("Server", "Werkzeug/3.1.3"), ("Set-Cookie", "csrftoken=1"), body=b"csrfmiddlewaretoken")],
            "",
            "django",
        ),
        ([], "fastapi run main.py", "fastapi"),
        ([], "uvicorn main:app --port {port}", "fastapi"),
        ([answer(("Server", "uvicorn"))], "./start.sh", ""),
        ([answer(JSON, body=b'{"detail":"Not Found"}', status=404)], "./start.sh", "fastapi"),
        ([answer(JSON, body=b'{"detail":"Not found."}', status=404)], "./start.sh", ""),
        ([answer(("X-Powered-By", "Express"))], "npm start", "express"),
        ([answer(("Set-Cookie", "connect.sid=s%3Aabc; HttpOnly"))], "node server.js", "express"),
        ([answer()], "node server.js", ""),
        ([], "npm start", ""),
        ([answer(("X-Powered-By", "PHP/8.3.1"))], "", "php"),
        ([answer(("set-cookie", "PHPSESSID=1"))], "apache2-foreground", "php"),
        ([answer(("Set-Cookie", "laravel_session=1"))], "", "php"),
        ([], "php -S 127.0.0.1:{port}", "php"),
        ([answer(("Set-Cookie", "JSESSIONID=1"))], "", "servlet"),
        ([answer(("Set-Cookie", "JSESSIONID.3f=1"))], "java -jar wiki.war", ""),
        ([answer(("Set-Cookie", "JSESSIONID=1"), body=b"<h1>Whitelabel Error Page</h1>")], "", "spring"),
        ([answer(("Set-Cookie", "JSESSIONID=1"))], "java -jar app.jar", "servlet"),
        ([], "java -Xmx1g -jar app.jar", "spring"),
        ([answer(("Set-Cookie", "rack.session=BAh7; path=/"))], "bundle exec puma", "rack"),
        ([answer(("Set-Cookie", "_shop_session=abc--def; path=/"))], "bundle exec puma", ""),
        ([answer(("Server", "gunicorn"), ("Set-Cookie", f"session={FLASK_COOKIE}"))], "gunicorn app:app", "flask"),
        ([answer(("Server", "uvicorn"), ("Set-Cookie", f"session={FLASK_COOKIE}"))], "./start.sh", ""),
        ([answer(("Server", "gunicorn"), body=WERKZEUG_REDIRECT, status=302)], "gunicorn app:app", "flask"),
        ([answer(("Server", "gunicorn"), body=WERKZEUG_ERROR, status=404)], "gunicorn app:app", "flask"),
        ([answer(("Server", "gunicorn"), body=b"<h1>Not Found</h1>", status=404)], "gunicorn app:app", ""),
        ([], "gunicorn 'shop:create_app()'", "flask"),
        ([answer(("Set-Cookie", "__Host-connect.sid=1"))], "", "express"),
        ([answer(("Set-Cookie", "session=1"), ("Server", "nginx"))], "./app", ""),
        ([], "", ""),
    ],
)
def test_a_framework_is_recognised_by_its_answers_and_its_command(answers: list[Answer], command: str, expected: str):
    assert recognise(answers, command) == expected


@pytest.mark.parametrize(
    ("step", "kind", "protocol", "setting"),
    [
        (Step(id="call", path="/mcp/", headers={"Mcp-Session-Id": "{{s}}"}), "session", "mcp", "stateless_http"),
        (
            Step(id="begin", method="POST", path="/mcp/", json={"jsonrpc": "2.0", "method": "tools/list"}),
            "drops-requests",
            "mcp",
            "timeout_graceful_shutdown",
        ),
        (Step(id="say", path="/socket.io/?EIO=4&transport=polling&sid={{sid}}"), "session", "socket.io", "websocket"),
        (Step(id="paid", method="POST", path="/webhooks/pay"), "unsafe-repeat", "webhook", "event's ID"),
        (
            Step(id="push", method="POST", path="/in", headers={"X-GitHub-Delivery": "1"}),
            "unsafe-repeat",
            "webhook",
            "event's ID",
        ),
    ],
)
def test_a_protocol_with_a_way_out_of_its_own_gets_it_whatever_the_framework(
    step: Step, kind: Kind, protocol: str, setting: str
):
    assert protocol_of(step) == protocol
    assert setting in fix_for(kind, "flask", protocol)
    assert fix_for("cache", "flask", protocol) == fix_for("cache", "flask")


@pytest.mark.parametrize("path", ["/orders", "/webhook-settings-guide/1", "/rpc"])
def test_other_requests_have_no_protocol_of_their_own(path: str):
    assert protocol_of(Step(id="one", method="POST", path=path, json={"method": "orders/list"})) == ""
    assert protocol_of(Step(id="two", path="/webhooks")) == ""
