"""Values of an application's own types come back as these: near, from the store, and fresh; and a class may change."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, Protocol
from uuid import UUID

import msgspec
import pydantic
import pytest
from contracts.backends import Backend

from fungible.cache import Cache, NearCache, cached
from fungible.core.errors import SettingError
from fungible.stores.memory import MemoryStore


class Size(enum.Enum):
    SMALL = "s"


class Price(pydantic.BaseModel):
    amount: Decimal
    currency: str = "EUR"


class Product(pydantic.BaseModel):
    id: UUID
    at: datetime
    sizes: set[Size] = set()
    prices: tuple[Price, ...] = ()
    named: dict[str, Price] = {}
    raw: bytes = b""
    kind: Literal["product"] = "product"
    as_client_says: int = pydantic.Field(default=0, validation_alias="in", serialization_alias="out")


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, frozen=True, extra="allow")
    at: datetime
    within: timedelta


class Numbers(pydantic.RootModel[list[int]]):
    pass


@dataclasses.dataclass
class Order:
    products: list[Product]
    at: date


@pydantic.dataclasses.dataclass
class Checked:
    count: Annotated[int, pydantic.Field(gt=0)]


class Item(msgspec.Struct):
    id: int
    at: datetime
    below: list[Item] = []


@dataclasses.dataclass
class Line:
    item: Item
    count: int


class Place(NamedTuple):
    x: int
    item: Item


NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PRICE = Price(amount=Decimal("9.90"))
PRODUCT = Product.model_validate(
    {
        "id": UUID(int=7),
        "at": NOW,
        "sizes": {Size.SMALL},
        "prices": (PRICE,),
        "named": {"a": PRICE},
        "raw": b"ab",
        "in": 3,
    }
)
VALUES: list[tuple[Any, Any]] = [
    (Product, PRODUCT),
    (list[Product], [PRODUCT, PRODUCT]),
    (Product | None, PRODUCT),
    (Product | None, None),
    (dict[str, Product], {"a": PRODUCT}),
    (tuple[Price, int], (PRICE, 1)),
    (Strict, Strict(at=NOW, within=timedelta(seconds=1), more=[1])),  # type: ignore[call-arg]
    (Numbers, Numbers([1, 2])),
    (int | Price, 3),
    (Order, Order([PRODUCT], date(2026, 11, 21))),
    (Checked, Checked(2)),
    (Item, Item(1, NOW, [Item(2, NOW)])),
    (list[Line], [Line(Item(1, NOW), 2)]),
    (Mapping[str, Line | None], {"a": Line(Item(1, NOW), 2), "b": None}),
    (Sequence[Place], [Place(1, Item(1, NOW))]),
    (tuple[int, str], (1, "a")),
    (set[int], {1, 2}),
    (date, date(2026, 11, 21)),
    (dict[str, timedelta], {"a": timedelta(seconds=1.5)}),
    (Size | None, Size.SMALL),
]


def told(value: Any) -> Any:
    return [told(each) for each in value] if isinstance(value, list | tuple) else (type(value), value)


@pytest.mark.parametrize(("kind", "value"), VALUES, ids=lambda each: str(each)[:40])
async def test_a_value_has_the_type_that_it_came_from_wherever_it_is_found(kind: Any, value: Any) -> None:
    store = MemoryStore()
    calls = 0

    def instance(name: str, *, near: NearCache | None = None) -> Any:
        async def compute() -> Any:
            nonlocal calls
            calls += 1
            return value

        compute.__annotations__["return"] = kind
        cache = Cache(store, instances=1, beta=0, near=near)
        return cache, cache.cached(ttl_s=60, name=name)(compute)

    near_cache, function = instance("f", near=NearCache())
    _, other = instance("f")
    seen = [await function(), await function(), await function(), await other()]
    assert near_cache.counts.near_hits == 1
    assert calls == 1
    for found in seen:
        assert found == value
        assert told(found) == told(value)
    # The same where it is said, and not annotated.
    cache = Cache(store, instances=1)

    async def fresh() -> Any:
        return value

    for _ in range(2):
        assert told(await cache.get_or_compute("k", fresh, ttl_s=60, type=kind)) == told(value)


async def test_each_caller_has_a_model_of_its_own(backend: Backend) -> None:
    @cached(Cache(backend.open(), instances=1, now=backend.now), ttl_s=60)
    async def product() -> Product:
        return PRODUCT

    one, other = await asyncio.gather(product(), product())
    one.named["b"] = PRICE
    assert other == await product() == PRODUCT


async def test_a_class_that_is_made_where_its_function_is_will_do() -> None:
    class Local(pydantic.BaseModel):
        n: int

    @cached(Cache(MemoryStore(), instances=1), ttl_s=60)
    async def local() -> list[Local]:
        return [Local(n=1)]

    assert [await local(), await local()] == [[Local(n=1)]] * 2


async def test_what_the_class_is_given_by_its_parts_is_the_class() -> None:
    @cached(Cache(MemoryStore(), instances=1), ttl_s=60)
    async def price() -> Price:
        return {"amount": "1.5"}  # type: ignore[return-value]

    assert [await price(), await price()] == [Price(amount=Decimal("1.5"))] * 2


async def test_releases_with_different_classes_run_side_by_side_and_a_value_of_the_other_is_a_miss() -> None:
    def later(name: str, **fields: Any) -> Any:
        return pydantic.create_model(name, **fields)

    store = MemoryStore()
    kinds: list[tuple[Any, Any]] = [
        (old := later("Old", n=(int, ...)), old(n=1)),
        (new := later("New", n=(str, ...), more=(int, ...)), new(n="one", more=2)),
        (Item, Item(1, NOW)),
        (dict, {"n": 1}),
        (Numbers, Numbers([1])),
    ]
    kinds += [(one := pydantic.RootModel[int], one(1))]
    functions: list[tuple[Any, Any]] = []
    for kind, value in kinds:

        async def compute(value: Any = value) -> Any:
            return value

        compute.__annotations__["return"] = kind
        near = NearCache(bound_s=0.01)
        made = Cache(store, instances=1, beta=0, near=near).cached(ttl_s=60, name="f", key="k")(compute)
        functions.append((made, value))
    for _ in range(2):
        for function, value in functions:
            for _ in range(2):
                assert told(await function()) == told(value)
    # What one of them ends is ended for the others.
    assert len({function.key_of() for function, _ in functions}) == 1


class Thing:
    """Nobody knows how to keep it."""


class Secret(pydantic.BaseModel):
    password: pydantic.SecretStr = pydantic.SecretStr("secret")


class Half(pydantic.BaseModel):
    shown: int = 0
    hidden: int = pydantic.Field(default=0, exclude=True)


class Dearer(Price):
    more: int = 1


class Holds(msgspec.Struct):
    model: Price


class HoldsThing(msgspec.Struct):
    things: dict[str, list[Thing]]


class Loose(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    thing: Any = None


@pytest.mark.parametrize(
    "kind", [Thing, list[Thing], Thing | None, Holds, HoldsThing, dict[str, asyncio.Lock], memoryview]
)
def test_a_type_that_can_not_be_kept_is_refused_where_the_function_is_made(kind: Any) -> None:
    cache = Cache(MemoryStore(), instances=1)

    async def compute() -> Any: ...

    with pytest.raises(SettingError, match="can't be kept"):
        cache.cached(ttl_s=60, type=kind)(compute)
    compute.__annotations__["return"] = kind
    with pytest.raises(SettingError, match="can't be kept"):
        cache.cached(ttl_s=60, name="f")(compute)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Secret, Secret()),
        (Half, Half(hidden=1)),
        (Price, Dearer(amount=Decimal(1))),
        (Price, 1),
        (Loose, Loose(thing=Thing())),
    ],
)
async def test_no_model_is_kept_that_would_not_come_back_whole(kind: Any, value: Any) -> None:
    cache = Cache(MemoryStore(), instances=1)

    async def compute() -> Any:
        return value

    with pytest.raises(TypeError, match="can't be kept"):
        await cache.get_or_compute("k", compute, ttl_s=60, type=kind)


class Named(Protocol):
    name: str


async def test_annotations_that_say_nothing_of_a_value_keep_it_as_it_is() -> None:
    cache = Cache(MemoryStore(), instances=1)
    value = {"a": Decimal(1), "b": [UUID(int=1), NOW], "c": (1, b"x")}
    expected = {**value, "c": [1, b"x"]}
    for kind in (Any, object, dict, dict[str, Any], Mapping[str, object], Named, tuple[Any, ...] | dict[str, Any]):

        async def compute() -> Any:
            return value

        compute.__annotations__["return"] = kind
        function = cache.cached(ttl_s=60, name=str(kind).replace("(", ""))(compute)
        assert [await function(), await function()] == [expected] * 2


async def test_a_model_without_an_annotation_is_an_error_that_says_what_to_do() -> None:
    @cached(Cache(MemoryStore(), instances=1), ttl_s=60)
    async def unsaid():  # type: ignore[no-untyped-def]
        return PRICE

    with pytest.raises(TypeError, match="annotation or type="):
        await unsaid()


def test_a_cache_needs_no_pydantic() -> None:
    words = "import sys; sys.modules['pydantic'] = None; import fungible.cache, asyncio, msgspec; from fungible.cache import Cache"
    code = f"""{words}
from fungible.stores.memory import MemoryStore
class Item(msgspec.Struct):
    n: int
cache = Cache(MemoryStore(), instances=1)
@cache.cached(ttl_s=60)
async def item() -> list[Item]:
    return [Item(1)]
async def main():
    print(await item(), await item())
asyncio.run(main())
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert found.stdout.strip() == "[Item(n=1)] [Item(n=1)]"
