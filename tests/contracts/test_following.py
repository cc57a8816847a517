"""Following a feed: what stands in it is learnt item by item, and one that can't be read stops nobody."""

from __future__ import annotations

import asyncio
import logging

import pytest

from contracts.clock import Clock
from fungible.stores.following import Following
from fungible.stores.memory import MemoryStore


async def test_an_item_that_can_not_be_read_is_passed_over_and_told_and_those_behind_it_are_learnt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, monotonic = MemoryStore(), Clock()
    skipped: list[list[int]] = []
    feed: Following[list[int]] = Following(
        store,
        "numbers",
        bound_s=1.0,
        begin=list,
        learn=lambda known, item: known.append(int(item)),
        skip=lambda known: skipped.append([*known]),
        monotonic=monotonic,
    )
    for item in (b"1", b"two", b"3"):
        await store.append("numbers", item, ttl_s=60)
    with caplog.at_level(logging.WARNING, logger="fungible.stores"):
        assert await feed.known() == [1, 3]
    assert skipped == [[1]]
    assert "numbers" in caplog.text
    assert "can't be read" in caplog.text
    monotonic.time_s += 1.1
    await store.append("numbers", b"4", ttl_s=60)
    assert await feed.known() == [1, 3, 4]
    # Once, and not again at each question.
    assert skipped == [[1]]
    await asyncio.sleep(0)
