import logging

import pytest

from fungible.core.log import MOST_CAUSES, RepeatedWarning

LOGGER = logging.getLogger("fungible.test")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_cause_is_logged_at_once_and_then_every_few_seconds_with_its_count(caplog: pytest.LogCaptureFixture):
    clock = Clock()
    warning = RepeatedWarning(LOGGER, every_s=5, monotonic=clock)
    for _ in range(4):
        warning.warn("away", "the store is away: refused")
    assert caplog.messages == ["the store is away: refused"]
    clock.now += 5
    warning.warn("away", "the store is away: refused")
    assert caplog.messages[1:] == ["the store is away: refused (3 more times since the last line)"]


def test_causes_are_told_apart(caplog: pytest.LogCaptureFixture):
    warning = RepeatedWarning(LOGGER, monotonic=Clock())
    warning.warn("one")
    warning.warn("two")
    assert caplog.messages == ["one", "two"]


def test_causes_without_end_do_not_fill_the_memory():
    warning = RepeatedWarning(LOGGER, monotonic=Clock())
    for number in range(10 * MOST_CAUSES):
        warning.warn(f"cause {number}")
    assert len(warning._causes) <= MOST_CAUSES
