"""Limits for any function: a call to somebody else's API, a mail, a costly computation."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from fungible.core.bridge import run
from fungible.core.functions import is_async
from fungible.limits.decision import Decision
from fungible.limits.errors import RateLimitedError
from fungible.limits.limit import Limit
from fungible.limits.limiter import Limiter

F = TypeVar("F", bound=Callable[..., Any])


def limited(
    limiter: Limiter, limit: Limit, *, key: Callable[..., str | None] | None = None, cost: int | None = None
) -> Callable[[F], F]:
    """Limits the calls of a function, asynchronous or not, over all instances.

    One that blocks is called from threads without an event loop.

    Args:
        limiter: Counts them.
        limit: How many; its `by`, `methods` and `paths` are for requests, and play no part.
        key: Is given the call's arguments, and gives whose limit it is; None for a call that is not counted. By default
            all calls share one limit.
        cost: How much a call takes, instead of what the limit says.
    Raises:
        FunctionError: what is decorated is a generator, a class, or nothing that can be called.
        RateLimitedError: by the decorated function, which was not called then.
    """

    def whose(*args: Any, **kwargs: Any) -> str | None:
        return "" if key is None else key(*args, **kwargs)

    def decorate(function: F) -> F:
        if is_async(function, "@limited"):

            @functools.wraps(function)
            async def call(*args: Any, **kwargs: Any) -> Any:
                found = whose(*args, **kwargs)
                if found is not None:
                    _refuse_over(limit, await limiter.take(limit, found, cost=cost))
                return await function(*args, **kwargs)

            return cast(F, call)

        @functools.wraps(function)
        def call_blocking(*args: Any, **kwargs: Any) -> Any:
            found = whose(*args, **kwargs)
            if found is not None:
                _refuse_over(limit, run(limiter.take(limit, found, cost=cost)))
            return function(*args, **kwargs)

        return cast(F, call_blocking)

    return decorate


def _refuse_over(limit: Limit, decision: Decision) -> None:
    if not decision.allowed:
        raise RateLimitedError(limit=limit.name, decision=decision)
