"""Instances that serve several runs: which are lent and kept, and what must mark a run before it may have them."""

import contextlib
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from fungible.check.instances.pool import Kit
from fungible.check.instances.pool import Pool as FreshPool
from fungible.check.instances.reserve import Reserve
from fungible.check.model import Answer, Capture, Step
from fungible.check.runs.marks import Marks, marks_of
from fungible.check.runs.runner import Move, Outcome, Trace


class Pool:
    def __init__(self) -> None:
        self.ended: list[Any] = []
        self.closed: list[Kit] = []

    def dispose(self, instance: Any) -> None:
        self.ended.append(instance)

    def close_world(self, kit: Kit) -> None:
        self.closed.append(kit)


def instances(count: int, *, alive: bool = True) -> list[Any]:
    return [SimpleNamespace(alive=lambda: alive) for _ in range(count)]


def reserve() -> tuple[Reserve, Pool]:
    pool = Pool()
    return Reserve(cast(Any, pool)), pool


def test_what_was_kept_is_lent_once() -> None:
    kept, pool = reserve()
    kit, pair = Kit({}), instances(2)
    assert kept.lend(2) is None
    kept.keep(kit, pair)
    assert kept.lend(2) == (kit, pair)
    assert kept.lend(2) is None
    assert pool.ended == []


def test_the_fewest_that_are_enough_are_lent_and_else_the_most() -> None:
    kept, _ = reserve()
    single, pair = Kit({}), Kit({})
    for wanted, kit in ((1, single), (2, pair), (3, pair)):
        kept.keep(pair, instances(2))
        kept.keep(single, instances(1))
        lent = kept.lend(wanted)
        assert lent is not None
        assert lent[0] is kit
        while kept.lend(1):
            pass


def test_an_instance_that_has_ended_is_neither_kept_nor_lent() -> None:
    kept, pool = reserve()
    dead = instances(1, alive=False)
    kit = Kit({})
    kept.keep(kit, dead)
    assert kept.lend(1) is None
    assert pool.ended == dead
    assert pool.closed == [kit]


def test_of_too_many_the_single_ones_are_ended_first() -> None:
    kept, pool = reserve()
    kits = [Kit({}) for _ in range(3)]
    first, second, pair = instances(1), instances(1), instances(3)
    kept.keep(kits[0], first)
    kept.keep(kits[1], second)
    kept.keep(kits[2], pair)
    assert pool.ended == first
    assert pool.closed == kits[:1]
    lent = kept.lend(3)
    assert lent is not None
    assert lent[1] == pair


def test_runs_side_by_side_do_not_wait_for_a_start_that_the_other_one_took(tmp_path: Path) -> None:
    started = threading.Barrier(2)

    def start(disk: Any, number: int, **how: Any) -> Any:
        with contextlib.suppress(threading.BrokenBarrierError):
            started.wait(0.2)
        return SimpleNamespace(number=number, disk=disk, close=lambda: None)

    def disk(shared_at: Any) -> Any:
        return SimpleNamespace(close=lambda: None)

    starter = SimpleNamespace(
        isolation=SimpleNamespace(level=0),
        cancelled=threading.Event(),
        start=start,
        disk=disk,
    )
    pool = FreshPool(cast(Any, starter), base=tmp_path, shared=())
    kit = pool.open_world()

    def two() -> list[int]:
        return [pool.take(kit, more=1).number, pool.take(kit).number]

    try:
        with ThreadPoolExecutor(3) as threads:
            runs = [threads.submit(two) for _ in range(3)]
            taken = [number for run in runs for number in run.result(30)]
    finally:
        pool.close()
    assert len(set(taken)) == 6


# --- marks ------------------------------------------------------------------------------------------------------------

SIGN_IN = Step(id="sign-in", method="POST", path="/sign-in", form={"user": "ada"})
CREATE = Step(
    id="create",
    method="POST",
    path="/notes",
    json={"text": "twine"},
    capture=(Capture(name="note", source="json", path="id"),),
)
CHANGE = Step(id="change", method="PUT", path="/notes/{{note}}", json={"text": "tin"})
SWITCH = Step(id="switch", method="POST", path="/maintenance")
LOOK = Step(id="look", path="/maintenance")
NONE = Marks(frozenset(), frozenset())


def moves(*steps: Step) -> list[Move]:
    return [Move(step) for step in steps]


def trace(*answers: tuple[Step, str, Sequence[tuple[str, str]]]) -> Trace:
    outcomes = [
        Outcome(Move(step), Answer(status=200, headers=tuple(headers)), cast(Any, None), 1)
        for step, _, headers in answers
    ]
    values = {capture.name: value for step, value, _ in answers for capture in step.capture}
    return Trace(outcomes, {"host": "h", **values}, {"host": "h"})


def test_reads_need_no_mark_and_a_write_does() -> None:
    assert NONE.hold(moves(LOOK))
    assert not NONE.hold(moves(SWITCH, LOOK))


def test_an_identifier_marks_what_carries_it_only_where_it_is_another_one_each_time() -> None:
    unlike = marks_of(trace((CREATE, "a7f3", ())), trace((CREATE, "09bc", ())), ())
    assert unlike.hold(moves(CREATE, CHANGE))
    alike = marks_of(trace((CREATE, "1", ())), trace((CREATE, "1", ())), ())
    assert not alike.hold(moves(CREATE, CHANGE))
    assert not alike.hold(moves(CHANGE))


def test_the_visitors_own_cookie_marks_what_follows_it() -> None:
    def given(value: str) -> Trace:
        return trace((SIGN_IN, "", [("Set-Cookie", f"sid={value}; Path=/")]))

    own = marks_of(given("5ac1"), given("e902"), ())
    assert own.hold(moves(SIGN_IN, SWITCH))
    assert not own.hold(moves(SWITCH, SIGN_IN))
    assert not own.hold(moves(SIGN_IN, Step(id="s", method="POST", path="/x", headers={"Cookie": "sid=old"})))
    assert not own.hold(moves(SIGN_IN, Step(id="s", method="POST", path="/x", visitor="another")))
    assert not marks_of(given("same"), given("same"), ()).hold(moves(SIGN_IN, SWITCH))


def test_a_name_that_is_made_unique_marks_wherever_it_stands_as_a_word() -> None:
    named = Marks(frozenset(), frozenset(), ("ada",))
    assert named.hold(moves(SIGN_IN))
    assert named.hold(moves(Step(id="s", method="PUT", path="/users/ada")))
    assert not named.hold(moves(Step(id="s", method="PUT", path="/users/adamant")))
    assert not named.hold(moves(Step(id="ada", method="PUT", path="/users")))


def test_the_token_of_a_run_is_a_mark() -> None:
    assert NONE.hold(moves(Step(id="s", method="POST", path="/x", json={"name": "cart-{{run}}"})))
