"""Runs contestants: each process of one is uvicorn with one worker on a port of its own."""

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.contestants import Contestant
from benchmarks.servers import Home, dies_with_its_starter, free_port

ROOT = Path(__file__).parents[1]
_PACKAGE = "benchmarks.contestants"
_STARTS_WITHIN_S = 60.0
_KEEP_ALIVE_S = "600"


class Process:
    """One instance of an application."""

    def __init__(self, contestant: Contestant, home: Home, env: dict[str, str]) -> None:
        self.port = free_port()
        self._name = contestant.name
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        words = [*("--host", "127.0.0.1", "--port", str(self.port), "--backlog", "4096")]
        words += [*("--log-level", "warning", "--no-access-log", "--timeout-keep-alive", _KEEP_ALIVE_S)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "--factory", *words, f"{_PACKAGE}.{contestant.factory}"],
            cwd=ROOT,
            env=environment(contestant, home) | env,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            preexec_fn=dies_with_its_starter,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self) -> None:
        """Until it answers.

        Raises:
            RuntimeError: it has ended instead; the message holds the end of its log.
        """
        until = time.monotonic() + _STARTS_WITHIN_S
        while time.monotonic() < until and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/me", timeout=5):
                    return
            except urllib.error.HTTPError:
                return  # What it can't do is found out by those who measure it.
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"{self._name} does not start: {self.log()}")

    def cpu_s(self) -> float:
        """CPU time that all its threads have used."""
        # The clock of a process (clock_getcpuclockid(3)): to the nanosecond, where /proc counts in hundredths.
        return time.clock_gettime((~self.pid << 3) | 2)

    def log(self) -> str:
        """The end of what it has printed."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip()[-1500:]

    def last_words(self) -> str:
        """The last line of it, shortened."""
        return (self.log().splitlines() or [""])[-1][:120]

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


@contextmanager
def serving(
    contestant: Contestant, home: Home, *, processes: int = 1, env: dict[str, str] | None = None
) -> Iterator[list[Process]]:
    """Its processes, all of which answer.

    Raises:
        RuntimeError: one does not start.
    """
    prepare(contestant, home)
    started: list[Process] = []
    try:
        started += [Process(contestant, home, env or {}) for _ in range(processes)]
        for process in started:
            process.wait_ready()
        yield started
    finally:
        for process in started:
            process.stop()


def prepare(contestant: Contestant, home: Home) -> None:
    """Makes its tables, if it has some."""
    if contestant.prepare:
        module, _, function = contestant.prepare.partition(":")
        done = subprocess.run(
            [sys.executable, "-c", f"from {_PACKAGE} import {module}; {module}.{function}()"],
            check=False,
            cwd=ROOT,
            env=environment(contestant, home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{contestant.name} can't be prepared: {done.stderr.strip()[-1500:]}")


def environment(contestant: Contestant, home: Home) -> dict[str, str]:
    return {**os.environ, "STORE_URL": home.url, **dict(contestant.env)}
