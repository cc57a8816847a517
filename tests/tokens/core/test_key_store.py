"""A ring in a store: shared, sealed, rotated by whoever comes first, and never older than it says."""

import asyncio
import json
from typing import Any

import pytest
from contracts.backends import Backend
from contracts.clock import Clock
from contracts.processes import Processes

from fungible.core.errors import SettingError
from fungible.core.keyring import key_ring
from fungible.core.sealing import Sealer
from fungible.stores import Store
from fungible.stores.errors import StoreUnavailableError
from fungible.stores.memory import MemoryStore
from fungible.stores.postures import PostureError
from fungible.tokens import InvalidTokenError, Key, NoSigningKeyError, StoredKeys
from fungible.tokens.key_store import RECORD
from tokens.core.conftest import KINDS
from tokens.core.material import NOW, issuer_with, verifier_with

SECRET = "a secret that all instances share: 0123456789"


class Clocks:
    """Both clocks of a ring, which go together."""

    def __init__(self) -> None:
        self.wall, self.mono = Clock(), Clock()
        self.wall.time_s = NOW

    def advance(self, seconds: float) -> None:
        self.wall.time_s += seconds
        self.mono.time_s += seconds


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def ring(store: Store, clocks: Clocks, **settings: Any) -> StoredKeys:
    return StoredKeys(store, **{"secret": SECRET, "now": clocks.wall, "monotonic": clocks.mono, **settings})


def signing(keys: StoredKeys, clocks: Clocks) -> str:
    return keys.known(clocks.wall()).signing["jwt"].kid


class Faulty:
    """A store that can be cut off, and that counts."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.away = False
        self.gets = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def get(self, key: str) -> Any:
        self.gets += 1
        if self.away:
            raise StoreUnavailableError(home="memory:", reason="cut off")
        return await self._store.get(key)


async def test_a_ring_in_a_store_is_the_same_for_every_instance(backend: Backend, clocks: Clocks) -> None:
    here, there = ring(backend.open(), clocks, create="EdDSA"), ring(backend.open(), clocks)
    await here.load()
    await there.load()
    text = issuer_with(here, now=clocks.wall).issue("ada")
    assert verifier_with(there, now=clocks.wall).verify(text).subject == "ada"
    old = signing(here, clocks)

    change = await there.rotate()
    assert change.changed
    assert signing(there, clocks) == old
    clocks.advance(6)
    await here.load()
    assert change.key.kid in here.known(clocks.wall()).by_kid
    clocks.advance(120)
    await here.load()
    await there.load()
    assert signing(here, clocks) == signing(there, clocks) == change.key.kid
    text = issuer_with(here, now=clocks.wall).issue("ada")

    await there.rotate(at_once=True)
    await there.retire(change.key.kid)
    clocks.advance(6)
    await here.load()
    for keys in (here, there):
        with pytest.raises(InvalidTokenError) as refused:
            verifier_with(keys, now=clocks.wall).verify(text)
        assert refused.value.reason == "key"
    await here.aclose()
    await there.aclose()


async def test_of_many_instances_that_start_or_rotate_at_once_one_makes_a_key(backend: Backend, clocks: Clocks) -> None:
    rings = [ring(backend.open(), clocks, create="EdDSA") for _ in range(5)]
    await asyncio.gather(*(keys.load() for keys in rings))
    assert len({signing(keys, clocks) for keys in rings}) == 1
    changes = await asyncio.gather(*(keys.rotate() for keys in rings))
    assert sorted(change.changed for change in changes) == [False] * 4 + [True]
    assert len({change.key.kid for change in changes}) == 1
    assert len((await rings[0].rotate()).keys) == 2
    for keys in rings:
        await keys.aclose()


async def start_and_rotate(store: Store, number: int) -> tuple[str, str, bool]:
    """What each process does in the race below."""
    keys = StoredKeys(store, SECRET, create="ES256")
    await keys.load()
    first = next(iter(keys.known(keys._now()).signing.values())).kid
    change = await keys.rotate()
    await keys.aclose()
    return first, change.key.kid, change.changed


@pytest.mark.parametrize("backend", [kind for kind in KINDS if kind != "memory"], indirect=True)
async def test_several_processes_that_start_and_rotate_at_once_have_one_ring(backend: Backend) -> None:
    with Processes(3) as processes:
        results = await processes.race(backend.url, f"{__name__}:start_and_rotate")
    assert len({first for first, _, _ in results}) == 1
    assert len({second for _, second, _ in results}) == 1
    assert sorted(changed for _, _, changed in results) == [False, False, True]


def store_and_ring(clocks: Clocks, **settings: Any) -> tuple[Faulty, StoredKeys]:
    store: Any = Faulty(MemoryStore(now=clocks.wall))
    return store, ring(store, clocks, **settings)


async def test_issuing_and_verifying_never_ask_the_store(clocks: Clocks) -> None:
    store, keys = store_and_ring(clocks, create="EdDSA")
    await keys.load()
    before = store.gets
    issuer, judge = issuer_with(keys, now=clocks.wall), verifier_with(keys, now=clocks.wall)
    for _ in range(50):
        judge.verify(issuer.issue("ada"))
        clocks.advance(0.5)
    assert store.gets == before
    await keys.aclose()


async def test_what_is_known_is_never_older_than_the_bound(clocks: Clocks) -> None:
    store, keys = store_and_ring(clocks, create="EdDSA")
    await keys.load()
    issuer, judge = issuer_with(keys, now=clocks.wall), verifier_with(keys, now=clocks.wall)
    text = issuer.issue("ada")
    store.away = True
    clocks.advance(29.9)
    judge.verify(text)
    clocks.advance(0.2)
    for call in (lambda: judge.verify(text), lambda: issuer.issue("ada"), keys.jwks):
        with pytest.raises(StoreUnavailableError, match="could not be read for 30 s"):
            call()
    with pytest.raises(StoreUnavailableError, match="cut off"):
        await keys.load()
    store.away = False
    await keys.load()
    judge.verify(text)
    await keys.aclose()


async def test_a_wall_clock_that_jumps_changes_nothing_of_the_bound(clocks: Clocks) -> None:
    _, keys = store_and_ring(clocks, create="EdDSA")
    await keys.load()
    for jump in (-1000, +2000, -500):
        clocks.wall.time_s += jump
        assert keys.known(clocks.wall())
    clocks.mono.time_s += 31
    clocks.wall.time_s -= 5000
    with pytest.raises(StoreUnavailableError):
        keys.known(clocks.wall())
    await keys.aclose()


async def test_keys_that_were_not_loaded_are_refused_and_read_in_the_background(clocks: Clocks) -> None:
    store = MemoryStore(now=clocks.wall)
    await ring(store, clocks).new("EdDSA")
    learned = asyncio.Event()

    class Watched(StoredKeys):
        def _learn(self, *arguments: Any) -> None:
            super()._learn(*arguments)
            learned.set()

    keys = Watched(store, SECRET, now=clocks.wall, monotonic=clocks.mono)
    issuer = issuer_with(keys, now=clocks.wall)
    with pytest.raises(StoreUnavailableError, match=r"await keys\.load\(\)"):
        issuer.issue("ada")
    await asyncio.wait_for(learned.wait(), 30)
    assert issuer.issue("ada")
    await keys.aclose()


async def test_a_token_of_an_unknown_key_has_the_keys_read_again(clocks: Clocks) -> None:
    store = MemoryStore(now=clocks.wall)
    here = ring(store, clocks, create="EdDSA")
    await here.load()
    learned = asyncio.Event()

    class Watched(StoredKeys):
        def _learn(self, *arguments: Any) -> None:
            super()._learn(*arguments)
            if len(self._all) > 1:
                learned.set()

    # So seldom that it is not this which reads them in the test.
    there = Watched(store, SECRET, reload_s=1000, bound_s=5000, settle_s=5000, now=clocks.wall, monotonic=clocks.mono)
    await there.load()
    await here.rotate(at_once=True)
    clocks.advance(2)
    text, judge = issuer_with(here, now=clocks.wall).issue("ada"), verifier_with(there, now=clocks.wall)
    with pytest.raises(InvalidTokenError):
        judge.verify(text)
    await asyncio.wait_for(learned.wait(), 30)
    assert judge.verify(text).subject == "ada"
    await here.aclose()
    await there.aclose()


def test_a_thread_without_an_event_loop_reads_by_itself(clocks: Clocks) -> None:
    _, keys = store_and_ring(clocks, create="EdDSA")
    text = issuer_with(keys, now=clocks.wall).issue("ada")
    clocks.advance(31)
    assert verifier_with(keys, now=clocks.wall).verify(text).subject == "ada"


async def test_keys_in_the_store_are_sealed(clocks: Clocks) -> None:
    store = MemoryStore(now=clocks.wall)
    change = await ring(store, clocks).new("EdDSA")
    record = await store.get(RECORD)
    assert record is not None
    for words in (change.key.private_jwk()["d"], change.key.kid, "OKP"):
        assert words.encode() not in b"".join(record.fields.values())
    other = ring(store, clocks, secret="another secret that is long enough, 0123456789")
    with pytest.raises(SettingError, match="secret that this instance does not have"):
        await other.load()
    both = ring(store, clocks, secret=["another secret that is long enough, 0123456789", SECRET])
    await both.load()
    assert set(both.known(NOW).by_kid) == {change.key.kid}
    await both.aclose()


async def test_an_empty_store_says_how_to_make_a_key(clocks: Clocks) -> None:
    _, keys = store_and_ring(clocks)
    await keys.load()
    with pytest.raises(NoSigningKeyError, match="fungible keys new memory:"):
        issuer_with(keys, now=clocks.wall).issue("ada")
    assert keys.jwks() == {"keys": []}
    await keys.aclose()


async def test_a_key_that_stays_is_the_same_object(clocks: Clocks) -> None:
    _, keys = store_and_ring(clocks, create="EdDSA")
    await keys.load()
    before = keys.known(clocks.wall()).signing["jwt"]
    clocks.advance(6)
    await keys.load()
    assert keys.known(clocks.wall()).signing["jwt"] is before
    await keys.aclose()


def test_settings_that_would_let_a_key_sign_before_all_know_it_are_refused(clocks: Clocks) -> None:
    store = MemoryStore()
    for settings in ({"settle_s": 29.0}, {"reload_s": 30.0}, {"reload_s": 0.0}, {"create": "none"}):
        with pytest.raises(SettingError):
            ring(store, clocks, **settings)


def test_keys_in_memory_are_refused_for_several_instances(clocks: Clocks) -> None:
    with pytest.raises(PostureError, match="signing-key at memory: would sign what every other instance refuses"):
        issuer_with(ring(MemoryStore(), clocks), instances=2)


async def test_a_cancelled_load_leaves_a_ring_that_can_be_loaded(clocks: Clocks) -> None:
    store = MemoryStore(now=clocks.wall)
    held, release = asyncio.Event(), asyncio.Event()

    class Held(Faulty):
        async def get(self, key: str) -> Any:
            held.set()
            await release.wait()
            return await super().get(key)

    slow: Any = Held(store)
    keys = ring(slow, clocks, create="EdDSA")
    loading = asyncio.create_task(keys.load())
    await held.wait()
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    release.set()
    await keys.load()
    assert isinstance(keys.known(NOW).signing["jwt"], Key)
    await keys.aclose()


async def test_a_change_that_others_forestall_begins_again_with_what_they_made(clocks: Clocks) -> None:
    store = MemoryStore(now=clocks.wall)
    other = ring(store, clocks)

    class Forestalled(Faulty):
        """Another instance writes between every reading and the write that follows, the first two times."""

        async def get(self, key: str) -> Any:
            record = await super().get(key)
            if self.gets == 1:
                await other.new("ES256")
            elif self.gets == 2:
                await other.rotate()
            return record

    slow: Any = Forestalled(store)
    change = await ring(slow, clocks).rotate("ES256")
    assert not change.changed
    assert len(change.keys) == 2


async def test_a_key_that_this_release_can_not_read_is_passed_over_and_not_lost_by_a_change(
    clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore(now=clocks.wall)
    keys = ring(store, clocks)
    await keys.new()
    record = await store.get(RECORD)
    assert record is not None
    sealer = Sealer(key_ring(SECRET), purpose="signing-keys")
    opened = sealer.open(record.fields["keys"].decode())
    assert opened is not None
    listed = [*json.loads(opened.data), {"kty": "AKP", "alg": "ML-DSA-44", "kid": "later", "pub": "AAAA"}]
    await store.change(record, {"keys": sealer.seal(json.dumps(listed).encode()).encode()})
    other = ring(store, clocks)
    await other.load()
    # What the known key has signed is good, and it signs.
    assert (
        verifier_with(other, now=clocks.wall).verify(issuer_with(keys, now=clocks.wall).issue("ada")).subject == "ada"
    )
    assert "passed over" in caplog.text
    standing = await store.get(RECORD)
    for change in (other.rotate(), other.retire(signing(keys, clocks))):
        with pytest.raises(SettingError, match="would lose"):
            await change
    assert await store.get(RECORD) == standing
    await other.aclose()
