"""How an API lets a visitor in: which operations sign up, in and out, and where the token comes from."""

import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from msgspec import UNSET

from fungible.check.flows.api_operations import Api, Operation
from fungible.check.flows.api_steps import FlowMaker, text
from fungible.check.flows.api_values import PASSWORD, Chooser, kind_of
from fungible.check.model import Step

_IN = frozenset("login log-in signin sign-in token tokens auth authenticate session sessions".split())
_UP = frozenset("register registration signup sign-up join".split())
_OUT = frozenset("logout log-out signout sign-out".split())
_PEOPLE = frozenset("users accounts members customers user account".split())
_TOKENS = ("access_token", "accessToken", "token", "id_token", "jwt", "auth_token", "authToken", "key")


@dataclass(frozen=True)
class SignIn:
    """The operations of an account; None where the API has none."""

    up: Operation | None
    into: Operation | None
    out: Operation | None
    schemes: frozenset[str]
    """Security schemes that signing in satisfies."""
    notes: tuple[str, ...]

    @property
    def operations(self) -> tuple[Operation, ...]:
        """Those there are."""
        return tuple(one for one in (self.up, self.into, self.out) if one is not None)


def find_sign_in(api: Api) -> SignIn:
    """The sign-in of an API, and notes on security that can't be met."""
    posts = [one for one in api.operations if one.method == "POST" and not one.names]
    token_urls = {url for scheme in api.schemes.values() for url in _token_urls(scheme)}
    into = next((one for one in posts if any(one.path.endswith("/" + url.strip("/")) for url in token_urls)), None)
    into = into or next((one for one in posts if one.last_word in _IN and _has_password(api, one)), None)
    up = next((one for one in posts if one.last_word in _UP), None)
    up = up or next(
        (one for one in posts if one.last_word in _PEOPLE and not one.secured and _has_password(api, one)), None
    )
    out = next(
        (
            one
            for one in api.operations
            if one.last_word in _OUT and not one.names and one.method in {"POST", "DELETE", "GET"}
        ),
        None,
    )
    met: set[str] = set()
    notes: list[str] = []
    for name, scheme in api.schemes.items():
        kind = str(scheme.get("type"))
        password = kind in {"oauth2", "openIdConnect"} or (
            kind == "http" and str(scheme.get("scheme")).lower() == "bearer"
        )
        basic = kind == "basic" or (kind == "http" and str(scheme.get("scheme")).lower() == "basic")
        cookie = kind == "apiKey" and scheme.get("in") == "cookie"
        # DRF and others describe a bearer header as an API key named Authorization.
        header = kind == "apiKey" and str(scheme.get("name")).lower() == "authorization"
        if ((password or cookie or header) and into is not None and up is not None) or (basic and up is not None):
            met.add(name)
        elif any(name in one.secured for one in api.operations):
            notes.append(_unmet_words(name, scheme, into))
    return SignIn(up, into, out, frozenset(met), tuple(notes))


def _token_urls(scheme: Mapping[str, Any]) -> list[str]:
    flows = scheme.get("flows")
    flow = (
        cast(dict[str, Any], flows).get("password")
        if isinstance(flows, dict)
        else scheme
        if scheme.get("flow") == "password"
        else None
    )
    url = cast(dict[str, Any], flow).get("tokenUrl") if isinstance(flow, Mapping) else None
    return [urllib.parse.urlsplit(url).path] if isinstance(url, str) and url.strip("/") else []


def _unmet_words(name: str, scheme: Mapping[str, Any], into: Operation | None) -> str:
    if scheme.get("type") == "apiKey":
        return f"operations that need the key {scheme.get('name')!r} ({name}) were not exercised: nothing in the description gives one; write their steps by hand"
    lack = "no operation signs up" if into is not None else "no operation signs in"
    return f"operations secured by {name!r} were not exercised: {lack}; write their steps by hand"


def _has_password(api: Api, operation: Operation) -> bool:
    return any("pass" in name.lower() for name in _properties(api, operation))


def _properties(api: Api, operation: Operation) -> Mapping[str, Any]:
    if operation.body is None:
        return {}
    return cast(Mapping[str, Any], Chooser(api).flat(operation.body.schema).get("properties") or {})


def enter(maker: FlowMaker, sign_in: SignIn) -> None:
    """Adds the steps that sign up and in, and lets the steps after them be signed in."""
    account: dict[str, Any] = {}
    if sign_in.up is not None:
        step = maker.add(sign_in.up, signed_in=False)
        account = _sent(step)
    user = next(
        (text(v) for k, v in account.items() if re.search(r"user|login|nick", k, re.IGNORECASE) and text(v)), None
    )
    mail = next((text(v) for k, v in account.items() if "mail" in k.lower()), None)
    password = next((text(v) for k, v in account.items() if "pass" in k.lower()), PASSWORD)
    if any(_is_basic(maker.api.schemes[name]) for name in sign_in.schemes) and (user or mail):
        maker.auth = (user or mail or "", password)
    if sign_in.into is None or sign_in.up is None:
        return
    step = maker.add(sign_in.into, signed_in=False)
    # The same account as signed up with, whatever its fields are called here.
    sent = _sent(step)
    for key in sent:
        low = key.lower()
        if "pass" in low:
            sent[key] = password
        elif "mail" in low and mail:
            sent[key] = mail
        elif re.search(r"user|login|identifier|name", low):
            sent[key] = user or mail or sent[key]
    pointer = _token_pointer(maker.api, sign_in.into)
    if pointer is not None:
        name = maker.capture("token", source="json", path=pointer)
        maker.headers = {"Authorization": f"Bearer {{{{{name}}}}}"}
        maker.auth = None


def _sent(step: Step) -> dict[str, Any]:
    """The fields of a step's body, to read and to change."""
    body: Any = step.form if step.json is UNSET else step.json
    return cast(dict[str, Any], body) if isinstance(body, dict) else {}


def _is_basic(scheme: Mapping[str, Any]) -> bool:
    return scheme.get("type") == "basic" or str(scheme.get("scheme")).lower() == "basic"


def _token_pointer(api: Api, operation: Operation) -> str | None:
    """Where the token stands in the answer; a guess for OAuth, which fixes it (RFC 6749 section 5.1)."""
    chooser = Chooser(api)
    waiting = [("", chooser.flat(operation.answer or {}))]
    for pointer, shape in waiting:
        properties = cast(Mapping[str, Any], shape.get("properties") or {})
        for name in _TOKENS:
            if name in properties:
                return f"{pointer}/{name}"
        if len(waiting) < 20:
            waiting += [
                (f"{pointer}/{name}", chooser.flat(given))
                for name, given in properties.items()
                if kind_of(chooser.flat(given)) == "object"
            ]
    bearer = any(
        scheme.get("type") in {"oauth2", "openIdConnect"} or str(scheme.get("scheme")).lower() == "bearer"
        for scheme in api.schemes.values()
    )
    return "/access_token" if bearer else None
