"""Filling in a form as a visitor would: by the names and types of its fields, the same account each time."""

import re
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

from fungible.check.flows.api_steps import PNG
from fungible.check.flows.api_values import PASSWORD, fitted, matching
from fungible.check.flows.html_forms import Field, Form
from fungible.check.model import FilePart

_REGISTER = re.compile(r"regist|sign[ _-]?up|create[ _-]?(?:an[ _-]?)?account|join\b|new[ _-]?account", re.IGNORECASE)
_SIGN_IN = re.compile(r"log[ _-]?in|sign[ _-]?in|session|auth", re.IGNORECASE)
_SIGN_OUT = re.compile(r"log[ _-]?(?:out|off)|sign[ _-]?(?:out|off)", re.IGNORECASE)
_HARMFUL = re.compile(
    r"delet|remov|destroy|unsubscrib|cancel|deactivat|reset|drop|purge|revoke|clear|empty|close[ _-]?account|shut[ _-]?down",
    re.IGNORECASE,
)
_BY_TYPE = {
    "email": "fungible@example.org",
    "date": "2026-01-15",
    "datetime-local": "2026-01-15T12:00",
    "month": "2026-01",
    "week": "2026-W03",
    "time": "12:00",
    "color": "#336699",
    "tel": "+4930123456",
    "url": "https://example.org/fungible",
    "search": "fungible",
}
_BY_NAME = (
    (r"e-?mail", "fungible@example.org"),
    (r"user|login|nick|handle", "fungibleuser"),
    (r"phone|tel", "+4930123456"),
    (r"zip|postal|postcode", "12345"),
    (r"quantity|qty|count|amount|number|age|size", "2"),
    (r"price|cost", "2.50"),
    (r"date|day", "2026-01-15"),
    (r"url|website|link", "https://example.org/fungible"),
    (r"slug|code|sku", "fungible-1"),
)


def is_sign_out(text: str) -> bool:
    """True for an address or words that end a session."""
    return _SIGN_OUT.search(text) is not None


def is_harmful(text: str) -> bool:
    """True for an address or words that take something away."""
    return _HARMFUL.search(text) is not None


def means_register(text: str) -> bool:
    """True for an address or words that lead to a new account."""
    return _REGISTER.search(text) is not None


def means_sign_in(text: str) -> bool:
    """True for an address or words that lead to a sign-in."""
    return _SIGN_IN.search(text) is not None and not is_sign_out(text)


def kind_of_form(form: Form, page_path: str) -> str:
    """`register`, `sign-in`, `sign-out`, `harmful`, `search` (GET) or `other`."""
    said = f"{form.action} {form.buttons}"
    passwords = [one for one in form.fields if one.kind == "password"]
    if is_sign_out(said) and not passwords:
        return "sign-out"
    if passwords:
        is_register = (
            len(passwords) > 1 or means_register(said) or (means_register(page_path) and not means_sign_in(said))
        )
        if is_register:
            return "harmful" if re.search(r"old|current|reset", " ".join(one.name for one in passwords)) else "register"
        return "sign-in" if len(form.fields) <= 8 else "other"
    if is_harmful(said):
        return "harmful"
    return "search" if form.method == "GET" else "other"


@dataclass
class Account:
    """What the visitor signed up with, or was given, by the kind of field."""

    user: str = ""
    mail: str = ""
    known: bool = field(default=False)
    password: str = field(default=PASSWORD, repr=False)


def filled(form: Form, account: Account, *, register: bool = False) -> dict[str, Any]:
    """The fields of a step that submits the form: `form`, and `files` where it uploads."""
    pairs: list[tuple[str, str]] = []
    files: list[FilePart] = []
    named = _name_field(form) if account.known and not register else None
    radios: set[str] = set()
    submitted = False
    for one in form.fields:
        if not one.name or one.attribute("disabled") is not None or one.kind in {"button", "reset", "image"}:
            continue
        if one.kind == "file":
            if "multipart" in form.enctype:
                files.append(
                    FilePart(field=one.name, filename="fungible.png", content_base64=PNG, content_type="image/png")
                )
            continue
        if one.kind == "submit":
            if not submitted:
                pairs.append((one.name, one.value))
            submitted = True
        elif one.kind == "radio":
            if one.name not in radios:
                pairs.append((one.name, one.value))
            radios.add(one.name)
        else:
            pairs.append((one.name, account.user or account.mail if one is named else _value(one, account)))
    if register:
        account.known = True
        for name, value in pairs:
            if re.search(r"e-?mail", name, re.IGNORECASE):
                account.mail = value
            elif re.search(r"user|login|nick|name", name, re.IGNORECASE) and not account.user:
                account.user = value
    return {"form": _grouped(pairs)} | ({"files": tuple(files)} if files else {})


def _name_field(form: Form) -> Field | None:
    """The one field beside the password of a sign-in form, whatever it is called: who signs in."""
    if not any(one.kind == "password" for one in form.fields):
        return None
    texts = [one for one in form.fields if one.kind in {"text", "email"} and one.name]
    return texts[0] if len(texts) == 1 else None


def _grouped(pairs: list[tuple[str, str]]) -> dict[str, str | list[str]]:
    grouped: dict[str, str | list[str]] = {}
    for name, value in pairs:
        held = grouped.get(name)
        grouped[name] = value if held is None else [*([held] if isinstance(held, str) else held), value]
    return grouped


def _value(one: Field, account: Account) -> str:
    if one.kind == "hidden" or one.kind == "checkbox":
        return one.value
    if one.kind == "select":
        return one.value or next((option for option in one.options if option), "")
    if one.kind == "password":
        return account.password
    if one.value:
        return one.value
    if one.kind in {"number", "range"}:
        low = one.attribute("min") or ""
        high = one.attribute("max") or ""
        return low or ("1" if high in {"0", "1"} else "2")
    if account.known and re.search(r"user|login|e-?mail|identifier", one.name, re.IGNORECASE):
        is_mail = one.kind == "email" or "mail" in one.name.lower()
        known = (account.mail or account.user) if is_mail else (account.user or account.mail)
        if known:
            return known
    return _new_text(one)


def _new_text(one: Field) -> str:
    text = _BY_TYPE.get(one.kind)
    if text is None:
        said = f"{one.name} {one.attribute('placeholder') or ''}"
        named = next((value for pattern, value in _BY_NAME if re.search(pattern, said, re.IGNORECASE)), None)
        word = re.sub(r"[^a-z]", "", one.name.lower())[:12]
        text = named or ("fungible text" if one.kind == "textarea" else f"fungible{word}")
    pattern = one.attribute("pattern")
    if pattern:
        text = matching(rf"^(?:{pattern})$", text, changed=False) or text
    limits = {
        schema: int(limit)
        for schema, html in (("minLength", "minlength"), ("maxLength", "maxlength"))
        if (limit := one.attribute(html) or "").isdigit()
    }
    return fitted(text, limits)


def query_of(form: dict[str, str | list[str]]) -> str:
    """A form as the query of a GET."""
    return urllib.parse.urlencode(form, doseq=True)
