"""A limit: how much of what, counted by whom, and what holds while nobody can count.

Source: the generic cell rate algorithm, ITU-T I.371, annex A.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Sequence
from typing import Any, Final, Literal

from fungible.core.asgi import Scope
from fungible.core.errors import SettingError
from fungible.core.routes import Pattern, method_of, methods_of, route_path
from fungible.core.structured import string
from fungible.limits.addresses import by_address
from fungible.limits.keys import By, safe
from fungible.stores.contract import MAX_TAKEN, MAX_TTL_S, Rate
from fungible.stores.errors import InvalidRecordError

OnUnavailable = Literal["open", "closed", "share"]
NAME: Final = re.compile(r"[A-Za-z0-9._~-]{1,64}")
LONGEST_SHARE_S: Final = 50 * 365.25 * 86_400
"""In which an instance's share is there again, if it would take longer: no outage is as long."""


class Limit:
    """So many in so much time, for each of whatever `by` tells apart.

    It is a rate, not a window that starts anew: what was taken comes back evenly, `limit` in each `per_s`, and never
    more than `burst` is there at once. So in any `per_s` seconds at most `burst` + `limit` are allowed, and a client
    that keeps below the rate is never refused.

    Args:
        name: For clients, logs and the store: letters, digits, `-`, `.`, `_` and `~`, 64 at most.
        limit: How many in each `per_s`.
        per_s: Seconds.
        on_unavailable: What holds while the store does not answer. `open`: everything is allowed. `closed`: nothing is;
            clients get 503. `share`: each instance counts by itself, and allows its share of the limit.
        burst: How many at once; by default `limit`.
        by: Gives the key that a request (its ASGI scope) is counted by, or None for one that is not counted.
        cost: How much a request takes.
        methods: The methods that are limited, by default all. GET is HEAD as well, and a WebSocket's handshake is a GET.
        paths: The paths that are limited, by default all: `/login`, `/orders/{id}`, and with `/api/*` whatever is below
            `/api/`. They begin below what the application is mounted at.
        resettable: Whether `Limiter.reset` can give back what a key has taken, after a successful sign-in for instance.
            Each request then costs a second round trip.
    Raises:
        SettingError: one of them can't be taken.
    """

    def __init__(
        self,
        name: str,
        limit: int,
        *,
        per_s: float,
        on_unavailable: OnUnavailable,
        burst: int | None = None,
        by: By = by_address,
        cost: int = 1,
        methods: Sequence[str] = (),
        paths: Sequence[str] = (),
        resettable: bool = False,
    ) -> None:
        burst = limit if burst is None else burst
        _check(name, limit, per_s=per_s, burst=burst, cost=cost)
        if on_unavailable not in ("open", "closed", "share"):
            raise SettingError(f"{name}: on_unavailable={on_unavailable!r} must be 'open', 'closed' or 'share'")
        if not callable(by) or inspect.iscoroutinefunction(by):
            raise SettingError(f"{name}: by={by!r} must be a plain function that takes the ASGI scope")
        self.name = name
        try:
            self.rate = Rate(limit=limit, period_s=per_s, burst=burst)
        except InvalidRecordError as error:
            raise SettingError(f"{name}: {error}") from None
        self.burst = burst
        self.cost = cost
        self.by = by
        self.on_unavailable: OnUnavailable = on_unavailable
        self.resettable = resettable
        self.interval_s = per_s / limit
        """Seconds in which one comes back."""
        self.label = string(name)
        """The name as a structured field has it."""
        self.policy = f"{self.label};{_quota(limit, per_s)}"
        """An item of `RateLimit-Policy`."""
        # With the numbers in it: what was taken under others, before a change of settings, says nothing about these.
        self._prefix = f"{name}:{limit}/{per_s:g}/{burst}:"
        self._methods = methods_of(_several(name, "methods", methods))
        names = _several(name, "paths", paths)
        try:
            self._patterns = tuple(Pattern(path) for path in names)
        except SettingError as error:
            raise SettingError(f"{name}: paths={names!r}: {error}") from None
        self.narrowed = bool(names or self._methods)
        """Whether it is for some requests only."""

    def __repr__(self) -> str:
        return f"<Limit {self.name}: {self.rate.limit} in {self.rate.period_s:g} s, {self.burst} at once>"

    def concerns(self, scope: Scope) -> bool:
        """Whether a request's method and path are limited."""
        if self._methods and method_of(scope) not in self._methods:
            return False
        if not self._patterns:
            return True
        path = route_path(scope)
        return any(pattern.matches(path) for pattern in self._patterns)

    def name_of(self, key: str) -> str:
        """What a key is called in the store: short, and of plain ASCII."""
        return self._prefix + safe(key)

    def share(self, instances: int, cost: int) -> Rate:
        """What one of so many instances allows by itself: all of them together never more than the limit.

        But for the burst, of which each has 1 or the cost of one request at least.
        """
        burst = max(self.burst // instances, cost, 1)
        period_s = min(self.rate.period_s * instances, LONGEST_SHARE_S * self.rate.limit / burst)
        return Rate(limit=self.rate.limit, period_s=period_s, burst=burst)


def _check(name: str, limit: int, *, per_s: float, burst: int, cost: int) -> None:
    if not NAME.fullmatch(name):
        raise SettingError(f"a limit's name has 1-64 letters, digits, -, ., _ and ~; this has not: {name!r}")
    if not 1 <= limit <= MAX_TAKEN:
        raise SettingError(f"{name}: limit={limit!r} must be from 1 to {MAX_TAKEN}")
    if not 0 < per_s < MAX_TTL_S:
        raise SettingError(f"{name}: per_s={per_s!r} must be above 0 and at most ten years")
    if not 1 <= burst <= MAX_TAKEN:
        raise SettingError(f"{name}: burst={burst!r} must be from 1 to {MAX_TAKEN}")
    if not 1 <= cost <= burst:
        raise SettingError(f"{name}: cost={cost!r} must be from 1 to the burst, {burst}: more would never be allowed")


def _several(name: str, what: str, values: Sequence[str]) -> tuple[str, ...]:
    if isinstance(values, str):
        raise SettingError(f"{name}: {what}={values!r} must be several: ({values!r},)")
    return tuple(values)


def _quota(limit: int, per_s: float) -> str:
    """`q` and `w` of a policy. Windows are whole seconds, so others are told as what is the same rate."""
    window = math.ceil(per_s)
    return f"q={int(limit * window / per_s) if window != per_s else limit};w={window}"


def per_second(name: str, limit: int, *, on_unavailable: OnUnavailable, **more: Any) -> Limit:
    """A `Limit` of so many a second; `more` are its other arguments."""
    return Limit(name, limit, per_s=1, on_unavailable=on_unavailable, **more)


def per_minute(name: str, limit: int, *, on_unavailable: OnUnavailable, **more: Any) -> Limit:
    """A `Limit` of so many a minute; `more` are its other arguments."""
    return Limit(name, limit, per_s=60, on_unavailable=on_unavailable, **more)


def per_hour(name: str, limit: int, *, on_unavailable: OnUnavailable, **more: Any) -> Limit:
    """A `Limit` of so many an hour; `more` are its other arguments."""
    return Limit(name, limit, per_s=3600, on_unavailable=on_unavailable, **more)


def per_day(name: str, limit: int, *, on_unavailable: OnUnavailable, **more: Any) -> Limit:
    """A `Limit` of so many a day; `more` are its other arguments."""
    return Limit(name, limit, per_s=86_400, on_unavailable=on_unavailable, **more)
