"""Refresh tokens that rotate: one winner among all instances, the same successor for a retry, and no reuse unseen.

Source: RFC 6749 section 6; RFC 9700 section 4.14.2.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeVar

import msgspec
from msgspec import Struct

from fungible.core import codec
from fungible.core.errors import SettingError
from fungible.core.redaction import Redacted
from fungible.core.subjects import check_subject
from fungible.stores.contract import ABSENT, Record, Store
from fungible.stores.errors import ConflictError, GoneError, StoreError, StoreUnavailableError
from fungible.stores.postures import Deployment, Home, require
from fungible.tokens.families import (
    Family,
    Presented,
    Repeated,
    Reused,
    decode_chain,
    decode_family,
    encode,
    first_chain,
    judge,
    new_token,
    parse,
    text_of,
)
from fungible.tokens.families_clock import StoreClock
from fungible.tokens.families_index import FamilyIndex
from fungible.tokens.refresh_errors import InvalidRefreshTokenError, RefreshReusedError
from fungible.tokens.revocations import Revocations

DAY_S: Final = 86_400.0
LOGGER: Final = logging.getLogger("fungible.tokens")
CHAIN: Final = "chain"
FAMILY: Final = "family"
T = TypeVar("T")


class Refreshed(Redacted, Struct, frozen=True):
    """A refresh token that is to be handed out, and whom it is for."""

    _hidden: ClassVar = ("refresh_token",)
    refresh_token: str
    subject: str
    family: str
    """The family's ID: to be the claim `sid` of its access tokens, so that they are revoked with it."""
    data: Any
    """What `begin` was given."""
    client: str
    thumbprint: str
    """Of the key that the tokens are bound to: to be the claim `cnf`, `{"jkt": …}`. Empty where there is none."""
    ends_at: float
    """When the family ends, however much it is used; Unix seconds by the store's clock."""
    repeated: bool = False
    """The token was presented again within the grace: this is the successor that it got the first time."""


def ignore(event: str, details: Mapping[str, Any]) -> None:
    """What is done with events where nobody asked for them: nothing."""


class RefreshTokens:
    """Refresh tokens in families: each use of a token gives its successor, and a token used again ends the family.

    Args:
        store: Where the families are. It holds digests: who steals it can't refresh anything.
        grace_s: For so many seconds a token that was spent gives the same successor again: to parallel requests, and
            to clients whose response was lost. With 0 every second use ends the family, a retry's too.
        idle_s: A family that nobody refreshes for that long ends.
        absolute_s: A family ends then at the latest, however much it is used.
        max_families: So many of one subject at most; a new one ends the one that would have ended first.
        revocations: Is told of families that end before their time, so that their access tokens end within its bound.
        on_event: Is told what happened, for metrics: `repeated`, `reused`, `dropped`. Must be quick, and not raise.
        now: Gives Unix seconds; by default the store's clock, so that instances whose clocks differ agree.
        instances: How many instances run; by default what the environment says in `FUNGIBLE_INSTANCES`, else 1.
        machines: On how many machines; by default `FUNGIBLE_MACHINES`, else as many as instances.
    Raises:
        SettingError: a setting can't be taken.
        PostureError: several instances can't share families that are kept there.
    """

    def __init__(
        self,
        store: Store,
        *,
        grace_s: float = 10,
        idle_s: float = 30 * DAY_S,
        absolute_s: float = 90 * DAY_S,
        max_families: int = 200,
        revocations: Revocations | None = None,
        on_event: Callable[[str, Mapping[str, Any]], None] = ignore,
        now: Callable[[], Awaitable[float]] | None = None,
        instances: int | None = None,
        machines: int | None = None,
    ) -> None:
        if not 0 < idle_s <= absolute_s <= 3660 * DAY_S:
            raise SettingError(f"idle_s={idle_s!r} must be above 0 and at most absolute_s={absolute_s!r}, ten years")
        if not 0 <= grace_s <= min(idle_s, 600):
            raise SettingError(f"grace_s={grace_s!r} must be from 0 to 600 s, and at most idle_s")
        if not 1 <= max_families <= 2000:
            raise SettingError(f"max_families={max_families!r} must be from 1 to 2000")
        require("refresh-family", store, Deployment.declared(instances=instances, machines=machines))
        self._store = store
        self._grace_s = grace_s
        self._idle_s = idle_s
        self._absolute_s = absolute_s
        self._revocations = revocations
        self._on_event = on_event
        self._now = now or StoreClock(store)
        self._index = FamilyIndex(store, most=max_families)

    def homes(self) -> Sequence[Home]:
        """Where the families are kept, for `fungible doctor`."""
        return (Home("refresh-family", self._store.home, self._store.guarantees, "RefreshTokens(store=…)"),)

    async def begin(self, subject: str, data: Any = None, *, client: str = "", thumbprint: str = "") -> Refreshed:
        """A new family: to be called where somebody signs in.

        Args:
            subject: Who signs in.
            data: The application's own, such as scopes and the name of the device: JSON's types, bytes, datetime,
                Decimal, UUID. It comes back with each refresh.
            client: The client's ID; then `refresh` must be given the same.
            thumbprint: Of the client's DPoP key; then `refresh` must be given the same (RFC 9449 section 5).
        Raises:
            StoreUnavailableError: nobody has been given anything; it may be tried again.
            TypeError: `data` can't be kept, or `subject` is no string.
        """
        check_subject(subject)
        now, token = await self._now(), new_token()
        family = Family(subject, client, thumbprint, now, now + self._absolute_s, codec.encode(data))
        fields = {CHAIN: encode(first_chain(token.secret)), FAMILY: encode(family)}
        # The family first: one that is listed before it exists could be signed out, and come to life after.
        await self._store.put(_key(token.family), fields, ttl_s=self._idle_s, expect=ABSENT)

        async def end(over: Sequence[str]) -> None:
            await self._revoke(*over)
            for each in over:
                self._on_event("dropped", {"family": each, "subject": subject})

        await self._index.add(subject, token.family, ends_at=family.ends_at, now=now, end=end)
        return self._refreshed(token, token.secret, family)

    async def refresh(self, token: str, *, client: str = "", thumbprint: str = "") -> Refreshed:
        """Spends a token, and gives its successor. Costs a read and a write.

        Who is cancelled or cut off here may present the same token again, within the grace.

        Args:
            token: As the client sent it.
            client: The ID of the client, as it has authenticated itself.
            thumbprint: Of the key that its DPoP proof was made with.
        Raises:
            InvalidRefreshTokenError: its holder must sign in again.
            RefreshReusedError: so must everybody who has a token of this family: it has been revoked.
            StoreUnavailableError: try again; the token may have been spent, then a retry within the grace is good.
        """
        presented, record = await self._read(token)
        family = self._readable(decode_family, record, FAMILY)
        # Before anything is changed: who stole a bound token, and not the key, must not even end the family.
        if family.client != client:
            raise InvalidRefreshTokenError("it was issued to another client")
        if family.thumbprint != thumbprint:
            raise InvalidRefreshTokenError("it is bound to another key, or to one where none was proven")
        while True:
            now = await self._now()
            ttl_s = min(self._idle_s, family.ends_at - now)
            if ttl_s <= 0:
                raise InvalidRefreshTokenError("its family has ended: it was as old as families may become")
            judged = judge(self._readable(decode_chain, record, CHAIN), presented.secret, now, grace_s=self._grace_s)
            if isinstance(judged, Reused):
                raise await self._reused(presented.family, family)
            if isinstance(judged, Repeated):
                self._on_event("repeated", {"family": presented.family, "subject": family.subject})
                return self._refreshed(presented, judged.secret, family, repeated=True)
            try:
                await self._store.change(record, {CHAIN: encode(judged.chain)}, ttl_s=ttl_s)
            except ConflictError as conflict:
                # Another request has spent it in this moment. What stands says which successor it got.
                record = conflict.current
            except GoneError:
                raise InvalidRefreshTokenError("its family has just ended") from None
            else:
                return self._refreshed(presented, judged.secret, family)

    async def end(self, token: str) -> None:
        """Signs out: ends the token's family. Any token of it will do; one that nobody knows is passed over.

        Source: RFC 7009 section 2.2.
        """
        presented = parse(token)
        record = None if presented is None else await self._store.get(_key(presented.family))
        if presented is None or record is None:
            return
        await self._revoke(presented.family)
        await self._forget(record, presented.family)

    async def end_family(self, family: str) -> bool:
        """Ends a family by its ID, the claim `sid` of its access tokens; gives whether there was one."""
        record = await self._store.get(_key(family))
        if record is None:
            return False
        await self._revoke(family)
        await self._forget(record, family)
        return True

    async def end_all(self, subject: str) -> int:
        """Signs a subject out everywhere; gives how many families there were. Who signs in meanwhile stays."""
        check_subject(subject)
        families = await self._index.families(subject)
        await self._revoke(*families)
        await self._index.remove(subject, *families)
        return len(families)

    async def _read(self, token: str) -> tuple[Presented, Record]:
        presented = parse(token)
        if presented is None:
            raise InvalidRefreshTokenError("it is none that is made here")
        record = await self._store.get(_key(presented.family))
        if record is None:
            raise InvalidRefreshTokenError("it is unknown: its family was ended, or has expired")
        return presented, record

    async def _forget(self, record: Record, family: str) -> None:
        """Takes a family that was ended out of its subject's index."""
        try:
            subject = decode_family(record.fields[FAMILY]).subject
        except msgspec.DecodeError:
            # Of a later release. It stays listed until it would have ended: whoever ends all ends it once more.
            return
        await self._index.remove(subject, family)

    def _readable(self, decode: Callable[[bytes], T], record: Record, field: str) -> T:
        """A part of a family's record.

        Raises:
            StoreUnavailableError: a later release has written it: its instances can refresh the token. To refuse it would
                sign somebody out for good.
        """
        try:
            return decode(record.fields[field])
        except msgspec.DecodeError as error:
            reason = f"a later release has written a family that this one can't read: {error}"
            raise StoreUnavailableError(home=self._store.home, reason=reason) from None

    async def _reused(self, family_id: str, family: Family) -> RefreshReusedError:
        await self._revoke(family_id)
        LOGGER.warning("a spent refresh token was presented again: the family %s has been revoked", family_id)
        self._on_event("reused", {"family": family_id, "subject": family.subject, "client": family.client})
        await self._index.remove(family.subject, family_id)
        return RefreshReusedError(family=family_id, subject=family.subject)

    async def _revoke(self, *families: str) -> None:
        if self._revocations is None:
            await self._delete(*families)
            return
        try:
            # First: were this process to end after the next line, nobody would find the family and its tokens any more.
            await self._revocations.revoke_families(*families)
        except StoreError:
            # A store that is full takes no message, and may still delete: then none of them is refreshed any more.
            await self._delete(*families)
            # There may be room now. If not, the caller is told that access tokens live on until they expire.
            await self._revocations.revoke_families(*families)
        else:
            await self._delete(*families)

    async def _delete(self, *families: str) -> None:
        for family in families:
            await self._store.delete(_key(family))

    def _refreshed(self, token: Presented, secret: bytes, family: Family, *, repeated: bool = False) -> Refreshed:
        return Refreshed(
            text_of(token.handle, secret),
            family.subject,
            token.family,
            codec.decode(family.data),
            family.client,
            family.thumbprint,
            family.ends_at,
            repeated,
        )


def _key(family: str) -> str:
    return f"refresh-family:{family}"
