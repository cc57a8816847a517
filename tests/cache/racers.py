"""What other processes do with a cache in races. Each function gets its process's store and number."""

import asyncio
import os
import random
import signal
from pathlib import Path
from typing import Any

from fungible.cache import Cache
from fungible.stores import Store


def note(file: str, number: int) -> int:
    """Leaves a line in a file, and tells how many there are by now."""
    path = Path(file)
    with path.open("a") as out:
        out.write(f"{number}\n")
    return len(path.read_text().splitlines())


def number_in(file: Path) -> int:
    """The number that a file holds."""
    return int(file.read_text())


async def miss(store: Store, number: int, *, file: str, tasks: int) -> list[Any]:
    """So many callers at once; each computation leaves a line in a file. Gives what they got."""
    cache = Cache(store, instances=1)

    async def compute() -> str:
        note(file, number)
        await asyncio.sleep(0.3)
        return f"by {number}"

    return await asyncio.gather(*(cache.get_or_compute("k", compute, ttl_s=60) for _ in range(tasks)))


async def change(store: Store, number: int, *, file: str, rounds: int, tag: str) -> int:
    """Process 0 changes what is computed, again and again, and looks right after; the others read all the time.

    Gives how often process 0 was given something from before its own change, or another something that went back.
    """
    cache, wrong, last = Cache(store, instances=1), 0, 0
    data = Path(file)
    tags = (tag,) if tag else ()

    async def compute() -> int:
        value = number_in(data)
        await asyncio.sleep(random.uniform(0, 0.004))
        return value

    async def look() -> int:
        return await cache.get_or_compute("k", compute, ttl_s=60, tags=tags)

    for turn in range(1, rounds + 1):
        if number == 0:
            after = data.with_suffix(f".{os.getpid()}")
            after.write_text(str(turn))
            after.replace(data)
            await (cache.invalidate_tag(tag) if tag else cache.invalidate("k"))
            wrong += await look() != turn
        else:
            for _ in range(3):
                # Those who ask at the same time may have either; who asks later nothing older.
                values = await asyncio.gather(*(look() for _ in range(5)))
                wrong += min(values) < last
                last = min(values)
    return wrong


async def killed(store: Store, number: int, *, file: str) -> Any:
    """The first to compute is killed in the middle of it."""
    cache = Cache(store, lease_s=2, instances=1)

    async def compute() -> str:
        if note(file, number) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return f"by {number}"

    return await cache.get_or_compute("k", compute, ttl_s=60)
