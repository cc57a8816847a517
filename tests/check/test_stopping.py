"""A check that is stopped: what its threads wait for is ended, and nothing new begins."""

import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fungible.check.errors import StartError
from fungible.check.instances.pool import Pool
from fungible.check.instances.starter import Outside
from fungible.check.model import Target
from fungible.check.stopping import Endings, Threads, uninterrupted

PATIENCE_S = 20.0


def test_an_interrupt_ends_what_runs_and_drops_what_waits() -> None:
    begun, stopped = threading.Event(), threading.Event()
    futures: list[Future[bool]] = []

    def hang() -> bool:
        begun.set()
        return stopped.wait(PATIENCE_S)

    def interrupted() -> None:
        with Threads(1, stop=stopped.set) as threads:
            futures.append(threads.submit(hang))
            assert begun.wait(PATIENCE_S)
            futures.append(threads.submit(hang))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    running, waiting = futures
    assert running.result(timeout=0) is True
    assert waiting.cancelled()


def test_work_that_nothing_can_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fungible.check.stopping._END_S", 0.01)
    begun, ended = threading.Event(), threading.Event()
    futures: list[Future[bool]] = []

    def hang() -> bool:
        begun.set()
        return ended.wait(PATIENCE_S)

    def interrupted() -> None:
        with Threads(1, stop=lambda: None) as threads:
            futures.append(threads.submit(hang))
            assert begun.wait(PATIENCE_S)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not futures[0].done()
    ended.set()


def test_an_error_stops_nothing_and_is_raised_once_all_have_ended() -> None:
    stopped, ended = threading.Event(), threading.Event()

    def fail() -> None:
        raise StartError("no instance")

    def work() -> None:
        time.sleep(0.2)  # still at work when the other has failed
        ended.set()

    def failing() -> None:
        with Threads(2, stop=stopped.set) as threads:
            failed = threads.submit(fail)
            threads.submit(work)
            failed.result()

    with pytest.raises(StartError, match="no instance"):
        failing()
    assert ended.is_set()
    assert not stopped.is_set()


def test_no_more_than_so_many_run_at_a_time() -> None:
    lock, running, most = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1

    with Threads(2, stop=lambda: None) as threads:
        begun = [threads.submit(work) for _ in range(6)]
    assert all(future.done() for future in begun)
    assert most == 2


def test_a_signal_that_broke_off_no_wait_is_noticed_all_the_same() -> None:
    stopped = threading.Event()

    def hang() -> bool:
        # To a thread that is not waiting: for the main thread that is as if it came just before its wait began.
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        return stopped.wait(PATIENCE_S)

    began = time.monotonic()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
    try:
        with pytest.raises(KeyboardInterrupt), Threads(1, stop=stopped.set) as threads:
            threads.submit(hang)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - began < PATIENCE_S / 2
    assert stopped.is_set()


def test_what_is_to_be_ended_is_ended_once_and_the_latest_first() -> None:
    ended: list[str] = []
    endings = Endings()
    endings.add(lambda: ended.append("first"))
    endings.add(lambda: ended.append("second"))
    endings.close()
    endings.close()
    assert ended == ["second", "first"]


def test_what_begins_after_the_end_is_ended_at_once() -> None:
    ended: list[str] = []
    endings = Endings()
    endings.close()
    endings.add(lambda: ended.append("late"))
    assert ended == ["late"]


def test_whoever_asks_a_closed_pool_for_an_instance_does_not_wait(tmp_path: Path) -> None:
    starter = SimpleNamespace(isolation=SimpleNamespace(level=0), cancelled=threading.Event())
    pool = Pool(cast(Any, starter), base=tmp_path, shared=())
    kit = pool.open_world()
    pool.close()
    with ThreadPoolExecutor(1) as executor, pytest.raises(StartError, match="stopped"):
        executor.submit(pool.take, kit).result(PATIENCE_S)


def test_no_command_begins_once_the_rest_is_ended(tmp_path: Path) -> None:
    outside = Outside(Target(reset=("touch done",)), tmp_path, tmp_path)
    outside.reset()
    (tmp_path / "done").unlink()
    outside.close()
    with pytest.raises(StartError, match="stopped"):
        outside.reset()
    assert not (tmp_path / "done").exists()


def test_a_check_outside_the_main_thread_leaves_signals_alone() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(_came_of_nothing).result() == []


def _came_of_nothing() -> list[int]:
    with uninterrupted() as came:
        return came
