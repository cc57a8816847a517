"""What other processes do with limits in races. Each function gets its process's store and number."""

import asyncio
from collections import Counter

from limit_asking import application, ask, limit_of

from fungible.stores import Store


async def requests(store: Store, number: int, *, limit: int, each: int) -> dict[int, int]:
    """Requests of one client at one instance; how many got each status."""
    app = application(limit_of(limit), store=store, instances=3)
    answers = await asyncio.gather(*(ask(app) for _ in range(each)))
    return dict(Counter(answer.status for answer in answers))
