"""SQLite: how its file is named, what is in it when, and what can be wrong with it."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlite_drills import PATIENCE_S, get_one, put_one, run

from fungible.core.errors import SettingError
from fungible.stores import (
    Lack,
    Reach,
    StoreUnavailableError,
    Survives,
    open_store,
)
from fungible.stores.sqlite import SQLiteStore

NOBODY = 65534


def test_three_slashes_begin_a_relative_path_and_four_an_absolute_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    relative = open_store("sqlite:///some%20data.db")
    assert relative.home == f"sqlite:///{tmp_path}/some data.db"
    # Where it was opened counts, not where it is used first.
    monkeypatch.chdir("/")
    asyncio.run(put_one(relative))
    absolute = open_store(f"sqlite:///{tmp_path}/some%20data.db")
    assert asyncio.run(get_one(absolute)).fields == {"a": b"1"}


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite:///:memory:", "for no file use memory:"),
        ("sqlite::memory:", "for no file use memory:"),
        ("sqlite:", "needs the path of a file"),
        ("sqlite://", "needs the path of a file"),
        ("sqlite:///", "needs the path of a file"),
        ("sqlite://data.db", "sqlite:///relative.db"),
        ("sqlite:///data.db?durability=some", "normal or full"),
        ("sqlite:///data.db?durable=full", "no option 'durable'"),
        ("sqlite:///data.db?timeout_s=0", "above 0"),
    ],
)
def test_a_url_that_names_no_file_is_refused(url: str, reason: str) -> None:
    with pytest.raises(SettingError, match=reason):
        open_store(url)


def test_it_reaches_the_machine_and_says_what_a_power_cut_takes(tmp_path: Path) -> None:
    normal, full = (open_store(f"sqlite:///{tmp_path}/a.db{option}").guarantees for option in ("", "?durability=full"))
    assert normal.reach is full.reach is Reach.MACHINE
    assert (normal.survives, normal.lacks) == (Survives.MACHINE, {Lack.RECENT_WRITES})
    assert (full.survives, full.lacks) == (Survives.MACHINE, frozenset())


@pytest.mark.parametrize("durability", ["normal", "full"])
def test_what_was_written_is_there_for_the_next_who_opens_the_file(tmp_path: Path, durability: Any) -> None:
    path = tmp_path / "a.db"
    run(put_one, SQLiteStore(path, durability=durability))
    assert run(get_one, SQLiteStore(path, durability=durability)).fields == {"a": b"1"}
    # The last one to close it has left one file.
    assert list(tmp_path.iterdir()) == [path]


WRITER = """
import asyncio, itertools, sys
from fungible.stores import open_store

async def main():
    store = open_store(sys.argv[1])
    for number in itertools.count():
        await store.put("s", {"n": b"%d" % number}, ttl_s=600)
        print(number, flush=True)

asyncio.run(main())
"""


def test_a_killed_process_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    with subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline() for _ in range(200)]
        writer.kill()
        # The last of these lines may be cut short.
        acknowledged += [line for line in writer.stdout if line.endswith("\n")]
    record = asyncio.run(get_one(open_store(url)))
    assert int(record.fields["n"]) - int(acknowledged[-1]) in {0, 1}


def test_a_process_that_closes_nothing_ends_all_the_same(tmp_path: Path) -> None:
    script = WRITER.replace("itertools.count()", "range(3)")
    url = f"sqlite:///{tmp_path}/a.db"
    subprocess.run([sys.executable, "-c", script, url], check=True, capture_output=True, timeout=PATIENCE_S)
    # And leaves the file in order: nothing is left to be recovered.
    assert [path.name for path in tmp_path.iterdir()] == ["a.db"]
    assert asyncio.run(get_one(open_store(url))).fields == {"n": b"2"}


@pytest.mark.parametrize("removed", ["*", "a.db"])
def test_a_file_that_was_removed_is_made_anew_for_all(tmp_path: Path, removed: str) -> None:
    def remove() -> None:
        for path in tmp_path.glob(removed):
            path.unlink()

    async def work(store: SQLiteStore) -> None:
        other = SQLiteStore(tmp_path / "a.db")
        await put_one(store)
        assert await get_one(other) is not None
        remove()
        # Else each would go on with a file that nobody else can see.
        assert await get_one(store) is None
        await put_one(store)
        assert (await other.get("s")) == (await store.get("s"))
        await other.aclose()

    run(work, SQLiteStore(tmp_path / "a.db"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere/a.db", "there is no folder .*nowhere"),
        ("folder", "is a folder; a file was expected"),
        ("text", "the file is no SQLite database"),
        ("text/a.db", "there is no folder"),
    ],
)
def test_a_place_that_can_hold_no_database_is_named(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("This is no database, and long enough to be taken for one.\n" * 100)
    store = SQLiteStore(tmp_path / name)
    for work in (put_one, get_one):
        with pytest.raises(StoreUnavailableError, match=reason) as error:
            run(work, store)
        assert store.home in str(error.value)


def test_a_damaged_database_is_an_error_and_no_answer(tmp_path: Path) -> None:
    async def fill(store: SQLiteStore) -> None:
        for number in range(200):
            await store.put(f"s{number}", {"a": bytes(200)}, ttl_s=600)

    async def read_all(store: SQLiteStore) -> None:
        for number in range(200):
            await store.get(f"s{number}")

    path = tmp_path / "a.db"
    run(fill, SQLiteStore(path))
    with path.open("r+b") as file:
        # All but the pages with the names of the tables.
        file.seek(3 * 4096)
        file.write(os.urandom(path.stat().st_size - 3 * 4096))
    with pytest.raises(StoreUnavailableError, match="damaged: restore it from a backup"):
        run(read_all, SQLiteStore(path))


def in_a_child(prepare: Callable[[], None], work: Callable[[], None]) -> int:
    """The exit status of a forked child that has prepared itself and done the work: 0 if it went well."""
    child = os.fork()
    if not child:
        status = 1
        try:
            signal.alarm(PATIENCE_S)
            prepare()
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def as_ordinary_user() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def test_a_file_that_may_not_be_written_is_unavailable_and_says_so() -> None:
    def work() -> None:
        for try_ in (put_one, SQLiteStore.ping):
            with pytest.raises(StoreUnavailableError, match=r"permission|may not write"):
                run(try_, SQLiteStore(path))

    # Not in pytest's own folder, which an ordinary user may not even look into.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.db"
        run(put_one, SQLiteStore(path))
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        try:
            assert in_a_child(as_ordinary_user, work) == 0
        finally:
            Path(folder).chmod(0o755)


def test_a_full_disk_is_unavailable_and_has_lost_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.db"

    def only_so_much() -> None:
        # Files may not grow beyond 300 KB: to SQLite that is a write that fails.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))

    async def fill(store: SQLiteStore) -> None:
        await put_one(store)
        with pytest.raises(StoreUnavailableError, match="disk"):
            await store.put("large", {"a": bytes(900_000)}, ttl_s=60)
        assert (await get_one(store)).fields == {"a": b"1"}
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await store.put("large", {"a": bytes(900_000)}, ttl_s=60)

    assert in_a_child(only_so_much, lambda: run(fill, SQLiteStore(path))) == 0
    assert run(get_one, SQLiteStore(path)).fields == {"a": b"1"}
