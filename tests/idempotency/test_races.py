"""Points I4 and I5 for several processes: of fifty requests with one key exactly one takes effect."""

from typing import Any

import pytest
from contracts.backends import Backend
from contracts.processes import Processes

from idempotency.conftest import KINDS

pytestmark = pytest.mark.parametrize("backend", [kind for kind in KINDS if kind != "memory"], indirect=True)


async def race(processes: Processes, backend: Backend, **arguments: Any) -> list[dict[str, Any]]:
    return await processes.race(backend.url, "idempotency.racers:post", **arguments)


async def test_i4_of_fifty_requests_on_three_processes_one_takes_effect(backend: Backend, processes: Processes) -> None:
    keys = [f"key {number}" for number in range(10)]
    found = await race(processes, backend, keys=keys, tasks=17, wait_s=0)
    for key in keys:
        assert sum(each[key][0] for each in found) == 1
        statuses = [status for each in found for status in each[key][1]]
        assert set(statuses) <= {201, 409}
        assert 201 in statuses


async def test_i5_all_who_wait_get_the_one_answer(backend: Backend, processes: Processes) -> None:
    found = await race(processes, backend, keys=["a", "b", "c"], tasks=10, wait_s=60)
    for key in ("a", "b", "c"):
        assert sum(each[key][0] for each in found) == 1
        assert {status for each in found for status in each[key][1]} == {201}
        assert len({text for each in found for text in each[key][2]}) == 1
