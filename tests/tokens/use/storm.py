"""A refresh storm: what each process does in it, and what must hold afterwards. The benchmark runs it at full size."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from contracts.processes import Processes

from fungible.stores import Store
from fungible.tokens.families import parse
from fungible.tokens.families_clock import StoreClock
from fungible.tokens.refresh import Refreshed, RefreshTokens
from fungible.tokens.refresh_errors import InvalidRefreshTokenError, RefreshReusedError
from fungible.tokens.revocations import Revocations, RevokedTokenError
from tokens.use.rig import token_of

CLIENTS = 8
DROPPED = 0.1
WAVE = 50
"""So many families at the same time."""
LATER_S = 60.0
"""Long after the grace."""

Answer = tuple[str, bool]
"""A successor, and whether it was given again: or "lost" and "reused"."""


def _tokens(store: Store, *, ahead_s: float = 0.0) -> RefreshTokens:
    clock = StoreClock(store)

    async def now() -> float:
        return await clock() + ahead_s

    return RefreshTokens(store, revocations=Revocations(store, instances=1), now=now, instances=1)


async def begin(store: Store, number: int, *, count: int) -> list[str]:
    """Process 0 signs so many in; gives their tokens."""
    if number:
        return []
    tokens = _tokens(store)
    return [(await tokens.begin(f"subject {each}")).refresh_token for each in range(count)]


async def refresh(
    store: Store, number: int, *, presented: list[str], processes: int, seed: int
) -> list[tuple[int, list[Answer]]]:
    """This process's share of the clients of each family, all at once. Gives which answers each family got.

    One response in ten is dropped: the client has not seen it, and presents the same token again. One request in ten
    is broken off in its midst, as by a client that hangs up, and presented again too.
    """
    tokens, chance = _tokens(store), random.Random(seed * 1000 + number)
    await tokens._now()

    async def once(token: str) -> Answer:
        try:
            refreshed: Refreshed = await tokens.refresh(token)
        except RefreshReusedError:
            return "reused", False
        except InvalidRefreshTokenError:
            return "lost", False
        return refreshed.refresh_token, refreshed.repeated

    async def client(token: str, dropped: bool, broken_off: int) -> list[Answer]:
        if broken_off:
            cut = asyncio.create_task(once(token))
            for _ in range(broken_off):
                await asyncio.sleep(0)
            cut.cancel()
            await asyncio.wait([cut])
        seen = [await once(token)]
        return [*seen, await once(token)] if dropped else seen

    async def family(token: str) -> list[Answer]:
        share = range(number, CLIENTS, processes)
        answers = await asyncio.gather(
            *(
                client(token, chance.random() < DROPPED, chance.randint(1, 6) if chance.random() < DROPPED else 0)
                for _ in share
            )
        )
        return [answer for each in answers for answer in each]

    found = await asyncio.gather(*(family(token) for token in presented))
    return list(enumerate(found))


async def reuse(store: Store, number: int, *, spent: list[str]) -> list[str]:
    """A thief in each process presents what was spent long ago, all at once. Gives the answers."""
    tokens = _tokens(store, ahead_s=LATER_S)
    logging.getLogger("fungible.tokens").setLevel(logging.ERROR)  # it would warn of each

    async def steal(token: str) -> str:
        try:
            await tokens.refresh(token)
        except RefreshReusedError:
            return "reused"
        except InvalidRefreshTokenError:
            return "gone"
        return "let in"

    return await asyncio.gather(*(steal(token) for token in spent))


@dataclass
class Storm:
    """What became of it: `wrong` must stay at 0."""

    families: int
    refreshes: int = 0
    repeated: int = 0
    winners_unseen: int = 0
    """Tokens whose winner was broken off and never heard of it: all others got its successor."""
    lost: int = 0
    several_successors: int = 0
    spent_twice: int = 0
    reuse_missed: int = 0
    survived_reuse: int = 0
    let_in_after: int = 0
    current: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> int:
        return (
            self.lost
            + self.several_successors
            + self.spent_twice
            + self.reuse_missed
            + self.survived_reuse
            + self.let_in_after
        )

    def take(self, answers: Sequence[Answer]) -> str:
        """Counts the answers that one family got for one token; gives the successor."""
        count = Counter(successor for successor, _ in answers)
        self.refreshes += len(answers)
        self.lost += count.pop("lost", 0) + count.pop("reused", 0)
        winners = sum(not repeated for successor, repeated in answers if successor not in ("lost", "reused"))
        self.repeated += sum(repeated for _, repeated in answers)
        self.several_successors += len(count) > 1
        self.spent_twice += max(0, winners - 1)
        self.winners_unseen += winners == 0
        return next(iter(count), "")


async def storm(processes: Processes, url: str, *, families: int, rounds: int, wave: int = WAVE) -> Storm:
    """The whole storm: several rounds of refreshes by all clients at once, then reuse of what was spent."""
    result = Storm(families)
    begun = await processes.race(url, "tokens.use.storm:begin", count=families)
    current: list[str] = begun[0]
    for start in range(0, families, wave):
        chosen = current[start : start + wave]
        spent = chosen
        for turn in range(rounds):
            gathered: list[list[Answer]] = [[] for _ in chosen]
            for answers in await processes.race(
                url,
                "tokens.use.storm:refresh",
                presented=chosen,
                processes=processes.count,
                seed=start * 100 + turn,
            ):
                for at, each in answers:
                    gathered[at] += each
            spent, chosen = chosen, [result.take(answers) for answers in gathered]
        result.current += chosen
        await _steal(processes, url, spent, chosen, result)
    return result


async def _steal(processes: Processes, url: str, spent: list[str], current: list[str], result: Storm) -> None:
    """Reuse must be found by somebody, and nobody of the family must be let in after."""
    answers = await processes.race(url, "tokens.use.storm:reuse", spent=spent)
    for each in zip(*answers, strict=True):
        result.let_in_after += "let in" in each
        result.reuse_missed += "reused" not in each
    after = await processes.race(url, "tokens.use.storm:reuse", spent=current)
    result.survived_reuse += sum(answer != "gone" for each in after for answer in each)
    revoked = await processes.race(url, "tokens.use.storm:revoked", presented=current)
    result.survived_reuse += sum(not each for answers in revoked for each in answers)


async def revoked(store: Store, number: int, *, presented: list[str]) -> list[bool]:
    """Whether this process refuses the access tokens of these families."""
    revocations = Revocations(store, instances=1)

    async def refuses(token: str) -> bool:
        parsed = parse(token)
        assert parsed is not None
        try:
            await revocations.check(token_of(sid=parsed.family))
        except RevokedTokenError:
            return True
        return False

    return [await refuses(token) for token in presented]
