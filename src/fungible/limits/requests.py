"""What one request is counted by: by the limits of the middleware, and by those that its route adds."""

from __future__ import annotations

from typing import Any, Final, cast

from fungible.core.asgi import Scope
from fungible.core.errors import SettingError
from fungible.limits.decision import Decision
from fungible.limits.errors import RateLimitedError
from fungible.limits.limit import Limit
from fungible.limits.limiter import Limiter

COUNTING: Final = "fungible.limits"
"""Where the middleware leaves its `Counting` in the ASGI scope."""


class Counting:
    """The limits that a request was counted by, in their order."""

    __slots__ = ("_limiter", "counts")

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self.counts: list[tuple[Limit, Decision]] = []

    async def count(self, limit: Limit, scope: Scope) -> Decision | None:
        """Takes from a limit, if it concerns the request; None if not."""
        if limit.narrowed and not limit.concerns(scope):
            return None
        key = limit.by(scope)
        if key is None:
            return None
        decision = await self._limiter.take(limit, key)
        self.counts.append((limit, decision))
        return decision

    def known(self, limit: Limit) -> bool:
        """Whether the request was counted by that limit already.

        Raises:
            SettingError: it was by another one of that name, which no client could tell from it.
        """
        for each, _ in self.counts:
            if each is limit:
                return True
            if each.name == limit.name:
                raise SettingError(f"a request is under two limits called {limit.name!r}: give them different names")
        return False


async def limit_request(request: Any, *limits: Limit) -> None:
    """Counts a request by further limits, those of its route for instance; one that it was counted by already counts once.

    The `LimitMiddleware` around the application has the store, the proxies that are trusted, and the answer: it tells
    clients of these limits as it does of its own, and makes 429 or 503 of the error.

    Args:
        request: A request or WebSocket of Starlette or FastAPI, or an ASGI scope.
        limits: In the order in which they are asked.
    Raises:
        RateLimitedError: one is over, or closed while the store is away.
        SettingError: there is no `LimitMiddleware`.
    """
    scope = cast(Scope, getattr(request, "scope", request))
    counting: Counting | None = scope.get(COUNTING)
    if counting is None:
        raise SettingError(
            "a route has a limit of its own, and no middleware counts: "
            "app.add_middleware(fungible.limits.LimitMiddleware, store=…, limits=[])"
        )
    for limit in limits:
        if counting.known(limit):
            continue
        decision = await counting.count(limit, scope)
        if decision is not None and not decision.allowed:
            raise RateLimitedError(limit=limit.name, decision=decision)
