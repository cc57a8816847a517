"""What may be set, for all and for single routes; what is refused at the start; and what the doctor sees."""

from pathlib import Path
from typing import Any

import pytest
from contracts.backends import Backend

from fungible.core.errors import SettingError
from fungible.idempotency import IdempotencyKeys, IdempotencyMiddleware, TransactionalIdempotency, create_table_sql
from fungible.idempotency.errors import IdempotencyError, UnknownCallerError
from fungible.idempotency.options import NAMES, Options, Routes
from fungible.idempotency.responses import StoredResponse, decoded, encoded, problem_of, stored_form
from fungible.idempotency.sql.statements import compiled
from fungible.stores import open_store
from fungible.stores.memory import MemoryStore
from fungible.stores.postures import HasHomes, PostureError
from idempotency.calling import FlakyStore, Shop, call_raw, guarded, order


@pytest.mark.parametrize(
    ("path", "ttl_s"),
    [
        ("/", 1),
        ("/order", 1),
        ("/orders", 2),
        ("/orders/", 2),
        ("/orders/7", 3),
        ("/orders/7/lines/8", 3),
        ("/orders/7/pay", 4),
        ("/orders/special/pay", 5),
        ("/ordersx", 1),
    ],
)
def test_the_longest_and_then_the_most_literal_pattern_decides(path: str, ttl_s: float) -> None:
    patterns = {"/orders": 2, "/orders/{id}": 3, "/orders/*/pay": 4, "/orders/special/pay": 5}
    routes = Routes(Options(ttl_s=1), {pattern: {"ttl_s": ttl} for pattern, ttl in patterns.items()})
    assert routes.options(path).ttl_s == ttl_s


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ttl_s": 0}, "ttl_s"),
        ({"lease_s": -1}, "lease_s"),
        ({"wait_s": -1}, "wait_s"),
        ({"wait_s": float("nan")}, "wait_s"),
        ({"max_body_bytes": 0}, "max_body_bytes"),
        ({"on_unavailable": "close"}, "'refuse' or 'open'"),
        ({"on_error": "retry"}, "'keep' or 'free'"),
        ({"after_crash": "keep"}, "'retry' or 'refuse'"),
        ({"max_keys": 0}, "max_keys"),
        ({"anonymous": "yes"}, "anonymous"),
        ({"caller_header": ""}, "caller_header"),
        ({"scope": "tenant"}, "scope="),
        ({"drain_s": -1}, "drain_s"),
        ({"routes": {"orders": {}}}, "must begin with /"),
        ({"routes": {"/orders": {"ttl": 1}}}, "no option 'ttl'"),
        ({"routes": {"/orders": {"ttl_s": 0}}}, "ttl_s"),
    ],
)
def test_a_setting_that_can_not_be_taken_is_refused_at_the_start(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        guarded(Shop(), **options)


def test_keys_refuse_options_that_there_are_not() -> None:
    with pytest.raises(SettingError, match="ttl"):
        IdempotencyKeys(ttl=1)


async def test_a_route_may_be_left_alone_and_methods_may_be_chosen() -> None:
    shop = Shop()
    app = guarded(shop, routes={"/free": {"enabled": False}, "/put": {"methods": ["put"]}})
    assert [(await order(app, path="/free")).text for _ in range(2)] == ["order 1", "order 2"]
    assert [(await order(app, path="/put", method="PUT")).text for _ in range(2)] == ["order 3", "order 3"]
    assert [(await order(app, path="/put")).text for _ in range(2)] == ["order 4", "order 5"]


async def test_requests_that_are_not_guarded_pass_with_the_very_scope_and_channels() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    async def send(message: Any) -> None:
        raise AssertionError("nothing is sent")

    middleware = guarded(app)
    for scope in (
        {"type": "http", "method": "GET", "path": "/", "headers": [(b"idempotency-key", b"k")]},
        {"type": "http", "method": "POST", "path": "/", "headers": []},
        {"type": "websocket", "path": "/", "headers": []},
    ):
        await middleware(scope, receive, send)
        assert seen.pop() == (scope, receive, send)


def test_homes_that_instances_can_not_share_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for store in (MemoryStore(), open_store("sqlite:///keys.db"), open_store("memcached://localhost")):
        with pytest.raises(PostureError, match="idempotency-key"):
            guarded(Shop(), store, instances=2)
        with pytest.raises(PostureError, match="idempotency-key"):
            IdempotencyKeys(store, instances=2)
    guarded(Shop(), open_store("sqlite:///keys.db"), instances=2, machines=1)
    monkeypatch.setenv("FUNGIBLE_INSTANCES", "3")
    with pytest.raises(PostureError, match="3 instances"):
        IdempotencyMiddleware(Shop(), store=MemoryStore())


def test_the_doctor_is_told_where_keys_are_kept() -> None:
    store = MemoryStore()
    middleware = guarded(Shop(), store)
    assert isinstance(middleware, HasHomes)
    [home] = middleware.homes()
    assert (home.kind, home.home, home.seat) == ("idempotency-key", "memory:", "IdempotencyMiddleware")
    assert IdempotencyMiddleware.homes_declared(store=store, ttl_s=5) == middleware.homes()
    assert IdempotencyKeys(store, instances=1).homes()[0].seat == "IdempotencyKeys"
    # In transactional mode they go where the application's own database goes.
    assert TransactionalIdempotency.homes_declared(begin=None) == ()


def test_a_stored_response_comes_back_as_it_was() -> None:
    response = StoredResponse(207, ((b"a", b"\xff"), (b"a", b"")), bytes(range(256)))
    assert decoded(encoded(response)) == response
    assert stored_form((207, [(b"a", b"\xff"), (b"a", b"")], bytes(range(256)))) == response
    with pytest.raises(TypeError, match="'str'"):
        stored_form("text")


def test_every_error_is_answered_by_a_problem_with_its_code() -> None:
    codes = [each.code for each in IdempotencyError.__subclasses__()]
    assert len(codes) == len(set(codes))
    assert b'"idempotency_caller_unknown"' in problem_of(UnknownCallerError()).body


def test_every_error_and_every_option_has_an_entry_in_the_reference() -> None:
    root = Path(__file__).resolve().parents[2]
    page = (root / "docs" / "reference" / "idempotency.md").read_text(encoding="utf-8")
    assert [each.code for each in IdempotencyError.__subclasses__() if f"`{each.code}`" not in page] == []
    described = IdempotencyMiddleware.__doc__ or ""
    assert [name for name in NAMES - {"enabled"} if f"{name}:" not in described] == []


def test_parameters_are_placed_as_each_driver_reads_them() -> None:
    text = "SELECT :b, :a, :b"
    assert compiled(text, "numbered") == ("SELECT $1, $2, $1", ("b", "a"))
    assert compiled(text, "format") == ("SELECT %s, %s, %s", ("b", "a", "b"))
    assert compiled(text, "named") == (text, ())


def test_there_is_sql_for_each_database_and_a_clear_error_for_others() -> None:
    for dialect in ("postgresql", "mysql", "mariadb", "sqlite"):
        assert create_table_sql(dialect).startswith("CREATE TABLE IF NOT EXISTS fungible_idempotency")
    with pytest.raises(SettingError, match="oracle"):
        create_table_sql("oracle")


async def test_a_first_request_costs_two_commands_and_a_replay_one(backend: Backend) -> None:
    store = FlakyStore(backend.open())
    app = guarded(Shop(), store)
    await order(app)
    assert store.calls == ["put", "change"]
    await order(app)
    assert store.calls == ["put", "change", "put"]
    await call_raw(app, [])
    assert len(store.calls) == 3
