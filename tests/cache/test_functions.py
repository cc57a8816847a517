"""Decorated functions: their keys, their types, and those that block."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

import msgspec
import pytest
from contracts.backends import Backend
from hypothesis import given
from hypothesis import strategies as st

from cache.working import WorkError
from fungible.cache import Cache, cached
from fungible.core.bridge import BridgeError
from fungible.core.calls import Arguments, Template, canonical, digest, shown
from fungible.core.errors import SettingError
from fungible.stores.memory import MemoryStore


def memory() -> Cache:
    return Cache(MemoryStore(), instances=1, beta=0)


class Product(msgspec.Struct):
    id: int
    price: Decimal


@dataclasses.dataclass
class Order:
    id: UUID
    at: datetime
    products: tuple[Product, ...]


class Size(enum.Enum):
    SMALL = "s"


class Point(NamedTuple):
    x: int
    y: int


class Row(TypedDict):
    at: datetime


async def test_a_function_is_called_once_for_equal_arguments_however_they_are_given() -> None:
    cache, calls = memory(), 0

    @cache.cached(ttl_s=60)
    async def add(x: int, y: int = 2, *, z: int = 3) -> int:
        nonlocal calls
        calls += 1
        return x + y + z

    assert [await add(1), await add(1, 2), await add(x=1, y=2, z=3), await add(y=2, x=1)] == [6] * 4
    assert calls == 1
    assert await add(2) == 7
    await add.invalidate(1, z=3)
    assert await add(1) == 6
    assert calls == 3
    for wrong in ({}, {"x": 1, "other": 2}):
        with pytest.raises(TypeError):
            await add(**wrong)
    with pytest.raises(TypeError):
        await add(1, x=1)


async def test_a_key_is_a_template_and_the_cache_ends_values_by_it() -> None:
    cache, calls = memory(), 0

    @cached(cache, ttl_s=60, key="product:{product_id}", tags=("products", "product:{product_id}"))
    async def product(product_id: int) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        return {"id": product_id, "call": calls}

    name = f"{__name__}.{product.__wrapped__.__qualname__}"
    assert product.key_of(3) == f"{name}(product:3)"
    assert (await product(3))["call"] == 1
    await cache.invalidate(product.key_of(3))
    assert (await product(product_id=3))["call"] == 2
    await cache.invalidate_tag("product:3")
    assert (await product(3))["call"] == 3
    assert (await product(4))["call"] == 4
    await cache.invalidate_tag("products")
    assert [(await product(3))["call"], (await product(4))["call"]] == [5, 6]


async def test_no_two_functions_share_a_value_whatever_their_keys_look_like() -> None:
    cache = memory()

    @cache.cached(ttl_s=60, key="item:{name}")
    async def by_name(name: object) -> list[Any]:
        return ["by name", name]

    @cache.cached(ttl_s=60, key="item:{order}:{part}")
    async def part(order: object, part: object) -> list[Any]:
        return ["part", order, part]

    @cache.cached(ttl_s=60, key="item:{name}")
    async def other(name: object) -> list[Any]:
        return ["other", name]

    @cache.cached(ttl_s=60, key=lambda name: f"item:{name}")
    async def another(name: object) -> list[Any]:
        return ["another", name]

    @cache.cached(ttl_s=60)
    async def whole(name: object) -> list[Any]:
        return ["whole", name]

    for _ in range(2):
        assert await by_name("7:orders") == ["by name", "7:orders"]
        assert await part(7, "orders") == ["part", 7, "orders"]
        assert await other("7:orders") == ["other", "7:orders"]
        assert await another("7:orders") == ["another", "7:orders"]
        assert await whole("7:orders") == ["whole", "7:orders"]
        for value in (1, "1", True, "True", 1.0, "1.0", None, "None", [1], b"1"):
            for function, kind in ((by_name, "by name"), (other, "other"), (whole, "whole")):
                found = await function(value)
                assert found == [kind, value]
                assert type(found[1]) is type(value)
    # By hand under the same words: no function's value either.
    assert await cache.get_or_compute("item:7:orders", lambda: whole("raw"), ttl_s=60) == ["whole", "raw"]


async def test_functions_that_are_made_twice_need_names_of_their_own() -> None:
    cache = memory()

    def find_in(table: str, name: str | None) -> Any:
        @cache.cached(ttl_s=60, key="{number}", name=name)
        async def find(number: int) -> str:
            return f"{table} {number}"

        return find

    find_in("users", None)
    with pytest.raises(SettingError, match="name="):
        find_in("orders", None)
    users, orders, again = find_in("users", "users"), find_in("orders", "orders"), find_in("orders", "orders")
    assert users.key_of(3) == "users(3)"
    assert [await users(3), await orders(3), await again(3)] == ["users 3", "orders 3", "orders 3"]
    for wrong in ({"name": ""}, {"name": "a(b"}):
        with pytest.raises(SettingError):
            cache.cached(ttl_s=60, **wrong)(find_in)  # type: ignore[arg-type]
    for nameless in (lambda x: x, partial(find_in, "carts")):
        with pytest.raises(SettingError, match="name="):
            cache.cached(ttl_s=60)(nameless)  # type: ignore[arg-type]
        cache.cached(ttl_s=60, name="nameless")(nameless)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "key",
    [None, "{product}:{currency}", lambda product, currency: f"{product}-{currency}", lambda product: str(product)],
)
async def test_a_default_that_is_left_out_is_the_same_as_one_that_is_given(key: Any) -> None:
    cache, calls = memory(), 0

    @cache.cached(ttl_s=60, key=key, tags=lambda product, currency: [f"{product}:{currency}"])
    async def price(product: int, currency: str = "EUR") -> int:
        nonlocal calls
        calls += 1
        return calls

    def ways() -> list[Any]:
        return [price(3), price(3, "EUR"), price(3, currency="EUR"), price(currency="EUR", product=3)]

    assert [await way for way in ways()] == [1] * 4
    for number, end in enumerate(
        (
            lambda: price.invalidate(3),
            lambda: price.invalidate(3, "EUR"),
            lambda: price.invalidate(product=3),
            lambda: cache.invalidate(price.key_of(3)),
            lambda: cache.invalidate_tag("3:EUR"),
        )
    ):
        await end()
        assert [await way for way in ways()] == [number + 2] * 4


async def test_arguments_by_any_name_and_of_any_number_make_one_key_in_any_order() -> None:
    cache = memory()

    class Shop:
        @cache.cached(ttl_s=60, key="{numbers}/{options}")
        async def find(self, *numbers: int, **options: Any) -> Any:
            return [numbers, options]

        @staticmethod
        @cache.cached(ttl_s=60)
        async def lists(*numbers: int, **options: Any) -> Any:
            return [numbers, options]

    shop = Shop()
    keys = [shop.find.key_of(shop, 1, 2, a=1, b=2), shop.find.key_of(shop, 1, 2, b=2, a=1)]
    assert len(set(keys)) == 1
    others = [
        Shop.find.key_of(shop, *args, **kwargs) for args, kwargs in (((1,), {}), ((1, 2), {}), ((), {"a": 1}), ((), {}))
    ]
    assert len({*keys, *others}) == 5
    assert Shop.lists.key_of(1, 2, a=1, b=2) == Shop.lists.key_of(1, 2, b=2, a=1) != Shop.lists.key_of(1, 2, a=1)


class Item:
    """Has no text but where it stands in memory."""


@pytest.mark.parametrize("key", [None, "item:{item}", "items:{items}"])
async def test_arguments_whose_text_differs_in_each_process_make_no_key(key: str | None) -> None:
    cache = memory()

    @cache.cached(ttl_s=60, key=key, tags=("{item.__class__}",))
    async def of(item: object, items: list[object]) -> int:
        return 1

    with pytest.raises(TypeError, match="Item"):
        await of(Item(), [Item()])
    endless: list[Any] = []
    endless.append(endless)
    if key != "item:{item}":
        with pytest.raises(TypeError, match="deep"):
            await of(1, endless)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from(["1", "True", "None", "-3", "1.0", "inf", "a:b", "%31", "x-y", "~", "Decimal~1"])
    | st.binary(max_size=8)
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.datetimes()
    | st.dates()
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
calls = st.tuples(st.sampled_from(["f", "g"]), st.tuples(values, values))


def told_apart(value: Any) -> Any:
    """The value with its types, to be compared with `==`."""
    if isinstance(value, list | tuple):
        return type(value), [told_apart(each) for each in value]
    if isinstance(value, dict):
        return dict, {key: told_apart(each) for key, each in value.items()}
    return type(value), str(value)


@given(calls, calls)
def test_different_calls_have_different_keys_and_equal_calls_have_one(one: Any, other: Any) -> None:
    (function, arguments), (other_function, other_arguments) = one, other
    same = (function, told_apart(arguments)) == (other_function, told_apart(other_arguments))

    def f(x: Any, y: Any = None) -> None: ...
    def g(x: Any, y: Any = None) -> None: ...

    for key in (None, "{x}:{y}", "a-{x}-{y}.b", "{x}~{y}"):
        cache = memory()
        both = {"f": cache.cached(ttl_s=1, key=key)(f), "g": cache.cached(ttl_s=1, key=key)(g)}
        assert (both[function].key_of(*arguments) == both[other_function].key_of(*other_arguments)) == same
        assert both[function].key_of(*arguments) == both[function].key_of(y=arguments[1], x=arguments[0])


@given(values, values)
def test_values_have_one_text_and_one_digest_for_each_of_them(one: Any, other: Any) -> None:
    same = told_apart(one) == told_apart(other)
    assert (shown(one) == shown(other)) == same
    assert (canonical(one) == canonical(other)) == same
    assert (digest({"x": one}) == digest({"x": other})) == same


@given(st.text(), st.text(), st.text(), st.text())
def test_a_tag_never_joins_what_parts_two_arguments(x: str, y: str, other_x: str, other_y: str) -> None:
    template = Template("a:{x}/€:{y}", ("x", "y"), typed=False)
    same = template.filled({"x": x, "y": y}) == template.filled({"x": other_x, "y": other_y})
    assert same == ((x, y) == (other_x, other_y))


def test_keys_are_what_they_were_in_earlier_releases() -> None:
    def f(product: Any, size: Any = 1) -> None: ...

    arguments = Arguments(f)
    assert Template("p:{product}/{size}", arguments.names).filled(arguments.of(("mug",), {})) == "p:mug/1"
    assert shown("blue mug") == "blue%20mug"
    assert shown("7") == "%37"
    assert shown(Decimal("1.50")) == "Decimal~1.50"
    assert shown((1, "a")) == "tuple~02e3eb198f084e8e0e4aee9e8756a822"
    assert digest({"x": 1}) == "28aba18a19de935a902086a937f25f8531bfcba4"


def test_a_template_that_is_not_clear_is_refused() -> None:
    for text in ("{x}{y}", "{x}a{y}", "{x}%{y}", "{z}", "{x", "{}"):
        with pytest.raises(SettingError):
            Template(text, ("x", "y"))
    assert Template("{x.real}:{y[0]}", ("x", "y")).filled({"x": 3, "y": ["b"]}) == "3:b"
    assert Template("{x:.2f}:{y!r}", ("x", "y")).filled({"x": 1 / 3, "y": "b"}) == "%30.33:%27b%27"


async def test_a_key_of_any_length_and_of_any_characters_will_do() -> None:
    cache = memory()

    async def compute() -> str:
        return "value"

    for key in ("", "x" * 10_000, "ключ", "\n\0", "\ud800"):
        assert await cache.get_or_compute(key, compute, ttl_s=60, tags=(key,)) == "value"
        await cache.invalidate(key)
        await cache.invalidate_tag(key)


async def test_methods_and_functions_of_arguments_make_keys() -> None:
    cache = memory()

    class Shop:
        calls = 0

        @cache.cached(ttl_s=60, key=lambda _, name: f"shop:{name}", tags=lambda _, name: [f"tag:{name}"])
        async def find(self, name: str) -> str:
            Shop.calls += 1
            return name

    assert [await Shop().find("mug"), await Shop().find("mug")] == ["mug"] * 2
    assert Shop.calls == 1
    await cache.invalidate_tag("tag:mug")
    await Shop().find("mug")
    assert Shop.calls == 2


async def test_values_have_the_types_that_the_annotation_names() -> None:
    cache = memory()
    order = Order(UUID(int=1), datetime(2026, 11, 21, tzinfo=UTC), (Product(1, Decimal("9.99")),))

    @cache.cached(ttl_s=60)
    async def orders() -> list[Order]:
        return [order]

    @cache.cached(ttl_s=60)
    async def point() -> Point | None:
        return Point(1, 2)

    @cache.cached(ttl_s=60)
    async def size() -> Size:
        return Size.SMALL

    @cache.cached(ttl_s=60)
    async def row() -> Row:
        return {"at": order.at}

    @cache.cached(ttl_s=60, type=tuple[int, ...])
    async def numbers() -> Any:
        return (1, 2)

    for _ in range(2):
        assert await orders() == [order]
        assert await point() == Point(1, 2)
        assert await size() is Size.SMALL
        assert await row() == {"at": order.at}
        assert await numbers() == (1, 2)


async def test_plain_values_are_the_same_from_the_first_call_on() -> None:
    cache = memory()

    @cache.cached(ttl_s=60)
    async def plain() -> dict[str, Any]:
        return {"t": (1, 2), "d": Decimal("1.5"), "u": UUID(int=1), "b": b"\0"}

    expected = {"t": [1, 2], "d": Decimal("1.5"), "u": UUID(int=1), "b": b"\0"}
    assert [await plain(), await plain()] == [expected] * 2


async def test_a_value_that_can_not_be_kept_is_a_clear_type_error() -> None:
    cache = memory()

    @cache.cached(ttl_s=60)
    async def thread() -> Any:
        return [threading.Lock()]

    @cache.cached(ttl_s=60)
    async def wrong() -> Product:
        return "no product"  # type: ignore[return-value]

    with pytest.raises(TypeError, match=r"\[0\].*lock"):
        await thread()
    with pytest.raises(TypeError, match="Product"):
        await wrong()


async def test_arguments_without_a_key_are_a_clear_type_error() -> None:
    cache = memory()

    @cache.cached(ttl_s=60)
    async def of(anything: object) -> int:
        return 1

    with pytest.raises(TypeError, match="say key="):
        await of(threading.Lock())


async def test_what_an_earlier_release_has_stored_is_computed_anew() -> None:
    cache = memory()

    async def old() -> dict[str, int]:
        return {"identity": 1}

    async def new() -> Product:
        return Product(1, Decimal(2))

    await cache.get_or_compute("k", old, ttl_s=60)
    for _ in range(2):
        assert await cache.get_or_compute("k", new, ttl_s=60, type=Product) == Product(1, Decimal(2))


def test_settings_that_make_no_sense_are_refused() -> None:
    cache = memory()
    for wrong in (
        {"ttl_s": 0},
        {"ttl_s": -1},
        {"ttl_s": float("nan")},
        {"ttl_s": 1, "stale_s": -1},
        {"ttl_s": 1, "tags": "a"},
    ):
        with pytest.raises(SettingError):
            cache.cached(name="f", **wrong)(lambda: 1)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="generator"):
        cache.cached(ttl_s=1)(lambda: (yield))  # type: ignore[arg-type,return-value]
    for settings in (
        {"prefix": ""},
        {"prefix": "a:v"},
        {"prefix": "a:t:b"},
        {"prefix": "a:r#b"},
        {"lease_s": 0},
        {"beta": -1},
        {"max_computing": 0},
    ):
        with pytest.raises(SettingError):
            Cache(MemoryStore(), instances=1, **settings)  # type: ignore[arg-type]


def test_functions_that_block_are_computed_once_for_all_threads_each_in_its_own() -> None:
    cache, calls, barrier = memory(), [], threading.Barrier(20)

    @cached(cache, ttl_s=60, key="k:{x}")
    def slow(x: int) -> int:
        calls.append(threading.current_thread().name)
        return x * 2

    def ask(_: int) -> int:
        barrier.wait()
        return slow(4)

    with ThreadPoolExecutor(20, thread_name_prefix="asks") as pool:
        assert list(pool.map(ask, range(20))) == [8] * 20
    assert len(calls) == 1
    assert calls[0].startswith("asks")
    slow.invalidate(4)
    assert slow(4) == 8
    assert len(calls) == 2


def test_an_error_in_a_thread_reaches_its_caller_and_another_thread_tries_next() -> None:
    cache, count, begun, go = memory(), 0, threading.Event(), threading.Event()

    @cached(cache, ttl_s=60, key="k")
    def fails_first() -> int:
        nonlocal count
        count += 1
        if count == 1:
            begun.set()
            go.wait(30)
            raise WorkError("first")
        return count

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(fails_first)
        begun.wait(30)
        second = pool.submit(fails_first)
        while cache.counts.misses < 2:
            time.sleep(0.005)
        go.set()
        with pytest.raises(WorkError, match="first"):
            first.result(30)
        assert second.result(30) == 2


def test_a_thread_that_is_interrupted_hangs_nobody() -> None:
    cache, count = memory(), 0

    @cached(cache, ttl_s=60, key="k")
    def interrupted() -> int:
        nonlocal count
        count += 1
        if count == 1:
            raise KeyboardInterrupt
        return count

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert interrupted() == 2


def test_a_stale_value_of_a_function_that_blocks_is_refreshed_in_the_background() -> None:
    clock = [1000.0]
    cache = Cache(MemoryStore(now=lambda: clock[0]), instances=1, now=lambda: clock[0])
    count, done = 0, threading.Event()

    @cached(cache, ttl_s=10, stale_s=10, key="k")
    def number() -> int:
        nonlocal count
        count += 1
        if count == 2:
            done.set()
        return count

    assert number() == 1
    clock[0] += 15
    assert number() == 1
    assert done.wait(30)


async def test_a_function_that_blocks_is_refused_where_an_event_loop_runs() -> None:
    cache = memory()

    @cached(cache, ttl_s=60)
    def blocks() -> int:
        return 1

    with pytest.raises(BridgeError):
        blocks()
    assert await asyncio.to_thread(blocks) == 1


async def test_two_functions_of_one_process_share_with_those_of_another(backend: Backend) -> None:
    def instance(store: Any) -> Any:
        @cached(Cache(store, instances=1, now=backend.now), ttl_s=60, key="n:{x}", tags=("all",))
        async def count(x: int) -> list[int]:
            calls.append(x)
            return [x, len(calls)]

        return count

    calls: list[int] = []
    one, other = instance(backend.open()), instance(backend.open())
    assert await one(7) == await other(7) == [7, 1]
    await other.invalidate(7)
    assert await one(7) == await other(7) == [7, 2]
