"""Which framework an application is made with, from what its answers and its start command give away."""

import re
from collections.abc import Iterable

from fungible.check.http.jar import read_set_cookie
from fungible.check.model import Answer
from fungible.check.witness.evidence import signed_form

# Names that belong to one framework alone decide; `uvicorn`, `java` and `php` only say what runs the application,
# and are asked last. `node` says nothing of the kind.
_DECIDING_COMMANDS: tuple[tuple[str, str], ...] = (
    ("django", r"\bmanage\.py\b|\bdjango-admin\b|-m\s+django\b|\bDJANGO_SETTINGS_MODULE=|\bdjango\b"),
    ("flask", r"\bflask\s+(?:\S+\s+)*run\b|\bFLASK_APP=|-m\s+flask\b|\bwaitress-serve\b.*\bflask\b"),
    ("fastapi", r"\bfastapi\s+(?:run|dev)\b|-m\s+fastapi\b"),
    ("spring", r"\bspring-boot:run\b|\bbootRun\b|-Dspring\.|--spring\."),
    (
        "php",
        r"\bartisan\s+(?:serve|octane:\w+)\b|\bfrankenphp\b|\bphp-fpm[\d.]*\b|\bsymfony\s+(?:server:start|serve)\b",
    ),
)
_HINTING_COMMANDS: tuple[tuple[str, str], ...] = (
    ("django", r"\b[\w.]+\.(?:wsgi|asgi)(?::application)?(?=[\s'\")]|$)"),
    ("fastapi", r"\b(?:uvicorn|hypercorn)\b|\buvicorn\.workers\b|\bfastapi\b|\bstarlette\b"),
    ("flask", r"\bflask\b|\bgunicorn\b.*\bcreate_app\b"),
    ("rack", r"\brackup\b|\bconfig\.ru\b"),
    ("express", r"\bexpress\b"),
    ("spring", r"\bjava\b.*\s-jar\s+\S+\.jar\b"),
    ("php", r"(?:^|[\s/;&'\"])php[\d.]*(?=\s|$)"),
)
_COOKIES: dict[str, str] = {
    "connect.sid": "express",
    "phpsessid": "php",
    "laravel_session": "php",
    "rack.session": "rack",
    "django_language": "django",
}


_WERKZEUG_PAGE = re.compile(
    rb"<title>Redirecting\.\.\.</title>\s*<h1>Redirecting\.\.\.</h1>\s*<p>You should be redirected automatically"
    rb"|<html lang=en>\s*<title>\d{3} [\w ]+</title>\s*<h1>[\w ]+</h1>\s*<p>[^<]+</p>\s*$"
)
"""What Werkzeug, below Flask, answers by itself: behind gunicorn the Server header does not name it."""


def recognise(answers: Iterable[Answer], command: str) -> str:
    """The framework's name, or an empty string where nothing points to one.

    Args:
        answers: Any answers of the application, such as those of a baseline.
        command: How it is started; empty where that is not known.

    Returns:
        `django`, `flask`, `fastapi` (also for Starlette), `express`, `spring`, `servlet` (a Java server with
        sessions, of which no more is known), `rack`, `php` or an empty string.
    """
    answers = list(answers)
    return (
        _named(command, _DECIDING_COMMANDS)
        or _shown(answers)
        or ("servlet" if any("jsessionid" in _cookies(answer) for answer in answers) else "")
        or _named(command, _HINTING_COMMANDS)
    )


def _named(command: str, patterns: tuple[tuple[str, str], ...]) -> str:
    return next((name for name, pattern in patterns if re.search(pattern, command)), "")


def _shown(answers: Iterable[Answer]) -> str:
    """The framework that the answers point to: what most of the evidence is rarest for comes first."""
    cookies: set[str] = set()
    signs: list[str] = []
    for answer in answers:
        cookies |= _cookies(answer).keys()
        signs.append(_sign(answer))
    # Other libraries use one of the two names, only Django both.
    if {"csrftoken", "sessionid"} <= cookies:
        return "django"
    by_cookie = next((_COOKIES[name] for name in sorted(cookies) if name in _COOKIES), "")
    # Django's development server can be Werkzeug too, so Django's own marks go first.
    order = ("django", "express", "php", "spring", "rack", "fastapi", "flask")
    return next((name for name in order if name in signs or name == by_cookie), "")


def _cookies(answer: Answer) -> dict[str, str]:
    """The cookies that an answer sets, names in lower case and without the `__Host-` and `__Secure-` prefixes."""
    cookies = (read_set_cookie(text) for key, text in answer.headers if key.lower() == "set-cookie")
    return {
        cookie.name.lower().removeprefix("__host-").removeprefix("__secure-"): cookie.value
        for cookie in cookies
        if cookie is not None
    }


def _sign(answer: Answer) -> str:
    """What one answer's headers and body say by themselves."""
    powered = (answer.header("x-powered-by") or "").lower()
    server = (answer.header("server") or "").lower()
    if "express" in powered:
        return "express"
    if powered.startswith("php") or "php/" in server:
        return "php"
    if answer.header("x-application-context") is not None:
        return "spring"
    if b"csrfmiddlewaretoken" in answer.body:
        return "django"
    if b"<h1>Whitelabel Error Page</h1>" in answer.body or b'<input name="_csrf" type="hidden"' in answer.body:
        return "spring"
    if "werkzeug" in server or _WERKZEUG_PAGE.search(answer.body) is not None or _is_flask_session(answer, server):
        return "flask"
    return _sign_in_json(answer.body) if answer.media_type == "application/json" else ""


def _is_flask_session(answer: Answer, server: str) -> bool:
    """A cookie as Flask makes it: named `session`, its JSON as it is or compressed, signed by itsdangerous.

    Starlette's is much the same; what serves it is no WSGI server.
    """
    value = _cookies(answer).get("session", "")
    asynchronous = re.search(r"uvicorn|hypercorn|daphne|granian", server) is not None
    return (
        re.match(r"eyJ|\.eJ", value) is not None and signed_form(value) == "signed by itsdangerous" and not asynchronous
    )


def _sign_in_json(body: bytes) -> str:
    """The shapes of the frameworks' own error documents."""
    if re.fullmatch(rb'\s*\{"timestamp":[^{}]*"status":\s*\d+,\s*"error":[^{}]*"path":[^{}]*\}\s*', body):
        return "spring"
    if re.match(rb'\s*\{"detail":\s*\[\{[^{}]*"loc":\s*\[', body):
        return "fastapi"
    # Django REST framework writes "Not found." with a small f and a full stop.
    if re.fullmatch(rb'\s*\{"detail":\s*"(?:Not Found|Method Not Allowed)"\}\s*', body):
        return "fastapi"
    return ""
