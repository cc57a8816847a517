"""Any sequence of operations, by a few instances, gives what a pure model of the contract gives."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule

from contracts.backends import EVERY, Backend, make_backend
from fungible.stores import ABSENT, ANY, REMOVED, ConflictError, GoneError, Record

EXAMPLES = {"memory": 60, "sqlite": 25}
FEW_EXAMPLES = 10
STEPS = 25
KEYS = st.sampled_from(["a", "A", "b"])
NAMES = st.sampled_from(["x", "X", "y é"])
VALUES = st.sampled_from([b"", b"\0", b"1", b"one"])
FIELDS = st.dictionaries(NAMES, VALUES, max_size=3)
CHANGES = st.dictionaries(NAMES, VALUES | st.just(REMOVED), max_size=3)
# Far apart: by a clock that runs, no sum of some of them is near another.
TIMES_S = st.sampled_from([100.0, 1_000.0, 10_000.0])
STORES = st.integers(0, 2)


class Life:
    """What is kept under a key, from its creation until it is deleted or expires."""

    def __init__(self) -> None:
        self.fields: dict[str, bytes] = {}
        self.until_s = 0.0


class Model:
    """The contract in a page: lives and tombstones of keys, on a clock that only `pass` moves."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.lives: dict[str, Life] = {}
        self.held_until_s: dict[str, float] = {}

    def live(self, key: str) -> Life | None:
        life = self.lives.get(key)
        return life if life is not None and life.until_s > self.now_s else None

    def put(self, key: str, fields: dict[str, bytes], ttl_s: float, expect: Any) -> Life | str:
        """The life that is written, or the name of the error."""
        life = self.live(key)
        if self.held_until_s.get(key, 0) > self.now_s:
            return "gone"
        if expect is ABSENT and life is not None:
            return "conflict"
        if isinstance(expect, tuple):
            read_life, read = expect
            if life is not read_life:
                return "gone"
            if life.fields != read.fields:
                return "conflict"
        life = self.lives[key] = life or Life()
        life.fields, life.until_s = dict(fields), self.now_s + ttl_s
        return life

    def change(self, key: str, read_life: Life, read: Record, changes: dict[str, Any], ttl_s: float | None) -> str:
        """`done`, or the name of the error."""
        life = self.live(key)
        if life is not read_life:
            return "gone"
        if any(life.fields.get(name) != read.fields.get(name) for name in changes):
            return "conflict"
        for name, value in changes.items():
            life.fields.pop(name, None)
            if value is not REMOVED:
                life.fields[name] = value
        if ttl_s is not None:
            life.until_s = max(life.until_s, self.now_s + ttl_s)
        return "done"

    def delete(self, key: str, tombstone_s: float) -> None:
        self.lives.pop(key, None)
        self.held_until_s[key] = max(self.held_until_s.get(key, 0), self.now_s + tombstone_s)

    def touch(self, key: str, ttl_s: float) -> float | None:
        life = self.live(key)
        if life is None:
            return None
        life.until_s = max(life.until_s, self.now_s + ttl_s)
        return life.until_s - self.now_s


def machine_of(backend: Backend) -> type[RuleBasedStateMachine]:
    """The machine that compares this backend with the model."""

    class Machine(RuleBasedStateMachine):
        read = Bundle("read")
        """What some instance has read or written: key, life in the model, record."""

        def __init__(self) -> None:
            super().__init__()
            self.runner = asyncio.Runner()
            self.model = Model()
            self.items: dict[str, list[tuple[bytes, float]]] = {}
            self.cursors: dict[str, tuple[str, int]] = {}

        @initialize()
        def begin(self) -> None:
            backend.empty()
            self.stores = [backend.open() for _ in range(3)]

        def teardown(self) -> None:
            self.runner.run(backend.close())
            self.runner.close()

        def ask(self, call: Any) -> Any:
            """The answer, or the name of the error; a conflict must come with what stands."""
            try:
                return self.runner.run(call)
            except GoneError:
                return "gone"
            except ConflictError as error:
                self.same(error.current.key, error.current)
                return "conflict"

        def same(self, key: str, record: Record | None) -> None:
            life = self.model.live(key)
            assert (record and dict(record.fields)) == (life and life.fields)
            if record is not None and life is not None:
                assert abs(backend.left_s(record.expires_at) - (life.until_s - self.model.now_s)) < 30

        @rule(target=read, store=STORES, key=KEYS)
        def get(self, store: int, key: str) -> Any:
            record = self.ask(self.stores[store].get(key))
            self.same(key, record)
            return multiple() if record is None else (key, self.model.live(key), record)

        @rule(target=read, store=STORES, key=KEYS, fields=FIELDS, ttl_s=TIMES_S, expect=st.sampled_from([ANY, ABSENT]))
        def put(self, store: int, key: str, fields: dict[str, bytes], ttl_s: float, expect: Any) -> Any:
            return self.compare_put(store, key, fields, ttl_s, expect, expect)

        @rule(target=read, store=STORES, seen=read, fields=FIELDS, ttl_s=TIMES_S)
        def put_expecting(self, store: int, seen: Any, fields: dict[str, bytes], ttl_s: float) -> Any:
            key, life, record = seen
            return self.compare_put(store, key, fields, ttl_s, record, (life, record))

        def compare_put(self, store: int, key: str, fields: Any, ttl_s: float, theirs: Any, ours: Any) -> Any:
            answer = self.ask(self.stores[store].put(key, fields, ttl_s=ttl_s, expect=theirs))
            wanted = self.model.put(key, fields, ttl_s, ours)
            if isinstance(wanted, str):
                assert answer == wanted
                return multiple()
            self.same(key, answer)
            return key, wanted, answer

        @rule(target=read, store=STORES, seen=read, changes=CHANGES, ttl_s=st.none() | TIMES_S)
        def change(self, store: int, seen: Any, changes: dict[str, Any], ttl_s: float | None) -> Any:
            key, life, record = seen
            answer = self.ask(self.stores[store].change(record, changes, ttl_s=ttl_s))
            wanted = self.model.change(key, life, record, changes, ttl_s)
            if wanted != "done":
                assert answer == wanted
                return multiple()
            assert answer.fields == record.changed(changes).fields
            return key, life, answer

        @rule(store=STORES, key=KEYS, tombstone_s=st.just(0) | TIMES_S)
        def delete(self, store: int, key: str, tombstone_s: float) -> None:
            self.ask(self.stores[store].delete(key, tombstone_s=tombstone_s))
            self.model.delete(key, tombstone_s)

        @rule(store=STORES, key=KEYS, ttl_s=TIMES_S)
        def touch(self, store: int, key: str, ttl_s: float) -> None:
            until = self.ask(self.stores[store].touch(key, ttl_s=ttl_s))
            wanted = self.model.touch(key, ttl_s)
            assert (until is None) == (wanted is None)
            if until is not None:
                assert abs(backend.left_s(until) - wanted) < 30

        @rule(store=STORES, topic=KEYS, item=VALUES, ttl_s=TIMES_S)
        def append(self, store: int, topic: str, item: bytes, ttl_s: float) -> None:
            self.ask(self.stores[store].append(topic, item, ttl_s=ttl_s))
            self.items.setdefault(topic, []).append((item, self.model.now_s + ttl_s))

        @rule(store=STORES, topic=KEYS, afresh=st.booleans())
        def since(self, store: int, topic: str, afresh: bool) -> None:
            cursor, passed = (None, 0) if afresh else self.cursors.get(topic, (None, 0))
            page = self.ask(self.stores[store].since(topic, cursor))
            items = self.items.get(topic, [])
            assert list(page.items) == [item for item, until_s in items[passed:] if until_s > self.model.now_s]
            self.cursors[topic] = (page.cursor, len(items))

        @rule(seconds=st.sampled_from([60.0, 600.0, 6_000.0]))
        def wait(self, seconds: float) -> None:
            backend.advance(seconds)
            self.model.now_s += seconds

    return Machine


@pytest.mark.parametrize("name", EVERY)
def test_a_backend_does_what_the_model_does(name: str, request: pytest.FixtureRequest) -> None:
    backend = make_backend(name, request)
    machine = machine_of(backend).TestCase
    machine.settings = settings(
        max_examples=EXAMPLES.get(name, FEW_EXAMPLES),
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    machine("runTest").runTest()
