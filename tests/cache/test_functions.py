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
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

import msgspec
import pytest
from contracts.backends import Backend
from hypothesis import given
from hypothesis import strategies as st

from cache.working import WorkError
from fungible.cache import Cache, cached
from fungible.cache.keys import Template
from fungible.core.bridge import BridgeError
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

    assert product.key_of(3) == "product:3"
    assert (await product(3))["call"] == 1
    await cache.invalidate("product:3")
    assert (await product(product_id=3))["call"] == 2
    await cache.invalidate_tag("product:3")
    assert (await product(3))["call"] == 3
    assert (await product(4))["call"] == 4
    await cache.invalidate_tag("products")
    assert [(await product(3))["call"], (await product(4))["call"]] == [5, 6]


@given(st.text(), st.text(), st.text(), st.text())
def test_a_template_never_gives_two_calls_one_key(x: str, y: str, other_x: str, other_y: str) -> None:
    template = Template("a:{x}/€:{y}", ("x", "y"))
    same = template.filled({"x": x, "y": y}) == template.filled({"x": other_x, "y": other_y})
    assert same == ((x, y) == (other_x, other_y))


def test_a_template_that_is_not_clear_is_refused() -> None:
    for text in ("{x}{y}", "{x}a{y}", "{z}", "{x", "{}"):
        with pytest.raises(SettingError):
            Template(text, ("x", "y"))
    assert Template("{x.real}:{y[0]}", ("x", "y")).filled({"x": 3, "y": ["b"]}) == "3:b"


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
            cache.cached(**wrong)(lambda: 1)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="generator"):
        cache.cached(ttl_s=1)(lambda: (yield))  # type: ignore[arg-type,return-value]
    for settings in ({"prefix": ""}, {"lease_s": 0}, {"beta": -1}, {"max_computing": 0}):
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
