"""Processes that are cheap to kill: a nursery has imported everything, and forks one whenever it is asked to.

Each is uvicorn with one worker on a port of its own, and is announced once it serves.
"""

import asyncio
import contextlib
import gc
import importlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.contestants import Contestant
from benchmarks.servers import Home, dies_with_its_starter
from benchmarks.serving import ROOT, environment, prepare

_STARTS_WITHIN_S = 60
_PACKAGE = "benchmarks.contestants"


@dataclass(frozen=True)
class Instance:
    """One process of an application, which serves."""

    pid: int
    port: int

    def kill(self) -> None:
        """kill -9."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class Nursery:
    """Where the processes of one contestant come from. They end with it."""

    def __init__(self, contestant: Contestant, home: Home, effects: Path) -> None:
        prepare(contestant, home)
        self._name = contestant.name
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.idempotency_nursery", f"{_PACKAGE}.{contestant.factory}"],
            cwd=ROOT,
            env=environment(contestant, home) | {"EFFECTS": str(effects)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            bufsize=0,
            preexec_fn=dies_with_its_starter,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def hatch(self) -> Instance:
        """A new process, which serves.

        Raises:
            RuntimeError: it does not start; the message holds the end of the log.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with self._lock, selectors.DefaultSelector() as selector, contextlib.suppress(BrokenPipeError):
            stdin.write(b"\n")
            selector.register(stdout, selectors.EVENT_READ)
            if selector.select(_STARTS_WITHIN_S) and (line := stdout.readline()):
                pid, port = map(int, line.split())
                return Instance(pid, port)
        raise RuntimeError(f"{self._name} does not start: {self.log()}")

    def log(self) -> str:
        """The end of what all of them have printed."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip()[-1500:]


def _nurse(factory: str) -> None:
    """Forks a process for each line that is read, until there are no more."""
    import uvicorn
    import uvicorn.lifespan.on
    import uvicorn.loops.auto
    import uvicorn.protocols.http.auto  # noqa: F401 - imported once, before the forks

    module, _, name = factory.partition(":")
    made: Callable[[], Any] = getattr(importlib.import_module(module), name)
    # The kernel forgets the dead: nobody waits for them here.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    announced = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    while os.read(0, 1):
        if os.fork() == 0:
            dies_with_its_starter()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _serve(made, announced)
            os._exit(1)


def _serve(factory: Callable[[], Any], announced: int) -> None:
    import uvicorn

    class Announced(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if not self.should_exit:
                port = self.servers[0].sockets[0].getsockname()[1]
                os.write(announced, f"{os.getpid()} {port}\n".encode())

    config = uvicorn.Config(
        factory,
        factory=True,
        host="127.0.0.1",
        port=0,
        log_level="error",
        access_log=False,
        lifespan="on",
        timeout_keep_alive=600,
        backlog=4096,
    )
    asyncio.run(Announced(config).serve())


if __name__ == "__main__":
    _nurse(sys.argv[1])
