"""No secret is shown by whatever shows an object: its repr, a log line, an error, a debugger."""

import asyncio
import dataclasses
import importlib
import logging
import pickle
import pkgutil
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
import pytest

import fungible
from fungible.core.keyring import KeyRing, derived_key
from fungible.core.redaction import Redacted, redacted
from fungible.core.sealing import Sealer
from fungible.core.urls import parse_home_url
from fungible.sessions.cookies import verified_id
from fungible.sessions.middleware import SessionMiddleware
from fungible.stores import open_store
from fungible.stores.errors import StoreUnavailableError
from fungible.stores.memory import MemoryStore
from fungible.tokens import DPoP, Key, RefreshTokens, RemoteKeys, SigningKeys, StoredKeys, TokenIssuer, TokenVerifier
from fungible.tokens.client import ClientTokens, Held, MemoryHolder, OAuthRefresh, RefreshingAuth, StoreHolder

MARKER = "marker-0123456789-abcdefghijklmnopqrstuvwxyz"
SECRET = re.compile(r"(^|_)(passwords?|passwd|secrets?|tokens?|credentials?|proofs?|salt|arguments)$")
SHOWN = {
    "fungible.stores.memcached.connection.Item.token": "by which an item is compared and set",
    "fungible.tokens.client_holders.Held.tokens": "a record that hides them itself",
}
"""Fields with such a name that hold no secret."""


def modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages(fungible.__path__, "fungible."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def records() -> Iterator[tuple[str, type[Any], list[str]]]:
    """Every record of the project, by its full name, with its fields."""
    for module in modules():
        for name, kind in vars(module).items():
            # By its type alone: Django's settings, which a module has imported, answer no question before they are set.
            if not issubclass(type(kind), type) or kind.__module__ != module.__name__:
                continue
            if issubclass(kind, msgspec.Struct):
                fields = list(kind.__struct_fields__)
            elif dataclasses.is_dataclass(kind):
                fields = [field.name for field in dataclasses.fields(kind)]
            else:
                fields = list(getattr(kind, "_fields", ()))
            if fields:
                yield f"{module.__name__}.{name}", kind, fields


def shows(value: object) -> str:
    """What anything that shows an object would show."""
    record = logging.LogRecord("x", logging.INFO, "x", 1, "%s %r", (value, value), None)
    rich: Any = getattr(value, "__rich_repr__", None)
    return f"{value!r} {value!s} {value} {record.getMessage()} {list(rich()) if rich else ''}"


def test_no_record_shows_a_field_that_is_named_like_a_secret() -> None:
    found, showing = 0, list[str]()
    for name, kind, fields in records():
        secret = [field for field in fields if SECRET.search(field) and f"{name}.{field}" not in SHOWN]
        if not secret:
            continue
        found += 1
        values: dict[str, Any] = {field: MARKER if field in secret else 0 for field in fields}
        try:
            made = kind(**values)
        except TypeError:  # a dataclass whose __init__ leaves some out
            made = object.__new__(kind)
            for field, value in values.items():
                object.__setattr__(made, field, value)
        if MARKER in shows(made):
            showing.append(f"{name}: {', '.join(secret)}")
    assert showing == []
    assert found > 8


def test_every_field_that_is_said_to_hold_no_secret_is_there() -> None:
    there = {f"{name}.{field}" for name, _, fields in records() for field in fields}
    assert set(SHOWN) <= there


def test_whether_there_is_a_secret_is_still_seen() -> None:
    assert repr(ClientTokens(access_token="x", obtained_at=1.5)) == (
        "ClientTokens(access_token=***, refresh_token='', expires_at=None, obtained_at=1.5)"
    )
    assert repr(parse_home_url("redis://host/0")) == (
        "HomeURL(scheme='redis', username=None, password=None, hosts=(('host', None),), path='0', options={})"
    )


def test_a_struct_that_is_redacted_is_encoded_compared_and_made_as_before() -> None:
    tokens = ClientTokens(access_token="x")
    assert tokens == ClientTokens(access_token="x") != ClientTokens(access_token="y")
    assert msgspec.json.decode(msgspec.json.encode(tokens), type=ClientTokens) == tokens
    assert pickle.loads(pickle.dumps(tokens)) == tokens
    assert not hasattr(tokens, "__dict__")
    assert issubclass(ClientTokens, Redacted)
    assert "x" not in redacted(tokens, "access_token").partition("access_token")[2].partition(",")[0]


URLS = (
    "redis://marker-user:{}@127.0.0.1:1/0",
    "redis+sentinel://:{0}@127.0.0.1:1/main?sentinel_password={0}",
    "redis+cluster://:{}@127.0.0.1:1",
    "postgresql://marker-user:{}@127.0.0.1:1/x",
    "mysql://marker-user:{}@127.0.0.1:1/x",
)

PUBLIC: dict[str, Callable[[], Any]] = {
    "KeyRing": lambda: KeyRing([MARKER]),
    "a key of it": lambda: derived_key(MARKER),
    "Sealer": lambda: Sealer(KeyRing([MARKER]), purpose="x"),
    "what was opened": lambda: Sealer(KeyRing([MARKER]), purpose="x").open(
        Sealer(KeyRing([MARKER]), purpose="x").seal(MARKER.encode())
    ),
    "Key": lambda: Key.from_secret(MARKER),
    "SigningKeys": lambda: SigningKeys([Key.from_secret(MARKER)]),
    "a ring at one time": lambda: SigningKeys([Key.from_secret(MARKER)]).known(0),
    "StoredKeys": lambda: StoredKeys(MemoryStore(), MARKER),
    "RemoteKeys": lambda: RemoteKeys(f"https://issuer.example/jwks?key={MARKER}"),
    "TokenIssuer": lambda: TokenIssuer(SigningKeys([Key.from_secret(MARKER)]), issuer="a", audience="b", instances=1),
    "TokenVerifier": lambda: TokenVerifier(SigningKeys([Key.from_secret(MARKER)]), issuer="a", audience="b"),
    "DPoP": lambda: DPoP(MemoryStore(), base_url="https://api.example", nonce_secret=MARKER, instances=1),
    "a refreshed token": lambda: asyncio.run(RefreshTokens(MemoryStore(), instances=1).begin("ada")),
    "ClientTokens": lambda: ClientTokens(access_token=MARKER, refresh_token=MARKER),
    "Held": lambda: Held(ClientTokens(access_token=MARKER, refresh_token=MARKER)),
    "MemoryHolder": lambda: MemoryHolder(ClientTokens(access_token=MARKER)),
    "StoreHolder": lambda: StoreHolder(MemoryStore(), "x", secret=MARKER),
    "OAuthRefresh": lambda: OAuthRefresh("https://login.example/token", client_id="x", client_secret=MARKER),
    "RefreshingAuth": lambda: RefreshingAuth(
        MemoryHolder(ClientTokens(access_token=MARKER)),
        OAuthRefresh("https://login.example/token", client_id="x", client_secret=MARKER),
    ),
    "SessionMiddleware": lambda: SessionMiddleware(None, store=MemoryStore(), secret=MARKER, instances=1),  # type: ignore[arg-type]
    "a session ID": lambda: verified_id("x", KeyRing([MARKER])),
    **{f"the URL {url}": lambda url=url: parse_home_url(url.format(MARKER)) for url in URLS},
    **{f"the store at {url}": lambda url=url: open_store(url.format(MARKER)) for url in URLS},
}


@pytest.mark.parametrize("name", PUBLIC)
def test_no_public_object_shows_the_secret_it_was_made_with(name: str) -> None:
    made = PUBLIC[name]()
    assert MARKER not in shows(made)
    assert "marker-user" not in shows(made)
    for inside in vars(made).values() if hasattr(made, "__dict__") else ():
        # What it is made of, as a debugger shows it. A text that is the secret itself can hide nothing.
        if type(inside).__module__.startswith("fungible"):
            assert MARKER not in shows(inside), type(inside)
    if hasattr(made, "refresh_token") and made.refresh_token:
        assert made.refresh_token not in shows(made)


@pytest.mark.parametrize("name", PUBLIC)
def test_no_error_of_pickling_one_shows_it(name: str) -> None:
    error: Exception | None = None
    try:
        pickle.dumps(PUBLIC[name]())
    except Exception as raised:
        error = raised
    assert MARKER not in shows(error)
    assert error is None or MARKER not in shows(error.args)


@pytest.mark.parametrize("url", URLS)
def test_no_error_of_a_store_shows_its_password(url: str) -> None:
    async def use() -> None:
        store = open_store(url.format(MARKER), timeout_s=0.5)
        try:
            await store.get("x")
        finally:
            await store.aclose()

    with pytest.raises(StoreUnavailableError) as caught:
        asyncio.run(use())
    error: BaseException | None = caught.value
    while error is not None:
        assert MARKER not in shows(error)
        assert MARKER not in shows(error.args)
        error = error.__cause__ or error.__context__


def test_no_error_of_the_token_endpoint_shows_the_refresh_token_or_the_clients_secret() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no way there", request=request)

    def client() -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(fail))

    refresh = OAuthRefresh("https://login.example/token", client_id="x", client_secret=MARKER, client=client)
    with pytest.raises(Exception, match="no way there") as caught:
        asyncio.run(refresh(MARKER))
    error: BaseException | None = caught.value
    while error is not None:
        assert MARKER not in shows(error)
        error = error.__cause__ or error.__context__
