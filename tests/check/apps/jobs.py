"""Background jobs of several steps whose progress is kept in a table, each step about a tenth of a second."""

import secrets
import threading
import time
from typing import Any

from tiny import Table

STEPS = 4
LEASE_SECONDS = 0.5


class Jobs:
    """Jobs of this process and, with `takes_over`, those of an instance that has died."""

    def __init__(self, records: Table, *, takes_over: bool) -> None:
        self._records, self._takes_over = records, takes_over
        self._me = secrets.token_hex(4)

    def start(self) -> str:
        job = secrets.token_hex(12)
        self._records.put(job, self._leased({"done": 0}))
        self._work_on(job)
        return job

    def look(self, job: str) -> Any:
        """The job as far as it is, or None. Whoever looks at an abandoned job goes on with it."""
        record = self._records.get(job)
        if record is not None and self._takes_over and self._abandoned(record):
            claimed = self._records.change(job, lambda now: self._leased(now) if self._abandoned(now) else now)
            if claimed["worker"] == self._me:
                self._work_on(job)
        return record

    def _work_on(self, job: str) -> None:
        threading.Thread(target=self._work, args=(job,), daemon=True).start()

    def _work(self, job: str) -> None:
        record = self._records.get(job)
        while record["worker"] == self._me and record["done"] < STEPS:
            time.sleep(0.1)
            record = self._records.change(job, self._one_step_further)

    def _one_step_further(self, record: Any) -> Any:
        return self._leased({**record, "done": record["done"] + 1}) if record["worker"] == self._me else record

    def _leased(self, record: Any) -> Any:
        return {**record, "worker": self._me, "leased_until": time.time() + LEASE_SECONDS}

    @staticmethod
    def _abandoned(record: Any) -> bool:
        return record["done"] < STEPS and record["leased_until"] < time.time()
