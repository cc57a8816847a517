"""A walk through an application of which nothing is known: its links followed, its forms sent, signed out at the end."""

import json
import re
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from fungible.check.flows.form_filling import (
    Account,
    filled,
    is_harmful,
    is_sign_out,
    kind_of_form,
    means_register,
    means_sign_in,
    query_of,
)
from fungible.check.flows.html_forms import Form, Link, read_page
from fungible.check.flows.recorded_cookies import take_cookies
from fungible.check.flows.step_names import Names, button_words, step_name
from fungible.check.flows.values import varies
from fungible.check.http.jar import Jar
from fungible.check.model import Answer, Exchange, SignIn, Step

_RESERVED = 4
"""Steps kept for the end: sign out, what it redirects to, one page again, once more with the old cookies."""
_ASSET = re.compile(
    r"\.(?:css|js|mjs|map|png|jpe?g|gif|svg|ico|webp|woff2?|ttf|pdf|zip|gz|mp[34]|xml|txt)$", re.IGNORECASE
)
_MOST_LINKS = 200


def crawl(
    send: Callable[[Step], Answer],
    *,
    limit: int = 24,
    host: str = "",
    begin: str = "/",
    sign_in: SignIn | None = None,
) -> list[Exchange]:
    """What a visitor meets who starts at `begin`: pages, forms sent and their effects read again, signed out at the end.

    Args:
        send: Sends a step and gives its answer; it keeps the visitor's cookies.
        limit: Most steps to take.
        host: The Host header; absolute addresses with it, or with a loopback address, are the application's own.
        begin: The first page.
        sign_in: The account to sign in with; without it, one is made where the application lets visitors register.
    Returns:
        The exchanges in order, fit for `bind`; empty where not even the first page was answered.
    """
    return _Walk(send, limit, host, begin, sign_in).walked()


@dataclass(frozen=True)
class _Choice:
    """Something to do next; lower `order` first."""

    order: int
    target: str
    form: Form | None = None
    kind: str = "link"

    @property
    def key(self) -> str:
        """The same for what need not be done twice: links to things of one kind, one form on several pages."""
        path, _, query = self.target.partition("?")
        route = "/".join("{}" if varies(part) else part for part in path.split("/"))
        if self.form is None:
            return f"GET {route}?{'&'.join(sorted(pair.partition('=')[0] for pair in query.split('&')))}"
        fields = ",".join(sorted(one.name for one in self.form.fields))
        return f"{self.form.method} {route} {self.kind} {fields}"


class _Walk:
    def __init__(
        self, send: Callable[[Step], Answer], limit: int, host: str, begin: str, sign_in: SignIn | None
    ) -> None:
        self._send = send
        self._limit = limit
        self._host = host.lower()
        self._names = Names()
        self._exchanges: list[Exchange] = []
        self._jar = Jar()
        self._begin = begin
        self._account = Account()
        self._given = sign_in
        self._basic: SignIn | None = None
        if sign_in is not None:
            mail = sign_in.user if "@" in sign_in.user else ""
            self._account = Account(sign_in.user, mail, known=True, password=sign_in.password)
        self._pages: dict[str, Answer] = {}
        self._found: dict[str, tuple[_Choice, str]] = {}
        self._done: set[str] = set()
        self._sign_outs: list[tuple[_Choice, str]] = []
        self._signed_in_at: int | None = None

    def walked(self) -> list[Exchange]:
        answer = self._visit(self._begin)
        if not answer.status:
            return []
        if answer.status == 401 and (answer.header("www-authenticate") or "").lower().startswith("basic"):
            self._basic = self._given
            if self._basic is not None:
                self._visit(self._begin)
        while len(self._exchanges) < self._limit - _RESERVED and (choice := self._next()) is not None:
            self._do(*choice)
        self._sign_out()
        return self._exchanges[: self._limit]

    @property
    def _full(self) -> bool:
        return len(self._exchanges) >= self._limit - _RESERVED

    def _step(self, method: str, target: str, *, prefix: str = "", by: _Choice | None = None, **given: Any) -> Answer:
        name = self._names.unique(prefix + _name(method, target, by, given))
        if self._basic is not None:
            given["auth"] = (self._basic.user, self._basic.password)
        step = cast(Callable[..., Step], Step)(id=name, method=method, path=target, **given)
        answer = self._send(step)
        if "headers" not in given:
            take_cookies(self._jar, target, answer)
        self._exchanges.append(Exchange(step=step, answer=answer))
        return answer

    def _visit(self, target: str, *, room: int = 0) -> Answer:
        """Asks for a page and what it redirects to, and remembers what it offers."""
        answer = self._step("GET", target)
        self._look(target, answer)
        return self._followed(target, answer, room=room)

    def _followed(self, target: str, answer: Answer, *, room: int = 0) -> Answer:
        for _ in range(5):
            to = self._own(answer.header("location") or "", target)
            if (
                answer.status not in {301, 302, 303, 307, 308}
                or to is None
                or len(self._exchanges) >= self._limit - _RESERVED + room
            ):
                break
            target = to
            answer = self._step("GET", target)
            self._look(target, answer)
        return answer

    def _own(self, url: str, base: str) -> str | None:
        """Path and query of an address on this application; None for all others."""
        try:
            parts = urllib.parse.urlsplit(
                urllib.parse.urljoin(f"http://{self._host or 'localhost'}{base}", url.strip())
            )
            name = parts.hostname or ""
        except ValueError:
            return None
        is_own = parts.netloc.lower() == self._host or name in {"localhost", "127.0.0.1", "::1"}
        if not url.strip() or parts.scheme not in {"http", "https"} or not is_own:
            return None
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def _look(self, target: str, answer: Answer) -> None:
        """Notes the links and forms of an answer."""
        self._done.add(_Choice(0, target).key)
        if answer.status != 200:
            return
        self._pages[target] = answer
        offers = self._of_json(target, answer) if answer.media_type.endswith("json") else self._of_page(target, answer)
        for choice in offers:
            if choice.kind == "sign-out":
                self._sign_outs.append((choice, target))
            elif choice.key not in self._done:
                self._found.setdefault(choice.key, (choice, target))

    def _of_page(self, target: str, answer: Answer) -> Iterator[_Choice]:
        if answer.media_type not in {"", "text/html", "application/xhtml+xml"}:
            return
        page = read_page(answer.text)
        orders = {"register": 0, "sign-in": 2, "other": 4, "search": 6}
        for form in page.forms:
            kind = kind_of_form(form, target)
            to = self._own(form.action or target, target)
            if to is None or form.method not in {"GET", "POST"}:
                continue
            if kind == "sign-out" or kind in orders:
                yield _Choice(orders.get(kind, 9), to, form, kind)
        for link in page.links[:_MOST_LINKS]:
            yield from self._of_link(target, link)

    def _of_link(self, target: str, link: Link) -> Iterator[_Choice]:
        to = self._own(link.target, target) if link.tag == "a" else None
        said = f"{link.target} {link.words}"
        if to is None or link.target.startswith("#") or _ASSET.search(to.partition("?")[0]):
            return
        if is_sign_out(said):
            yield _Choice(9, to, kind="sign-out")
        elif not is_harmful(said):
            yield _Choice(1 if means_register(said) else 3 if means_sign_in(said) else 5, to)

    def _of_json(self, target: str, answer: Answer) -> Iterator[_Choice]:
        try:
            waiting: list[Any] = [json.loads(answer.body)]
        except (ValueError, RecursionError):
            return
        seen = 0
        while waiting and seen < _MOST_LINKS:
            value = waiting.pop(0)
            if isinstance(value, dict):
                waiting += cast(dict[str, Any], value).values()
            elif isinstance(value, list):
                waiting += cast(list[Any], value)
            elif (
                isinstance(value, str)
                and re.match(r"/(?!/)|https?://", value)
                and "{" not in value
                and " " not in value
            ):
                seen += 1
                to = self._own(value, target)
                if (
                    to is not None
                    and not is_harmful(value)
                    and not is_sign_out(value)
                    and not _ASSET.search(to.partition("?")[0])
                ):
                    yield _Choice(5, to)

    def _next(self) -> tuple[_Choice, str] | None:
        """What a visitor would do now."""
        waiting = [
            (choice.order, number, choice, page)
            for number, (choice, page) in enumerate(self._found.values())
            if choice.key not in self._done and self._makes_sense(choice)
        ]
        if not waiting:
            return None
        _, _, choice, page = min(waiting, key=lambda row: row[:2])
        return choice, page

    def _makes_sense(self, choice: _Choice) -> bool:
        """An account is made once, and used once, unless making it signed in already."""
        if choice.kind == "register":
            return not self._account.known
        if choice.kind == "sign-in":
            return self._account.known and self._signed_in_at is None
        return True

    def _do(self, choice: _Choice, page: str) -> None:
        self._done.add(choice.key)
        if choice.form is None:
            self._visit(choice.target)
            return
        form = choice.form
        if form.method == "POST" and self._exchanges[-1].step.path != page:
            # Its hidden values may have grown old: look at the page again first, as a visitor would.
            fresh = self._visit(page)
            again = next((c.form for c in self._of_page(page, fresh) if c.key == choice.key), None)
            if again is None or self._full:
                return
            form = again
        self._submit(choice, form, page)

    def _submit(self, choice: _Choice, form: Form, page: str) -> None:
        before = self._jar.header("/") if choice.kind in {"register", "sign-in"} else None
        fields = filled(form, self._account, register=choice.kind == "register")
        if form.method == "GET":
            self._visit(choice.target.partition("?")[0] + "?" + query_of(fields["form"]))
            return
        answer = self._step("POST", choice.target, by=choice, **fields)
        posted = len(self._exchanges)
        self._look_after_post(choice, answer)
        last = self._followed(choice.target, answer)
        if before is not None and self._seems_signed_in(choice, last, before):
            self._signed_in_at = posted
        # Only now do pages show what they have for those who are signed in.
        self._read_again(
            self._begin if before is not None else page, {one.step.path for one in self._exchanges[posted:]}
        )

    def _look_after_post(self, choice: _Choice, answer: Answer) -> None:
        if answer.status == 200 and choice.kind not in {"register", "sign-in"}:
            for offer in self._of_page(choice.target, answer):
                if offer.kind == "sign-out":
                    self._sign_outs.append((offer, choice.target))
                elif offer.form is None and offer.key not in self._done:
                    self._found.setdefault(offer.key, (offer, choice.target))

    def _seems_signed_in(self, choice: _Choice, last: Answer, before: str) -> bool:
        if choice.kind == "sign-in":
            return last.status < 400
        return bool(self._sign_outs) and self._jar.header("/") != before

    def _read_again(self, page: str, just_read: set[str]) -> None:
        """Reads the form's page and one page that lists things, to see the effect."""
        listing = [path for path, answer in self._pages.items() if path != page and _lists(answer)]
        for path in [page, *listing][:2]:
            if path not in just_read and not self._full:
                self._visit(path)

    def _sign_out(self) -> None:
        """Signs out, asks again for a page that was for the signed-in, then again with the cookies of before."""
        if not self._sign_outs or (self._signed_in_at is None and not self._account.known):
            return
        choice, page = self._sign_outs[-1]
        private = self._private_page()
        room = _RESERVED
        if choice.form is not None and self._exchanges[-1].step.path != page and len(self._exchanges) < self._limit - 3:
            fresh = self._visit(page, room=0)
            choice = next((one for one in self._of_page(page, fresh) if one.kind == "sign-out"), choice)
        if choice.form is None and choice.kind != "sign-out":
            return
        old = self._jar.header(private)
        if choice.form is not None and choice.form.method == "POST":
            answer = self._step("POST", choice.target, by=choice, **filled(choice.form, self._account))
        else:
            answer = self._step("GET", choice.target, by=choice)
        if len(self._exchanges) < self._limit - 2:
            self._followed(choice.target, answer, room=room - 2)
        if len(self._exchanges) < self._limit:
            self._step("GET", private, prefix="signed-out-")
        if old and len(self._exchanges) < self._limit:
            self._step("GET", private, prefix="replay-", headers={"Cookie": old})

    def _private_page(self) -> str:
        """A page first seen after signing in; the start page where there is none."""
        start = self._signed_in_at or 0
        before = {one.step.path for one in self._exchanges[:start] if one.answer.status == 200}
        later = [one for one in self._exchanges[start:] if one.step.method == "GET" and one.answer.status == 200]
        new = [one for one in later if one.step.path not in before]
        named = [one for one in new or later if self._account.user and self._account.user in one.answer.text]
        return (named or new or later or self._exchanges)[0].step.path


def _name(method: str, target: str, by: _Choice | None, given: Mapping[str, Any]) -> str:
    """What a step is called that was taken because of a choice."""
    if by is not None and by.kind in {"register", "sign-in", "sign-out"}:
        return by.kind
    form = by.form if by is not None else None
    button = button_words(form, given.get("form") or {}) if form is not None else ""
    return step_name(method, target, button=button, body=given)


def _lists(answer: Answer) -> bool:
    """True for a page with a list or a table of things."""
    if answer.media_type.endswith("json"):
        return b"[" in answer.body
    return re.search(rb"<(?:li|tr|article|dl)\b", answer.body) is not None
