"""One log line for a cause, however many requests meet it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

EVERY_S: Final = 5.0
MOST_CAUSES: Final = 100


class RepeatedWarning:
    """Logs a cause at once, and again at most every few seconds while it lasts, with how often it was met meanwhile.

    Threads and event loops may share one: a line too many is all that a race between them could give.

    Args:
        logger: Where the lines go.
        every_s: Seconds between two lines of one cause.
    """

    def __init__(
        self, logger: logging.Logger, *, every_s: float = EVERY_S, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._every_s = every_s
        self._monotonic = monotonic
        self._causes: dict[str, tuple[float, int]] = {}

    def warn(self, cause: str, message: str | None = None) -> None:
        """Tells that something was met.

        Args:
            cause: What counts as the same, such as an error's code and reason.
            message: The line; by default the cause.
        """
        now = self._monotonic()
        told_at, unsaid = self._causes.get(cause, (float("-inf"), 0))
        if now - told_at < self._every_s:
            self._causes[cause] = (told_at, unsaid + 1)
            return
        if cause not in self._causes and len(self._causes) >= MOST_CAUSES:
            # Causes that hold a visitor's input must not fill the memory.
            self._causes = {}
        self._causes[cause] = (now, 0)
        self._logger.warning("%s%s", message or cause, f" ({unsaid} more times since the last line)" if unsaid else "")
