"""Rates that all instances share: for requests, and for anything else that is done."""

from fungible.limits.addresses import by_address, client_address
from fungible.limits.decision import Decision
from fungible.limits.decorator import limited
from fungible.limits.errors import LimitError, RateLimitedError
from fungible.limits.keys import all_of, by_header, by_route, by_subject, first_of
from fungible.limits.limit import Limit, per_day, per_hour, per_minute, per_second
from fungible.limits.limiter import Limiter
from fungible.limits.middleware import LimitMiddleware
from fungible.limits.requests import limit_request

__all__ = [
    "Decision",
    "Limit",
    "LimitError",
    "LimitMiddleware",
    "Limiter",
    "RateLimitedError",
    "all_of",
    "by_address",
    "by_header",
    "by_route",
    "by_subject",
    "client_address",
    "first_of",
    "limit_request",
    "limited",
    "per_day",
    "per_hour",
    "per_minute",
    "per_second",
]
