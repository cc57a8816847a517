"""Many threads at one thing, with as many switches between them as the interpreter can be brought to make."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

SWITCH_S = 1e-6


def race(work: Callable[[int, int], object], *, threads: int = 8, turns: int = 1500) -> None:
    """Runs `work(thread, turn)` in all threads at once, and raises the first error of any of them."""
    errors: list[BaseException] = []
    gate = threading.Barrier(threads)

    def run(thread: int) -> None:
        gate.wait()
        try:
            for turn in range(turns):
                work(thread, turn)
        except BaseException as error:
            errors.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        started = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    if errors:
        raise errors[0]
