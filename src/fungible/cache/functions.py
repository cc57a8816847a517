"""Decorates functions, so that their values are kept in a cache."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast, overload

from fungible.cache.policy import Policy
from fungible.cache.threads import Threads
from fungible.cache.values import codec_for, codec_of
from fungible.core.calls import Arguments, OfArguments, Template, digest
from fungible.core.errors import SettingError
from fungible.core.functions import is_async

if TYPE_CHECKING:
    from fungible.cache.cache import Cache

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Key = str | Callable[..., str] | None
Tagging = Sequence[str] | Callable[..., Sequence[str]]


class AsyncCached(Protocol[P, T_co]):
    """An asynchronous function whose values are kept."""

    __wrapped__: Callable[..., Any]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T_co]:
        """The value for these arguments."""
        ...

    def key_of(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Its key in the cache."""
        ...

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[None]:
        """Ends the value for these arguments, on all instances."""
        ...


class SyncCached(Protocol[P, T_co]):
    """A function that blocks, whose values are kept."""

    __wrapped__: Callable[..., Any]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T_co:
        """The value for these arguments."""
        ...

    def key_of(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Its key in the cache."""
        ...

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Ends the value for these arguments, on all instances."""
        ...


class Decorator(Protocol):
    """What makes of a function one whose values are kept."""

    # A coroutine function is a function too: the first one that fits counts.
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, T]]) -> AsyncCached[P, T]: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __call__(self, function: Callable[P, T]) -> SyncCached[P, T]: ...


class _Plan:
    """Key and policy for each call of one function."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str,
        ttl_s: float,
        key: Key,
        tags: Tagging,
        stale_s: float,
        kind: Any,
        local_names: Mapping[str, Any],
    ) -> None:
        self._name = name
        self._arguments = Arguments(function)
        names = self._arguments.names
        self._template = Template(key, names) if isinstance(key, str) else None
        self._key = OfArguments(key, self._arguments) if callable(key) else None
        codec = codec_of(function, local_names) if kind is None else codec_for(kind)
        self._policy = Policy(ttl_s, stale_s, (), codec)
        if isinstance(tags, str):
            raise SettingError(f"tags={tags!r} must be several: ({tags!r},)")
        self._tags = OfArguments(tags, self._arguments) if callable(tags) else None
        # Not told apart by type, so that they can be named by hand: a tag more ends more, and never less.
        self._tag_templates = () if callable(tags) else tuple(Template(tag, names, typed=False) for tag in tags)
        self._fixed: Policy | None = None if callable(tags) or any("{" in tag for tag in tags) else self._tagged({})

    def key_of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """The key of a call."""
        return self._key_for(self._arguments.of(args, kwargs))

    def of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, Policy]:
        """Key and policy of a call."""
        arguments = self._arguments.of(args, kwargs)
        key = self._key_for(arguments)
        if self._fixed is not None:
            return key, self._fixed
        if self._tags is not None:
            return key, self._with(tuple(self._tags(arguments)))
        return key, self._tagged(arguments)

    def _key_for(self, arguments: Mapping[str, Any]) -> str:
        # Always with the function's name: two functions never share a value because their keys read the same.
        if self._template is not None:
            return f"{self._name}({self._template.filled(arguments)})"
        if self._key is not None:
            key = self._key(arguments)
            if not isinstance(key, str):
                raise TypeError(f"the key= of {self._name} gave {key!r}: it must give a string")
            return f"{self._name}({key})"
        try:
            return f"{self._name}({digest(arguments)})"
        except TypeError as error:
            raise TypeError(
                f"the arguments of {self._name} make no key: {error}; say key='…{{argument}}…' or key=function"
            ) from None

    def _tagged(self, arguments: Mapping[str, Any]) -> Policy:
        return self._with(tuple(template.filled(arguments) for template in self._tag_templates))

    def _with(self, tags: tuple[str, ...]) -> Policy:
        return Policy(self._policy.ttl_s, self._policy.stale_s, tags, self._policy.codec)


def decorator(
    cache: Cache, *, ttl_s: float, key: Key, name: str | None, tags: Tagging, stale_s: float, kind: Any
) -> Decorator:
    """Makes the decorator; see `cached`."""

    def decorate(function: Callable[..., Any]) -> Any:
        to_await = is_async(function, "@cached")
        called = cache.named(function, name)
        # Where the function is made: a class that its annotation names may be a local one there.
        frame = inspect.currentframe()
        local_names = frame.f_back.f_locals if frame is not None and frame.f_back is not None else {}
        plan = _Plan(
            function, name=called, ttl_s=ttl_s, key=key, tags=tags, stale_s=stale_s, kind=kind, local_names=local_names
        )
        return _awaited(cache, function, plan) if to_await else _blocking(cache, function, plan)

    return cast(Decorator, decorate)


def _awaited(cache: Cache, function: Callable[..., Any], plan: _Plan) -> Any:
    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        key, policy = plan.of(args, kwargs)
        return await cache.value(key, lambda: function(*args, **kwargs), policy)

    def key_of(*args: Any, **kwargs: Any) -> str:
        return plan.key_of(args, kwargs)

    async def invalidate(*args: Any, **kwargs: Any) -> None:
        await cache.invalidate(plan.key_of(args, kwargs))

    return _with(call, key_of, invalidate)


def _blocking(cache: Cache, function: Callable[..., Any], plan: _Plan) -> Any:
    threads = Threads(cache)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        key, policy = plan.of(args, kwargs)
        return threads.value(key, lambda: function(*args, **kwargs), policy)

    def key_of(*args: Any, **kwargs: Any) -> str:
        return plan.key_of(args, kwargs)

    def invalidate(*args: Any, **kwargs: Any) -> None:
        threads.invalidate(plan.key_of(args, kwargs))

    return _with(call, key_of, invalidate)


def _with(call: Any, key_of: Callable[..., str], invalidate: Callable[..., Any]) -> Any:
    call.key_of, call.invalidate = key_of, invalidate
    return call


def cached(
    cache: Cache,
    *,
    ttl_s: float,
    key: Key = None,
    name: str | None = None,
    tags: Tagging = (),
    stale_s: float = 0.0,
    type: Any = None,
) -> Decorator:
    """Decorates a function, asynchronous or not, whose values are kept in a cache.

    Its calls give what they would give after being kept: tuples have become lists, and each caller has a value of its
    own. None is a value like others. Beside calls the function has `invalidate(…)` and `key_of(…)`, with the same
    arguments. One that blocks is called from threads without an event loop.

    A key is the function's name with what `key` gives in brackets: `shop.product(product:3)`. No two functions share one,
    nor two calls that differ in what stands in it, be it by type: 1 and "1" are two. A call that leaves a default out and
    one that gives it are one.

    Args:
        cache: Where.
        ttl_s: How long a value is fresh, in seconds.
        key: What tells calls apart: a template with arguments, `product:{product_id}`; a function of the arguments,
            which is given defaults too, and may take fewer; or None for a digest of all of them. Arguments that it
            leaves out make no difference.
        name: Of the function in keys, by default its module and name. Two functions with one name and one key share
            values; a function that is renamed, or moved, keeps its own by a name.
        tags: What `Cache.invalidate_tag` ends values by: templates as well, or a function of the arguments that gives
            them. Each costs a hit one command more.
        stale_s: For so many seconds more a value is given, while one instance computes the next in the background.
        type: The values' type, where it is not the function's annotation: made of pydantic models, dataclasses, structs,
            typed dicts, named tuples and enums, and of what stands around these. Plain values, without either, are JSON's
            types, bytes, datetime, Decimal and UUID.
    Raises:
        SettingError: key, tags, times or type can't be taken.
    """
    return decorator(cache, ttl_s=ttl_s, key=key, name=name, tags=tags, stale_s=stale_s, kind=type)
