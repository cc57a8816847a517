"""Revocation on every store: every instance knows within the bound, and nobody is let in where none can know."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from contracts.backends import Backend
from contracts.clock import Clock
from hypothesis import given, settings
from hypothesis import strategies as st
from sessions.visiting import WatchedStore

from fungible.core.errors import SettingError
from fungible.stores import StoreUnavailableError
from fungible.stores.memory import MemoryStore
from fungible.stores.postures import PostureError
from fungible.tokens import InvalidTokenError, Token, TokenIssuer, TokenVerifier
from fungible.tokens.claims import MAX_LEEWAY_S, OUTLIVES_EXP_S
from fungible.tokens.revocations import TOPIC, RevocableVerifier, Revocations, RevokedTokenError
from tokens.use.rig import ISSUER, KEYS, NAMES, VERIFIER, token_of


def revocations_over(store: Any, **options: Any) -> Revocations:
    return Revocations(store, instances=1, **options)


async def refused(revocations: Revocations, token: Token) -> bool:
    try:
        await revocations.check(token)
    except RevokedTokenError:
        return True
    return False


async def test_a_revocation_holds_on_an_instance_that_starts_later(backend: Backend) -> None:
    here, later = revocations_over(backend.open()), revocations_over(backend.open())
    dead, alive = token_of(jti="dead", sid="f"), token_of(jti="alive", sid="g")
    await here.revoke(dead)
    assert await refused(here, dead)
    assert await refused(later, dead)
    assert not await refused(later, alive)


async def test_a_revocation_holds_within_the_bound_on_an_instance_that_runs(backend: Backend) -> None:
    monotonic = Clock()
    here = revocations_over(backend.open())
    elsewhere = revocations_over(backend.open(), bound_s=1.0, monotonic=monotonic)
    token = token_of(jti="x")
    assert not await refused(elsewhere, token)
    await here.revoke_id("x")
    assert elsewhere.says(token) is False
    monotonic.time_s += 1.01
    # What it knows is too old to let anybody in: it has to ask.
    assert elsewhere.says(token) is None
    assert await refused(elsewhere, token)
    assert elsewhere.says(token) is True


async def test_each_way_to_revoke_takes_what_it_names_and_nothing_else(backend: Backend) -> None:
    store, now = backend.open(), time.time()
    revocations = revocations_over(store)
    old, new = token_of(jti="a", sid="f", issued_at=now - 10), token_of(jti="b", sid="g", issued_at=now + 10)
    other = token_of("grace", jti="c", sid="h", issued_at=now - 10)
    await revocations.revoke_id("a")
    assert [await refused(revocations, each) for each in (old, new, other)] == [True, False, False]
    await revocations.revoke_families("g")
    assert [await refused(revocations, each) for each in (old, new, other)] == [True, True, False]
    await revocations.revoke_subject("grace", before=now)
    assert await refused(revocations, other)
    assert not await refused(revocations, token_of("grace", jti="d", issued_at=now))
    assert not await refused(revocations, token_of("tom", jti="e", issued_at=now - 10))
    await revocations.revoke_before(now)
    assert await refused(revocations, token_of("tom", jti="e", issued_at=now - 10))
    assert not await refused(revocations, token_of("tom", jti="e", issued_at=now))


async def test_an_earlier_instant_does_not_undo_a_later_one() -> None:
    revocations, now = revocations_over(MemoryStore()), time.time()
    await revocations.revoke_subject("ada", before=now)
    await revocations.revoke_subject("ada", before=now - 100)
    assert await refused(revocations, token_of(issued_at=now - 1))


async def test_an_entry_is_kept_for_as_long_as_its_token_may_live_and_is_forgotten_then() -> None:
    store_clock, clock, monotonic = Clock(), Clock(), Clock()
    store = MemoryStore(now=store_clock)
    here = revocations_over(store, longest_token_s=300, now=clock, monotonic=monotonic)
    await here.revoke_families("f")
    for seconds, dead in ((299, True), (OUTLIVES_EXP_S + 60, True), (2, False)):
        for each in (store_clock, clock, monotonic):
            each.time_s += seconds
        fresh = revocations_over(store, longest_token_s=300, now=clock)
        token = token_of(sid="f", issued_at=clock.time_s)
        assert await refused(here, token) is dead
        assert await refused(fresh, token) is dead


OFF = st.floats(-MAX_LEEWAY_S / 2, MAX_LEEWAY_S / 2)


@settings(max_examples=200, deadline=None)
@given(
    by=st.sampled_from(["id", "unknown id", "family", "subject", "all"]),
    leeway_s=st.sampled_from([0.0, 60.0, 61.0, MAX_LEEWAY_S]) | st.floats(0, MAX_LEEWAY_S),
    off_s=st.tuples(OFF, OFF, OFF),
    before_s=st.floats(0, 299),
    after_s=st.floats(0, 400 + 3 * MAX_LEEWAY_S),
)
def test_no_verifier_takes_a_revoked_token_again_however_the_clocks_differ(
    by: str, leeway_s: float, off_s: tuple[float, float, float], before_s: float, after_s: float
) -> None:
    """The clocks of issuer, revoker and verifier are each off by up to half of the leeway that there can be."""
    true, monotonic = Clock(), Clock()

    def off(number: int) -> Callable[[], float]:
        return lambda: true() + off_s[number]

    async def taken() -> bool:
        store = MemoryStore(now=true)
        issuer = TokenIssuer(KEYS, **NAMES, ttl_s=300, now=off(0), instances=1)
        verifier = TokenVerifier(KEYS, **NAMES, leeway_s=leeway_s, now=off(2))
        here, runs, starts_later = (
            revocations_over(store, longest_token_s=300, now=now, monotonic=monotonic)
            for now in (off(1), off(2), off(2))
        )
        text = issuer.issue("ada", {"sid": "f"}, token_id="x")
        token = TokenVerifier(KEYS, **NAMES, now=off(0)).verify(text)
        true.time_s += before_s
        if by == "id":
            await here.revoke(token)
        elif by == "unknown id":
            await here.revoke_id("x")
        elif by == "family":
            await here.revoke_families("f")
        else:
            # What the clocks of issuer and revoker may do to an instant is said in the documentation.
            instant = token.issued_at + 1
            await (here.revoke_subject("ada", before=instant) if by == "subject" else here.revoke_before(instant))
        assert await refused(runs, token)
        for each in (true, monotonic):
            each.time_s += after_s
        for revocations in (here, runs, starts_later):
            with contextlib.suppress(InvalidTokenError):
                await RevocableVerifier(verifier, revocations).verify(text)
                return True
        return False

    assert not asyncio.run(taken())


async def test_a_token_that_outlives_what_is_kept_is_refused_with_the_way_out() -> None:
    revocations = revocations_over(MemoryStore(), longest_token_s=300)
    with pytest.raises(RevokedTokenError, match="raise longest_token_s"):
        await revocations.check(token_of(life_s=3600))
    await revocations.check(token_of(life_s=300))


async def test_where_the_feed_can_not_be_read_nobody_is_let_in() -> None:
    store, monotonic = WatchedStore(), Clock()
    revocations = revocations_over(store, monotonic=monotonic)
    await revocations.check(token_of())

    async def away(verb: str, number: int, done: bool) -> None:
        raise StoreUnavailableError(home="memory:", reason="gone")

    store.meets = away
    assert revocations.says(token_of()) is False
    monotonic.time_s += 2
    assert revocations.says(token_of()) is None
    with pytest.raises(StoreUnavailableError):
        await revocations.check(token_of())


@pytest.mark.parametrize(
    "item",
    [b"\xc1", b"", msgspec.msgpack.encode({"kind": "id"}), msgspec.msgpack.encode([["device", "d1", 0, 2e9]])],
)
async def test_a_revocation_that_can_not_be_read_may_be_about_any_token_issued_before_it(item: bytes) -> None:
    store, clock, monotonic = MemoryStore(), Clock(), Clock()
    clock.time_s = 1_800_000_000.0
    revocations = revocations_over(store, now=clock, monotonic=monotonic, longest_token_s=600)
    token = token_of(jti="x", issued_at=clock.time_s - 10, life_s=500)
    assert not await refused(revocations, token)
    await store.append(TOPIC, item, ttl_s=86_400)
    await revocations_over(store, now=clock, longest_token_s=600).revoke_id("y")
    monotonic.time_s += 1.1
    # It may be this one, and nobody else knows.
    assert await refused(revocations, token)
    # Who signs in from now on, or refreshes, gets in; and what stands behind it in the feed is known.
    assert not await refused(revocations, token_of(jti="z", issued_at=clock.time_s, life_s=500))
    assert await refused(revocations, token_of(jti="y", issued_at=clock.time_s, life_s=500))
    # By then every token from before has ended by itself, and nothing is left of it.
    clock.time_s += 600 + OUTLIVES_EXP_S + 1
    monotonic.time_s += 1.1
    assert not await refused(
        revocations, token_of(jti="z", issued_at=clock.time_s - 600 - OUTLIVES_EXP_S - 40, life_s=590)
    )


async def test_a_kind_of_a_later_release_counts_for_all_tokens_from_before_its_instant() -> None:
    store, now = MemoryStore(), time.time()
    entries = [["device", "d1", now - 60, now + 900, "more"], ["id", "x", 0, now + 900, "more"]]
    await store.append(TOPIC, msgspec.msgpack.encode(entries), ttl_s=900)
    revocations = revocations_over(store)
    assert await refused(revocations, token_of(jti="a", issued_at=now - 61))
    assert not await refused(revocations, token_of(jti="b", issued_at=now - 59))
    assert await refused(revocations, token_of(jti="x", issued_at=now - 59))


async def test_while_it_is_followed_a_check_asks_the_store_nothing() -> None:
    store, monotonic = WatchedStore(), Clock()
    revocations = revocations_over(store, monotonic=monotonic)
    await revocations.check(token_of())
    asked = len(store.calls)
    for _ in range(100):
        assert revocations.says(token_of()) is False
        await revocations.check(token_of())
    assert len(store.calls) == asked


async def test_a_verifier_with_revocations_refuses_what_either_refuses() -> None:
    revocations = revocations_over(MemoryStore())
    verifier = RevocableVerifier(VERIFIER, revocations)
    text = ISSUER.issue("ada")
    token = await verifier.verify(text)
    await revocations.revoke(token)
    with pytest.raises(RevokedTokenError) as caught:
        await verifier.verify(text)
    assert caught.value.reason == "revoked"
    with pytest.raises(InvalidTokenError):
        await verifier.verify("x.y.z")


async def test_a_token_without_an_id_is_revoked_by_other_names() -> None:
    revocations = revocations_over(MemoryStore())
    with pytest.raises(SettingError, match="jti"):
        await revocations.revoke(token_of(jti=""))
    # And no empty ID revokes all that have none.
    assert not await refused(revocations, token_of(jti=""))


async def test_event_loops_of_one_process_each_follow_the_feed() -> None:
    revocations = revocations_over(MemoryStore())
    await revocations.revoke_id("x")
    assert await asyncio.to_thread(lambda: asyncio.run(refused(revocations, token_of(jti="x"))))


def test_several_instances_can_not_keep_revocations_in_one_process() -> None:
    with pytest.raises(PostureError, match="revocation at memory:"):
        Revocations(MemoryStore(), instances=2)


@pytest.mark.parametrize("wrong", [{"bound_s": 0}, {"bound_s": 4000}, {"longest_token_s": 0}])
def test_settings_that_can_not_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        revocations_over(MemoryStore(), **wrong)


@pytest.mark.parametrize("sid", [["f"], {"f": 1}, 7, None, True])
async def test_a_family_claim_that_is_no_text_is_no_family(sid: object) -> None:
    revocations = revocations_over(MemoryStore())
    await revocations.revoke_families("f")
    assert not await refused(revocations, token_of(jti="x", sid=sid))
