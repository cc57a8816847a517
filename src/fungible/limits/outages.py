"""Whether the store answers, as one instance knows it; and who asks it meanwhile."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from fungible.stores.errors import StoreUnavailableError

LOGGER: Final = logging.getLogger("fungible.limits")
ASK_AGAIN_S: Final = 1.0
"""While the store is away, one request in that time asks it; the others are decided at once."""

OnEvent = Callable[[str, Mapping[str, Any]], None]


class Outage:
    """A store that may be away. What is known of it is one line in the log when it goes, and one when it is back.

    Without this each request would wait for the store's deadline, for as long as the outage lasts.
    """

    def __init__(
        self, *, on_event: OnEvent, monotonic: Callable[[], float], draw: Callable[[], float] = random.random
    ) -> None:
        self.answers = 0
        """How often it has answered."""
        self._away = False
        self._ask_at = 0.0
        self._on_event = on_event
        self._monotonic = monotonic
        self._draw = draw

    def holds(self) -> bool:
        """Whether to decide without the store. False for the one caller in a while who is to ask it."""
        if not self._away:
            return False
        now = self._monotonic()
        if now < self._ask_at:
            return True
        # Before the answer, which may take as long as the store's deadline: meanwhile nobody else has to wait for it.
        self._ask_at = now + self._pause_s()
        return False

    def failed(self, error: StoreUnavailableError, *, answers: int) -> None:
        """It has not answered a call, before which it had answered so often."""
        # It has answered others since: this call was lost with a connection, and the store is there.
        if answers != self.answers:
            return
        self._ask_at = self._monotonic() + self._pause_s()
        if not self._away:
            self._away = True
            LOGGER.warning("%s; limits go by on_unavailable until it answers", error)
            self._on_event("store_unavailable", {"reason": error.reason})

    def answered(self) -> None:
        """It has answered a call."""
        self.answers += 1
        if self._away:
            self._away = False
            LOGGER.warning("the store answers again; limits are counted by all instances together")
            self._on_event("store_back", {})

    def _pause_s(self) -> float:
        # At different times by each instance.
        return ASK_AGAIN_S * (0.5 + self._draw() / 2)
