"""Records that a later release has written: nobody is let in by them, and nobody gets an error for ever."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from fungible.core.keyring import key_ring
from fungible.core.sealing import Sealer
from fungible.sessions.sealed import Sealed
from fungible.sessions.snapshots import Snapshot
from fungible.sessions.state import META, NEXT
from fungible.stores import StoreUnavailableError
from fungible.stores.memory import MemoryStore
from sessions.visiting import SECRET, Browser, sessions_over

UNKNOWN = msgspec.msgpack.encode({"created": 1, "for": "ada"})
LATER_VALUE = msgspec.msgpack.encode(msgspec.msgpack.Ext(99, b"2026-11-21"))
encode = msgspec.msgpack.encode


async def rewritten(store: MemoryStore, handle: str | None, fields: Mapping[str, bytes]) -> None:
    record = await store.get(f"session:{handle}")
    assert record is not None
    await store.change(record, fields)


async def test_a_stored_session_that_can_not_be_read_is_as_if_there_were_none() -> None:
    store = MemoryStore()
    sessions, visitor = sessions_over(store), Browser()
    session = await visitor.sign_in(sessions, "ada")
    await rewritten(store, session.state.handle, {META: UNKNOWN})
    loaded = await visitor.load(sessions)
    assert (dict(loaded), loaded.subject) == ({}, None)
    assert await sessions.sessions_of("ada") == []
    # And ended with the others of its subject.
    assert await sessions.end_all("ada") == 1
    assert await store.get(f"session:{session.state.handle}") is None


async def test_a_rotated_id_that_leads_where_this_release_can_not_read_leads_nowhere() -> None:
    store = MemoryStore()
    sessions, visitor = sessions_over(store), Browser()
    session = await visitor.put(sessions, cart=1)
    await rewritten(store, session.state.handle, {NEXT: UNKNOWN})
    assert await visitor.see(sessions) == {}
    # What goes on elsewhere was not ended: that is said, and not taken for done.
    assert session.state.handle is not None
    with pytest.raises(StoreUnavailableError, match="later release"):
        await sessions.end_by_handle(session.state.handle)


async def test_a_value_that_can_not_be_read_counts_as_missing_and_stays_for_who_can() -> None:
    store = MemoryStore()
    sessions, visitor = sessions_over(store), Browser()
    session = await visitor.put(sessions, cart=1)
    await rewritten(store, session.state.handle, {"born": LATER_VALUE})
    loaded = await visitor.load(sessions)
    assert "born" not in loaded
    assert loaded.get("born") is None
    assert (dict(loaded), len(loaded)) == ({"cart": 1}, 1)
    with pytest.raises(KeyError):
        loaded["born"]
    loaded["cart"] = 2
    await loaded.rotate(subject="ada")
    await visitor.answer(sessions, loaded)
    record = await store.get(f"session:{loaded.state.handle}")
    assert record is not None
    assert record.fields["born"] == LATER_VALUE
    # Whoever sets it has set it.
    await visitor.put(sessions, born="1990")
    assert await visitor.see(sessions) == {"cart": 2, "born": "1990"}


@pytest.mark.parametrize("mode", ["sealed", "snapshot"])
async def test_a_cookie_that_can_not_be_read_is_as_if_there_were_none(mode: str) -> None:
    sealers = {"sealed": "session", "snapshot": "session-snapshot"}
    sealer = Sealer(key_ring(SECRET), purpose=sealers[mode])
    sessions = sessions_over(None if mode == "sealed" else MemoryStore(), mode=mode)
    fields = {META: UNKNOWN, "cart": encode(1)}
    whole: Any = Sealed(9e9, fields) if mode == "sealed" else Snapshot(bytes(32), 9e9, 9e9, b"", fields)
    for data in (encode(whole), UNKNOWN, b"\xc1"):
        visitor = Browser(sealer.seal(data))
        assert await visitor.see(sessions) == {}
