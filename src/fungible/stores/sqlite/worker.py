"""The one thread that a store's statements run in, and the queue that leads to it."""

import os
import threading
import weakref
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from sqlite3 import Connection
from typing import Any, Final, NamedTuple

BATCH: Final = 128
"""Operations taken at once: their writes share one transaction, and then other processes have their turn."""
FORK_WAITS_S: Final = 2.0
EXIT_WAITS_S: Final = 1.0


class Job(NamedTuple):
    """One operation, and who waits for it."""

    run: Callable[[Connection, float], object]
    """Gets the connection, and now. It may write by its last statement only: what it raises has changed nothing."""
    writes: bool
    loop: AbstractEventLoop
    future: "Future[Any]"


class Answer(NamedTuple):
    """What became of a job."""

    job: Job
    result: object
    error: Exception | None = None


class Worker:
    """A thread and its queue, for one process. What it holds of SQLite is known to the thread alone."""

    def __init__(self, serve: "Callable[[Worker], None]") -> None:
        self.pid = os.getpid()
        self.trouble = ""
        """What keeps jobs waiting now, for whoever gives up."""
        self.farewell: Job | None = None
        self.migrated: list[int] = []
        """Numbers of the migrations that the thread has run."""
        self.gate = threading.Lock()
        """Held while the thread is inside SQLite."""
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        # A daemon: a process ends whether or not somebody has closed the store.
        self._thread = threading.Thread(target=serve, args=(self,), name="fungible-sqlite", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Starts the thread."""
        _stand_still_at_fork(weakref.ref(self))
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Adds a job to the queue."""
        self._queue.put(job)

    def stop(self, farewell: Job | None = None, *, wait_s: float = 0) -> None:
        """Ends the thread when it has done what is in the queue; then `farewell` is answered."""
        self.farewell = farewell
        self._queue.put(None)
        # Garbage is collected in any thread, in this one too.
        if wait_s and threading.current_thread() is not self._thread:
            self._thread.join(wait_s)

    def take(self, wait_s: float | None) -> tuple[list[Job], bool]:
        """The next jobs, as soon as there is one or `wait_s` has passed, and whether the thread is to end."""
        jobs: list[Job] = []
        with suppress(Empty):
            job = self._queue.get(timeout=wait_s)
            while job is not None:
                jobs.append(job)
                if len(jobs) == BATCH:
                    return jobs, False
                job = self._queue.get_nowait()
            return jobs, True
        return jobs, False


class Workers:
    """The worker of each process that uses a store: the child of a fork has none of its parent's threads."""

    def __init__(self, serve: Callable[[Worker], None]) -> None:
        self._serve = serve
        self._of_process: dict[int, _Seat] = {}

    def submit(self, job: Job) -> Worker:
        """Queues a job, and gives the worker that will do it; starts one where there is none."""
        seat = self._seat()
        with seat.lock:
            if seat.worker is None or not seat.worker.alive:
                seat.worker = Worker(self._serve)
                seat.worker.start()
            seat.worker.submit(job)
            return seat.worker

    def stop(self, farewell: Job) -> bool:
        """Ends the worker when it has done what is queued; `farewell` is answered last. False where there is none."""
        seat = self._seat()
        with seat.lock:
            worker, seat.worker = seat.worker, None
            if worker is None or not worker.alive:
                return False
            worker.stop(farewell)
            return True

    def migrated(self) -> list[int]:
        """Numbers of the migrations that the worker has run."""
        worker = self._seat().worker
        return [] if worker is None else list(worker.migrated)

    def abandon(self) -> None:
        """Ends the worker, because nobody uses the store any more or the interpreter ends."""
        # Without the lock: this may run inside of any other code, as a part of collecting garbage.
        worker = self._seat().worker
        if worker is not None and worker.alive:
            worker.stop(wait_s=EXIT_WAITS_S)

    def _seat(self) -> "_Seat":
        # By the process's number, and not a hook at the fork: a lock that another thread held at the fork stays
        # locked in the child.
        pid = os.getpid()
        return self._of_process.get(pid) or self._of_process.setdefault(pid, _Seat())


class _Seat:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.worker: Worker | None = None


def deliver(answers: Iterable[Answer]) -> None:
    """Hands answers to the event loops that wait for them."""
    of_loop: dict[AbstractEventLoop, list[Answer]] = {}
    for answer in answers:
        of_loop.setdefault(answer.job.loop, []).append(answer)
    for loop, its in of_loop.items():
        # A loop that was closed meanwhile has nobody left who waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, its)


def _settle(answers: list[Answer]) -> None:
    for job, result, error in answers:
        # Cancelled, or given up: the answer is dropped, and nobody else can get it.
        if job.future.done():
            continue
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)


def _stand_still_at_fork(worker: "weakref.ref[Worker]") -> None:
    """Forks only while the thread is outside of SQLite: a lock inside the library, held by a thread that the child
    does not have, would never be let go of there."""
    if not hasattr(os, "register_at_fork"):
        return
    held: list[Worker] = []

    def before() -> None:
        found = worker()
        if found is not None and found.pid == os.getpid() and found.gate.acquire(timeout=FORK_WAITS_S):
            held.append(found)

    def after() -> None:
        while held:
            held.pop().gate.release()

    os.register_at_fork(before=before, after_in_parent=after, after_in_child=held.clear)
