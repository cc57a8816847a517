"""Rates to draw from: only such as there are."""

import math

from hypothesis import strategies as st

from fungible.stores import Rate
from fungible.stores.contract import MAX_BURST_S


def rates(
    limits: st.SearchStrategy[int], periods_s: st.SearchStrategy[float], bursts: st.SearchStrategy[int]
) -> st.SearchStrategy[Rate]:
    """Those of the limits, periods and bursts that make a rate together."""

    def possible(parts: tuple[int, float, int]) -> bool:
        limit, period_s, burst = parts
        return math.ceil(period_s * 1e6 / limit) * (burst or limit) <= MAX_BURST_S * 1e6

    def made(parts: tuple[int, float, int]) -> Rate:
        return Rate(limit=parts[0], period_s=parts[1], burst=parts[2])

    return st.tuples(limits, periods_s, bursts).filter(possible).map(made)
