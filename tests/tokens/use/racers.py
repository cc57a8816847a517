"""What other processes do with tokens in races. Each function gets its process's store and number."""

from __future__ import annotations

import asyncio

from contracts.clock import Clock

from fungible.stores import Store
from fungible.tokens.client import StoreHolder
from fungible.tokens.dpop import DPoP, InvalidProofError
from fungible.tokens.refresh_errors import InvalidRefreshTokenError
from tokens.use.rig import refresh_over
from tokens.use.service import SECRET, Service


async def refresh(store: Store, number: int, *, token: str, clients: int) -> list[tuple[str, bool]]:
    """All clients of this process present one token at once."""
    tokens = refresh_over(store)
    answers = await asyncio.gather(*(tokens.refresh(token) for _ in range(clients)))
    return [(each.refresh_token, each.repeated) for each in answers]


async def end_all(store: Store, number: int, *, tokens: list[str]) -> list[str]:
    """Process 0 signs the subject out everywhere, while the others refresh. Gives the tokens they got."""
    mine = refresh_over(store)
    if number == 0:
        await mine.end_all("ada")
        return []
    got: list[str] = []
    for token in tokens:
        try:
            for _ in range(3):
                token = (await mine.refresh(token)).refresh_token
                got.append(token)
        except InvalidRefreshTokenError:
            continue
    return got


async def prove(store: Store, number: int, *, proofs: list[str]) -> list[bool]:
    """Sends the same proofs as the others do. Gives which ones were taken."""
    dpop = DPoP(store, base_url="https://api.example", instances=1)

    async def sent(proof: str) -> bool:
        try:
            await dpop.check(proof, method="GET", path="/")
        except InvalidProofError:
            return False
        return True

    return await asyncio.gather(*(sent(proof) for proof in proofs))


async def work(store: Store, number: int, *, requests: int, rounds: int) -> list[int]:
    """A worker that shares its refresh token with the others; each round begins with a refused access token.

    Gives the statuses that its requests got.
    """
    service = Service(store)
    holder = StoreHolder(store, "api", secret=SECRET)
    statuses: list[int] = []
    clock = Clock()
    async with service.http(service.auth(holder, now=clock)) as http:
        for _ in range(rounds):
            clock.time_s += 10
            held = await holder.load()
            assert held is not None
            service.refused.add(held.tokens.access_token)
            answers = await asyncio.gather(*(http.get("/orders") for _ in range(requests)))
            statuses += [answer.status_code for answer in answers]
    return statuses
