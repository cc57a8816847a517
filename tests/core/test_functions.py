"""What decorators take, and what each of them refuses when it is written rather than when it is called."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from fungible.cache import Cache, cached
from fungible.core.errors import SettingError
from fungible.core.functions import FunctionError, is_async, name_of
from fungible.idempotency import IdempotencyKeys, idempotent
from fungible.limits import Limiter, limited, per_hour
from fungible.stores.memory import MemoryStore


def plain(number: int) -> int:
    return number


async def coroutine(number: int) -> int:
    return number


def generator(number: int) -> Any:
    yield number


async def asynchronous_generator(number: int) -> Any:
    yield number


class Plain:
    def __call__(self, number: int) -> int:
        return number

    def method(self, number: int) -> int:
        return number


class Awaited:
    async def __call__(self, number: int) -> int:
        return number

    async def method(self, number: int) -> int:
        return number


class Generating:
    def __call__(self, number: int) -> Any:
        yield number


DECORATORS: dict[str, Callable[[Any], Any]] = {
    "@limited": limited(Limiter(MemoryStore(), instances=1), per_hour("calls", 9, on_unavailable="closed")),
    "@idempotent": idempotent(IdempotencyKeys(MemoryStore(), instances=1), key="{number}", name="named"),
    "@cached": cached(Cache(MemoryStore(), instances=1), ttl_s=9, key="{number}", name="named"),
}


@pytest.mark.parametrize(
    ("function", "to_await"),
    [
        (plain, False),
        (coroutine, True),
        (functools.partial(plain, 1), False),
        (functools.partial(functools.partial(coroutine), 1), True),
        (Plain(), False),
        (Awaited(), True),
        (functools.partial(Awaited()), True),
        (Plain().method, False),
        (Awaited().method, True),
        (len, False),
    ],
)
def test_a_function_is_awaited_if_what_it_calls_is(function: Any, to_await: bool) -> None:
    assert is_async(function, "@limited") is to_await


@pytest.mark.parametrize("decorator", DECORATORS)
@pytest.mark.parametrize(
    ("function", "words"),
    [
        (generator, "a generator"),
        (asynchronous_generator, "a generator"),
        (functools.partial(generator, 1), "a generator"),
        (Generating(), "a generator"),
        (classmethod(plain), "write @classmethod above"),
        (staticmethod(coroutine), "write @staticmethod above"),
        (Plain, "takes a function"),
        (functools.partial(Plain), "takes a function"),
        (functools.partialmethod(plain, 1), "takes a function"),
        (5, "takes a function"),
        (None, "takes a function"),
    ],
)
def test_what_can_not_be_decorated_is_refused_when_it_is_written(decorator: str, function: Any, words: str) -> None:
    for kind in (TypeError, SettingError, FunctionError):
        with pytest.raises(kind, match=words) as caught:
            DECORATORS[decorator](function)
        assert decorator in str(caught.value)


def test_what_has_no_name_needs_one_where_calls_are_kept_by_it() -> None:
    assert (name_of(plain), name_of(functools.partial(plain))) == (f"{__name__}.plain", None)
    for nameless in (functools.partial(plain), Plain()):
        with pytest.raises(FunctionError, match="name="):
            idempotent(IdempotencyKeys(MemoryStore(), instances=1), key="{number}")(nameless)
        with pytest.raises(FunctionError, match="name="):
            cached(Cache(MemoryStore(), instances=1), ttl_s=9)(nameless)


@pytest.mark.parametrize("decorator", DECORATORS)
def test_functions_that_block_and_what_stands_for_them_are_called_where_no_loop_runs(decorator: str) -> None:
    decorate = DECORATORS[decorator]
    for number, function in enumerate((plain, functools.partial(plain), Plain(), Plain().method)):
        assert decorate(function)(number) == number


def test_a_decorated_method_may_be_a_class_or_static_method() -> None:
    class Service:
        @classmethod
        @DECORATORS["@idempotent"]
        def charge(cls, number: int) -> str:
            return f"{cls.__name__} {number}"

        @staticmethod
        @DECORATORS["@limited"]
        def mail(number: int) -> int:
            return number

    assert (Service.charge(100), Service.charge(100), Service.mail(5)) == ("Service 100", "Service 100", 5)
