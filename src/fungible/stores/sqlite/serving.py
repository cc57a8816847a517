"""What the thread does: reads at once, writes together in one transaction, and tidying up in between."""

import logging
import os
import random
import sqlite3
import time
from collections.abc import Callable
from typing import Final

from fungible.stores.errors import StoreError, StoreUnavailableError
from fungible.stores.migrations import Migration, load_migrations
from fungible.stores.sqlite import database, statements
from fungible.stores.sqlite.worker import Answer, Job, Worker, deliver

LOGGER: Final = logging.getLogger("fungible.stores.sqlite")
TRY_AGAIN_S: Final = (0.0002, 0.004)
"""How long to wait for another process's transaction before looking again: about as long as one takes."""
SYNC_EVERY_S: Final = 1.0
"""What a power cut can take, unless every commit waits for the disk."""
SWEEP_EVERY: Final = 16
"""Writes between two sweeps of expired rows: fewer than are swept at once, so that sweeping keeps up."""
SWEEP_AFTER_S: Final = 5.0


class Serving:
    """One connection, and the jobs that wait for it. Lives in the frame of its thread and nowhere else.

    After a fork the child has no such thread, so that nothing there can close or use what is the parent's.
    """

    def __init__(self, worker: Worker, path: str, home: str, *, full: bool, now: Callable[[], float]) -> None:
        self._worker = worker
        self._path = path
        self._home = home
        self._full = full
        self._now = now
        self._migrations: tuple[Migration, ...] = ()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._waiting: list[Job] = []
        self._unswept = 0
        self._swept_at = time.monotonic()
        self._sync_at: float | None = None

    def run(self) -> None:
        """Serves until the worker is stopped."""
        worker = self._worker
        stopping = False
        while not stopping:
            jobs, stopping = worker.take(self._patience())
            with worker.gate:
                self._serve(jobs)
                # Cleared as soon as it goes well, and read only by those who give up.
                worker.trouble = "another process holds its lock" if self._waiting else ""
                self._tidy()
        with worker.gate:
            deliver(Answer(job, None, self._closed()) for job in self._waiting)
            self._sync_at = None if self._sync_at is None else 0.0
            self._unswept = 0
            self._tidy()
            self._disconnect()
        if worker.farewell is not None:
            deliver([Answer(worker.farewell, None)])

    def _patience(self) -> float | None:
        if self._waiting:
            return random.uniform(*TRY_AGAIN_S)
        return None if self._sync_at is None else max(0.0, self._sync_at - time.monotonic())

    def _serve(self, jobs: list[Job]) -> None:
        # Who has given up is not served: that is how deadlines end the wait for a lock, too.
        left = [job for job in (*self._waiting, *jobs) if not job.future.done()]
        self._waiting = []
        if not left:
            return
        try:
            connection = self._opened()
            # Reads first, outside of the transaction: the writes have not been answered yet, so both orders are right.
            left.sort(key=lambda job: job.writes)
            while left and not left[0].writes:
                answer = self._answer(connection, left[0])
                deliver([answer])
                del left[0]
            if left:
                with database.transaction(connection):
                    answers = [self._answer(connection, job) for job in left]
                deliver(answers)
                self._wrote(len(left))
        except sqlite3.Error as error:
            if database.is_locked(error):
                self._waiting = left
                return
            LOGGER.warning("%s: %s", self._home, error)
            self._disconnect()
            deliver(Answer(job, None, database.unavailable(error, self._path, self._home)) for job in left)
        except StoreError as error:
            self._disconnect()
            deliver(Answer(job, None, error) for job in left)

    def _answer(self, connection: sqlite3.Connection, job: Job) -> Answer:
        try:
            return Answer(job, job.run(connection, self._now()))
        except sqlite3.Error:
            raise
        except Exception as error:
            return Answer(job, None, error)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None and self._file is not None and self._file == self._identity():
            return self._connection
        # None yet; or the file was removed or replaced, and all that would be written would be seen by nobody else.
        self._disconnect()
        connection = database.connect(self._path, full=self._full)
        try:
            self._migrations = self._migrations or load_migrations("fungible.stores.sqlite")
            self._worker.migrated += database.migrate(connection, self._migrations, home=self._home)
        except BaseException:
            connection.close()
            raise
        self._connection, self._file = connection, self._identity()
        self._dirty()
        return connection

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _wrote(self, count: int) -> None:
        self._unswept += count
        self._dirty()

    def _dirty(self) -> None:
        if self._sync_at is None and not self._full:
            self._sync_at = time.monotonic() + SYNC_EVERY_S

    def _tidy(self) -> None:
        """What is due beside the jobs; after their answers have gone out."""
        now = time.monotonic()
        try:
            if self._sync_at is not None and self._sync_at <= now:
                self._sync()
            if self._unswept >= SWEEP_EVERY or (self._unswept and now - self._swept_at > SWEEP_AFTER_S):
                self._sweep()
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, sqlite3.Error) and database.is_locked(error):
                return
            # The next job opens the file anew, and has the error if there is still one.
            LOGGER.warning("%s: %s", self._home, error)
            self._disconnect()

    def _sync(self) -> None:
        due, self._sync_at = self._sync_at, None
        if due is not None:
            database.sync_log(self._path)

    def _sweep(self) -> None:
        if self._connection is None:
            return
        with database.transaction(self._connection):
            more = statements.sweep(self._connection, self._now())
        # Where there is more, the next write sweeps again.
        self._unswept, self._swept_at = (SWEEP_EVERY if more else 0), time.monotonic()

    def _closed(self) -> StoreUnavailableError:
        return StoreUnavailableError(home=self._home, reason="it was closed while another process held its lock")
