"""Other processes that run one function at the same time: what races are made of."""

import asyncio
import importlib
import multiprocessing
import traceback
from collections.abc import Awaitable, Callable, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from fungible.stores import open_store

PATIENCE_S = 60


class Processes:
    """So many processes, started once. Each of them has its own interpreter and its own connections."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._started: list[tuple[Any, Connection]] = []

    def __enter__(self) -> Self:
        # Started afresh and not forked: that is what instances are.
        spawning = multiprocessing.get_context("spawn")
        for _ in range(self.count):
            ours, theirs = spawning.Pipe()
            process = spawning.Process(target=serve, args=(theirs,), daemon=True)
            process.start()
            self._started.append((process, ours))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process, pipe in self._started:
            pipe.close()
            process.kill()
            process.join()

    async def race(self, url: str | Sequence[str], name: str, **arguments: Any) -> list[Any]:
        """Runs a function in all of them at the same time, and gives what each returned.

        Args:
            url: Of the store; or several, which they take in turn.
            name: A function of `contracts.racers`, or `module:function`.
        """
        urls = [url] if isinstance(url, str) else url
        return await asyncio.to_thread(self._race, urls, name, arguments)

    def _race(self, urls: Sequence[str], name: str, arguments: dict[str, Any]) -> list[Any]:
        pipes = [pipe for _, pipe in self._started]
        for number, pipe in enumerate(pipes):
            pipe.send((urls[number % len(urls)], name, number, arguments))
        states = [_received(pipe) for pipe in pipes]
        for (state, _), pipe in zip(states, pipes, strict=True):
            if state == "ready":
                pipe.send("go")
        # Everything that is under way is awaited, so that the next race finds the pipes empty.
        results = [_received(pipe) if state[0] == "ready" else state for state, pipe in zip(states, pipes, strict=True)]
        errors = [value for state, value in results if state == "error"]
        assert not errors, f"in another process: {errors[0]}"
        return [value for _, value in results]


def _received(pipe: Connection) -> tuple[str, Any]:
    if not pipe.poll(PATIENCE_S):
        raise TimeoutError("a process does not answer")
    state, value = pipe.recv()
    return state, value


def serve(pipe: Connection) -> None:
    """What runs in each process."""
    while True:
        try:
            url, name, number, arguments = pipe.recv()
        except EOFError:
            return
        module, _, function = name.rpartition(":")
        racer = getattr(importlib.import_module(module or "contracts.racers"), function)
        try:
            result = asyncio.run(_run(pipe, url, racer, number, arguments))
        except Exception:
            pipe.send(("error", traceback.format_exc()))
        else:
            pipe.send(("result", result))


async def _run(
    pipe: Connection, url: str, racer: Callable[..., Awaitable[Any]], number: int, arguments: dict[str, Any]
) -> Any:
    store = open_store(url, timeout_s=PATIENCE_S / 2)
    try:
        await store.ping()
        pipe.send(("ready", None))
        pipe.recv()
        return await racer(store, number, **arguments)
    finally:
        await store.aclose()
