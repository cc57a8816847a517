"""Several processes and one token: one winner, one successor, and nobody stays who was signed out."""

import pytest
from contracts.backends import Backend
from contracts.processes import Processes

from fungible.tokens.refresh_errors import InvalidRefreshTokenError
from tokens.use.conftest import KINDS
from tokens.use.rig import refresh_over
from tokens.use.storm import storm

pytestmark = pytest.mark.parametrize("backend", [kind for kind in KINDS if kind != "memory"], indirect=True)


async def test_of_all_parallel_refreshes_of_one_token_one_wins_and_all_get_its_successor(
    backend: Backend, processes: Processes
) -> None:
    token = (await refresh_over(backend.open()).begin("ada")).refresh_token
    for _ in range(3):
        answers = await processes.race(backend.url, "tokens.use.racers:refresh", token=token, clients=8)
        flat = [answer for each in answers for answer in each]
        assert len(flat) == 24
        assert len({successor for successor, _ in flat}) == 1
        assert [repeated for _, repeated in flat].count(False) == 1
        token = flat[0][0]


async def test_signing_out_everywhere_leaves_nobody_also_while_they_refresh(
    backend: Backend, processes: Processes
) -> None:
    tokens = refresh_over(backend.open())
    begun = [(await tokens.begin("ada")).refresh_token for _ in range(15)]
    got = await processes.race(backend.url, "tokens.use.racers:end_all", tokens=begun)
    for token in {*begun, *(token for each in got for token in each)}:
        with pytest.raises(InvalidRefreshTokenError):
            await tokens.refresh(token)


async def test_a_storm_of_refreshes_loses_no_family_and_misses_no_reuse(backend: Backend, processes: Processes) -> None:
    result = await storm(processes, backend.url, families=30, rounds=3, wave=30)
    assert not result.wrong, result
    # All eight clients of each family in each round, and some of them twice.
    assert result.refreshes > 30 * 8 * 3
    assert result.repeated + result.winners_unseen >= 30 * 7 * 3
