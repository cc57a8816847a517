"""Several processes, many tasks, one record: who wins is counted."""

from collections.abc import Callable

import pytest

from contracts.backends import RACED, Backend
from contracts.processes import Processes
from fungible.stores import Store

Open = Callable[[], Store]
pytestmark = pytest.mark.parametrize("backend", RACED, indirect=True)


async def test_of_all_who_create_a_record_exactly_one_does(
    open_store: Open, backend: Backend, processes: Processes
) -> None:
    for turn in range(3):
        seen = await processes.race(backend.urls, "create", key=f"s{turn}", tasks=20)
        winners = {one for saw in seen for one in saw if one.startswith("won ")}
        losers = [one for saw in seen for one in saw if not one.startswith("won ")]
        assert len(winners) == 1
        # And all others were told who.
        assert len(losers) == 59
        assert {f"won {one}" for one in losers} == winners
        record = await open_store().get(f"s{turn}")
        assert record is not None
        assert f"won {record.fields['by'].decode()}" in winners


async def test_changes_of_different_fields_all_stay(open_store: Open, backend: Backend, processes: Processes) -> None:
    store = open_store()
    await store.put("s", {"first": b"1"}, ttl_s=600)
    assert await processes.race(backend.urls, "fill", key="s", tasks=20) == [0, 0, 0]
    record = await store.get("s")
    assert record is not None
    assert set(record.fields) == {"first"} | {f"{number}.{task}" for number in range(3) for task in range(20)}


async def test_counting_by_compare_and_set_loses_nothing(
    open_store: Open, backend: Backend, processes: Processes
) -> None:
    store = open_store()
    await store.put("s", {"n": b"0"}, ttl_s=600)
    await processes.race(backend.urls, "count", key="s", times=20)
    record = await store.get("s")
    assert record is not None
    assert record.fields == {"n": b"60"}


async def test_no_writer_brings_back_what_is_deleted_meanwhile(
    open_store: Open, backend: Backend, processes: Processes
) -> None:
    store = open_store()
    keys = [f"s{number}" for number in range(100)]
    for key in keys:
        await store.put(key, {"a": b"1"}, ttl_s=600)
    await processes.race(backend.urls, "write_late", keys=keys)
    for key in keys:
        assert await store.get(key) is None
