"""A clock that stands still until it is told to move."""

import time


class Clock:
    """Unix seconds: the time at which it was made, and what was added since."""

    def __init__(self) -> None:
        self.time_s = time.time()

    def __call__(self) -> float:
        return self.time_s
