"""Sends one process more requests than it can serve, and tells what a request has cost it.

By wrk where it is installed, otherwise by a client of our own: only the server's CPU time counts, so that either will
do. Each request is another visitor's than the ones under way with it: visitors in turn, more of them than connections.
"""

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path

from benchmarks.serving import Process
from benchmarks.visiting import Connection

CONNECTIONS = 32
_WRK = shutil.which("wrk")
_SCRIPT = Path(__file__).with_name("load.lua")
NAME = "wrk" if _WRK else "the client in visiting.py (wrk is not installed)"


def on_one_core() -> None:
    """Keeps this process, and all that it starts from now on, on one core: Linux only; elsewhere nothing happens.

    Where the server and those who ask it have a core each, every answer wakes one that sleeps. On a virtual machine that
    costs the server up to 10 us, more the longer the other one has slept, and so the longer the server has worked: a
    slower application would be charged twice.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def cpu_us(
    process: Process,
    path: str,
    cookies: Sequence[str],
    seconds: float,
    *,
    connections: int = CONNECTIONS,
    clocks: Sequence[Callable[[], float]] = (),
) -> list[float]:
    """CPU microseconds for one request: those of the process, then those that each of the `clocks` has shown."""
    watched = [process.cpu_s, *clocks]
    before = [clock() for clock in watched]
    requests = load(process.port, path, cookies, seconds, connections)
    return [(clock() - start) / requests * 1e6 for clock, start in zip(watched, before, strict=True)]


def load(port: int, path: str, cookies: Sequence[str], seconds: float, connections: int = CONNECTIONS) -> int:
    """Sends requests for some time; gives how many were answered.

    Raises:
        RuntimeError: an answer had another status than 200.
    """
    if _WRK is None:
        return asyncio.run(_load(port, path, cookies, seconds, connections))
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("".join(f"{cookie}\n" for cookie in cookies))
        file.flush()
        # wrk counts in whole seconds.
        command = [_WRK, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(_SCRIPT)]
        command += [f"http://127.0.0.1:{port}", "--", path, file.name]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    done = re.search(r"(\d+) requests in", printed)
    if done is None or "Non-2xx" in printed or not int(done[1]):
        raise RuntimeError(f"{path}: {printed}")
    return int(done[1])


async def _load(port: int, path: str, cookies: Sequence[str], seconds: float, connections: int) -> int:
    visitors, until, answered = cycle(cookies), time.monotonic() + seconds, 0

    async def lane() -> None:
        nonlocal answered
        connection = await Connection.open(port)
        while time.monotonic() < until:
            connection.send("GET", path, next(visitors))
            (await connection.answer()).good()
            answered += 1
        connection.close()

    await asyncio.gather(*(lane() for _ in range(connections)))
    return answered
