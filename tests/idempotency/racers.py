"""What other processes do with idempotency keys in races. Each function gets its process's store and number."""

from __future__ import annotations

import asyncio

from fungible.stores import Store
from idempotency.calling import Shop, guarded, order


async def post(store: Store, number: int, *, keys: list[str], tasks: int, wait_s: float) -> dict[str, list[object]]:
    """So many requests at once with each key. Gives the statuses, the texts, and how often it took effect."""
    shop = Shop()
    app = guarded(shop, store, wait_s=wait_s)
    found: dict[str, list[object]] = {}
    for key in keys:
        shop.effects = 0
        shop.parts = [f"{number}".encode()]
        answers = await asyncio.gather(*(order(app, key) for _ in range(tasks)))
        found[key] = [shop.effects, [answer.status_code for answer in answers], [answer.text for answer in answers]]
    return found
