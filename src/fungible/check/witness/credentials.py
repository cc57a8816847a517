"""What a request shows of its visitor: cookies, headers and query fields that earlier answers gave; and steps without them."""

import re
import urllib.parse

import msgspec

from fungible.check.model import Step
from fungible.check.runs.runner import Outcome, Trace
from fungible.check.witness.evidence import cookies_set, is_session_cookie, signed_form

_SHORTEST = 6
_PLACEHOLDER = re.compile(r"\{\{([\w-]+)(?:\|\w+)?\}\}")


def issued(outcome: Outcome, trace: Trace) -> list[str]:
    """Credentials in a request that earlier answers of the same run had given: `cookie sid`, `header Authorization`."""
    if outcome.request is None:
        return []
    cookies = cookies_set(trace)
    captured = {value for name, value in trace.values.items() if name not in trace.given and len(value) >= _SHORTEST}
    found: list[str] = []
    for name, text in outcome.request.headers:
        if name.lower() == "cookie":
            found += [
                f"cookie {pair.partition('=')[0].strip()}"
                for pair in text.split(";")
                if pair.partition("=")[0].strip() in cookies or pair.partition("=")[2] in trace.values.values()
            ]
        elif any(value in text for value in captured):
            found.append(f"header {name}")
    fields = urllib.parse.parse_qsl(outcome.request.target.partition("?")[2])
    return found + [f"query {name}" for name, value in fields if value in captured and names_session(name)]


def names_session(name: str) -> bool:
    """True for names of headers and query fields that say session: `Mcp-Session-Id`, `sid`."""
    return is_session_cookie(re.sub(r"-id$", "", name, flags=re.IGNORECASE).replace("-", "_"))


def stripped(step: Step) -> Step:
    """The step as a visitor without credentials sends it: no cookies, no header or session in the query that was captured."""
    headers = {
        name: text
        for name, text in step.headers.items()
        if name.lower() not in {"authorization", "cookie"} and "{{" not in text
    }
    headers |= {name: text for name, text in step.headers.items() if "{{host}}" in text}
    path, mark, query = step.path.partition("?")
    kept = "&".join(pair for pair in query.split("&") if not _is_session(pair))
    return msgspec.structs.replace(
        step, path=path + (mark if kept else "") + kept, headers={**headers, "Cookie": ""}, auth=None
    )


def invented(step: Step, trace: Trace) -> Step | None:
    """The step with a session that nobody ever began, of the same form; None where only cookies name a session.

    Many servers answer a request without a session as the beginning of one, and one that they do not know otherwise.
    """

    def other(text: str) -> str:
        return _PLACEHOLDER.sub(lambda match: _another(trace.values.get(match[1], match[1])), text)

    headers = {
        name: other(text) if names_session(name) and "{{" in text else text for name, text in step.headers.items()
    }
    path, mark, query = step.path.partition("?")
    pairs = "&".join(other(pair) if _is_session(pair) else pair for pair in query.split("&"))
    changed = msgspec.structs.replace(step, path=path + mark + pairs, headers=headers)
    return None if changed == step else changed


def signed(outcome: Outcome) -> str | None:
    """`the cookie session is signed by itsdangerous`, where the request carries such a thing."""
    if outcome.request is None:
        return None
    for name, text in outcome.request.headers:
        pairs = (
            [pair.strip().partition("=")[::2] for pair in text.split(";")]
            if name.lower() == "cookie"
            else [(name, text)]
        )
        for key, value in pairs:
            form = signed_form(value)
            if form is not None:
                what = f"the cookie {key}" if name.lower() == "cookie" else f"the header {key}"
                return f"{what} is {form}"
    return None


def _is_session(pair: str) -> bool:
    name, _, value = pair.partition("=")
    return "{{" in value and names_session(name)


def _another(value: str) -> str:
    """A value of the same form: each digit, and each letter, is the next one; hexadecimal digits stay so."""
    return value.translate(
        str.maketrans(
            "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
            "1234567890bcdefahijklmnopqrstuvwxyzgBCDEFAHIJKLMNOPQRSTUVWXYZG",
        )
    )
