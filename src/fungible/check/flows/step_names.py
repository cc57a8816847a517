"""Names of steps from what they do: `sign-in`, `add-to-cart`, `create-order`, `post-database-export`."""

import re
import urllib.parse
from collections.abc import Collection, Mapping
from typing import Any, Final, cast

from fungible.check.flows.html_forms import Form
from fungible.check.flows.values import stem, varies

_LONGEST: Final = 48
_MOST_WORDS: Final = 4
_SIGN_OUT: Final = re.compile(r"\b(?:log|sign)-?(?:out|off)\b")
_REGISTER: Final = re.compile(r"\bregist|\bsign-?up\b|\bcreate-(?:an-)?account\b|\bjoin\b|\bnew-account\b")
_OTHER_PASSWORD: Final = re.compile(r"old|new|current|change|reset")
_EXTENSION: Final = re.compile(r"\.(?:php\d?|html?|aspx?|jsp|do|cgi|action)$", re.IGNORECASE)
_NO_ROUTE: Final = frozenset({"index", "default", "main", "api"})
_ROUTE_KEYS: Final = frozenset(
    {"route", "r", "action", "do", "op", "cmd", "task", "act", "page", "view", "mode", "module"}
)
"""Names of parameters that say what is asked for where one script serves everything."""
_VAGUE: Final = frozenset(
    {"submit", "go", "ok", "send", "save", "update", "continue", "next", "apply", "confirm", "edit"}
)
"""Words on buttons that say nothing without what they are about."""
_BARE_VERBS: Final = frozenset(
    {"add", "create", "delete", "get", "list", "patch", "post", "put", "read", "remove", "update"}
)
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete"}


class Names:
    """Step ids, never one twice."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def unique(self, name: str) -> str:
        """`name`, or `name-2` and so on where it is taken."""
        numbered, count = name, 1
        while numbered in self._used:
            count += 1
            numbered = f"{name}-{count}"
        self._used.add(numbered)
        return numbered


def step_name(method: str, target: str, *, button: str = "", body: Mapping[str, Any] | None = None) -> str:
    """A readable id, the same for the same request.

    Args:
        method: As sent.
        target: Path and query as sent.
        button: The words on the button that sent it, where it was a form.
        body: The body's fields as a step has them: `form` or `json`.
    """
    form, document = (body or {}).get("form"), (body or {}).get("json")
    sent = cast(dict[str, Any], form if isinstance(form, dict) else document if isinstance(document, dict) else {})
    route = _route(target, sent)
    pressed = _words(button)[:_MOST_WORDS]
    known = _known(method, "-".join([*route, *pressed]), sent)
    if known:
        return known
    if method != "GET" and pressed and not set(pressed) <= _VAGUE:
        return _cut(pressed)
    if method != "GET" and pressed:
        return _cut([*pressed, *route[-1:]])
    if document is not None and method in _VERBS and route:
        return _cut([_VERBS[method], *route[-2:-1], stem(route[-1])])
    return _cut([method.lower(), *(route[-2:] or ["home"])])


def operation_name(identifier: str, method: str, path: str) -> str:
    """An API description's `operationId` as a step's name, without path and method where they only repeat these."""
    made = re.sub(r"\W", "_", path) + "_" + method.lower()
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", identifier.removesuffix(made))
    words = _words(spaced)
    if len(words) == 1 and words[0] in _BARE_VERBS:
        things = _plain([part for part in path.split("/") if "{" not in part])
        words += [things[-1] if words[0] == "list" else stem(things[-1])] if things else []
    return _cut(words)


def button_words(form: Form, sent: Mapping[str, Any]) -> str:
    """What stands on the button that sent a form; empty where it has several and the request does not tell which."""
    buttons = [one for one in form.fields if one.kind in {"submit", "image"}]
    if len(buttons) <= 1:
        return form.buttons
    pressed = [one for one in buttons if one.name and one.value in _values(sent.get(one.name))]
    return pressed[0].value if len(pressed) == 1 else ""


def _known(method: str, said: str, sent: Mapping[str, Any]) -> str:
    """The usual name of what every application does: signing in and out, making an account."""
    passwords = [name.lower() for name in sent if re.search(r"passw|^pwd?$|^pass$", name, re.IGNORECASE)]
    if method == "GET":
        return "sign-out" if _SIGN_OUT.search(said) else ""
    if not passwords:
        return "sign-out" if _SIGN_OUT.search(said) else ""
    if any(_OTHER_PASSWORD.search(name) for name in passwords) or re.search(r"\b(?:change|reset)-?password\b", said):
        return "change-password"
    if _REGISTER.search(said) or len(passwords) > 1:
        return "register"
    return "sign-in" if method == "POST" and re.search(r"log-?in|sign-?in|session|auth|token", said) else ""


def _route(target: str, sent: Mapping[str, Any]) -> list[str]:
    """The words of a path, and of the parameters that name what is asked for, without identifiers."""
    path, _, query = target.partition("?")
    words = _plain([_EXTENSION.sub("", part) for part in urllib.parse.unquote(path).split("/")])
    asked = urllib.parse.parse_qsl(query) + [(key, value) for key in sent for value in _values(sent[key])]
    for key, value in asked:
        if key.lower() in _ROUTE_KEYS:
            words += _plain(re.split(r"[/.:]", value))
    return [word for at, word in enumerate(words) if word not in words[:at]]


def _plain(parts: Collection[str]) -> list[str]:
    return [
        word for part in parts if part and not varies(part) and part.lower() not in _NO_ROUTE for word in _words(part)
    ]


def _values(value: Any) -> list[str]:
    """The texts that a field of a body has."""
    listed = cast(list[Any], value) if isinstance(value, list) else [value]
    return [one for one in listed if isinstance(one, str)]


def _words(text: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Za-z0-9]+", text)]


def _cut(words: list[str]) -> str:
    """The words joined, as many whole ones as there is room for."""
    name = words[0][:_LONGEST] if words else ""
    for word in words[1:]:
        if len(name) + 1 + len(word) > _LONGEST:
            break
        name += f"-{word}"
    return name
