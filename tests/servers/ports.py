"""Ports for what tests start: a share of its own for each worker, and none that `fungible check` may choose."""

import os
import random
import socket

# Below what the checker chooses from, and that below what the kernel hands out to clients: else one of them could sit on
# a port between its choice and the start of its server, or while that is down on purpose.
PORTS = range(10_000, 18_000)
_CLUSTER_PORTS = range(2_000, 8_000)
_TRIES = 10_000
# Not `random` itself: Hypothesis seeds it, so that two processes would choose alike.
_chance = random.SystemRandom()
_given: set[int] = set()


def free_port(*, also_above: int = 0) -> int:
    """A port of 127.0.0.1 that nobody listens on and that was not given before; so is the one `also_above` higher."""
    ports = _share(_CLUSTER_PORTS if also_above else PORTS)
    for _ in range(_TRIES):
        port = _chance.choice(ports)
        wanted = {port, port + also_above}
        if not wanted & _given and all(map(_is_free, wanted)):
            _given.update(wanted)
            return port
    raise RuntimeError(f"found no free port among {ports}")


def _share(ports: range) -> range:
    """What this process may choose from, where pytest-xdist runs several at once."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return ports[int(worker) :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
