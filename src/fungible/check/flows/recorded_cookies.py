"""What the Cookie headers of a recording mean: sent by a jar, held from before, or chosen on purpose."""

import email.utils
from collections.abc import Sequence
from dataclasses import dataclass

from fungible.check.http.jar import Jar, SetCookie, read_set_cookie
from fungible.check.model import Answer

Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Sent:
    """One recorded request as far as cookies go; `began` and `ended` are seconds, 0 where unknown."""

    path: str
    cookie: str
    answer: Answer
    began: float = 0.0
    ended: float = 0.0


def cookie_pairs(header: str) -> Pairs:
    """Names and values of a Cookie header, in order (RFC 6265 section 4.2)."""
    pairs = [part.strip().partition("=") for part in header.split(";") if part.strip()]
    return [(name.strip(), value.strip()) for name, _, value in pairs]


def deletes(cookie: SetCookie, date: str | None) -> bool:
    """True where the cookie was gone when it arrived, measured by the answer's own Date: recordings grow old."""
    max_age = cookie.attributes.get("max-age", "")
    if max_age.lstrip("-").isdigit():
        return int(max_age) <= 0
    expires, now = _seconds(cookie.attributes.get("expires")), _seconds(date)
    if expires is None:
        return False
    return expires <= (now if now is not None else 1_000_000_000)


def _seconds(date: str | None) -> float | None:
    try:
        return None if date is None else email.utils.parsedate_to_datetime(date[:64].replace("-", " ")).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def take_cookies(jar: Jar, path: str, answer: Answer) -> None:
    """Applies the Set-Cookie headers of a recorded answer."""
    for name, header in answer.headers:
        cookie = read_set_cookie(header) if name.lower() == "set-cookie" else None
        if cookie is None:
            continue
        at = cookie.attributes.get("path", "")
        if not at.startswith("/"):
            at = path.partition("?")[0].rpartition("/")[0] or "/"
        if deletes(cookie, answer.header("date")):
            jar.take(f"{cookie.name}=; Path={at}; Max-Age=0", path)
        else:
            jar.set(cookie.name, cookie.value, at)


def _same(sent: str, jar: Jar, path: str) -> bool:
    """Order is the client's own; quotes belong to the value for some and not for others."""
    held = sorted((name, value.strip('"')) for name, value in cookie_pairs(jar.header(path)))
    return sorted((name, value.strip('"')) for name, value in cookie_pairs(sent)) == held


def explain(requests: Sequence[Sent]) -> tuple[dict[str, str], list[str | None]]:
    """The cookies held before the first request, and for each request the Cookie header to send on purpose, or None."""
    if not any(one.cookie or one.answer.header("set-cookie") for one in requests):
        return {}, [None] * len(requests)  # browsers take cookies out of what they export
    first: dict[str, str] = {}
    chosen: list[str | None] = []
    jar = Jar()
    seen: set[str] = set()
    before: list[Jar] = []
    for number, one in enumerate(requests):
        for name, value in cookie_pairs(one.cookie):
            if name not in seen and not _was_answered(value, requests[:number]):
                seen.add(name)
                first[name] = value
                jar.set(name, value)
                for older in before:
                    older.set(name, value)
        before.append(jar.copy())
        if _same(one.cookie, jar, one.path) or any(
            _same(one.cookie, old, one.path) for old in _overlapped(requests, number, before)
        ):
            chosen.append(None)
        else:
            chosen.append(one.cookie)
        # A request with cookies of its own leaves the jar alone, and so does it here.
        if chosen[-1] is None:
            take_cookies(jar, one.path, one.answer)
        seen |= {c.name for n, h in one.answer.headers if n.lower() == "set-cookie" and (c := read_set_cookie(h))}
    return first, chosen


def _was_answered(value: str, earlier: Sequence[Sent]) -> bool:
    """True where a script may have made the cookie out of an answer, such as a token."""
    if len(value) < 8:
        return False
    wanted = value.strip('"').encode()
    return any(wanted in one.answer.body for one in earlier)


def _overlapped(requests: Sequence[Sent], number: int, before: Sequence[Jar]) -> list[Jar]:
    """The jar as it was before each earlier request whose answer was still under way when this one began."""
    began = requests[number].began
    return [
        before[earlier]
        for earlier in range(max(0, number - 50), number)
        if requests[earlier].began < began < requests[earlier].ended
    ]
