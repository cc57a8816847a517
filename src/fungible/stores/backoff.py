"""How long to wait before what others were in the way of is tried again."""

import random
from collections.abc import Iterator
from typing import Final

FIRST_S: Final = 0.001
LONGEST_S: Final = 0.05


def pauses() -> Iterator[float]:
    """Seconds to wait before each further try, without end: up to 1 ms at first, 50 ms later.

    Each is drawn: instances that were in each other's way do not come back in one moment.
    """
    longest_s = FIRST_S
    while True:
        yield random.uniform(0, longest_s)
        longest_s = min(2 * longest_s, LONGEST_S)
