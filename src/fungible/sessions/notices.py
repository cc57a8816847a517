"""What happened to sessions, told to the application's metrics and, where somebody has to act, to the log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from fungible.core.log import RepeatedWarning

LOGGER: Final = logging.getLogger("fungible.sessions")
WORDS: Final[Mapping[str, str]] = {
    "change_too_late": "a change of a session is lost, as it came too late: {reason}",
    "made_private": "a response that was for all visitors ({cache_control}) was sent as private, as a session was changed "
    "with it: say Cache-Control: private or no-store where sessions are changed",
    "overwritten": "two requests changed {places} of one session at once, and the later one was taken: keep what has to "
    "be added up with session.increment, or ask for conflicts='raise'",
    "revival_refused": "a session was ended while a request was under way: what that request changed in it is dropped",
    "rotation_refused": "a request with an ID from before a rotation asked for another one, and keeps the one it has",
    "snapshot_too_large": "a session is too large for a copy in its cookie ({size_bytes} bytes), so the store is asked at "
    "each request: keep less in it, or use mode='stored'",
    "store_unavailable": "the store of the sessions can't be used, and requests are refused or get an empty session until "
    "it can: {reason}",
}
"""Events that are logged. The others are what visitors and their cookies do every day."""


class Notices:
    """Tells of events.

    Args:
        on_event: Is told all of them.
    """

    def __init__(self, on_event: Callable[[str, Mapping[str, Any]], None]) -> None:
        self._on_event = on_event
        self._log = RepeatedWarning(LOGGER)

    def tell(self, event: str, details: Mapping[str, Any], line: str | None = None) -> None:
        """Tells of one event; its line is logged at most every few seconds, for one reason.

        Args:
            line: What is logged, where the event's own words do not say it.
        """
        self._on_event(event, details)
        if line is not None:
            self._log.warn(event, line)
            return
        words = WORDS.get(event)
        if words is not None:
            reason = details.get("reason", "")
            # Names inside of values may be a visitor's own.
            shown = {
                **details,
                "places": ", ".join(sorted({each.partition(".")[0] for each in details.get("places", ())})),
            }
            self._log.warn(f"{event} {reason}", words.format(**shown))
