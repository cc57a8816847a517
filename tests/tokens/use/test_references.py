"""Claims that are kept in a store: read for the one token they were kept for."""

from typing import Any

import pytest
from contracts.backends import Backend
from contracts.clock import Clock

from fungible.core.errors import SettingError
from fungible.stores import RecordTooLargeError
from fungible.stores.memory import MemoryStore
from fungible.tokens.claims import MAX_LEEWAY_S, OUTLIVES_EXP_S
from fungible.tokens.references import ClaimsMissingError, ClaimsStore
from tokens.use.rig import ISSUER, VERIFIER, token_of

LARGE = {"groups": [f"group-{number}" for number in range(2000)]}


async def test_a_token_refers_to_claims_that_would_not_fit_into_it(backend: Backend) -> None:
    here, elsewhere = (ClaimsStore(backend.open(), instances=1) for _ in range(2))
    text = await here.issue(ISSUER, "ada", {"scope": "read"}, kept=LARGE, ttl_s=300)
    assert len(text) < 1000
    token = VERIFIER.verify(text)
    assert token.has_scope("read")
    assert await elsewhere.resolve(token) == LARGE


async def test_a_reference_in_another_token_leads_nowhere(backend: Backend) -> None:
    claims = ClaimsStore(backend.open(), instances=1)
    reference = await claims.save({"admin": True}, subject="ada", token_id="one", ttl_s=300)
    assert await claims.resolve(token_of(jti="one", claims_ref=reference)) == {"admin": True}
    for other in (
        token_of("grace", jti="one", claims_ref=reference),
        token_of(jti="two", claims_ref=reference),
        token_of(jti="", claims_ref=reference),
        token_of(jti="one", claims_ref=reference + "x"),
        token_of(jti="one", claims_ref=7),
        token_of(jti="one", claims_ref="\ud800"),
    ):
        with pytest.raises(ClaimsMissingError, match="new token"):
            await claims.resolve(other)


async def test_parts_of_names_that_change_places_do_not_meet() -> None:
    claims = ClaimsStore(MemoryStore(), instances=1)
    reference = await claims.save({}, subject="ada", token_id="b", ttl_s=300)
    with pytest.raises(ClaimsMissingError):
        await claims.resolve(token_of("adab", jti="", claims_ref=reference))
    with pytest.raises(ClaimsMissingError):
        await claims.resolve(token_of("ad", jti="ab", claims_ref=reference))


async def test_claims_end_with_their_token_and_when_they_are_deleted(backend: Backend) -> None:
    claims = ClaimsStore(backend.open(), instances=1)
    gone, old = [VERIFIER.verify(await claims.issue(ISSUER, "ada", kept=LARGE, ttl_s=300)) for _ in range(2)]
    await claims.delete(gone)
    with pytest.raises(ClaimsMissingError):
        await claims.resolve(gone)
    assert await claims.resolve(old) == LARGE
    backend.advance(300 + OUTLIVES_EXP_S + 5)
    with pytest.raises(ClaimsMissingError):
        await claims.resolve(old)


async def test_claims_are_there_for_as_long_as_a_verifier_may_take_their_token() -> None:
    store_clock = Clock()
    claims = ClaimsStore(MemoryStore(now=store_clock), instances=1)
    token = VERIFIER.verify(await claims.issue(ISSUER, "ada", kept=LARGE, ttl_s=300))
    store_clock.time_s += 300 + MAX_LEEWAY_S
    assert await claims.resolve(token) == LARGE


async def test_a_token_without_a_reference_has_no_such_claims() -> None:
    assert await ClaimsStore(MemoryStore(), instances=1).resolve(token_of()) == {}


async def test_what_can_not_be_kept_is_refused_before_a_token_is_issued() -> None:
    claims = ClaimsStore(MemoryStore(), instances=1)
    wrong: dict[str, Any] = {"x": object()}
    with pytest.raises(TypeError):
        await claims.issue(ISSUER, "ada", kept=wrong, ttl_s=300)
    with pytest.raises(RecordTooLargeError):
        await claims.issue(ISSUER, "ada", kept={"x": "y" * (1 << 20)}, ttl_s=300)
    with pytest.raises(SettingError):
        await claims.save({}, subject="ada", token_id="", ttl_s=300)


async def test_claims_that_a_later_release_has_kept_are_as_if_they_were_not_there() -> None:
    store = MemoryStore()
    claims = ClaimsStore(store, instances=1)
    reference = await claims.save({}, subject="ada", token_id="b", ttl_s=300)
    [key] = store._records
    await store.put(key, {"claims": b"\xc1"}, ttl_s=300)
    with pytest.raises(ClaimsMissingError, match="can't be read"):
        await claims.resolve(token_of("ada", jti="b", claims_ref=reference))
