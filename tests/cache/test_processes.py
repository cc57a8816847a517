"""Several processes on one store: one computation among them, one more after a kill, and nothing from before a change."""

import asyncio
from pathlib import Path

import pytest
from contracts.backends import Backend
from contracts.processes import PATIENCE_S, Processes

from cache.conftest import KINDS

SHARED = pytest.mark.parametrize("backend", [kind for kind in KINDS if kind != "memory"], indirect=True)


@SHARED
async def test_of_ninety_misses_in_three_processes_one_computes(
    backend: Backend, processes: Processes, tmp_path: Path
) -> None:
    file = tmp_path / "computations"
    found = await processes.race(backend.url, "cache.racers:miss", file=str(file), tasks=30)
    lines = file.read_text().splitlines()
    assert len(lines) == 1
    assert found == [[f"by {lines[0]}"] * 30] * 3


@SHARED
@pytest.mark.parametrize("tag", ["", "t"], ids=["key", "tag"])
async def test_nobody_is_given_what_was_before_a_change_that_he_has_seen(
    backend: Backend, processes: Processes, tmp_path: Path, tag: str
) -> None:
    file = tmp_path / "data"
    file.write_text("0")
    assert await processes.race(backend.url, "cache.racers:change", file=str(file), rounds=25, tag=tag) == [0, 0, 0]


@pytest.mark.parametrize("backend", ["sqlite", "redis"], indirect=True)
async def test_where_a_process_is_killed_another_computes_after_the_lease(backend: Backend, tmp_path: Path) -> None:
    file = tmp_path / "computations"

    def race() -> list[object]:
        with Processes(3) as processes:
            pipes = [pipe for _, pipe in processes._started]
            for number, pipe in enumerate(pipes):
                pipe.send((backend.url, "cache.racers:killed", number, {"file": str(file)}))
            for pipe in pipes:
                assert pipe.poll(PATIENCE_S)
                assert pipe.recv()[0] == "ready"
            for pipe in pipes:
                pipe.send("go")
            results: list[object] = []
            for pipe in pipes:
                try:
                    assert pipe.poll(PATIENCE_S)
                    results.append(pipe.recv())
                except (EOFError, ConnectionError):
                    results.append("killed")
            return results

    results = await asyncio.to_thread(race)
    first, second = file.read_text().splitlines()
    assert results.count("killed") == 1
    assert results.count(("result", f"by {second}")) == 2
    assert first != second
