"""What other processes do in races. Each function gets its process's store and number."""

import asyncio

from fungible.stores import ABSENT, ConflictError, GoneError, Rate, Store

TTL_S = 600.0


async def create(store: Store, number: int, *, key: str, tasks: int) -> list[str]:
    """Tries to be the one who creates a record; what it saw, task by task: `won`, or who did."""

    async def try_it(task: int) -> str:
        name = f"{number}.{task}"
        try:
            await store.put(key, {"by": name.encode()}, ttl_s=TTL_S, expect=ABSENT)
        except ConflictError as error:
            return error.current.fields["by"].decode()
        return f"won {name}"

    return list(await asyncio.gather(*(try_it(task) for task in range(tasks))))


async def fill(store: Store, number: int, *, key: str, tasks: int) -> int:
    """Each task sets a field of its own, from a record that was read before any of them wrote. Gives the conflicts."""
    read = await store.get(key)
    assert read is not None
    conflicts = 0

    async def set_field(task: int) -> None:
        nonlocal conflicts
        try:
            await store.change(read, {f"{number}.{task}": b"set"})
        except ConflictError:
            conflicts += 1

    await asyncio.gather(*(set_field(task) for task in range(tasks)))
    return conflicts


async def count(store: Store, number: int, *, key: str, times: int) -> int:
    """Adds 1 so many times to the same field, by compare-and-set. Gives how often another was first."""
    conflicts = 0
    record = await store.get(key)
    for _ in range(times):
        while True:
            assert record is not None
            try:
                more = str(int(record.fields["n"]) + 1).encode()
                record = await store.change(record, {"n": more})
                break
            except ConflictError as error:
                conflicts += 1
                record = error.current
    return conflicts


async def write_late(store: Store, number: int, *, keys: list[str]) -> int:
    """Process 0 deletes records while the others change and put them. Gives how many writes came through."""
    done = 0
    for key in keys:
        if number == 0:
            await store.delete(key, tombstone_s=TTL_S)
            continue
        try:
            record = await store.get(key)
            if record is not None:
                await store.change(record, {"late": b"1"}, ttl_s=TTL_S)
                await store.put(key, {"late": b"2"}, ttl_s=TTL_S)
                done += 1
        except (GoneError, ConflictError):
            pass
    return done


async def take(store: Store, number: int, *, key: str, limit: int, cost: int, tasks: int) -> int:
    """Takes from a rate in many tasks; how much it got."""
    rate = Rate(limit=limit, period_s=36_000)
    answers = await asyncio.gather(*(store.take(key, rate, cost=cost) for _ in range(tasks)))
    return sum(cost for answer in answers if answer.allowed)


async def append(store: Store, number: int, *, topic: str, items: int) -> None:
    """Adds two streams of items to a feed; each stream waits for its item before it adds the next."""

    async def stream(task: int) -> None:
        for item in range(items):
            await store.append(topic, f"{number}.{task} {item}".encode(), ttl_s=TTL_S)

    await asyncio.gather(stream(0), stream(1))


async def follow(store: Store, number: int, *, topic: str, items: int) -> list[bytes]:
    """Process 0 reads a feed while the others add to it, until it has all; what it saw, in order, once each."""
    if number:
        await append(store, number, topic=topic, items=items)
        return []
    return await read_all(store, topic, items * 2 * 2)


async def read_all(store: Store, topic: str, count: int) -> list[bytes]:
    """Reads a feed by its cursor until it has had so many different items; these, in order."""
    seen: dict[bytes, None] = {}
    cursor: str | None = None
    while len(seen) < count:
        page = await store.since(topic, cursor)
        cursor = page.cursor
        seen.update(dict.fromkeys(page.items))
    return list(seen)
