"""Counts the commands that requests cost Redis, by its MONITOR: which were sent, and which a script ran."""

import asyncio
import re
import socket
from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlsplit
from uuid import uuid4

from benchmarks.visiting import Connections

_LINE = re.compile(rb'\+[\d.]+ \[\d+ (lua|\S+)\] "(\w+)"')
_RARE = 0.05
"""Less often than that, for each request, are commands of something else: a connection's first words, a feed's poll."""


def commands(url: str, port: int, path: str, cookies: Sequence[str], requests: int) -> dict[str, float]:
    """By name, how many each request costs; those run by scripts have a `+` before."""
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port), timeout=30) as monitor:
        monitor.sendall(b"MONITOR\r\n")
        lines = monitor.makefile("rb")
        lines.readline()
        asyncio.run(_ask(port, path, cookies, requests))
        # Ours comes last: then all of theirs has been seen.
        mark = uuid4().hex.encode()
        with socket.create_connection((where.hostname, where.port), timeout=30) as marker:
            marker.sendall(b"ECHO %b\r\n" % mark)
            counted: Counter[str] = Counter()
            for line in lines:
                if mark in line:
                    break
                if found := _LINE.match(line):
                    counted[("+" if found[1] == b"lua" else "") + found[2].decode().upper()] += 1
    return {name: times / requests for name, times in counted.items() if times / requests >= _RARE}


def words(counted: dict[str, float]) -> str:
    """`HGETALL, EVALSHA (HMGET, HSET)`: those in brackets are run by the script."""

    def listed(*, by_script: bool) -> str:
        some = {name: times for name, times in counted.items() if name.startswith("+") is by_script}
        return ", ".join(
            name.lstrip("+") + ("" if round(times, 1) == 1 else f" x{times:.1f}") for name, times in some.items()
        )

    inner = listed(by_script=True)
    return (listed(by_script=False) or "none") + (f" ({inner})" if inner else "")


async def _ask(port: int, path: str, cookies: Sequence[str], requests: int) -> None:
    connections = Connections()
    for number in range(requests):
        (await connections.ask(port, "GET", path, cookies[number % len(cookies)])).good()
    connections.close()
