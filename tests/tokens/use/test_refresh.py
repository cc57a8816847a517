"""Refresh families on every store: one successor for each token, a grace for retries, and no reuse unseen."""

import logging
from typing import Any

import pytest
from contracts.backends import Backend
from sessions.visiting import WatchedStore

from fungible.core.errors import SettingError
from fungible.stores import StoreUnavailableError
from fungible.stores.memory import MemoryStore
from fungible.stores.postures import PostureError
from fungible.tokens.families_clock import StoreClock
from fungible.tokens.refresh import RefreshTokens
from fungible.tokens.refresh_errors import InvalidRefreshTokenError, RefreshReusedError
from fungible.tokens.revocations import Revocations, RevokedTokenError
from tokens.use.rig import AsyncClock, Events, refresh_over, token_of


async def test_a_refresh_gives_a_successor_and_what_the_family_began_with(backend: Backend) -> None:
    tokens, elsewhere = refresh_over(backend.open()), refresh_over(backend.open())
    begun = await tokens.begin("ada", {"scope": "read", "device": "phone"})
    refreshed = await elsewhere.refresh(begun.refresh_token)
    assert refreshed.refresh_token != begun.refresh_token
    assert (refreshed.subject, refreshed.data) == ("ada", {"scope": "read", "device": "phone"})
    assert refreshed.family == begun.family
    assert refreshed.ends_at == begun.ends_at
    assert not refreshed.repeated
    assert (await tokens.refresh(refreshed.refresh_token)).refresh_token not in {
        begun.refresh_token,
        refreshed.refresh_token,
    }


async def test_within_the_grace_a_token_gives_the_same_successor_again_on_any_instance(backend: Backend) -> None:
    clock = AsyncClock()
    tokens, elsewhere = (refresh_over(backend.open(), now=clock) for _ in range(2))
    begun = await tokens.begin("ada")
    first = await tokens.refresh(begun.refresh_token)
    clock.time_s += 10
    again = await elsewhere.refresh(begun.refresh_token)
    assert again.refresh_token == first.refresh_token
    assert again.repeated
    assert not (await tokens.refresh(first.refresh_token)).repeated


async def test_a_token_used_after_the_grace_ends_the_family_and_is_reported(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    clock, events, store = AsyncClock(), Events(), backend.open()
    revocations = Revocations(store, instances=1)
    tokens = refresh_over(store, now=clock, revocations=revocations, on_event=events)
    begun = await tokens.begin("ada")
    current = await tokens.refresh(begun.refresh_token)
    clock.time_s += 10.1
    with caplog.at_level(logging.WARNING, "fungible.tokens"), pytest.raises(RefreshReusedError) as caught:
        await tokens.refresh(begun.refresh_token)
    assert (caught.value.family, caught.value.subject, caught.value.code) == (begun.family, "ada", "invalid_grant")
    assert events.seen == ["reused"]
    assert begun.family in caplog.text
    assert begun.refresh_token not in caplog.text
    with pytest.raises(InvalidRefreshTokenError):
        await tokens.refresh(current.refresh_token)
    # Its access tokens too, on an instance that has just started.
    with pytest.raises(RevokedTokenError):
        await Revocations(backend.open(), instances=1).check(token_of(sid=begun.family))
    assert await tokens.end_all("ada") == 0


async def test_a_late_retry_finds_its_successor_although_that_was_spent_as_well(backend: Backend) -> None:
    clock = AsyncClock()
    tokens = refresh_over(backend.open(), now=clock)
    a = (await tokens.begin("ada")).refresh_token
    b = (await tokens.refresh(a)).refresh_token
    clock.time_s += 5
    c = (await tokens.refresh(b)).refresh_token
    assert (await tokens.refresh(a)).refresh_token == b
    assert (await tokens.refresh(b)).refresh_token == c
    clock.time_s += 6
    # By now the grace of the first one is over, and that of the second is not.
    assert (await tokens.refresh(b)).refresh_token == c
    with pytest.raises(RefreshReusedError):
        await tokens.refresh(a)


async def test_without_a_grace_every_second_use_ends_the_family(backend: Backend) -> None:
    tokens = refresh_over(backend.open(), grace_s=0, now=AsyncClock())
    begun = await tokens.begin("ada")
    current = await tokens.refresh(begun.refresh_token)
    with pytest.raises(RefreshReusedError):
        await tokens.refresh(begun.refresh_token)
    with pytest.raises(InvalidRefreshTokenError):
        await tokens.refresh(current.refresh_token)


async def test_a_secret_that_was_never_made_ends_the_family_of_its_handle_and_no_other(backend: Backend) -> None:
    tokens = refresh_over(backend.open())
    mine, other = await tokens.begin("ada"), await tokens.begin("ada")
    # Only who has held a token of the family knows the handle that it begins with.
    with pytest.raises(RefreshReusedError):
        await tokens.refresh(mine.refresh_token[:32] + "A" * 32)
    await tokens.refresh(other.refresh_token)


async def test_a_family_can_not_be_named_by_the_id_that_access_tokens_show(backend: Backend) -> None:
    tokens = refresh_over(backend.open())
    begun = await tokens.begin("ada")
    assert begun.family not in begun.refresh_token
    with pytest.raises(InvalidRefreshTokenError, match="unknown"):
        await tokens.refresh((begun.family + "A" * 64)[:64])
    await tokens.refresh(begun.refresh_token)


@pytest.mark.parametrize("text", ["", "x", "a" * 63, "a" * 65, "é" * 64, "+" * 64, "a" * 64, "\0" * 64])
async def test_what_is_no_token_is_refused_as_one_that_is_unknown(text: str) -> None:
    tokens = refresh_over(MemoryStore())
    with pytest.raises(InvalidRefreshTokenError):
        await tokens.refresh(text)
    await tokens.end(text)


async def test_a_token_is_good_for_the_client_and_the_key_it_was_issued_to(backend: Backend) -> None:
    tokens = refresh_over(backend.open())
    begun = await tokens.begin("ada", client="app", thumbprint="jkt")
    for wrong in (
        {},
        {"client": "other", "thumbprint": "jkt"},
        {"client": "app"},
        {"client": "app", "thumbprint": "x"},
    ):
        with pytest.raises(InvalidRefreshTokenError):
            await tokens.refresh(begun.refresh_token, **wrong)
    refreshed = await tokens.refresh(begun.refresh_token, client="app", thumbprint="jkt")
    assert (refreshed.client, refreshed.thumbprint) == ("app", "jkt")


async def test_who_stole_a_bound_token_without_its_key_can_not_end_the_family(backend: Backend) -> None:
    clock = AsyncClock()
    tokens = refresh_over(backend.open(), now=clock)
    begun = await tokens.begin("ada", thumbprint="jkt")
    current = await tokens.refresh(begun.refresh_token, thumbprint="jkt")
    clock.time_s += 60
    with pytest.raises(InvalidRefreshTokenError, match="key"):
        await tokens.refresh(begun.refresh_token)
    await tokens.refresh(current.refresh_token, thumbprint="jkt")


async def test_signing_out_ends_the_family_by_any_of_its_tokens(backend: Backend) -> None:
    store = backend.open()
    revocations = Revocations(store, instances=1)
    tokens = refresh_over(store, revocations=revocations)
    begun = await tokens.begin("ada")
    current = await tokens.refresh(begun.refresh_token)
    await tokens.end(begun.refresh_token)
    with pytest.raises(InvalidRefreshTokenError):
        await tokens.refresh(current.refresh_token)
    assert revocations.says(token_of(sid=begun.family)) is not False
    await tokens.end(current.refresh_token)
    assert await tokens.end_all("ada") == 0


async def test_signing_out_everywhere_ends_all_families_of_the_subject_and_of_nobody_else(backend: Backend) -> None:
    tokens = refresh_over(backend.open())
    mine = [await tokens.begin("ada") for _ in range(3)]
    other = await tokens.begin("grace")
    assert await tokens.end_all("ada") == 3
    for each in mine:
        with pytest.raises(InvalidRefreshTokenError):
            await tokens.refresh(each.refresh_token)
    await tokens.refresh(other.refresh_token)
    assert await tokens.end_family(other.family)
    assert not await tokens.end_family(other.family)


async def test_a_family_over_the_limit_ends_the_one_that_would_have_ended_first(backend: Backend) -> None:
    clock, events = AsyncClock(), Events()
    tokens = refresh_over(backend.open(), max_families=2, now=clock, on_event=events)
    begun: list[Any] = []
    for _ in range(3):
        begun.append(await tokens.begin("ada"))
        clock.time_s += 1
    with pytest.raises(InvalidRefreshTokenError):
        await tokens.refresh(begun[0].refresh_token)
    for each in begun[1:]:
        await tokens.refresh(each.refresh_token)
    assert events.seen == ["dropped"]


async def test_a_sign_in_that_is_cut_off_leaves_no_family_that_can_not_be_signed_out() -> None:
    store = WatchedStore()
    tokens = refresh_over(store, max_families=1)
    old = await tokens.begin("ada")

    async def cut(verb: str, number: int, is_done: bool) -> None:
        if verb == "change" and is_done:
            raise StoreUnavailableError(home="memory:", reason="the network is cut")

    store.meets = cut
    with pytest.raises(StoreUnavailableError):
        await tokens.begin("ada")
    store.meets = WatchedStore().meets
    with pytest.raises(InvalidRefreshTokenError):
        await tokens.refresh(old.refresh_token)


async def test_a_family_that_nobody_refreshes_ends(backend: Backend) -> None:
    tokens = refresh_over(backend.open(), idle_s=100, absolute_s=1000)
    used, idle = await tokens.begin("ada"), await tokens.begin("ada")
    backend.advance(80)
    used = await tokens.refresh(used.refresh_token)
    backend.advance(80)
    with pytest.raises(InvalidRefreshTokenError):
        await tokens.refresh(idle.refresh_token)
    await tokens.refresh(used.refresh_token)


async def test_a_family_ends_at_its_age_however_much_it_is_used(backend: Backend) -> None:
    clock = AsyncClock()
    tokens = refresh_over(backend.open(), idle_s=100, absolute_s=250, now=clock)
    token = (await tokens.begin("ada")).refresh_token
    for _ in range(3):
        clock.time_s += 80
        token = (await tokens.refresh(token)).refresh_token
    clock.time_s += 11
    with pytest.raises(InvalidRefreshTokenError, match="as old as"):
        await tokens.refresh(token)


async def test_a_refresh_costs_a_read_and_a_write_once_the_clock_is_known() -> None:
    store = WatchedStore()
    tokens = refresh_over(store)
    begun = await tokens.begin("ada")
    store.calls.clear()
    begun = await tokens.refresh(begun.refresh_token)
    assert store.calls == ["get", "change"]


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
async def test_who_is_cut_off_around_the_write_gets_the_same_successor_by_a_retry(done: bool) -> None:
    store = WatchedStore()
    tokens = refresh_over(store)
    begun = await tokens.begin("ada")

    async def cut(verb: str, number: int, is_done: bool) -> None:
        if verb == "change" and is_done is done:
            raise StoreUnavailableError(home="memory:", reason="the network is cut")

    store.meets = cut
    with pytest.raises(StoreUnavailableError):
        await tokens.refresh(begun.refresh_token)
    store.meets = WatchedStore().meets
    retried = await tokens.refresh(begun.refresh_token)
    assert retried.repeated is done
    assert (await tokens.refresh(begun.refresh_token)).refresh_token == retried.refresh_token
    await tokens.refresh(retried.refresh_token)


async def test_a_reuse_whose_revocation_was_cut_off_is_found_again() -> None:
    clock, store = AsyncClock(), WatchedStore()
    tokens = refresh_over(store, now=clock, revocations=Revocations(store, instances=1))
    begun = await tokens.begin("ada")
    current = await tokens.refresh(begun.refresh_token)
    clock.time_s += 60

    async def cut(verb: str, number: int, is_done: bool) -> None:
        if verb == "delete" and not is_done:
            raise StoreUnavailableError(home="memory:", reason="the network is cut")

    store.meets = cut
    with pytest.raises(StoreUnavailableError):
        await tokens.refresh(begun.refresh_token)
    store.meets = WatchedStore().meets
    # The access tokens are dead already; now the family too.
    with pytest.raises(RevokedTokenError):
        await Revocations(store, instances=1).check(token_of(sid=begun.family))
    with pytest.raises(RefreshReusedError):
        await tokens.refresh(begun.refresh_token)
    with pytest.raises(InvalidRefreshTokenError):
        await tokens.refresh(current.refresh_token)


async def test_nothing_that_is_stored_can_be_presented(backend: Backend) -> None:
    store = WatchedStore(backend.open())
    kept: list[bytes] = []
    tokens = refresh_over(store)
    begun = await tokens.begin("ada", client="app")
    current = await tokens.refresh(begun.refresh_token, client="app")
    record = await store.get(f"refresh-family:{begun.family}")
    assert record is not None
    kept += record.fields.values()
    for token in (begun, current):
        assert not any(token.refresh_token.encode() in value for value in kept)
        raw = token.refresh_token.encode()
        assert not any(raw[at : at + 22] in value for value in kept for at in (0, 22, 42))


async def test_instances_whose_clocks_differ_by_a_minute_take_no_retry_for_a_theft() -> None:
    # The store's clock counts: whatever an instance's own says is not asked.
    store = MemoryStore()
    ahead = refresh_over(store, now=StoreClock(store, monotonic=lambda: 1e6))
    behind = refresh_over(store, now=StoreClock(store, monotonic=lambda: -60.0))
    begun = await ahead.begin("ada")
    first = await ahead.refresh(begun.refresh_token)
    assert (await behind.refresh(begun.refresh_token)).refresh_token == first.refresh_token


def test_several_instances_can_not_keep_families_in_one_process() -> None:
    with pytest.raises(PostureError, match="refresh-family at memory:"):
        RefreshTokens(MemoryStore(), instances=2)


@pytest.mark.parametrize(
    "wrong", [{"grace_s": -1}, {"grace_s": 601}, {"idle_s": 0}, {"absolute_s": 1}, {"max_families": 0}]
)
def test_settings_that_can_not_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        refresh_over(MemoryStore(), **wrong)


async def test_a_subject_that_is_no_text_is_refused_where_it_is_given() -> None:
    store = WatchedStore()
    tokens, revocations = refresh_over(store), Revocations(store, instances=1)
    wrong: Any = 5
    for ask in (tokens.begin, tokens.end_all, revocations.revoke_subject):
        with pytest.raises(TypeError, match="a string, not 'int'"):
            await ask(wrong)
    assert store.writes == []


async def test_a_family_ends_in_a_store_that_takes_no_more_and_who_ends_it_is_told() -> None:
    store = WatchedStore()
    tokens = refresh_over(store, revocations=Revocations(store, instances=1))
    begun = [await tokens.begin("ada") for _ in range(3)]

    async def full(verb: str, number: int, done: bool) -> None:
        if verb in ("append", "change", "put"):
            raise StoreUnavailableError(home="memory:", reason="full")

    store.meets = full
    # What can't be told is how long access tokens live on: until they expire.
    with pytest.raises(StoreUnavailableError):
        await tokens.end(begun[0].refresh_token)
    with pytest.raises(StoreUnavailableError):
        await tokens.end_all("ada")
    for each in begun:
        with pytest.raises(InvalidRefreshTokenError):
            await tokens.refresh(each.refresh_token)


@pytest.mark.parametrize("field", ["chain", "family"])
async def test_a_family_of_a_later_release_is_refreshed_elsewhere_and_ended_anywhere(field: str) -> None:
    store = MemoryStore()
    tokens = refresh_over(store)
    begun = await tokens.begin("ada")
    record = await store.get(f"refresh-family:{begun.family}")
    assert record is not None
    await store.change(record, {field: b"\x80"})
    # Not refused: `invalid_grant` would make its holder forget it, and somebody would be signed out for good.
    with pytest.raises(StoreUnavailableError, match="later release"):
        await tokens.refresh(begun.refresh_token)
    await tokens.end(begun.refresh_token)
    assert await store.get(f"refresh-family:{begun.family}") is None
    assert await tokens.end_all("ada") == (1 if field == "family" else 0)
