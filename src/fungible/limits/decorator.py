"""Limits for any coroutine function: a call to somebody else's API, a mail, a costly computation."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from fungible.limits.errors import RateLimitedError
from fungible.limits.limit import Limit
from fungible.limits.limiter import Limiter

P = ParamSpec("P")
T = TypeVar("T")


def limited(
    limiter: Limiter, limit: Limit, *, key: Callable[P, str | None] | None = None, cost: int | None = None
) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Coroutine[Any, Any, T]]]:
    """Limits the calls of a coroutine function, over all instances.

    Args:
        limiter: Counts them.
        limit: How many; its `by`, `methods` and `paths` are for requests, and play no part.
        key: Is given the call's arguments, and gives whose limit it is; None for a call that is not counted. By default
            all calls share one limit.
        cost: How much a call takes, instead of what the limit says.
    Raises:
        RateLimitedError: by the decorated function, which was not called then.
    """

    def decorate(function: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        @functools.wraps(function)
        async def call(*args: P.args, **kwargs: P.kwargs) -> T:
            whose = "" if key is None else key(*args, **kwargs)
            if whose is not None:
                decision = await limiter.take(limit, whose, cost=cost)
                if not decision.allowed:
                    raise RateLimitedError(limit=limit.name, decision=decision)
            return await function(*args, **kwargs)

        return call

    return decorate
