"""Whether a store is asked at all: one that did not answer is left alone for a moment, so that nobody waits in vain."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Final

from fungible.stores.errors import StoreUnavailableError

LOGGER: Final = logging.getLogger("fungible.cache")
PAUSE_S: Final = 1.0


class Circuit:
    """Open for a jittered pause after a failure; then one caller asks, and the others go without until it knows.

    Args:
        pause_s: Seconds, half of it to one and a half: instances must not all come back at once.
    """

    def __init__(
        self,
        *,
        pause_s: float = PAUSE_S,
        monotonic: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._pause_s = pause_s
        self._monotonic = monotonic
        self._uniform = uniform
        self._until: float | None = None

    def is_open(self) -> bool:
        """Whether the store is to be left alone by this caller."""
        if self._until is None:
            return False
        now = self._monotonic()
        if now < self._until:
            return True
        # This caller asks; who comes while it waits does not.
        self._until = now + self._pause_s
        return False

    @property
    def has_failed(self) -> bool:
        """Whether the last thing that is known is a failure."""
        return self._until is not None

    def failed(self, error: StoreUnavailableError) -> None:
        """The store did not answer."""
        if self._until is None:
            LOGGER.warning("nothing is cached until the store is back: %s", error)
        self._until = self._monotonic() + self._pause_s * self._uniform(0.5, 1.5)

    def answered(self) -> None:
        """The store is there."""
        if self._until is not None:
            LOGGER.warning("the store is back")
            self._until = None
